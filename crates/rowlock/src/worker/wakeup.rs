//! Hearing of new items, where the database can tell. Polling goes on underneath.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::Notify;

use super::engine::Engine;
use super::errors::Errors;
use crate::dispatch::Dispatch;
use crate::limits::{HEARING_TESTED_EVERY, POLL_MAX, VERB_BACKOFF_MAX, WAKE_SPREAD_MAX_MS};
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
    /// A claim is to be sent because of what was heard.
    was_woken: AtomicBool,
    /// Within so many milliseconds this worker looks at what it is told, at random.
    spread_ms: AtomicU64,
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

    /// What a claim brought. Everybody who waits is told of an item, and one gets it: who came in vain is slower the next
    /// time, who did not is at once there again. So a fleet that idles does not all claim for one insert.
    pub(crate) fn claimed(&self, found: bool) {
        let was_woken = self.shared.was_woken.swap(false, Ordering::Relaxed);
        let spread_ms = self.shared.spread_ms.load(Ordering::Relaxed);
        if found {
            self.shared.spread_ms.store(0, Ordering::Relaxed);
        } else if was_woken {
            self.shared.spread_ms.store((2 * spread_ms + 1).min(WAKE_SPREAD_MAX_MS), Ordering::Relaxed);
        }
    }

    fn woken(&self) {
        self.shared.was_woken.store(true, Ordering::Relaxed);
    }

    async fn wait_for_others(&self) {
        let spread = self.shared.spread_ms.load(Ordering::Relaxed);
        if spread > 0 {
            let wait_ms = rand::rng().random_range(0..=spread);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// Says so in the log where it was otherwise: from then on an empty queue is looked at more seldom, or more often.
    fn set_works(&self, works: bool) {
        match (self.shared.works.swap(works, Ordering::AcqRel), works) {
            (true, false) => tracing::warn!("nobody tells of new items at the moment: they are found by polling"),
            (false, true) => tracing::info!("hears of new items"),
            _ => {}
        }
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
        errors.met("listen", &error);
        hearing.set_works(false);
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
    hearing.set_works(listener.is_told());
    let mut armed_until = Instant::now();
    // As often as heartbeats: who would notice later that it is cut off has lost its leases.
    let test_every = HEARING_TESTED_EVERY.min(engine.pipeline().heartbeat_interval());
    let mut heard_at = Instant::now();
    loop {
        if heard_at.elapsed() >= test_every {
            verbs.test_hearing(&mut listener).await?;
            heard_at = Instant::now();
        }
        let heard = tokio::select! {
            heard = listener.wait(POLL_MAX.min(test_every)) => {
                let heard = heard?;
                // What was heard once is relied on; a table may also have a trigger of the user's own that tells.
                if heard {
                    heard_at = Instant::now();
                    hearing.set_works(true);
                    hearing.wait_for_others().await;
                    hearing.woken();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_woken_in_vain_is_slower_the_next_time_and_who_was_not_is_at_once_there() {
        let hearing = Hearing::default();
        let spread_ms = || hearing.shared.spread_ms.load(Ordering::Relaxed);
        hearing.claimed(false);
        assert_eq!(spread_ms(), 0, "nobody had told it of anything");
        let mut spreads = Vec::new();
        for _ in 0..8 {
            hearing.woken();
            hearing.claimed(false);
            // A look of its own after that.
            hearing.claimed(false);
            spreads.push(spread_ms());
        }
        assert_eq!(spreads, [1, 3, 7, 15, 31, 63, 100, 100]);
        hearing.woken();
        hearing.claimed(true);
        hearing.claimed(false);
        assert_eq!(spread_ms(), 0);
    }
}
