//! Rows that a claim or a sweep tried while nothing passed. Whether the fault is theirs is not known, so nothing is
//! done to them; but they stand at the head, and the next statement would try the same rows. It passes over them, and
//! meets others. As soon as some row passes they come back, a few at a time: if they are good, all are back soon; if
//! they are bad, they keep no others waiting.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::Key;
use crate::limits::{EXCLUDED_FOR, EXCLUDED_KEYS_MAX, REFUSED_ALIKE_MAX};
use crate::pipeline::StageId;

/// The rows that this process passes over; clones share the list.
#[derive(Debug, Clone, Default)]
pub(super) struct PassedOver {
    shared: Arc<PassedOverState>,
}

#[derive(Debug, Default)]
struct PassedOverState {
    /// Whether the list has any row: most stores never meet one.
    has_any: AtomicBool,
    of: Mutex<HashMap<(&'static str, StageId), Rows>>,
}

/// The rows of one verb in one stage, the oldest first.
#[derive(Debug)]
struct Rows {
    keys: VecDeque<(Key, Instant)>,
    /// How many come back the next time.
    returning: usize,
}

impl PassedOver {
    /// Passes over a row until some row of the stage passes, or until its time is up. If the list is full the oldest
    /// comes back.
    pub(super) fn add(&self, verb: &'static str, stage: Option<StageId>, key: &Key) {
        let mut of = self.locked();
        let new = || Rows { keys: VecDeque::new(), returning: REFUSED_ALIKE_MAX };
        let rows = of.entry((verb, stage.unwrap_or(StageId::FIRST))).or_insert_with(new);
        rows.returning = REFUSED_ALIKE_MAX;
        if rows.keys.iter().any(|(other, _)| other == key) {
            return;
        }
        if rows.keys.len() >= EXCLUDED_KEYS_MAX {
            rows.keys.pop_front();
        }
        rows.keys.push_back((key.clone(), Instant::now() + EXCLUDED_FOR));
        self.shared.has_any.store(true, Ordering::Release);
    }

    /// Lets some of these stages' rows come back, because a row passed or because there is no other. Returns whether
    /// there were any.
    pub(super) fn let_back(&self, verb: &'static str, stages: impl IntoIterator<Item = StageId>) -> bool {
        if !self.has_any() {
            return false;
        }
        let mut of = self.locked();
        let mut came_back = false;
        for stage in stages.into_iter().collect::<HashSet<_>>() {
            if let Some(rows) = of.get_mut(&(verb, stage)) {
                came_back |= !rows.keys.is_empty();
                rows.keys.drain(..rows.returning.min(rows.keys.len()));
                rows.returning = rows.returning.saturating_mul(2);
            }
        }
        of.retain(|_, rows| !rows.keys.is_empty());
        self.shared.has_any.store(!of.is_empty(), Ordering::Release);
        came_back
    }

    pub(super) fn has_any(&self) -> bool {
        self.shared.has_any.load(Ordering::Acquire)
    }

    pub(super) fn contains(&self, verb: &'static str, stage: Option<StageId>, key: &Key) -> bool {
        let is_it = |rows: &Rows| rows.keys.iter().any(|(other, _)| other == key);
        self.has_any() && self.locked().get(&(verb, stage.unwrap_or(StageId::FIRST))).is_some_and(is_it)
    }

    /// The keys that this verb passes over now.
    pub(super) fn keys(&self, verb: &'static str) -> Vec<Key> {
        if !self.has_any() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut of = self.locked();
        for rows in of.values_mut() {
            while rows.keys.pop_front_if(|(_, until)| *until <= now).is_some() {}
        }
        let of_verb = of.iter().filter(|((other, _), _)| *other == verb);
        of_verb.flat_map(|(_, rows)| rows.keys.iter().map(|(key, _)| key.clone())).collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<(&'static str, StageId), Rows>> {
        self.shared.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: Option<StageId> = Some(StageId::FIRST);

    fn key(number: usize) -> Key {
        Key::from(format!("item-{number}"))
    }

    #[test]
    fn rows_come_back_a_few_at_a_time_and_the_more_the_more_pass() {
        let passed_over = PassedOver::default();
        assert!(!passed_over.let_back("claim", STAGE));
        for number in 0..100 {
            passed_over.add("claim", STAGE, &key(number));
        }
        passed_over.add("claim", STAGE, &key(0));
        assert_eq!(passed_over.keys("claim").len(), 100, "each once");
        assert!(passed_over.keys("sweep").is_empty());
        assert!(!passed_over.let_back("sweep", STAGE));

        assert!(passed_over.let_back("claim", STAGE));
        assert_eq!(passed_over.keys("claim").len(), 90);
        assert!(!passed_over.keys("claim").contains(&key(0)), "the oldest are the first");
        passed_over.let_back("claim", STAGE);
        assert_eq!(passed_over.keys("claim").len(), 70);
        passed_over.add("claim", STAGE, &key(0));
        passed_over.let_back("claim", STAGE);
        assert_eq!(passed_over.keys("claim").len(), 61, "one was bad again");
        while passed_over.let_back("claim", STAGE) {}
        assert!(passed_over.keys("claim").is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let passed_over = PassedOver::default();
        for number in 0..EXCLUDED_KEYS_MAX {
            let key = key(number);
            passed_over
                .locked()
                .entry(("claim", StageId::FIRST))
                .or_insert_with(|| Rows { keys: VecDeque::new(), returning: 1 })
                .keys
                .push_back((key, Instant::now() + EXCLUDED_FOR));
        }
        passed_over.add("claim", STAGE, &key(EXCLUDED_KEYS_MAX));
        let keys = passed_over.keys("claim");
        assert_eq!(keys.len(), EXCLUDED_KEYS_MAX);
        assert!(keys.contains(&key(EXCLUDED_KEYS_MAX)) && !keys.contains(&key(0)));
    }
}
