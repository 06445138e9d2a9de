//! One step of the world: what a counterexample is made of.

use crate::row::{Move, Status};
use crate::statement::{ClaimStatement, FinishStatement, LeaseId, Statement};

/// One step. The names say who acts; workers and items are indices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "worker, lease, item and statement mean the same in each step")]
pub enum Step {
    /// A worker sends a claim. `chosen` is set only if claims select first and update later.
    SendClaim { worker: usize, chosen: Option<usize> },
    /// The database applies a claim that finds these rows; it may skip locked ones, so any.
    ApplyClaim { statement: ClaimStatement, items: Vec<usize> },
    /// The answer to its claim reaches a worker.
    HearClaim { worker: usize },
    /// A worker searches for the rows of a lost claim by token, and adopts them.
    LookForLostClaim { worker: usize, lost: usize },
    /// A worker starts a handler.
    Start { worker: usize, lease: LeaseId },
    /// A worker sends a finish.
    SendFinish { worker: usize, lease: LeaseId, action: Move },
    /// The database applies a finish, which may match nothing.
    ApplyFinish { statement: FinishStatement },
    /// The answer to its finish reaches a worker.
    HearFinish { worker: usize, lease: LeaseId },
    /// A worker repeats a finish whose answer was lost.
    SendFinishAgain { worker: usize, lease: LeaseId },
    /// A worker reads the row of a finish in doubt, and reports.
    Settle { worker: usize, lease: LeaseId },
    /// A worker gives up on a finish in doubt: outcome unknown.
    LeaveUnknown { worker: usize, lease: LeaseId },
    /// A worker renews its leases, one of which is stale or gone.
    Renew { worker: usize },
    /// A statement whose answer no worker awaits ends without an effect.
    Lapse { statement: Statement },
    /// `stale_after` passes on an item whose holder is gone.
    GoStale { item: usize },
    /// Anyone takes a stale item back.
    Sweep { item: usize },
    /// A poison item kills the process that runs it.
    Kill { worker: usize, lease: LeaseId },

    /// Fault: a process dies.
    Crash { worker: usize },
    /// Fault: a process is frozen until a lease of it is stale.
    Freeze { item: usize },
    /// Fault: a worker could not renew a lease, and gives it up by its own clock.
    StopItself { worker: usize, lease: LeaseId },
    /// Fault: the answer to a claim is lost, before or after the claim takes effect.
    LoseClaimAnswer { worker: usize },
    /// Fault: the answer to a finish is lost, before or after the finish takes effect.
    LoseFinishAnswer { worker: usize, lease: LeaseId },
    /// Fault: the database refuses a finish.
    Refuse { statement: FinishStatement },
    /// Fault: a worker releases an item because it shuts down.
    Release { worker: usize, lease: LeaseId },
    /// Fault: the operator sets, cancels or requeues an item.
    Set { item: usize, to: Status },
}

impl Step {
    /// Whether the step is trouble from outside, which the protocol must not rely on.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            Step::Crash { .. }
            | Step::Freeze { .. }
            | Step::StopItself { .. }
            | Step::LoseClaimAnswer { .. }
            | Step::LoseFinishAnswer { .. }
            | Step::Refuse { .. }
            | Step::Release { .. }
            | Step::Set { .. } => true,
            Step::SendClaim { .. }
            | Step::ApplyClaim { .. }
            | Step::HearClaim { .. }
            | Step::LookForLostClaim { .. }
            | Step::Start { .. }
            | Step::SendFinish { .. }
            | Step::ApplyFinish { .. }
            | Step::HearFinish { .. }
            | Step::SendFinishAgain { .. }
            | Step::Settle { .. }
            | Step::LeaveUnknown { .. }
            | Step::Renew { .. }
            | Step::Lapse { .. }
            | Step::GoStale { .. }
            | Step::Sweep { .. }
            | Step::Kill { .. } => false,
        }
    }
}
