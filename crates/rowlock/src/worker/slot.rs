//! One place at which a handler runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::execution::Execution;

/// One place at which a handler runs.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    run: Mutex<Option<Arc<Execution>>>,
    /// Its handler does not release its thread.
    leaked: AtomicBool,
    /// Its task has ended.
    gone: AtomicBool,
}

impl Slot {
    /// The current run.
    pub(crate) fn run(&self) -> Option<Arc<Execution>> {
        self.locked().clone()
    }

    pub(crate) fn occupy(&self, run: &Arc<Execution>) {
        *self.locked() = Some(Arc::clone(run));
    }

    /// Counts the slot as leaked. False if it was leaked already, or the run is over.
    pub(crate) fn leak(&self, run: &Arc<Execution>) -> bool {
        let current = self.locked();
        let same = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, run));
        same && !self.leaked.swap(true, Ordering::AcqRel)
    }

    /// The run is over. True if the slot had been leaked.
    pub(crate) fn free(&self) -> bool {
        *self.locked() = None;
        self.leaked.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether no handler can run here.
    pub(crate) fn is_lost(&self) -> bool {
        self.leaked.load(Ordering::Acquire) || self.gone.load(Ordering::Acquire)
    }

    fn locked(&self) -> MutexGuard<'_, Option<Arc<Execution>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
