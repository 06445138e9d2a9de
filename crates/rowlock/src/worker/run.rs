//! One run of a handler: the items it works on, since when, and how it is told to stop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::leases::Held;

/// One run of a handler.
#[derive(Debug)]
pub(crate) struct Run {
    /// Signalled before the handler's future is dropped.
    pub(crate) stop: CancellationToken,
    pub(crate) since: Instant,
    pub(crate) items: Vec<Arc<Held>>,
    left: AtomicUsize,
    reason: Mutex<Option<Stop>>,
}

/// Why a handler is stopped although its lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The stage's timeout passed; the handler was told at this time.
    TimedOut(Instant),
    /// The worker stops.
    Shutdown,
}

impl Run {
    pub(crate) fn new(items: Vec<Arc<Held>>, now: Instant) -> Run {
        let left = AtomicUsize::new(items.len());
        Run { stop: CancellationToken::new(), since: now, items, left, reason: Mutex::new(None) }
    }

    /// Tells the handler to stop. The first reason stays.
    pub(crate) fn stop(&self, reason: Stop) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.stop.cancel();
    }

    /// Why the handler was told to stop; `None` if it was not, or if its last lease was lost.
    pub(crate) fn stop_reason(&self) -> Option<Stop> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the items is lost; with the last one the handler is told to stop.
    pub(crate) fn lose_item(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop.cancel();
        }
    }

    /// Whether the handler finishes one of the items by itself just now. It must not be dropped meanwhile: the
    /// answer would be lost.
    pub(crate) fn is_settling(&self) -> bool {
        self.items.iter().any(|held| held.is_settling())
    }
}
