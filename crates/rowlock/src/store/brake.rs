//! The brake: where one item after the other is refused for the same cause, and none passes, the cause is hardly each row's
//! own. A trigger or a constraint that came with a deploy must not fail the backlog: after a few items no more are made
//! `FAILED`, until one passes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::REFUSED_ALIKE_MAX;
use crate::pipeline::StageId;
use crate::{Error, Key};

/// What was refused of late; its clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Brake {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether anything is counted: most stores never meet a refusal.
    is_counting: AtomicBool,
    counts: Mutex<HashMap<(&'static str, StageId), Count>>,
}

/// Refusals of a verb in a stage, for the same cause, since one passed.
#[derive(Debug)]
struct Count {
    cause: String,
    reason: String,
    refused: usize,
}

impl Brake {
    pub(super) fn is_counting(&self) -> bool {
        self.shared.is_counting.load(Ordering::Acquire)
    }

    /// Items of these stages passed.
    pub(super) fn passed(&self, verb: &'static str, stages: impl IntoIterator<Item = StageId>) {
        if !self.is_counting() {
            return;
        }
        let mut counts = self.locked();
        for stage in stages {
            if let Some(count) = counts.remove(&(verb, stage))
                && count.refused >= REFUSED_ALIKE_MAX
            {
                tracing::info!(verb, reason = count.reason, "items that were refused for one cause pass again");
            }
        }
        self.shared.is_counting.store(!counts.is_empty(), Ordering::Release);
    }

    /// Notes that an item was refused, in one of these stages; whether it may be made `FAILED` for it.
    pub(super) fn refused(&self, verb: &'static str, stages: &[StageId], key: &Key, reason: &str) -> bool {
        let cause = cause(reason, key);
        let mut counts = self.locked();
        let mut may_fail = true;
        for stage in stages {
            let new = || Count { cause: cause.clone(), reason: reason.to_owned(), refused: 0 };
            let count = counts.entry((verb, *stage)).or_insert_with(new);
            if count.cause != cause {
                *count = new();
            }
            may_fail &= count.refused < REFUSED_ALIKE_MAX;
            count.refused += 1;
        }
        self.shared.is_counting.store(true, Ordering::Release);
        may_fail
    }

    /// Whether so many were refused in each of these stages, for the cause of this one as well, that nothing more is to be made
    /// `FAILED`: then that is the error of the verb.
    pub(super) fn holds(&self, verb: &'static str, stages: &[StageId], key: &Key, reason: &str) -> Option<Error> {
        if stages.is_empty() || !self.is_counting() {
            return None;
        }
        let (cause, counts) = (cause(reason, key), self.locked());
        let is_held = |stage: &StageId| {
            counts.get(&(verb, *stage)).is_some_and(|count| count.cause == cause && count.refused >= REFUSED_ALIKE_MAX)
        };
        stages.iter().all(is_held).then(|| Error::Held { verb, reason: reason.to_owned() })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<(&'static str, StageId), Count>> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason without what differs from item to item: its key, numbers, and what stands in quotation marks after the first such
/// words, which name the constraint.
fn cause(reason: &str, key: &Key) -> String {
    let without_key = if key.as_str().is_empty() { reason.to_owned() } else { reason.replace(key.as_str(), "…") };
    let mut cause = String::with_capacity(without_key.len());
    for c in without_key.chars() {
        match c {
            '0'..='9' if cause.ends_with('0') => {}
            '0'..='9' => cause.push('0'),
            c => cause.push(c),
        }
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: [StageId; 1] = [StageId::FIRST];

    fn key(number: usize) -> Key {
        Key::from(format!("item-{number}"))
    }

    /// Which of so many items may be made `FAILED`.
    fn refuse(brake: &Brake, items: usize, reason: impl Fn(usize) -> String) -> usize {
        (0..items).filter(|number| brake.refused("claim", &STAGE, &key(*number), &reason(*number))).count()
    }

    #[test]
    fn no_more_than_a_few_are_failed_for_one_cause_until_one_passes() {
        let brake = Brake::default();
        let reason = |number: usize| format!("item-{number} of 2026-11-{number:02} has no owner");
        assert!(brake.holds("claim", &STAGE, &key(0), &reason(0)).is_none());
        assert_eq!(refuse(&brake, 1_000, reason), REFUSED_ALIKE_MAX);
        assert!(matches!(brake.holds("claim", &STAGE, &key(7), &reason(7)), Some(Error::Held { verb: "claim", .. })));
        assert!(brake.holds("finish", &STAGE, &key(7), &reason(7)).is_none(), "another verb may pass");
        brake.passed("claim", STAGE);
        assert!(brake.holds("claim", &STAGE, &key(7), &reason(7)).is_none());
        assert_eq!(refuse(&brake, 1_000, reason), REFUSED_ALIKE_MAX);
    }

    #[test]
    fn one_bad_row_among_good_ones_and_ten_causes_hold_nobody() {
        let brake = Brake::default();
        for _ in 0..100 {
            assert_eq!(refuse(&brake, 1, |_| "a check".to_owned()), 1);
            brake.passed("claim", STAGE);
        }
        let causes = ["a check", "no owner", "bad JSON", "too long"];
        assert_eq!(refuse(&brake, 100, |number| causes[number % 4].to_owned()), 100);
    }
}
