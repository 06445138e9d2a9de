//! The time that verbs use: the database's, unless a test supplies a clock that it moves by hand.

use std::borrow::Cow;
#[cfg(feature = "testing")]
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "testing")]
use std::time::Duration;

#[cfg(feature = "testing")]
use chrono::TimeDelta;
use chrono::{DateTime, Utc};

use crate::store::{ClaimParams, CountParams, RequeueParams, SetParams, SweepParams};

/// The clock of a dispatch.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    #[cfg(feature = "testing")]
    by_hand: Option<TestClock>,
}

impl Clock {
    #[cfg(feature = "testing")]
    pub(super) fn set(&mut self, clock: TestClock) {
        self.by_hand = Some(clock);
    }

    /// The current time for a verb; `None` means the database's clock.
    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        #[cfg(feature = "testing")]
        return self.by_hand.as_ref().map(TestClock::now);
        #[cfg(not(feature = "testing"))]
        None
    }

    /// The parameters with that time, unless they already have one.
    pub(super) fn timed<'a, P: Timed>(&self, params: &'a P) -> Cow<'a, P> {
        match self.now() {
            Some(now) => {
                let mut params = params.clone();
                params.time().get_or_insert(now);
                Cow::Owned(params)
            }
            None => Cow::Borrowed(params),
        }
    }
}

/// The database's clock, which you can move on. Its clones are one clock.
///
/// The verbs go by it: what is due, stale and delayed. `complete_in` and its like, and what the table's own defaults
/// and triggers write, go by the database's clock.
#[cfg(feature = "testing")]
#[derive(Debug, Clone)]
pub struct TestClock {
    /// How far it is ahead of this process's clock.
    ahead: Arc<Mutex<TimeDelta>>,
}

#[cfg(feature = "testing")]
impl TestClock {
    /// A clock that shows this time now.
    pub fn at(time: DateTime<Utc>) -> TestClock {
        TestClock::ahead_by(time - Utc::now())
    }

    /// A clock that is this far ahead of this process's.
    pub(crate) fn ahead_by(ahead: TimeDelta) -> TestClock {
        TestClock { ahead: Arc::new(Mutex::new(ahead)) }
    }

    /// The time that it shows.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it on.
    ///
    /// # Panics
    /// Past the last time that there is.
    pub fn advance(&self, by: Duration) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead += TimeDelta::from_std(by).expect("a duration that a clock can go on by");
    }
}

/// Parameters with a time.
pub(super) trait Timed: Clone {
    fn time(&mut self) -> &mut Option<DateTime<Utc>>;
}

macro_rules! timed {
    ($($params:ty),*) => {
        $(impl Timed for $params {
            fn time(&mut self) -> &mut Option<DateTime<Utc>> {
                &mut self.now
            }
        })*
    };
}

timed!(ClaimParams, SweepParams, SetParams, RequeueParams, CountParams);
