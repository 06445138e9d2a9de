//! Items whose outcome could not be written with that of the others. They are sent again apart, so that none of the
//! others waits for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::part::Part;

/// The items that are sent again apart. Their number is limited by the dispatcher, which claims nothing while there are
/// many.
#[derive(Debug, Default)]
pub(crate) struct SideLane {
    parts: Mutex<VecDeque<Part>>,
    some: Notify,
}

impl SideLane {
    pub(crate) fn push(&self, part: Part) {
        self.locked().push_back(part);
        self.some.notify_one();
    }

    /// The items that wait.
    pub(crate) fn len(&self) -> usize {
        self.locked().iter().map(Part::len).sum()
    }

    /// The part that has waited longest, when there is one.
    pub(crate) async fn next(&self) -> Part {
        loop {
            let some = self.some.notified();
            if let Some(part) = self.locked().pop_front() {
                return part;
            }
            some.await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
