//! What a store remembers of its queue from one claim to the next.
//!
//! Everything happens at the head of a long queue: claimed entries lie there dead until a vacuum may remove them, and
//! rows that others are about to claim are locked there. As long as the queue is full, a claim leaves out what others
//! are working on, and a claim of one stage begins where the last one ended. The next claim that begins at the start, a
//! few times a second, finds what was skipped, e.g. an item that was returned to the queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::limits::{QUEUE_LOOKED_AT_EVERY, QUEUE_LOOKED_AT_EVERY_MAX, QUEUE_LOOKED_AT_SHARE};

/// Shared by the clones of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueHead {
    state: Arc<Mutex<QueueHeadState>>,
}

#[derive(Debug, Default)]
struct QueueHeadState {
    met_special: bool,
    full: Option<Full>,
}

#[derive(Debug)]
struct Full {
    ready_words: Vec<String>,
    from: Option<DateTime<Utc>>,
    /// How long a claim took that began there.
    took: Duration,
    look_from_start_at: Instant,
}

/// Where a claim of a full queue begins: at items that have been ready since then. `None` is the start of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start(pub(super) Option<DateTime<Utc>>);

/// What a claim saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Where it began; `None` if it did not treat the queue as full.
    pub(super) start: Option<Start>,
    /// It got all that it asked for, and that was many.
    pub(super) is_full: bool,
    /// Since when its youngest items have been ready.
    pub(super) until: Option<DateTime<Utc>>,
    /// How long it took.
    pub(super) took: Duration,
}

impl QueueHead {
    /// Where to begin, if the queue is full as far as is known.
    pub(super) fn start(&self, ready_words: &[String], now: Instant) -> Option<Start> {
        let state = self.locked();
        let full = state.full.as_ref().filter(|full| full.ready_words == ready_words)?;
        // Only a look at the start shows whether a suspect is at the head.
        let is_from_start = state.met_special || now >= full.look_from_start_at;
        Some(Start(full.from.filter(|_| !is_from_start)))
    }

    /// Notes what a claim saw.
    pub(super) fn note(&self, ready_words: &[String], seen: Seen, now: Instant) {
        let mut state = self.locked();
        if !seen.is_full {
            state.full = None;
            return;
        }
        match (&mut state.full, seen.start) {
            // Claims may run side by side.
            (Some(full), Some(Start(Some(start)))) if full.ready_words == ready_words && full.from >= Some(start) => {
                full.from = full.from.max(seen.until);
                full.took = seen.took;
            }
            // In the meantime another one found the end, or older items at the start, or was for another stage.
            (_, Some(Start(Some(_)))) => {}
            (full, _) => {
                // The cost of walking to the place where others begin.
                let extra = seen.took.saturating_sub(full.as_ref().map_or(seen.took, |full| full.took));
                let pause = (extra * QUEUE_LOOKED_AT_SHARE).clamp(QUEUE_LOOKED_AT_EVERY, QUEUE_LOOKED_AT_EVERY_MAX);
                let ready_words = ready_words.to_vec();
                *full = Some(Full {
                    ready_words,
                    from: seen.until,
                    took: seen.took - extra,
                    look_from_start_at: now + pause,
                });
            }
        }
    }

    /// Whether the last claim met an item at a limit or a suspect. Each claim meets suspects that wait at the head, and
    /// need not find that out twice.
    pub(super) fn met_special(&self) -> bool {
        self.locked().met_special
    }

    pub(super) fn note_special(&self, met_special: bool) {
        self.locked().met_special = met_special;
    }

    fn locked(&self) -> MutexGuard<'_, QueueHeadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(20);

    fn at(secs: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(secs, 0)
    }

    fn words(word: &str) -> Vec<String> {
        vec![word.to_owned()]
    }

    fn seen(start: Option<Start>, until: i64) -> Seen {
        Seen { start, is_full: true, until: at(until), took: TOOK }
    }

    #[test]
    fn a_claim_of_a_full_queue_begins_where_the_last_one_ended() {
        let (head, now) = (QueueHead::default(), Instant::now());
        assert_eq!(head.start(&words("A"), now), None, "nothing is known yet");
        head.note(&words("A"), seen(None, 10), now);
        assert_eq!(head.start(&words("A"), now), Some(Start(at(10))));
        assert_eq!(head.start(&words("B"), now), None, "of another stage nothing is known");
        let start = head.start(&words("A"), now);
        head.note(&words("A"), seen(start, 30), now);
        head.note(&words("A"), seen(start, 20), now);
        assert_eq!(head.start(&words("A"), now), Some(Start(at(30))), "the answer of one beside it came later");
    }

    #[test]
    fn a_claim_that_came_back_short_ends_it() {
        let (head, now) = (QueueHead::default(), Instant::now());
        head.note(&words("A"), seen(None, 10), now);
        let start = head.start(&words("A"), now);
        head.note(&words("A"), Seen { is_full: false, ..seen(start, 20) }, now);
        assert_eq!(head.start(&words("A"), now), None);
        head.note(&words("A"), seen(start, 30), now);
        assert_eq!(head.start(&words("A"), now), None, "one that began before that knows nothing newer");
    }

    #[test]
    fn where_older_items_are_found_the_next_claims_begin_there() {
        let (head, now) = (QueueHead::default(), Instant::now());
        head.note(&words("A"), seen(None, 1_000), now);
        let under_way = head.start(&words("A"), now);
        head.note(&words("A"), seen(Some(Start(None)), 10), now);
        head.note(&words("A"), seen(under_way, 1_100), now);
        assert_eq!(head.start(&words("A"), now), Some(Start(at(10))), "one sent before that is answered later");
    }

    #[test]
    fn the_start_of_the_queue_is_looked_at_again_and_again() {
        let (head, mut now) = (QueueHead::default(), Instant::now());
        head.note(&words("A"), seen(None, 10), now);
        for _ in 0..3 {
            assert_eq!(head.start(&words("A"), now + QUEUE_LOOKED_AT_EVERY * 9 / 10), Some(Start(at(10))));
            now += QUEUE_LOOKED_AT_EVERY;
            assert_eq!(head.start(&words("A"), now), Some(Start(None)));
            head.note(&words("A"), seen(Some(Start(None)), 10), now);
        }
    }

    #[test]
    fn where_much_is_to_be_walked_past_that_is_rarer() {
        let (head, now) = (QueueHead::default(), Instant::now());
        head.note(&words("A"), seen(None, 10), now);
        let tenth = Duration::from_millis(100);
        for (extra, pause) in [(tenth, tenth * QUEUE_LOOKED_AT_SHARE), (tenth * 100, QUEUE_LOOKED_AT_EVERY_MAX)] {
            head.note(&words("A"), Seen { took: TOOK + extra, ..seen(Some(Start(None)), 10) }, now);
            assert_eq!(head.start(&words("A"), now + pause - TOOK), Some(Start(at(10))));
            assert_eq!(head.start(&words("A"), now + pause), Some(Start(None)));
        }
    }

    #[test]
    fn as_long_as_suspects_wait_each_claim_begins_at_the_head() {
        let (head, now) = (QueueHead::default(), Instant::now());
        head.note(&words("A"), seen(None, 10), now);
        head.note_special(true);
        assert_eq!(head.start(&words("A"), now), Some(Start(None)));
        head.note_special(false);
        assert_eq!(head.start(&words("A"), now), Some(Start(at(10))));
    }
}
