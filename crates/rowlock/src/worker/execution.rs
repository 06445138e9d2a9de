//! One run of a handler: its items, its start, and the signal to stop.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::leases::{Held, Work};
use crate::decoding::panic_words;
use crate::limits::FINISH_KEPT_FOR;
use crate::{Failure, Handled};

/// One element for each item of a run: one, unless the handler takes batches.
pub(crate) type OfRun<T> = SmallVec<[T; 1]>;

/// One run of a handler.
#[derive(Debug)]
pub(crate) struct Execution {
    /// Made when something waits for it: most handlers end before that.
    stop: OnceLock<CancellationToken>,
    pub(crate) since: Instant,
    /// For how long this process has stood still since then, in milliseconds.
    stood_still_ms: AtomicU64,
    pub(crate) items: OfRun<Arc<Held>>,
    left: AtomicUsize,
    /// Why the handler was told to stop: the first reason stays.
    reason: OnceLock<Stop>,
}

/// How one run of a handler ended.
#[derive(Debug)]
pub(crate) enum RunEnd {
    /// It returned, with one result for each item.
    Returned(OfRun<Result<Handled, Failure>>),
    /// It panicked with this message.
    Panicked(String),
    /// It was told to stop, and its future was dropped.
    Stopped,
}

/// Why a handler is stopped although its lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The stage's timeout passed; the handler was told at this time.
    TimedOut(Instant),
    /// It kept a transaction open for too long; it was told at this time.
    HeldTransaction(Instant),
    /// The worker stops.
    Shutdown,
}

impl Execution {
    pub(crate) fn new(items: OfRun<Arc<Held>>, now: Instant) -> Execution {
        let left = AtomicUsize::new(items.len());
        let (stop, reason, stood_still_ms) = (OnceLock::new(), OnceLock::new(), AtomicU64::new(0));
        Execution { stop, since: now, stood_still_ms, items, left, reason }
    }

