//! One row of the table: the only durable state that the protocol has.

use crate::rules::{ClaimHeartbeat, Rules, SweepRule, TokenAfter};

/// The stamp of a claim on its rows, compared for equality and nothing else.
///
/// The engine draws 63 random bits. The model draws the smallest number that nothing in the model remembers, which is
/// equivalent: a token can only be confused with one that something can still compare it with.
pub type Token = u8;

/// The state of an item. Stages count from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Waiting for a worker, at this stage.
    Ready(u8),
    /// Under a lease, at this stage.
    InProgress(u8),
    /// Past its last stage.
    Succeeded,
    /// Stopped by an error or by a limit.
    Failed,
    /// Stopped by the operator.
    Cancelled,
}

impl Status {
    /// Whether no worker will touch the item again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Status::Ready(_) | Status::InProgress(_) => false,
            Status::Succeeded | Status::Failed | Status::Cancelled => true,
        }
    }

    /// Whether the item is under a lease.
    #[must_use]
    pub fn is_in_progress(self) -> bool {
        matches!(self, Status::InProgress(_))
    }
}

/// The heartbeat column, as far as the sweep can tell values apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Heartbeat {
    /// NULL.
    Missing,
    /// Younger than `stale_after`.
    Fresh,
    /// Older than `stale_after`.
    Stale,
}

/// How a holder ends its lease. Snooze is a release with a due time, so it is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Move {
    /// On to the next stage, or `SUCCEEDED`.
    Complete,
    /// Back to ready with one more retry counted, or `FAILED` at the limit.
    Retry,
    /// `FAILED`, for an error that no retry can mend.
    Fail,
    /// Back to ready, nothing counted.
    Release,
}

/// One item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The item's state.
    pub status: Status,
    /// The token that may write to it while it is in progress, or of the last finish.
    pub token: Option<Token>,
    /// When the holder last renewed it. Without meaning, and `Missing`, outside a lease.
    pub heartbeat: Heartbeat,
    /// Failures that handlers reported, at this stage.
    pub retries: u8,
    /// Times the sweep took the item back, at this stage.
    pub resets: u8,
}

/// The limits that a pipeline sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many stages there are.
    pub stages: u8,
    /// The retry count that makes an item `FAILED`.
    pub max_retries: u8,
    /// The reset count that makes an item `FAILED`.
    pub max_resets: u8,
}

impl Row {
    /// An item that was just inserted.
    #[must_use]
    pub fn new() -> Self {
        Row { status: Status::Ready(0), token: None, heartbeat: Heartbeat::Missing, retries: 0, resets: 0 }
    }

    /// Whether a count has reached its limit, so that the claim must fail the item, not run it.
    #[must_use]
    pub fn is_exhausted(&self, limits: Limits) -> bool {
        self.retries >= limits.max_retries || self.resets >= limits.max_resets
    }

    /// Whether one more reset would make the item `FAILED`, and one has been counted already.
    #[must_use]
    pub fn is_suspect(&self, limits: Limits) -> bool {
        self.resets >= 1 && self.resets + 1 == limits.max_resets
    }

    /// Ready for S → S in progress.
    pub fn claim(&mut self, token: Token, rules: &Rules) {
        self.status = match self.status {
            Status::Ready(stage) | Status::InProgress(stage) => Status::InProgress(stage),
            // Only the broken two-statement claim gets here: it does not check the status again.
            Status::Succeeded | Status::Failed | Status::Cancelled => Status::InProgress(0),
        };
        self.token = Some(token);
        self.heartbeat = match rules.claim_heartbeat {
            ClaimHeartbeat::Stamped => Heartbeat::Fresh,
            ClaimHeartbeat::LeftMissing => Heartbeat::Missing,
        };
    }

    /// The claim meets an item at a limit: ready → `FAILED`.
    pub fn exhaust(&mut self) {
        self.end(Status::Failed, TokenAfter::Cleared);
    }

    /// A holder's own finish, of work done at `stage`.
    pub fn finish(&mut self, action: Move, stage: u8, limits: Limits, rules: &Rules) {
        let to = match action {
            Move::Complete if stage + 1 < limits.stages => Status::Ready(stage + 1),
            Move::Complete => Status::Succeeded,
            Move::Retry if self.retries + 1 < limits.max_retries => Status::Ready(stage),
            Move::Retry | Move::Fail => Status::Failed,
            Move::Release => Status::Ready(stage),
        };
        match action {
            Move::Complete => (self.retries, self.resets) = (0, 0),
            Move::Retry => self.retries += 1,
            Move::Fail | Move::Release => {}
        }
        self.end(to, rules.own_finish_token);
    }

    /// Whether the row is in the state to which `action` at `stage` would have brought it.
    #[must_use]
    pub fn stands_as_asked(&self, action: Move, stage: u8, limits: Limits) -> bool {
        match (action, self.status) {
            (Move::Complete, Status::Ready(at)) => at == stage + 1,
            (Move::Complete, Status::Succeeded) => stage + 1 == limits.stages,
            (Move::Retry | Move::Release, Status::Ready(at)) => at == stage,
            (Move::Retry | Move::Fail, Status::Failed) => true,
            (_, _) => false,
        }
    }

    /// Whether the sweep would take the item back.
    #[must_use]
    pub fn is_sweepable(&self, rules: &Rules) -> bool {
        self.status.is_in_progress()
            && match rules.sweep {
                SweepRule::StaleOrMissing => self.heartbeat != Heartbeat::Fresh,
                SweepRule::StaleOnly => self.heartbeat == Heartbeat::Stale,
                SweepRule::Everything => true,
            }
    }

    /// In progress → ready with one more reset counted, or `FAILED` at the limit.
    ///
    /// Does nothing to an item that is not in progress.
    pub fn sweep(&mut self, limits: Limits, rules: &Rules) {
        let Status::InProgress(stage) = self.status else {
            return;
        };
        self.resets += u8::from(rules.counts_resets);
        let to = if self.resets >= limits.max_resets { Status::Failed } else { Status::Ready(stage) };
        self.end(to, rules.sweep_token);
    }

    /// The operator's set, cancel and requeue. From a terminal state, the counts restart.
    pub fn set(&mut self, to: Status, rules: &Rules) {
        if self.status.is_terminal() {
            (self.retries, self.resets) = (0, 0);
        }
        self.end(to, rules.operator_token);
    }

    /// Every move out of a lease ends here, and decides what happens to the token.
    fn end(&mut self, to: Status, token: TokenAfter) {
        self.status = to;
        self.heartbeat = Heartbeat::Missing;
        match token {
            TokenAfter::Cleared => self.token = None,
            TokenAfter::Kept => {}
        }
    }
}

impl Default for Row {
    fn default() -> Self {
        Row::new()
    }
}
