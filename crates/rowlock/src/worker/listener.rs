//! The listener: news of new items, where the database can send it. Polling goes on underneath.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::Notify;

use super::report::Errors;
use super::supervisor::Supervisor;
use crate::dispatch::Dispatch;
use crate::limits::{HEARING_TESTED_EVERY, POLL_MAX, VERB_BACKOFF_MAX, WAKE_SPREAD_MAX_MS};
use crate::store::Listener;
use crate::{Result, Store};

/// The state that the producer and the listening task share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listening {
    state: Rc<ListeningState>,
}

#[derive(Debug, Default)]
struct ListeningState {
    works: Cell<bool>,
    empty: Notify,
    /// A claim is to be sent because of a notification.
    was_woken: Cell<bool>,
    /// This worker acts on a notification after a random delay of at most this many milliseconds.
    spread_ms: Cell<u64>,
}

impl Listening {
    /// Whether the worker is notified of new items at the moment.
    pub(crate) fn works(&self) -> bool {
        self.state.works.get()
    }

    /// The producer found every stage empty, and wants to be notified of new items.
    pub(crate) fn queue_is_empty(&self) {
        self.state.empty.notify_one();
    }

    /// Notes whether a claim found anything. All idle workers are notified and one gets the item; each fruitless
    /// wake-up doubles that worker's delay, a success resets it. So not every worker of an idle fleet claims for one
    /// insert.
    pub(crate) fn claimed(&self, found: bool) {
        let was_woken = self.state.was_woken.replace(false);
        let spread_ms = self.state.spread_ms.get();
        if found {
            self.state.spread_ms.set(0);
        } else if was_woken {
            self.state.spread_ms.set((2 * spread_ms + 1).min(WAKE_SPREAD_MAX_MS));
        }
    }

    fn woken(&self) {
        self.state.was_woken.set(true);
    }

    async fn wait_for_others(&self) {
        let spread = self.state.spread_ms.get();
        if spread > 0 {
            let wait_ms = rand::rng().random_range(0..=spread);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// Logs a change: from then on an empty queue is polled less often, or more often.
    fn set_works(&self, works: bool) {
        match (self.state.works.replace(works), works) {
            (true, false) => tracing::warn!("no notifications arrive at the moment: new items are found by polling"),
            (false, true) => tracing::info!("notifications of new items arrive"),
            _ => {}
        }
    }
}

/// For how long the worker is registered as waiting.
const ARMED_FOR: Duration = Duration::from_secs(60);

/// Listens for as long as it is polled.
///
/// When the producer finds the queue empty, the worker is registered as waiting. Only after that the producer polls
/// once more, and believes that the queue is empty: no insert after that poll goes unnoticed.
pub(crate) async fn listen<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    listening: &Listening,
) {
    let mut errors = Errors::default();
    loop {
        let Err(error) = hear(supervisor, verbs, listening, &mut errors).await;
        errors.met("listen", &error);
        listening.set_works(false);
        tokio::time::sleep(VERB_BACKOFF_MAX).await;
    }
}

async fn hear<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    listening: &Listening,
    errors: &mut Errors,
) -> Result<std::convert::Infallible> {
    let mut listener = verbs.listen().await?;
    listening.set_works(listener.notifies());
    let mut armed_until = Instant::now();
    // As often as heartbeats: a worker that noticed only later that it is cut off would have lost its leases.
    let test_every = HEARING_TESTED_EVERY.min(supervisor.pipeline().heartbeat_interval());
    let mut heard_at = Instant::now();
    loop {
        if heard_at.elapsed() >= test_every {
            verbs.test_hearing(&mut listener).await?;
            heard_at = Instant::now();
        }
        let heard = tokio::select! {
            heard = listener.wait(POLL_MAX.min(test_every)) => {
                let heard = heard?;
                // One notification is enough to rely on them; a trigger of the user's may send them too.
                if heard {
                    heard_at = Instant::now();
                    listening.set_works(true);
                    listening.wait_for_others().await;
                    listening.woken();
                }
                heard
            }
            () = listening.state.empty.notified() => {
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
            supervisor.nudge_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_woken_in_vain_is_slower_the_next_time_and_who_was_not_is_at_once_there() {
        let listening = Listening::default();
        let spread_ms = || listening.state.spread_ms.get();
        listening.claimed(false);
        assert_eq!(spread_ms(), 0, "nobody had told it of anything");
        let mut spreads = Vec::new();
        for _ in 0..8 {
            listening.woken();
            listening.claimed(false);
            // A poll without a notification after that.
            listening.claimed(false);
            spreads.push(spread_ms());
        }
        assert_eq!(spreads, [1, 3, 7, 15, 31, 63, 100, 100]);
        listening.woken();
        listening.claimed(true);
        listening.claimed(false);
        assert_eq!(spread_ms(), 0);
    }
}
