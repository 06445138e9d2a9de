//! Leases that a renewal had no time for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Key;

/// The leases that a renewal had no time to try, because rows that never end had used it up. The next renewal begins
/// with them.
#[derive(Debug, Clone, Default)]
pub(super) struct LateRenewals {
    keys: Arc<Mutex<HashSet<Key>>>,
}

impl LateRenewals {
    pub(super) fn add(&self, keys: impl Iterator<Item = Key>) {
        self.locked().extend(keys);
    }

    pub(super) fn take(&self) -> HashSet<Key> {
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_late_once_is_not_late_for_ever() {
        let late = LateRenewals::default();
        late.add([Key::from("a")].into_iter());
        assert!(late.take().contains(&Key::from("a")));
        assert!(late.take().is_empty());
    }
}
