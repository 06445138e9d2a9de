//! What the verbs take.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::limits::COUNT_EXACT_MAX;
use crate::pipeline::{StageId, Status};
use crate::{FencingToken, Holder, Key, Lease};

/// The parameters of a claim.
#[derive(Debug, Clone)]
pub struct ClaimParams {
    /// The stages to claim for. The latest comes first in the queue, whatever the order here.
    pub stages: Vec<StageId>,
    /// The most items to take; at most 1,000 are taken at once.
    pub limit: usize,
    /// The token of the leases; drawn for this claim alone.
    pub token: FencingToken,
    /// Who claims.
    pub holder: Holder,
    /// Items whose counts reach these are `FAILED` by the claim that meets them.
    pub limits: Limits,
    /// The claimer holds nothing else, and no earlier claim of its is unsettled. Only then is a suspect taken, an item
    /// whose next reset is its last: alone, from the head of the queue. Otherwise suspects are left out.
    pub alone: bool,
    /// Only leave items at a limit out, as if they were not due, and write no `FAILED`.
    pub leave_exhausted: bool,
    /// Keys to leave out.
    pub except: Vec<Key>,
    /// The time to claim at; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of continuing: items whose stage is done, and that their holder takes on to the next one.
#[derive(Debug, Clone)]
pub struct ContinueParams {
    /// The stage that is done.
    pub stage: StageId,
    /// Leases of that stage. A key stands in it once.
    pub leases: Vec<Lease>,
    /// Drawn for this call; never sent twice. It is the token of the new leases.
    pub token: FencingToken,
    /// Who continues.
    pub holder: Holder,
    /// Items whose counts reach these do not continue, nor does a suspect.
    pub limits: Limits,
    /// The time to continue at; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The two budgets, where a caller has others than the pipeline's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures that handlers may report.
    pub max_retries: i32,
    /// Times that the sweep may take the item back.
    pub max_resets: i32,
}

/// The parameters of a finish: leases and their outcomes.
#[derive(Debug, Clone)]
pub struct FinishParams {
    /// What happens to which item. A key stands in it once.
    pub items: Vec<Finish>,
    /// The budgets.
    pub limits: Limits,
    /// The time to finish at; `None` is the database's clock.
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
pub enum Outcome {
    /// The stage is done.
    Complete,
    /// It failed, and is worth another attempt: the retry count goes up, and at `max_retries` the item is `FAILED`.
    Retry {
        /// What went wrong.
        error: String,
        /// A delay to use as it is, instead of the policy's.
        delay: Option<Duration>,
    },
    /// It failed for good.
    Fail {
        /// What went wrong.
        error: String,
    },
    /// It is given back; nothing is counted.
    Release,
    /// It is given back, not to be claimed before this time by the database's clock; nothing is counted.
    SnoozeUntil(DateTime<Utc>),
    /// It is given back, not to be claimed for this long; nothing is counted.
    SnoozeFor(Duration),
}

impl Outcome {
    /// The name of the move, as the SQL knows it.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Retry { .. } => "retry",
            Outcome::Fail { .. } => "fail",
            Outcome::Release => "release",
            Outcome::SnoozeUntil(_) | Outcome::SnoozeFor(_) => "snooze",
        }
    }

    /// The error that goes into the row, if there is one.
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
    /// Age of a heartbeat from which on it is stale.
    pub stale_after: Duration,
    /// The reset count at which an item is `FAILED`.
    pub max_resets: i32,
    /// The time to sweep at; `None` is the database's clock. A worker gives the time that the database told it a moment
    /// before, which it has compared with its own clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of a set.
#[derive(Debug, Clone)]
pub struct SetParams {
    /// The items.
    pub keys: Vec<Key>,
    /// The state to put them into; in progress is illegal from any state.
    pub to: Status,
    /// An error replaces the stored one; `None` keeps it.
    pub error: Option<String>,
    /// The time to set at; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of a requeue.
#[derive(Debug, Clone)]
pub struct RequeueParams {
    /// The items.
    pub keys: Vec<Key>,
    /// The stage to take them up at; `None` is the one that each stopped at.
    pub stage: Option<StageId>,
    /// The time to requeue at; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

/// The parameters of a list.
#[derive(Debug, Clone, Default)]
pub struct ListParams {
    /// Only items in this state.
    pub status: Option<Status>,
    /// Only items whose key is greater than this one: the last of the page before.
    pub after: Option<Key>,
    /// The most items to return.
    pub limit: usize,
}

/// The parameters of a count.
#[derive(Debug, Clone, Copy)]
pub struct CountParams {
    /// Counting a status stops here; `i64::MAX` counts to the end, however many there are.
    pub up_to: i64,
    /// Counts only what is ready or in progress, and says that there is nothing else. Where items of a stage are delayed, those
    /// that are due need be neither counted nor told of: it is for one who has just claimed in vain, and asks what there is to
    /// wait for. An item that is due at `infinity` is delayed, though it is never the next one due.
    pub unfinished_only: bool,
    /// The time that decides what is due; `None` is the database's clock.
    pub now: Option<DateTime<Utc>>,
}

impl Default for CountParams {
    fn default() -> CountParams {
        CountParams { up_to: COUNT_EXACT_MAX, unfinished_only: false, now: None }
    }
}

/// A limit as a statement takes it: at most the most rows that there may be at once.
pub(super) fn row_limit(limit: usize, max: usize) -> i64 {
    i64::try_from(limit.min(max)).unwrap_or(i64::MAX)
}
