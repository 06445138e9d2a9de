//! What the verbs return.

use chrono::{DateTime, Utc};

use crate::pipeline::{StageId, Status};
use crate::{Key, Lease};

/// What a claim took.
#[derive(Debug)]
pub struct ClaimBatch<Row> {
    /// The claimed items, in the order of the queue.
    pub claimed: Vec<ClaimedRow<Row>>,
    /// Items that were at a limit and are `FAILED` now. They counted towards the claim's limit.
    pub exhausted: Vec<Key>,
    /// Items that the database would not let be moved, with its reason. Those that could not even be made `FAILED`
    /// are excluded from this process's claims for a while.
    pub refused: Vec<(Key, String)>,
    /// Whether the queue may hold more that is due: the claim reached its limit, left suspects out, or did not look at
    /// all of a queue that had been full.
    pub may_have_more: bool,
    /// A suspect is at the head of the queue and was left out because the claimer holds other items. It should finish
    /// them and claim again alone, or the suspect would wait for ever.
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
    /// Times that it was taken back so far.
    pub reset_count: i32,
    /// One more reset is its last: it runs alone, so that it takes no neighbour with it.
    pub suspect: bool,
    /// The whole row as it is after the claim.
    pub row: Row,
}

/// What became of one item of a finish.
#[derive(Debug, Clone, PartialEq)]
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
    /// The answer to an earlier attempt was lost, and it cannot be proved whether it was applied.
    Unknown,
    /// The database refuses the row. It was tried as `FAILED`; `failed` says whether that worked.
    Refused {
        /// The database's own words, or that a trigger returned nothing.
        reason: String,
        /// Whether the item is `FAILED` now. If not it stays in progress, excluded from this process's claims.
        failed: bool,
    },
}

/// A stage of which a store is refused one item after the other for the same cause, or a whole batch, while none passes. Nothing
/// more of it is made `FAILED` for that: a worker tries one item now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedStage {
    /// The stage.
    pub stage: StageId,
    /// What is refused: "claim", "sweep", "renew", or an outcome by its name.
    pub verb: &'static str,
    /// The database's own words about the last one, or that a trigger said nothing.
    pub reason: String,
    /// How often it was refused since one passed: what has changed since the last look tells a call that met it.
    pub times: u64,
}

/// Whether a lease still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// It holds; after `renew`, with a new heartbeat.
    Held,
    /// It holds, but the row was locked and the heartbeat could not be written this time.
    Busy,
    /// It holds, but a renewal that was tried in parts had no time left for it. Nobody has its row locked: it becomes stale
    /// unless it is renewed again at once.
    NotRenewed,
    /// It holds, but the database refuses heartbeats of this row. It would be swept in time: its holder should end it.
    Refused {
        /// The database's own words, or that a trigger returned nothing.
        reason: String,
    },
    /// It ended because the item was cancelled.
    Cancelled,
    /// It ended in another way.
    Lost,
}

/// What a sweep took back.
#[derive(Debug, Default)]
pub struct Swept {
    /// The items.
    pub items: Vec<SweptItem>,
    /// Items that the database would not let be moved, with its reason.
    pub refused: Vec<(Key, String)>,
    /// Whether there may be more: the sweep reached its limit.
    pub may_have_more: bool,
}

/// One item that was taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct SweptItem {
    /// The item.
    pub key: Key,
    /// Ready again, or `FAILED` if this was one reset too many.
    pub to: Status,
    /// Who stopped.
    pub holder: Option<String>,
    /// What was written as the error: who stopped and when.
    pub error: String,
}

/// What became of one item of an operator's verb.
#[derive(Debug, Clone, PartialEq)]
pub enum Moved {
    /// The move was written.
    Applied {
        /// The state that the item is in now.
        to: Status,
    },
    /// There is no such item.
    NotFound,
    /// No row can have such a key: it is not of the key column's type, or in characters that the database does not have.
    Invalid {
        /// What the key is not.
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

/// What adding keys did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// How many items are new. A key that exists is skipped, and not counted.
    pub added: u64,
    /// Keys that no row can have, in the order given, each with what it is not: an integer, a uuid, a text without NUL that
    /// is no longer than the column and in characters of the database.
    pub refused: Vec<(Key, String)>,
}

impl Moved {
    /// With the word that would have been written: a constraint may not allow it.
    pub(super) fn into_word(self, word: &str) -> Moved {
        match self {
            Moved::Refused { reason } => Moved::Refused { reason: format!("the status would be {word:?}: {reason}") },
            moved => moved,
        }
    }
}

/// An item as it is.
#[derive(Debug)]
pub struct ItemRow<Row> {
    /// The item.
    pub key: Key,
    /// Its state; `None` for a word that the pipeline does not know.
    pub status: Option<Status>,
    /// The word that the table has; empty for NULL.
    pub word: String,
    /// The token of its last claim, if nobody cleared it.
    pub token: Option<i64>,
    /// The whole row.
    pub row: Row,
}

/// A page of items.
#[derive(Debug)]
pub struct Page<Row> {
    /// The items, in the order of their keys.
    pub items: Vec<ItemRow<Row>>,
    /// The key to ask for the next page with; `None` on the last page.
    pub next: Option<Key>,
}

/// How many items are in each state.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// The database's time of the count.
    pub at: DateTime<Utc>,
    /// Each status of the pipeline in its order, then each word that the pipeline does not know.
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

/// What is ready for one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageCounts {
    /// The stage.
    pub stage: StageId,
    /// Whether claims for it are stopped.
    pub paused: bool,
    /// Since when the item at the head of its queue is ready; `None` if none is due, or it is not told
    /// ([`CountParams::unfinished_only`](crate::store::CountParams::unfinished_only)).
    pub oldest_ready_since: Option<DateTime<Utc>>,
    /// When the next item that is not due yet will be; `None` if there is none.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Items that are ready but never due: at `infinity`, or from the last day of the year 9999 on. Counted no further than
    /// the others.
    pub never_due: i64,
    /// When the oldest heartbeat of an item in progress was; `None` if none is in progress or it has none.
    pub oldest_heartbeat_at: Option<DateTime<Utc>>,
}

/// One failure of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureRecord {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// The word of the state that it happened in.
    pub word: String,
    /// The move that wrote it: `retry`, `fail`, `sweep`, `exhaust`, `refused`.
    pub cause: String,
    /// Who held the item.
    pub holder: Option<String>,
    /// What went wrong.
    pub error: String,
}

/// One item that somebody holds.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldItem {
    /// The item.
    pub key: Key,
    /// The stage that it is in progress in.
    pub stage: StageId,
    /// Who holds it.
    pub holder: Option<String>,
    /// Since when.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When its holder last said that it lives.
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
    /// For how much longer.
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

    /// How many items are in a state that a worker could still change.
    pub fn unfinished(&self) -> i64 {
        self.statuses
            .iter()
            .filter(|entry| entry.status.is_some_and(|status| !status.is_terminal()))
            .map(|entry| entry.count)
            .sum()
    }
}

impl Swept {
    /// Adds what a further statement of the same sweep took back.
    pub(super) fn append(&mut self, mut other: Swept) {
        self.items.append(&mut other.items);
        self.refused.append(&mut other.refused);
        self.may_have_more |= other.may_have_more;
    }

    /// The leases that the sweep ended. Shown in logs: what was taken back from whom.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.items.iter().map(|item| &item.key)
    }
}

impl<Row> ClaimBatch<Row> {
    /// Whether nothing was changed.
    pub(super) fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.exhausted.is_empty() && self.refused.is_empty()
    }

    /// Adds what a further statement of the same claim took.
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
