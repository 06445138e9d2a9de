//! A statement on its way to the database.
//!
//! From the moment it is sent until it ends, a statement may be applied at any point, in any order with others, however
//! long ago its sender gave up or died; or it may never be applied. That is what a network, a connection pooler and a
//! slow commit can do together.

use crate::row::{Move, Token};

/// The claim from which a lease came: the auditor tells leases apart by it.
///
/// Under sound rules it equals the token. It is kept separately, so that the auditor notices if the tokens themselves
/// are wrong.
pub type ClaimId = u8;

/// One item of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId {
    /// The index of the row.
    pub item: usize,
    /// The claim that took it.
    pub claim: ClaimId,
}

/// Take up to `limit` ready items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimStatement {
    /// Which claim this is.
    pub claim: ClaimId,
    /// Its stamp.
    pub token: Token,
    /// The most rows that it may take.
    pub limit: usize,
    /// Whether it may return a suspect.
    pub suspects: bool,
    /// The row that an earlier select found: only under `ClaimShape::SelectThenUpdate`.
    pub chosen: Option<usize>,
    /// Whether the sender still waits for the answer.
    pub heard: bool,
}

/// End one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FinishStatement {
    /// The lease to end.
    pub lease: LeaseId,
    /// The token that the row must carry.
    pub token: Token,
    /// The stage at which the work was done.
    pub stage: u8,
    /// How to end it.
    pub action: Move,
    /// Whether the sender still waits for the answer.
    pub heard: bool,
}

/// A statement that may still take effect.
///
/// Sweep, renewal, cancel and set are single steps of the model: no conclusion is drawn from a lost answer to one of
/// them, so applying one late is the same as sending it late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Statement {
    /// Take ready items.
    Claim(ClaimStatement),
    /// End a lease.
    Finish(FinishStatement),
}

impl Statement {
    /// Whether the sender still waits for the answer.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        match self {
            Statement::Claim(claim) => claim.heard,
            Statement::Finish(finish) => finish.heard,
        }
    }
}
