//! Hearing of new items, where the database can tell. Polling goes on underneath.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::engine::{Engine, Errors};
use crate::Store;
use crate::dispatch::Dispatch;
use crate::limits::{POLL_MAX, VERB_BACKOFF_MAX};
use crate::store::Listener;

/// Whether somebody tells of new items at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hearing {
    works: Arc<AtomicBool>,
}

impl Hearing {
    pub(crate) fn works(&self) -> bool {
        self.works.load(Ordering::Acquire)
    }
}

/// Listens for as long as it is polled. The listener is registered before the look at the queue that follows, and
/// between two waits it stays so: nothing that is inserted after an empty look goes unheard.
pub(crate) async fn listen<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>, hearing: &Hearing) {
    let mut errors = Errors::default();
    loop {
        match verbs.store().listen().await {
            Ok(mut listener) => {
                engine.nudge_all();
                loop {
                    match listener.wait(POLL_MAX).await {
                        Ok(heard) => {
                            errors.passed("listen");
                            hearing.works.store(true, Ordering::Release);
                            if heard {
                                engine.nudge_all();
                            }
                        }
                        Err(error) => {
                            errors.met("listen", &error);
                            break;
                        }
                    }
                }
            }
            Err(error) => errors.met("listen", &error),
        }
        hearing.works.store(false, Ordering::Release);
        tokio::time::sleep(VERB_BACKOFF_MAX).await;
    }
}
