//! Whether items may come to a stage from the one before it without a claim.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{FOUND_EMPTY_FOR, PASSAGE_CLOSED_MAX, PASSAGE_CLOSED_MIN};

/// The way from one stage to the next: open for a moment after a claim that left nothing ready there.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    state: Mutex<State>,
    /// Items that are on their way.
    coming: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    found_empty_at: Option<Instant>,
    closed_until: Option<Instant>,
    /// How long it was closed the last time; doubled the next time, unless something passes.
    closed_for: Duration,
}

impl Passage {
    /// A claim left nothing that is ready for the stage.
    pub(crate) fn found_empty(&self, now: Instant) {
        self.locked().found_empty_at = Some(now);
    }

    /// A claim left something that is ready for the stage: that has its turn first.
    pub(crate) fn found_more(&self) {
        self.locked().found_empty_at = None;
    }

    /// Nothing passed: the stage is paused, or the database refuses it. It would cost a statement a batch to see that again
    /// each time.
    pub(crate) fn close(&self, now: Instant) {
        let mut state = self.locked();
        state.closed_for = (state.closed_for * 2).clamp(PASSAGE_CLOSED_MIN, PASSAGE_CLOSED_MAX);
        state.closed_until = Some(now + state.closed_for);
    }

    /// Something passed.
    pub(crate) fn passed(&self) {
        self.locked().closed_for = Duration::ZERO;
    }

    /// So many items are sent on their way.
    pub(crate) fn enter(&self, items: usize) {
        self.coming.fetch_add(items, Ordering::Relaxed);
    }

    /// So many of them have arrived, or do not come.
    pub(crate) fn leave(&self, items: usize) {
        self.coming.fetch_sub(items, Ordering::Relaxed);
    }

    pub(crate) fn coming(&self) -> usize {
        self.coming.load(Ordering::Relaxed)
    }

    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let found_empty_at = self.locked().found_empty_at;
        found_empty_at.is_some_and(|at| now.saturating_duration_since(at) <= FOUND_EMPTY_FOR) && !self.is_closed(now)
    }

    /// Whether those that have entered have to turn back as well.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.locked().closed_until.is_some_and(|until| now < until)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_for_a_moment_after_a_claim_that_left_nothing() {
        let (passage, now) = (Passage::default(), Instant::now());
        assert!(!passage.is_open(now), "nobody has looked yet");
        passage.found_empty(now);
        assert!(passage.is_open(now + FOUND_EMPTY_FOR));
        assert!(!passage.is_open(now + FOUND_EMPTY_FOR + Duration::from_millis(1)));
        passage.found_more();
        assert!(!passage.is_open(now));
    }

    #[test]
    fn it_is_closed_for_twice_as_long_each_time_until_something_passes() {
        let (passage, mut now) = (Passage::default(), Instant::now());
        let closed_for = |now: &mut Instant| {
            passage.close(*now);
            let since = *now;
            while {
                passage.found_empty(*now);
                !passage.is_open(*now)
            } {
                *now += PASSAGE_CLOSED_MIN;
            }
            *now - since
        };
        assert_eq!([closed_for(&mut now), closed_for(&mut now)], [PASSAGE_CLOSED_MIN, 2 * PASSAGE_CLOSED_MIN]);
        for _ in 0..20 {
            closed_for(&mut now);
        }
        assert_eq!(closed_for(&mut now), PASSAGE_CLOSED_MAX);
        passage.passed();
        assert_eq!(closed_for(&mut now), PASSAGE_CLOSED_MIN);
    }
}
