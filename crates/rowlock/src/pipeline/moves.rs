//! The moves between states. No other move exists, here or in the SQL.

use super::{Pipeline, StageId, Status};

/// What can happen to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Move {
    /// A worker takes the item for the stage that it is ready for.
    Claim,
    /// The holder finished the stage.
    Complete,
    /// The holder failed; `spent` says whether this failure used up the budget.
    Retry {
        /// The retry count has reached `max_retries`.
        spent: bool,
    },
    /// The holder failed permanently.
    Fail,
    /// The holder returns the item to the queue; nothing is counted.
    Release,
    /// The holder returns the item to the queue until a given time; nothing is counted.
    Snooze,
    /// The lease ran out; `spent` says whether this reset used up the budget.
    Sweep {
        /// The reset count has reached `max_resets`.
        spent: bool,
    },
    /// A claim met a ready item at or over a limit.
    Exhaust,
    /// An operator puts the item into a state, without a lease.
    Set(Status),
    /// An operator stops the item.
    Cancel,
    /// An operator makes a terminal item ready again at this stage.
    Requeue(StageId),
}

/// A move that does not exist from this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IllegalMove {
    /// The state that the item is in.
    pub from: Status,
    /// The state that the move would lead to, if it can be named.
    pub to: Option<Status>,
}

impl Pipeline {
    /// The state to which a move leads.
    ///
    /// # Errors
    /// [`IllegalMove`] for a move that does not exist from this state.
    pub fn after(&self, from: Status, step: Move) -> Result<Status, IllegalMove> {
        let illegal = |to: Option<Status>| Err(IllegalMove { from, to });
        match (step, from) {
            (Move::Claim, Status::Ready(stage)) => Ok(Status::InProgress(stage)),
            (Move::Claim, _) => illegal(None),

            (Move::Complete, Status::InProgress(stage)) => Ok(self.completed(stage)),
            (Move::Complete, _) => illegal(None),

            (Move::Retry { spent }, Status::InProgress(stage)) | (Move::Sweep { spent }, Status::InProgress(stage)) => {
                Ok(if spent { Status::Failed } else { Status::Ready(stage) })
            }
            (Move::Retry { .. } | Move::Sweep { .. }, _) => illegal(None),

            (Move::Fail, Status::InProgress(_)) | (Move::Exhaust, Status::Ready(_)) => Ok(Status::Failed),
            (Move::Fail | Move::Exhaust, _) => illegal(Some(Status::Failed)),

            (Move::Release | Move::Snooze, Status::InProgress(stage)) => Ok(Status::Ready(stage)),
            (Move::Release | Move::Snooze, _) => illegal(None),

            (Move::Set(to), _) if to.is_in_progress() => illegal(Some(to)),
            (Move::Set(to), _) => Ok(to),

            (Move::Cancel, from) if !from.is_terminal() => Ok(Status::Cancelled),
            (Move::Cancel, _) => illegal(Some(Status::Cancelled)),

            (Move::Requeue(stage), from) if from.is_terminal() => Ok(Status::Ready(stage)),
            (Move::Requeue(stage), _) => illegal(Some(Status::Ready(stage))),
        }
    }

    /// Where an item goes that has completed this stage.
    pub fn completed(&self, stage: StageId) -> Status {
        self.stage_after(stage).map_or(Status::Succeeded, Status::Ready)
    }
}
