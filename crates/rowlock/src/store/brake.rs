//! The brake: if one item after the other is refused for the same cause and none passes, the cause is hardly each row's
//! own. A trigger or a constraint that came with a deploy must not fail the backlog: after a few items no more become
//! `FAILED`, until one passes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::RefusedStage;
use super::exclusion::Exclusions;
use crate::limits::REFUSED_ALIKE_MAX;
use crate::pipeline::StageId;
use crate::{Error, Key};

/// Recent refusals; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Brake {
    shared: Arc<BrakeState>,
}

#[derive(Debug)]
struct BrakeState {
    /// Whether anything is counted: most stores never meet a refusal.
    is_counting: AtomicBool,
    counts: Mutex<RefusalCounts>,
    exclusions: Exclusions,
}

#[derive(Debug, Default)]
struct RefusalCounts {
    of_any: HashMap<(&'static str, StageId), Count>,
}

impl RefusalCounts {
    /// Items of a stage that were refused for this cause, by any verb: a cause that refuses completions may refuse
    /// claims too, and the items belong to one backlog.
    fn failed(&self, stage: StageId, cause: &str) -> usize {
        let alike = self.of_any.iter().filter(|((_, other), count)| *other == stage && count.cause == cause);
        alike.map(|(_, count)| count.failed.len()).sum()
    }

    /// The count for this cause; a count for another cause starts anew.
    fn of(&mut self, verb: &'static str, stage: StageId, cause: &str) -> &mut Count {
        let count = self.of_any.entry((verb, stage)).or_default();
        if count.cause != cause {
            let Count { is_held, times, .. } = *count;
            *count = Count { cause: cause.to_owned(), is_held, times, ..Count::default() };
        }
        count
    }
}

/// Refusals of a verb in a stage, for the same cause, since an item passed.
#[derive(Debug, Default)]
struct Count {
    cause: String,
    reason: String,
    /// Refusals, including those of whole batches.
    times: u64,
    /// No more items become `FAILED`; or a whole batch was refused, and nothing is known about any of its items.
    is_held: bool,
    /// Items that might have become `FAILED`. Those among them that are excluded come back when an item passes.
    failed: Vec<Key>,
}

/// One item that was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    /// The refused verb: the claim, the sweep, the heartbeat, or an outcome by its name.
    pub(super) verb: &'static str,
    /// The item's stage; `None` if it is not known.
    pub(super) stage: Option<StageId>,
    pub(super) key: &'a Key,
    /// The part of the message that other items refused for the same cause share.
    pub(super) cause: &'a str,
    pub(super) reason: &'a str,
}

