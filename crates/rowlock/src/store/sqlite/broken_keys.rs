//! Keys that are not valid UTF-8.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::EXCLUDED_FOR;

/// Whether there are keys that are not valid UTF-8, which make no items: once a claim has met one, the statements of
/// the next claims leave them out.
#[derive(Debug, Clone, Default)]
pub(super) struct BrokenKeys(Arc<Mutex<Option<Instant>>>);

impl BrokenKeys {
    /// Not for ever: someone may have fixed them.
    pub(super) fn were_met(&self) -> bool {
        self.last_met().is_some_and(|met| met.elapsed() < EXCLUDED_FOR)
    }

    pub(super) fn meet(&self) {
        *self.last_met() = Some(Instant::now());
    }

    fn last_met(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
