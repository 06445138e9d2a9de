//! What a worker process remembers. It loses all of it when it dies.

use crate::row::{Move, Token};
use crate::statement::{ClaimId, LeaseId};

/// What the database answered to a finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// One row matched.
    Applied,
    /// No row matched.
    NoMatch,
    /// The statement was refused and rolled back.
    Refused,
}

/// A worker's progress with one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Claimed, its handler not started.
    Queued,
    /// Its handler runs, or has ended, and the caller decides what to do with the claim.
    Running {
        /// Whether an earlier finish may have taken effect, or may do so yet.
        in_doubt: bool,
    },
    /// A finish was sent, and its answer is awaited.
    Finishing {
        /// The requested move.
        action: Move,
        /// Whether an earlier finish may have taken effect, or may do so yet.
        in_doubt: bool,
        /// The answer, on its way back.
        answer: Option<Outcome>,
    },
    /// The answer was lost. The same statement is sent again, or the outcome stays unknown.
    InDoubt {
        /// The requested move.
        action: Move,
    },
    /// The repeated statement matched nothing. The row has to be read.
    Settling {
        /// The requested move.
        action: Move,
    },
}

/// A worker's report to its caller about a finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Report {
    /// The move was applied.
    Done(Move),
    /// The lease was gone; the move was not applied, and never will be.
    LeaseLost,
    /// Either may be true.
    OutcomeUnknown,
}

/// A lease that a worker believes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// Which item, and from which claim.
    pub id: LeaseId,
    /// The token to write with.
    pub token: Token,
    /// The stage to work on.
    pub stage: u8,
    /// Whether the item was a suspect when it was claimed.
    pub suspect: bool,
    /// The progress of the work.
    pub phase: Phase,
    /// The auditor's note that the holder cannot be blamed for still believing in this lease: the process was frozen
    /// past its end, or the operator ended it. No rule of the worker reads it.
    pub excused: bool,
}

impl Lease {
    /// Whether the worker acts on the item as its holder, with no finish on the way.
    #[must_use]
    pub fn is_working(&self) -> bool {
        match self.phase {
            Phase::Queued | Phase::Running { .. } => true,
            Phase::Finishing { .. } | Phase::InDoubt { .. } | Phase::Settling { .. } => false,
        }
    }

    /// Whether the handler is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }
}

/// A row in the answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimedRow {
    /// The index of the row.
    pub item: usize,
    /// The stage to work on.
    pub stage: u8,
    /// Whether the item is a suspect.
    pub suspect: bool,
    /// Whether the lease went stale while the answer was on the way.
    pub aged: bool,
    /// The auditor's note that the operator ended the lease while the answer was on the way.
    pub revoked: bool,
}

/// A claim whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AwaitedClaim {
    /// Which claim.
    pub claim: ClaimId,
    /// Its stamp.
    pub token: Token,
    /// Whether it may return a suspect.
    pub suspects: bool,
    /// The answer, on its way back.
    pub answer: Option<Vec<ClaimedRow>>,
}

/// A claim whose answer was lost, and whose rows are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LostClaim {
    /// Which claim.
    pub claim: ClaimId,
    /// Its stamp.
    pub token: Token,
    /// Whether it may have taken a suspect.
    pub suspects: bool,
}

/// A process. A dead one is replaced at once by one that remembers nothing, so a worker of the
/// model is a place in the fleet, not a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    /// The leases that it believes it holds, in the order of their ids.
    pub leases: Vec<Lease>,
    /// The claim that it waits for. One at a time.
    pub awaited: Option<AwaitedClaim>,
    /// The claims that it searches for by token.
    pub lost_claims: Vec<LostClaim>,
}

impl Worker {
    /// Whether it neither holds anything nor may turn out to hold anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.awaited.is_none() && self.lost_claims.is_empty()
    }

    /// Whether it holds a suspect, or awaits a claim that may bring one.
    #[must_use]
    pub fn may_hold_suspect(&self) -> bool {
        self.leases.iter().any(|lease| lease.suspect) || self.lost_claims.iter().any(|lost| lost.suspects)
    }

    /// The lease with this id.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.id == id)
    }

    /// The lease with this id, to be changed.
    pub fn lease_mut(&mut self, id: LeaseId) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.id == id)
    }

    /// Forgets a lease.
    pub fn forget(&mut self, id: LeaseId) {
        self.leases.retain(|lease| lease.id != id);
    }

    /// Takes up a lease, keeping the order.
    pub fn hold(&mut self, lease: Lease) {
        self.leases.push(lease);
        self.leases.sort_unstable();
    }

    /// Whether it knows of this lease and would renew it if it could.
    #[must_use]
    pub fn knows(&self, id: LeaseId, token: Option<Token>) -> bool {
        self.lease(id).is_some()
            || self.awaited.as_ref().is_some_and(|awaited| awaited.claim == id.claim)
            || self.lost_claims.iter().any(|lost| Some(lost.token) == token)
    }
}

impl Worker {
    /// The row of this lease in the answer that is on its way, to be changed.
    pub fn awaited_row_mut(&mut self, id: LeaseId) -> Option<&mut ClaimedRow> {
        self.awaited
            .as_mut()
            .filter(|awaited| awaited.claim == id.claim)?
            .answer
            .as_mut()?
            .iter_mut()
            .find(|row| row.item == id.item)
    }
}
