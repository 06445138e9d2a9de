//! Results of the verbs.

use chrono::{DateTime, Utc};

use crate::pipeline::{StageId, Status};
use crate::{Key, Lease};

/// The result of a claim.
#[derive(Debug)]
pub struct ClaimBatch<Row> {
    /// The claimed items, in the order of the queue.
    pub claimed: Vec<ClaimedRow<Row>>,
    /// Items that were at a limit and are now `FAILED`. They count towards the claim's limit.
    pub exhausted: Vec<Key>,
    /// Items that the database did not allow to move, each with its reason. Those that could not even become `FAILED`
    /// are excluded from this process's claims for a while.
    pub refused: Vec<(Key, String)>,
    /// Whether the queue may hold more items that are due: the claim reached its limit, left suspects out, or did not
    /// read all of a queue that had been full.
    pub may_have_more: bool,
    /// A suspect is at the head of the queue and was left out because the claimer holds other items. The claimer should
    /// finish them and claim again alone, or the suspect would wait for ever.
    pub suspect_at_head: bool,
}

impl<Row> Default for ClaimBatch<Row> {
    fn default() -> Self {
        ClaimBatch {
            claimed: Vec::new(),
            exhausted: Vec::new(),
            refused: Vec::new(),
            may_have_more: false,
            suspect_at_head: false,
        }
    }
}

/// A claimed item.
#[derive(Debug)]
pub struct ClaimedRow<Row> {
    /// The right to write to it.
    pub lease: Lease,
    /// Failures that handlers reported so far.
    pub retry_count: i32,
    /// Times that the sweep took it back so far.
    pub reset_count: i32,
    /// One more reset is its last: it runs alone, so that it takes no neighbour with it.
    pub suspect: bool,
    /// The whole row, as it is after the claim.
    pub row: Row,
}

/// The result for one item of a finish.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Finished {
    /// The move was written.
    Applied {
        /// The state that the item is in now.
        to: Status,
    },
    /// The lease had ended; nothing was written.
    LeaseLost,
    /// Another transaction had the row locked for the whole short wait, or an error came before this item's turn.
    /// Nothing was written; the same finish may be sent again.
    Busy,
    /// The answer to an earlier attempt was lost, and it cannot be proved whether the attempt was applied.
    Unknown,
    /// The database refuses the row. The store then tried to make it `FAILED`; `failed` says whether that worked.
    Refused {
        /// The database's own words, or that a trigger returned nothing.
        reason: String,
        /// Whether the item is now `FAILED`. If not, it stays in progress, excluded from this process's claims.
        failed: bool,
    },
}

/// A stage in which the database refuses one item after the other for the same cause, or a whole batch, while none
/// passes. No more of its items become `FAILED` for that: a worker tries one item now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedStage {
    /// The stage.
    pub stage: StageId,
    /// The refused verb: "claim", "sweep", "renew", or an outcome by its name.
    pub verb: &'static str,
    /// The database's own words about the last item, or that a trigger said nothing.
    pub reason: String,
    /// The refusals since an item passed. If the number has changed since the last look, this call met a refusal.
    pub times: u64,
}

impl RefusedStage {
    /// For a store of your own: a stage in which this verb was refused this often, the last time for this reason.
    pub fn new(stage: StageId, verb: &'static str, reason: impl Into<String>, times: u64) -> RefusedStage {
        RefusedStage { stage, verb, reason: reason.into(), times }
    }
}

/// Whether a lease still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// It holds; after `renew`, with a new heartbeat.
    Held,
    /// It holds, but the row was locked and the heartbeat could not be written this time.
    Busy,
    /// It holds, but has no new heartbeat: the renewal was tried in parts and ran out of time before this item, or the
    /// server had no space. The row is not locked. It becomes stale unless it is renewed again at once.
    NotRenewed,
    /// It holds, but the database refuses heartbeats of this row. The sweep would take it back in time: its holder
    /// should end it.
    Refused {
        /// The database's own words, or that a trigger returned nothing.
        reason: String,
    },
    /// It ended because the item was cancelled.
    Cancelled,
    /// It ended in another way.
    Lost,
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// The items.
    pub items: Vec<SweptItem>,
    /// Items that the database did not allow to move, each with its reason.
    pub refused: Vec<(Key, String)>,
    /// Whether there may be more: the sweep reached its limit.
    pub may_have_more: bool,
}

/// One item that was taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct SweptItem {
    /// The item.
    pub key: Key,
    /// Ready again, or `FAILED` if this reset reached the limit.
    pub to: Status,
    /// The holder that stopped.
    pub holder: Option<String>,
    /// The stored error: which holder stopped, and when.
    pub error: String,
}

/// The result for one item of an operator's verb.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Moved {
    /// The move was written.
    Applied {
        /// The state that the item is in now.
        to: Status,
    },
    /// There is no such item.
    NotFound,
    /// No row can have such a key: it does not fit the key column's type, or it has characters that the database does
    /// not have.
    Invalid {
        /// Why no row can have it, for instance that it is no integer.
        reason: String,
    },
    /// The move does not exist from the item's state.
    Illegal {
        /// The word that the table has.
        from: String,
    },
    /// The database refuses the row.
    Refused {
        /// The database's own words, or that a trigger returned nothing.
        reason: String,
    },
}