    /// This process stood still for this long, which does not count towards the handler's time.
    pub(crate) fn stood_still(&self, stood_still: Duration) {
        let ms = u64::try_from(stood_still.as_millis()).unwrap_or(u64::MAX);
        self.stood_still_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// How long it has run, without the standstills of this process.
    pub(crate) fn lasted(&self, now: Instant) -> Duration {
        let stood_still = Duration::from_millis(self.stood_still_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.since).saturating_sub(stood_still)
    }

    /// Signalled before the handler's future is dropped.
    pub(crate) fn stop_token(&self) -> &CancellationToken {
        self.stop.get_or_init(CancellationToken::new)
    }

    fn was_told(&self) -> bool {
        self.stop.get().is_some_and(CancellationToken::is_cancelled)
    }

    /// Tells the handler to stop. The first reason stays.
    pub(crate) fn stop(&self, reason: Stop) {
        let _first = self.reason.get_or_init(|| reason);
        self.stop_token().cancel();
    }

    /// Why the handler was told to stop; `None` if it was not, or if its last lease was lost.
    pub(crate) fn stop_reason(&self) -> Option<Stop> {
        self.reason.get().copied()
    }

    /// Whether the handler is finishing one of the items itself, and may still learn the answer. It must not be dropped
    /// meanwhile: the answer would be lost.
    pub(crate) fn is_settling(&self, now: Instant) -> bool {
        self.settling_for(now).any(|lasted| lasted < FINISH_KEPT_FOR)
    }

    /// Whether the handler's own finish has been running for longer than any call can take: the handler is not polled
    /// any more, for instance because another one blocks the thread on which it would be polled.
    pub(crate) fn is_unanswered(&self, now: Instant) -> bool {
        self.settling_for(now).any(|lasted| lasted >= FINISH_KEPT_FOR)
    }

    fn settling_for(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let since = self.items.iter().filter_map(|held| held.settling_since());
        since.map(move |since| now.saturating_duration_since(since))
    }

    /// Whether the handler keeps a transaction open for too long. Its own finish may be waiting for that transaction.
    fn holds_transaction(&self) -> bool {
        matches!(self.stop_reason(), Some(Stop::HeldTransaction(_)))
    }

    /// When the handler was told to stop because it, or its transaction, took too long.
    pub(crate) fn timed_out_at(&self) -> Option<Instant> {
        match self.stop_reason() {
            Some(Stop::TimedOut(at) | Stop::HeldTransaction(at)) => Some(at),
            Some(Stop::Shutdown) | None => None,
        }
    }

    /// Runs a handler until it returns, panics or is told to stop. After that signal it is polled once more. It is not
    /// dropped while it is finishing an item itself, unless it keeps a transaction open meanwhile.
    pub(crate) async fn drive(&self, work: impl Future<Output = OfRun<Result<Handled, Failure>>>) -> RunEnd {
        let mut work = pin!(Some(AssertUnwindSafe(work).catch_unwind()));
        let mut stopped = None;
        let end = std::future::poll_fn(|cx| {
            let was_told = self.was_told();
            let answer = work.as_mut().as_pin_mut().map(|work| work.poll(cx));
            if let Some(std::task::Poll::Ready(answer)) = answer {
                return std::task::Poll::Ready(Some(answer));
            }
            if !was_told {
                let stopped = stopped.get_or_insert_with(|| Box::pin(self.stop_token().cancelled()));
                if stopped.as_mut().poll(cx).is_ready() {
                    cx.waker().wake_by_ref(); // told since it was polled
                }
                return std::task::Poll::Pending;
            }
            if self.is_settling(Instant::now()) && !self.holds_transaction() {
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(None)
        })
        .await;
        match end {
            Some(Ok(results)) => RunEnd::Returned(results),
            Some(Err(panic)) => RunEnd::Panicked(panic_message(&*panic)),
            None => {
                // Dropping what the handler holds may panic; that must not cost the slot.
                match std::panic::catch_unwind(AssertUnwindSafe(|| work.set(None))) {
                    Ok(()) => RunEnd::Stopped,
                    Err(panic) => RunEnd::Panicked(panic_message(&*panic)),
                }
            }
        }
    }
}

impl Work for Execution {
    /// With the last item, the handler is told to stop.
    fn lose_item(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop_token().cancel();
        }
    }
}

/// The message that reports a handler's panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    format!("the handler panicked: {}", panic_words(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::StageId;
    use crate::worker::leases::Leases;
    use crate::{FencingToken, Key, Lease};

    #[tokio::test]
    async fn a_handler_that_is_told_to_stop_while_it_is_polled_is_polled_once_more() {
        let run = Execution::new(OfRun::new(), Instant::now());
        let mut polls = 0;
        let work = std::future::poll_fn(|_| {
            polls += 1;
            run.stop(Stop::Shutdown);
            std::task::Poll::Pending
        });
        assert!(matches!(run.drive(work).await, RunEnd::Stopped));
        assert_eq!(polls, 2);
    }

    #[test]
    fn a_finish_of_the_handlers_own_keeps_its_slot_until_no_answer_can_come() {
        let now = Instant::now();
        let lease = Lease { key: Key::from("a"), token: FencingToken::draw(), stage: StageId::FIRST };
        let held = Leases::default().hold(lease, now);
        let run = Execution::new(OfRun::from_iter([Arc::clone(&held)]), now);
        assert!(!run.is_settling(now) && !run.is_unanswered(now));
        let guard = held.settling();
        let soon = now + FINISH_KEPT_FOR / 2;
        assert!(run.is_settling(soon) && !run.is_unanswered(soon));
        let late = now + 2 * FINISH_KEPT_FOR;
        assert!(!run.is_settling(late) && run.is_unanswered(late));
        drop(guard);
        assert!(!run.is_settling(soon) && !run.is_unanswered(late));
    }
}
