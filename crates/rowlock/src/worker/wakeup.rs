//! Hearing of new items, where the database can tell. Polling goes on underneath.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::engine::Engine;
use super::errors::Errors;
use crate::dispatch::Dispatch;
use crate::limits::{POLL_MAX, VERB_BACKOFF_MAX};
use crate::store::Listener;
use crate::{Result, Store};

/// What the dispatcher and the listening task tell each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hearing {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    works: AtomicBool,
    empty: Notify,
}

impl Hearing {
    /// Whether new items are told at the moment.
    pub(crate) fn works(&self) -> bool {
        self.shared.works.load(Ordering::Acquire)
    }

    /// The dispatcher found every stage empty, and would like to be told of new items.
    pub(crate) fn queue_is_empty(&self) {
        self.shared.empty.notify_one();
    }

    fn set_works(&self, works: bool) {
        self.shared.works.store(works, Ordering::Release);
    }
}

/// For how long the database is told that this worker waits.
const ARMED_FOR: Duration = Duration::from_secs(60);

/// Listens for as long as it is polled.
///
/// When the dispatcher finds the queue empty it is registered as waiting, and only then the dispatcher looks once
/// more and believes that it is empty: nothing that is inserted after that look goes unheard.
pub(crate) async fn listen<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>, hearing: &Hearing) {
    let mut errors = Errors::default();
    loop {
        let Err(error) = hear(engine, verbs, hearing, &mut errors).await;
        hearing.set_works(false);
        errors.met("listen", &error);
        tokio::time::sleep(VERB_BACKOFF_MAX).await;
    }
}

async fn hear<S: Store, R: Send + 'static>(
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    hearing: &Hearing,
    errors: &mut Errors,
) -> Result<std::convert::Infallible> {
    let mut listener = verbs.listen().await?;
    let mut armed_until = Instant::now();
    loop {
        let heard = tokio::select! {
            heard = listener.wait(POLL_MAX) => {
                let heard = heard?;
                // Only what was heard once is relied on: the table may have no trigger that tells.
                if heard {
                    hearing.set_works(true);
                }
                heard
            }
            () = hearing.shared.empty.notified() => {
                if Instant::now() + POLL_MAX < armed_until {
                    continue;
                }
                verbs.arm(&mut listener, ARMED_FOR).await?;
                armed_until = Instant::now() + ARMED_FOR;
                errors.passed("listen");
                true
            }
        };
        if heard {
            engine.nudge_all();
        }
    }
}
