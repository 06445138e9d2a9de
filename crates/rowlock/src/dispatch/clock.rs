//! The time that verbs use: the database's, unless a test supplies a clock that it moves by hand.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::store::{ClaimParams, CountParams, RequeueParams, SetParams, SweepParams};

/// The clock of a dispatch.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    #[cfg(feature = "testing")]
    by_hand: Option<crate::testing::TestClock>,
}

impl Clock {
    #[cfg(feature = "testing")]
    pub(super) fn set(&mut self, clock: crate::testing::TestClock) {
        self.by_hand = Some(clock);
    }

    /// The current time for a verb; `None` means the database's clock.
    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        #[cfg(feature = "testing")]
        return self.by_hand.as_ref().map(crate::testing::TestClock::now);
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
