//! Parameters of the verbs.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::verdict::Limit;
use crate::limits::COUNT_EXACT_MAX;
use crate::pipeline::{Move, StageId, Status};
use crate::{FencingToken, Holder, Key, Lease};

/// The parameters of a claim.
#[derive(Debug, Clone)]
pub struct ClaimParams {
    /// The stages to claim for. The latest stage comes first in the queue, in whatever order they are listed here.
    pub stages: Vec<StageId>,
    /// The most items to take; a claim takes at most 1,000 at once.
    pub limit: usize,
    /// The token of the leases, drawn for this claim alone.
    pub token: FencingToken,
    /// Who claims.
    pub holder: Holder,
    /// The claim makes items whose counts reach these limits `FAILED`.
    pub limits: Limits,
    /// The claimer holds nothing else, and none of its earlier claims is unsettled. Only then does the claim take a
    /// suspect, an item whose next reset is its last: alone, from the head of the queue. Otherwise it leaves suspects
    /// out.
    pub alone: bool,
    /// Leave out items at a limit as if they were not due, instead of making them `FAILED`.
    pub leave_exhausted: bool,
    /// Keys to leave out.
    pub except: Vec<Key>,
    /// The time of the claim; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The two budgets, for a caller with other limits than the pipeline's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures that handlers may report.
    pub max_retries: u32,
    /// Times that the sweep may take the item back.
    pub max_resets: u32,
}

impl Limits {
    /// The limit that these counts have reached: a claim makes such an item `FAILED`.
    pub(crate) fn reached(self, retry_count: i32, reset_count: i32) -> Option<Limit> {
        if retry_count >= budget_limit(self.max_retries) {
            Some(Limit::Retries(self.max_retries))
        } else if reset_count >= budget_limit(self.max_resets) {
            Some(Limit::Resets(self.max_resets))
        } else {
            None
        }
    }

    /// Whether one more reset is the item's last: it may be the item that kills its workers.
    pub(crate) fn is_suspect(self, reset_count: i32) -> bool {
        reset_count >= 1 && reset_count == budget_limit(self.max_resets) - 1
    }
}

/// The parameters of a finish: leases and their outcomes.
#[derive(Debug, Clone)]
pub struct FinishParams {
    /// The leases and their outcomes. Each key appears only once.
    pub items: Vec<Finish>,
    /// The budgets.
    pub limits: Limits,
    /// The time of the finish; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// One lease and how it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The lease.
    pub lease: Lease,
    /// How it ends.
    pub outcome: Outcome,
}

/// How a lease ends.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The stage is completed.
    Complete,
    /// It failed, and is worth another attempt: the retry count goes up, and at `max_retries` the item is `FAILED`.
    Retry {
        /// What went wrong.
        error: String,
        /// A delay to use exactly, instead of the policy's.
        delay: Option<Duration>,
    },
    /// It failed for good.
    Fail {
        /// What went wrong.
        error: String,
    },
    /// It returns to the queue; nothing is counted.
    Release,
    /// It returns to the queue, not to be claimed before this time by the database's clock; nothing is counted.
    SnoozeUntil(DateTime<Utc>),
    /// It returns to the queue, not to be claimed for this long; nothing is counted.
    SnoozeFor(Duration),
}

impl Outcome {
    /// The name of the move in the SQL.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Retry { .. } => "retry",
            Outcome::Fail { .. } => "fail",
            Outcome::Release => "release",
            Outcome::SnoozeUntil(_) | Outcome::SnoozeFor(_) => "snooze",
        }
    }

    /// The move that it is; `spent` says whether this failure used up the budget.
    pub(crate) fn to_move(&self, spent: bool) -> Move {
        match self {
            Outcome::Complete => Move::Complete,
            Outcome::Retry { .. } => Move::Retry { spent },
            Outcome::Fail { .. } => Move::Fail,
            Outcome::Release => Move::Release,
            Outcome::SnoozeUntil(_) | Outcome::SnoozeFor(_) => Move::Snooze,
        }
    }

    /// The error to store in the row, if there is one.
    pub fn error(&self) -> Option<&str> {
        match self {
            Outcome::Retry { error, .. } | Outcome::Fail { error } => Some(error),
            Outcome::Complete | Outcome::Release | Outcome::SnoozeUntil(_) | Outcome::SnoozeFor(_) => None,
        }
    }
}

