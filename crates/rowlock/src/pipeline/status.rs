//! The states of an item.

use super::StageId;

/// The state of an item. Never a loose string: only [`Pipeline::word`](super::Pipeline::word) and
/// [`Pipeline::status`](super::Pipeline::status) convert to and from the table's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Waiting to be claimed for this stage.
    Ready(StageId),
    /// Held by a worker that runs this stage.
    InProgress(StageId),
    /// Past the last stage.
    Succeeded,
    /// Stopped by a permanent error or a spent budget.
    Failed,
    /// Stopped by an operator.
    Cancelled,
}

impl Status {
    /// Whether nothing more happens to the item unless an operator asks for it.
    pub fn is_terminal(self) -> bool {
        match self {
            Status::Succeeded | Status::Failed | Status::Cancelled => true,
            Status::Ready(_) | Status::InProgress(_) => false,
        }
    }

    /// Whether a worker may claim the item once it is due.
    pub fn is_ready(self) -> bool {
        matches!(self, Status::Ready(_))
    }

    /// Whether a lease is held on the item.
    pub fn is_in_progress(self) -> bool {
        matches!(self, Status::InProgress(_))
    }

    /// The stage for which the item is ready, or in which it is in progress.
    pub fn stage(self) -> Option<StageId> {
        match self {
            Status::Ready(stage) | Status::InProgress(stage) => Some(stage),
            Status::Succeeded | Status::Failed | Status::Cancelled => None,
        }
    }
}