/// The result of adding keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// The number of new items. An existing key is skipped, and not counted.
    pub added: u64,
    /// Keys that no row can have, in the order given, each with the requirement that it does not meet: an integer, a
    /// uuid, a text without NUL that fits the column and the database's encoding.
    pub refused: Vec<(Key, String)>,
}

impl Moved {
    /// The result, with the word that would have been written: a constraint may not allow it.
    pub(super) fn into_word(self, word: &str) -> Moved {
        match self {
            Moved::Refused { reason } => Moved::Refused { reason: format!("the status would be {word:?}: {reason}") },
            moved => moved,
        }
    }
}

/// One item, as the table has it.
#[derive(Debug)]
pub struct ItemRow<Row> {
    /// The item.
    pub key: Key,
    /// Its state; `None` for a word that the pipeline does not know.
    pub status: Option<Status>,
    /// The word that the table has; empty for NULL.
    pub word: String,
    /// The token of its last claim, unless it was cleared.
    pub token: Option<i64>,
    /// The whole row.
    pub row: Row,
}

/// A page of items.
#[derive(Debug)]
pub struct Page<Row> {
    /// The items, in the order of their keys.
    pub items: Vec<ItemRow<Row>>,
    /// The key with which to ask for the next page; `None` on the last page.
    pub next: Option<Key>,
}

/// How many items are in each state.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// The time of the count, by the database's clock.
    pub at: DateTime<Utc>,
    /// First each status of the pipeline, in order; then each word that the pipeline does not know.
    pub statuses: Vec<StatusCount>,
    /// Each stage, in order.
    pub stages: Vec<StageCounts>,
}

/// How many items are in one state.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusCount {
    /// The state; `None` for a word that the pipeline does not know.
    pub status: Option<Status>,
    /// The word that the table has; empty for NULL.
    pub word: String,
    /// How many.
    pub count: i64,
    /// Whether there may be more than that.
    pub at_least: bool,
}

/// The ready items of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageCounts {
    /// The stage.
    pub stage: StageId,
    /// Whether claims for it are stopped.
    pub paused: bool,
    /// Since when the item at the head of its queue is ready; `None` if no item is due, or if this was not asked for
    /// ([`CountParams::unfinished_only`](crate::store::CountParams::unfinished_only)).
    pub oldest_ready_since: Option<DateTime<Utc>>,
    /// When the next item that is not due yet will be due; `None` if there is none.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Items that are ready but never due: at `infinity`, or from the last day of the year 9999 on. Their count stops
    /// at the same limit as the others.
    pub never_due: i64,
    /// The oldest heartbeat of the items in progress; `None` if no item is in progress or it has no heartbeat.
    pub oldest_heartbeat_at: Option<DateTime<Utc>>,
}

/// One failure of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureRecord {
    /// The time of the failure, by the database's clock.
    pub at: DateTime<Utc>,
    /// The word of the state in which it happened.
    pub word: String,
    /// The move that wrote it: `retry`, `fail`, `sweep`, `exhaust`, `refused`.
    pub cause: String,
    /// Who held the item.
    pub holder: Option<String>,
    /// What went wrong.
    pub error: String,
}

/// One item that is held.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldItem {
    /// The item.
    pub key: Key,
    /// The stage in which it is in progress.
    pub stage: StageId,
    /// The holder.
    pub holder: Option<String>,
    /// When it was claimed.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When its holder last sent a heartbeat.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// Its heartbeat is missing, too old, or as far in the future: the next sweep takes it back.
    pub stale: bool,
}

/// A key that this process leaves out of its claims and sweeps for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Exclusion {
    /// The item.
    pub key: Key,
    /// Why the database refused it.
    pub reason: String,
    /// How much longer it is left out.
    pub remaining: std::time::Duration,
}

impl Counts {
    /// How many items are in a state.
    pub fn count(&self, status: Status) -> i64 {
        self.statuses.iter().find(|entry| entry.status == Some(status)).map_or(0, |entry| entry.count)
    }

    /// The words in the table that the pipeline does not know, with their counts.
    pub fn unknown_words(&self) -> impl Iterator<Item = &StatusCount> {
        self.statuses.iter().filter(|entry| entry.status.is_none())
    }

    /// How many items are in states that a worker could still change.
    pub fn unfinished(&self) -> i64 {
        self.statuses
            .iter()
            .filter(|entry| entry.status.is_some_and(|status| !status.is_terminal()))
            .map(|entry| entry.count)
            .sum()
    }
}

impl Swept {
    /// Adds the result of another statement of the same sweep.
    pub(super) fn append(&mut self, mut other: Swept) {
        self.items.append(&mut other.items);
        self.refused.append(&mut other.refused);
        self.may_have_more |= other.may_have_more;
    }

    /// The leases that the sweep ended, for logs: which items were taken back, and from which holders.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.items.iter().map(|item| &item.key)
    }
}

impl<Row> ClaimBatch<Row> {
    /// Whether nothing was changed.
    pub(super) fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.exhausted.is_empty() && self.refused.is_empty()
    }

    /// Adds the result of another statement of the same claim.
    pub(super) fn append(&mut self, mut other: ClaimBatch<Row>) {
        self.claimed.append(&mut other.claimed);
        self.exhausted.append(&mut other.exhausted);
        self.refused.append(&mut other.refused);
        self.may_have_more |= other.may_have_more;
        self.suspect_at_head |= other.suspect_at_head;
    }

    /// The leases of the claimed items, in the order of the queue.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.claimed.iter().map(|item| &item.lease)
    }
}