/// The parameters of a sweep.
#[derive(Debug, Clone)]
pub struct SweepParams {
    /// The most items to take back in this statement.
    pub limit: usize,
    /// The age from which on a heartbeat is stale.
    pub stale_after: Duration,
    /// The reset count at which an item is `FAILED`.
    pub max_resets: u32,
    /// The time of the sweep; `None` is the database's clock. A worker passes the time that it has just read from the
    /// database and compared with its own clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of `set`.
#[derive(Debug, Clone)]
pub struct SetParams {
    /// The items.
    pub keys: Vec<Key>,
    /// The state to put them into; in progress is illegal from any state.
    pub to: Status,
    /// An error that replaces the stored one. With `None` the stored one stays, but a move to `SUCCEEDED` clears it.
    pub error: Option<String>,
    /// The time of the move; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of a requeue.
#[derive(Debug, Clone)]
pub struct RequeueParams {
    /// The items.
    pub keys: Vec<Key>,
    /// The stage at which they are ready again; `None` is the one at which each stopped.
    pub stage: Option<StageId>,
    /// The time of the requeue; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListParams {
    /// Only items in this state.
    pub status: Option<Status>,
    /// Only items whose key is greater than this one: the last key of the previous page.
    pub after: Option<Key>,
    /// The most items to return.
    pub limit: usize,
}

impl ListParams {
    /// The first so many items, in whatever state.
    pub fn new(limit: usize) -> ListParams {
        ListParams { status: None, after: None, limit }
    }

    /// Only items in this state.
    #[must_use]
    pub fn status(mut self, status: Status) -> ListParams {
        self.status = Some(status);
        self
    }

    /// The next page: only items whose key is greater than the last key of the previous page.
    #[must_use]
    pub fn after(mut self, key: impl Into<Key>) -> ListParams {
        self.after = Some(key.into());
        self
    }
}

/// The parameters of a count.
#[derive(Debug, Clone, Copy)]
pub struct CountParams {
    /// The count of a status stops here; `usize::MAX` counts to the end, however many there are.
    pub up_to: usize,
    /// Counts only ready items and those in progress, and says that there are no others. If a stage has delayed items,
    /// the answer may leave out those that are due: this is for a caller whose claim has just found nothing, and that
    /// asks what there is to wait for. An item that is due at `infinity` is delayed, but it is never the next one due.
    pub unfinished_only: bool,
    /// The time that decides what is due; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

impl Default for CountParams {
    fn default() -> CountParams {
        CountParams { up_to: COUNT_EXACT_MAX, unfinished_only: false, now: None }
    }
}

/// A limit as a statement takes it: capped at the most rows that there may be at once.
pub(super) fn row_limit(limit: usize, max: usize) -> i64 {
    count_limit(limit.min(max))
}

/// Where a count stops, as a statement takes it.
pub(super) fn count_limit(up_to: usize) -> i64 {
    i64::try_from(up_to).unwrap_or(i64::MAX)
}

/// The limit of a budget, as a statement takes it, and as it is compared with the counts, which have a sign.
pub(super) fn budget_limit(limit: u32) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_retries: 5, max_resets: 3 };

    #[test]
    fn a_limit_is_reached_by_its_count_and_the_retries_come_first() {
        assert_eq!(
            [(4, 2), (5, 2), (4, 3), (9, 9), (-1, -1)].map(|(retries, resets)| LIMITS.reached(retries, resets)),
            [None, Some(Limit::Retries(5)), Some(Limit::Resets(3)), Some(Limit::Retries(5)), None]
        );
    }

    #[test]
    fn a_suspect_has_been_reset_and_has_one_reset_left() {
        assert_eq!([-1, 0, 1, 2, 3].map(|resets| LIMITS.is_suspect(resets)), [false, false, false, true, false]);
        let once = Limits { max_resets: 1, ..LIMITS };
        assert_eq!([0, 1].map(|resets| once.is_suspect(resets)), [false, false]);
    }

    #[test]
    fn no_limit_is_beyond_every_count() {
        let endless = Limits { max_retries: u32::MAX, max_resets: u32::MAX };
        assert_eq!(endless.reached(i32::MAX - 1, i32::MAX - 1), None);
        assert_eq!(endless.reached(i32::MAX, 0), Some(Limit::Retries(u32::MAX)));
        assert!(endless.is_suspect(i32::MAX - 1));
    }
}
