//! Keys that this process leaves out of its claims and sweeps because the database refuses every write to their rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Exclusion;
use crate::Key;
use crate::limits::{EXCLUDED_FOR, EXCLUDED_KEYS_MAX};

/// The list; clones share it. An entry stays for its whole time: if it made room for another, its row would be claimed
/// and refused again and again. A full list takes no more entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Exclusions {
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    reason: String,
    until: Instant,
}

impl Exclusions {
    pub(super) fn add(&self, key: Key, reason: &str) {
        let mut entries = self.current();
        if entries.len() >= EXCLUDED_KEYS_MAX && !entries.contains_key(&key) {
            return;
        }
        entries.insert(key, Entry { reason: reason.to_owned(), until: Instant::now() + EXCLUDED_FOR });
    }

    pub(super) fn remove(&self, key: &Key) {
        self.current().remove(key);
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.current().keys().cloned().collect()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.current().contains_key(key)
    }

    /// In the order of the keys.
    pub(super) fn list(&self) -> Vec<Exclusion> {
        let now = Instant::now();
        let describe = |(key, entry): (&Key, &Entry)| Exclusion {
            key: key.clone(),
            reason: entry.reason.clone(),
            remaining: entry.until.saturating_duration_since(now),
        };
        let mut list: Vec<Exclusion> = self.current().iter().map(describe).collect();
        list.sort_by(|a, b| a.key.cmp(&b.key));
        list
    }

    /// The entries that have not expired.
    fn current(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries.retain(|_, entry| entry.until > now);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_keeps_every_entry_for_its_time() {
        let exclusions = Exclusions::default();
        for number in 0..=EXCLUDED_KEYS_MAX {
            exclusions.add(Key::new(number.to_string()), "refused");
        }
        assert_eq!(exclusions.keys().len(), EXCLUDED_KEYS_MAX);
        assert!(exclusions.contains(&Key::new("0")));
        assert!(!exclusions.contains(&Key::new(EXCLUDED_KEYS_MAX.to_string())));
        exclusions.add(Key::new("0"), "refused again");
        assert!(exclusions.list().iter().any(|exclusion| exclusion.reason == "refused again"));
    }
}
