//! Keys that this process leaves out of its claims and sweeps because the database refuses every write to their rows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Exclusion;
use crate::Key;
use crate::limits::{EXCLUDED_FOR, EXCLUDED_KEYS_MAX};

/// The list; its clones are one list. The oldest entry makes room for a new one.
#[derive(Debug, Clone, Default)]
pub(super) struct Exclusions {
    entries: Arc<Mutex<VecDeque<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    reason: String,
    until: Instant,
}

impl Exclusions {
    pub(super) fn add(&self, key: Key, reason: &str) {
        let mut entries = self.current();
        entries.retain(|entry| entry.key != key);
        if entries.len() >= EXCLUDED_KEYS_MAX {
            entries.pop_front();
        }
        entries.push_back(Entry { key, reason: reason.to_owned(), until: Instant::now() + EXCLUDED_FOR });
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.current().iter().map(|entry| entry.key.clone()).collect()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.current().iter().any(|entry| entry.key == *key)
    }

    pub(super) fn list(&self) -> Vec<Exclusion> {
        let now = Instant::now();
        let describe = |entry: &Entry| Exclusion {
            key: entry.key.clone(),
            reason: entry.reason.clone(),
            remaining: entry.until.saturating_duration_since(now),
        };
        self.current().iter().map(describe).collect()
    }

    /// The entries that still hold.
    fn current(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries.retain(|entry| entry.until > now);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_forgets_the_oldest_first() {
        let exclusions = Exclusions::default();
        for number in 0..=EXCLUDED_KEYS_MAX {
            exclusions.add(Key::new(number.to_string()), "refused");
        }
        assert_eq!(exclusions.keys().len(), EXCLUDED_KEYS_MAX);
        assert!(!exclusions.contains(&Key::new("0")));
        assert!(exclusions.contains(&Key::new(EXCLUDED_KEYS_MAX.to_string())));
    }
}