impl Brake {
    pub(super) fn new(exclusions: Exclusions) -> Brake {
        Brake {
            shared: Arc::new(BrakeState { is_counting: AtomicBool::default(), counts: Mutex::default(), exclusions }),
        }
    }

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
            let Some(count) = counts.of_any.remove(&(verb, stage)) else { continue };
            if count.is_held {
                count.failed.iter().for_each(|key| self.shared.exclusions.remove(key));
                tracing::info!(verb, reason = count.reason, "items that were refused for one cause pass again");
            }
        }
        self.shared.is_counting.store(!counts.of_any.is_empty(), Ordering::Release);
    }

    /// Notes that an item was refused. Returns whether it may become `FAILED` for that.
    pub(super) fn refused(&self, refused: Refused<'_>) -> bool {
        let Refused { verb, stage: Some(stage), key, cause, reason } = refused else { return true };
        let mut counts = self.locked();
        self.shared.is_counting.store(true, Ordering::Release);
        let failed_before = counts.failed(stage, cause);
        let count = counts.of(verb, stage, cause);
        reason.clone_into(&mut count.reason);
        count.times += 1;
        count.is_held |= failed_before + 1 >= REFUSED_ALIKE_MAX;
        let may_fail = failed_before < REFUSED_ALIKE_MAX;
        if may_fail {
            count.failed.push(key.clone());
        }
        may_fail
    }

    /// Notes that items of these stages were refused and that none of their batch passed, so that nothing is known
    /// about any of them. A transient error says nothing about them either.
    pub(super) fn refused_whole(&self, verb: &'static str, stages: impl IntoIterator<Item = StageId>, error: &Error) {
        if error.is_transient() {
            return;
        }
        let mut counts = self.locked();
        for stage in stages {
            let count = counts.of_any.entry((verb, stage)).or_default();
            count.is_held = true;
            count.times += 1;
            if count.failed.is_empty() {
                count.reason = error.to_string();
            }
        }
        self.shared.is_counting.store(!counts.of_any.is_empty(), Ordering::Release);
    }

    /// Whether so many items were refused before, also for this one's cause, that no more may become `FAILED`: if so,
    /// returns the verb's error.
    pub(super) fn holds(&self, refused: Refused<'_>) -> Option<Error> {
        let Refused { verb, stage, cause, reason, .. } = refused;
        if !self.is_counting() {
            return None;
        }
        let (mut counts, stage) = (self.locked(), stage?);
        if counts.failed(stage, cause) < REFUSED_ALIKE_MAX {
            return None;
        }
        let count = counts.of(verb, stage, cause);
        reason.clone_into(&mut count.reason);
        count.times += 1;
        count.is_held = true;
        Some(Error::Held { verb, reason: reason.to_owned() })
    }

    /// The stages that are held now, in order.
    pub(super) fn held(&self) -> Vec<RefusedStage> {
        if !self.is_counting() {
            return Vec::new();
        }
        let counts = self.locked();
        let held = counts.of_any.iter().filter(|(_, count)| count.is_held);
        let describe = |(&(verb, stage), count): (&(&'static str, StageId), &Count)| RefusedStage {
            stage,
            verb,
            reason: count.reason.clone(),
            times: count.times,
        };
        let mut held: Vec<RefusedStage> = held.map(describe).collect();
        held.sort_by_key(|held| (held.stage, held.verb));
        held
    }

    fn locked(&self) -> MutexGuard<'_, RefusalCounts> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part that messages about different items share: everything except the item's key, numbers, and quoted text.
pub(super) fn skeleton(reason: &str, key: &Key) -> String {
    let without_key = if key.as_str().is_empty() { reason.to_owned() } else { reason.replace(key.as_str(), "…") };
    let mut skeleton = String::with_capacity(without_key.len());
    let mut quoted = None;
    for c in without_key.chars() {
        match c {
            c if quoted == Some(c) => {
                quoted = None;
                skeleton.push(c);
            }
            _ if quoted.is_some() => {}
            // An apostrophe within a word is not a quotation mark.
            '"' | '`' | '\'' if !skeleton.ends_with(char::is_alphanumeric) => {
                quoted = Some(c);
                skeleton.push(c);
            }
            '0'..='9' if skeleton.ends_with('0') => {}
            '0'..='9' => skeleton.push('0'),
            c => skeleton.push(c),
        }
    }
    skeleton
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: StageId = StageId::FIRST;

    fn brake() -> Brake {
        Brake::new(Exclusions::default())
    }

    fn key(number: usize) -> Key {
        Key::from(format!("item-{number}"))
    }

    fn item<'a>(key: &'a Key, cause: &'a str) -> Refused<'a> {
        Refused { verb: "claim", stage: Some(STAGE), key, cause, reason: cause }
    }

    /// Refuses this many items, and returns how many of them may become `FAILED`.
    fn refuse(brake: &Brake, items: usize, cause: impl Fn(usize) -> &'static str) -> usize {
        (0..items).filter(|number| brake.refused(item(&key(*number), cause(*number)))).count()
    }

    #[test]
    fn no_more_than_a_few_are_failed_for_one_cause_until_one_passes() {
        let (brake, seven) = (brake(), key(7));
        let alike = item(&seven, "no owner");
        assert!(brake.holds(alike).is_none() && brake.held().is_empty());
        assert_eq!(refuse(&brake, 1_000, |_| "no owner"), REFUSED_ALIKE_MAX);
        assert!(matches!(brake.holds(alike), Some(Error::Held { verb: "claim", .. })));
        let other = Refused { cause: "a check", ..alike };
        assert!(brake.holds(other).is_none(), "another cause");
        let held = RefusedStage { stage: STAGE, verb: "claim", reason: "no owner".to_owned(), times: 1_001 };
        assert_eq!(brake.held(), [held]);
        brake.passed("claim", [STAGE]);
        assert!(brake.holds(alike).is_none() && brake.held().is_empty());
        assert_eq!(refuse(&brake, 1_000, |_| "no owner"), REFUSED_ALIKE_MAX);
    }

    #[test]
    fn what_refuses_several_verbs_fails_no_more_for_that() {
        let (brake, one) = (brake(), key(0));
        let of = |verb| Refused { verb, ..item(&one, "no owner") };
        assert_eq!((0..100).filter(|_| brake.refused(of("complete"))).count(), REFUSED_ALIKE_MAX);
        assert!(!brake.refused(of("release")) && brake.holds(of("claim")).is_some());
        brake.passed("release", [STAGE]);
        assert!(!brake.refused(of("claim")), "that another verb passes says nothing");
        brake.passed("complete", [STAGE]);
        assert!(brake.refused(of("claim")));
    }

    #[test]
    fn one_bad_row_among_good_ones_and_ten_causes_hold_nobody() {
        let brake = brake();
        for _ in 0..100 {
            assert_eq!(refuse(&brake, 1, |_| "a check"), 1);
            brake.passed("claim", [STAGE]);
        }
        let causes = ["a check", "no owner", "bad JSON", "too long"];
        assert_eq!(refuse(&brake, 100, |number| causes[number % 4]), 100);
        assert!(brake.held().is_empty());
    }

    #[test]
    fn a_batch_that_is_refused_whole_holds_its_stages_and_spends_nothing() {
        let brake = brake();
        let refused = Error::Schema { table: "items".to_owned(), problem: "a check".to_owned() };
        let busy = Error::busy("claim");
        brake.refused_whole("claim", [STAGE], &busy);
        assert_eq!(brake.held().is_empty(), busy.is_transient());
        brake.refused_whole("claim", [STAGE], &refused);
        assert_eq!(brake.held().len(), 1);
        assert_eq!(refuse(&brake, 100, |_| "a check"), REFUSED_ALIKE_MAX, "they are tried one by one");
        brake.passed("claim", [STAGE]);
        assert!(brake.held().is_empty() && !brake.is_counting());
    }

    #[test]
    fn what_was_left_out_meanwhile_is_taken_up_again_when_one_passes() {
        let exclusions = Exclusions::default();
        let brake = Brake::new(exclusions.clone());
        for number in 0..=REFUSED_ALIKE_MAX {
            if brake.refused(item(&key(number), "a check")) {
                exclusions.add(key(number), "a check");
            }
        }
        exclusions.add(Key::from("another"), "of its own");
        brake.passed("claim", [STAGE]);
        assert_eq!(exclusions.keys(), [Key::from("another")]);
    }

    #[test]
    fn messages_that_differ_in_keys_numbers_and_quoted_values_have_one_skeleton() {
        let of = |number: usize, name: &str| {
            skeleton(&format!("item-{number} of 2026-11-{number:02} (\"{name}\") isn't right: '{name}'"), &key(number))
        };
        assert_eq!(of(7, "Alice"), of(28, "Bob"));
        assert_eq!(of(7, "Alice"), "… of 0-0-0 (\"\") isn't right: ''");
        assert_ne!(skeleton("no owner", &key(1)), skeleton("no price", &key(1)));
    }
}
