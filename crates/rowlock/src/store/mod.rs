//! The seam between the engine and a database: a trait of domain verbs.
//!
//! A verb that takes more than its items takes a params struct. Each has a `.sql` file in each dialect, named after it:
//! `claim` is `store/postgres/sql/claim.sql` and `store/sqlite/sql/claim.sql`.

mod assignment;
mod attach;
mod bisection;
mod brake;
mod error_text;
mod exclusion;
mod explanation;
mod identifier;
mod ladder;
mod lens;
mod params;
mod passed_over;
#[cfg(feature = "postgres")]
pub mod postgres;
mod proof;
mod results;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod template;
mod url;
mod verdict;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::pipeline::{Pipeline, StageId};
use crate::{FencingToken, Key, Lease, Result};

pub use attach::{AttachEvent, AttachStep, DetachPlan, Lasting, LostState, StepKind, StepLock};
pub use explanation::Explanation;
#[cfg(feature = "conformance")]
pub(crate) use identifier::Dialect;
#[cfg(feature = "conformance")]
pub(crate) use lens::Lens;
pub use params::{
    ClaimParams, CountParams, Finish, FinishParams, Limits, ListParams, Outcome, RequeueParams, SetParams, SweepParams,
};
pub use proof::Proof;
pub use results::{
    Added, ClaimBatch, ClaimedRow, Counts, Exclusion, FailureRecord, Finished, HeldItem, ItemRow, LeaseState, Moved,
    Page, RefusedStage, StageCounts, StatusCount, Swept, SweptItem,
};
pub use url::displayable_url;
pub use verdict::{BudgetsLeft, Limit, Verdict};

/// A database that holds the pipeline's table.
///
/// A verb is one statement or one short transaction; it never runs a handler. Unless a verb says otherwise its errors
/// are those of the database. A third party's store is complete when the conformance suite passes on it.
///
/// If a verb takes `now`, `None` is the database's clock; any other value is for tests.
pub trait Store: Clone + Send + Sync + 'static {
    /// The row from which the user's record is decoded.
    type Row: sqlx::Row + Send + Sync + 'static;
    /// A user's transaction, opened by [`Store::begin`].
    type Transaction: Transaction;
    /// Receives news of new items.
    type Listener: Listener;

    /// The pipeline whose table this store reads and writes.
    fn pipeline(&self) -> &Arc<Pipeline>;

    /// The same store over separate connections, made on the caller's runtime.
    ///
    /// The worker calls it on its own thread, once for the verbs and once for the heartbeats, so that neither busy
    /// handlers nor an exhausted pool can starve them.
    fn fork(&self) -> impl Future<Output = Result<Self>> + Send;

    /// The same store over connections on which the database allows only reads.
    fn read_only(&self) -> impl Future<Output = Result<Self>> + Send;

    /// Closes the store's own connections.
    fn close(&self) -> impl Future<Output = ()> + Send;

    // Schema

    /// Creates the table, or adds the columns and indexes that it lacks, and Rowlock's own tables. May be repeated.
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send;

    /// What the table lacks, in sentences; empty if it can be used.
    fn inspect(&self) -> impl Future<Output = Result<Vec<String>>> + Send;

    // The worker's verbs

    /// Takes a batch of ready items, atomically.
    fn claim(&self, claiming: &ClaimParams) -> impl Future<Output = Result<ClaimBatch<Self::Row>>> + Send;

    /// The items in progress under this token: those of a claim whose answer was lost. It renews them as it finds them,
    /// because the age of the claim is not known.
    fn find_claimed(&self, token: FencingToken) -> impl Future<Output = Result<Vec<ClaimedRow<Self::Row>>>> + Send;

    /// Ends leases, each with its outcome, in one statement. The answer has one entry for each item, in order.
    fn finish(&self, finishing: &FinishParams) -> impl Future<Output = Result<Vec<Finished>>> + Send;

    /// Renews leases, in one statement. The answer has one entry for each lease, in order.
    fn renew(
        &self,
        leases: &[Lease],
        now: Option<DateTime<Utc>>,
    ) -> impl Future<Output = Result<Vec<LeaseState>>> + Send;

    /// Reads whether leases are still held; writes nothing. The answer has one entry for each lease, in order.
    fn read_leases(&self, leases: &[Lease]) -> impl Future<Output = Result<Vec<LeaseState>>> + Send;

    /// Takes back items whose heartbeat is stale or missing.
    fn sweep(&self, sweeping: &SweepParams) -> impl Future<Output = Result<Swept>> + Send;

    /// Asks whose turn it is to sweep, so that one worker of a fleet sweeps in this time and not all of them: a sweep
    /// reads everything that is in progress. Zero if it is the caller's turn, and for this long no other worker's;
    /// otherwise the time until it may be. By default it is always the caller's turn.
    fn sweep_turn(&self, every: Duration) -> impl Future<Output = Result<Duration>> + Send {
        let _ = every;
        std::future::ready(Ok(Duration::ZERO))
    }

    // The operator's verbs

    /// Puts items into a ready or terminal state, without a lease.
    fn set(&self, setting: &SetParams) -> impl Future<Output = Result<Vec<Moved>>> + Send;

    /// Cancels items that are not terminal.
    fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> impl Future<Output = Result<Vec<Moved>>> + Send;

    /// Makes terminal items ready again.
    fn requeue(&self, requeueing: &RequeueParams) -> impl Future<Output = Result<Vec<Moved>>> + Send;

    /// Stops claims for a stage until it is resumed. Items in progress go on. Returns false if it was already paused.
    fn pause(&self, stage: StageId) -> impl Future<Output = Result<bool>> + Send;

    /// Allows claims for a stage again. Returns false if it was not paused.
    fn resume(&self, stage: StageId) -> impl Future<Output = Result<bool>> + Send;

    /// The stages that are paused.
    fn paused(&self) -> impl Future<Output = Result<Vec<StageId>>> + Send;

    /// Inserts keys in bulk; every other column of a row takes its default. An existing key is skipped; a key that no
    /// row can have is left out and named.
    fn add_many(&self, keys: &[Key]) -> impl Future<Output = Result<Added>> + Send;

    // Reading

    /// What a claim would return now, without claiming anything.
    fn preview(&self, claiming: &ClaimParams) -> impl Future<Output = Result<Vec<ItemRow<Self::Row>>>> + Send;

    /// One item.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<ItemRow<Self::Row>>>> + Send;

    /// Items by status, in the order of their keys. A page of ready or succeeded items costs as much as the keys that
    /// it passes over.
    fn list(&self, listing: &ListParams) -> impl Future<Output = Result<Page<Self::Row>>> + Send;

    /// How many items are in each state, and which are ready and due. Successes are in no index: to find a few of them,
    /// the whole table is read.
    fn counts(&self, counting: &CountParams) -> impl Future<Output = Result<Counts>> + Send;

    /// The facts about one item that decide whether it can be claimed now. [`Explanation::verdict`] says what they
    /// mean.
    fn explain(
        &self,
        key: &Key,
        now: Option<DateTime<Utc>>,
    ) -> impl Future<Output = Result<Option<Explanation>>> + Send;

    /// The last failures of an item, latest first.
    fn failures(&self, key: &Key) -> impl Future<Output = Result<Vec<FailureRecord>>> + Send;

    /// Which items are held, by whom and since when; at most a page of them.
    fn held(&self, limit: usize) -> impl Future<Output = Result<Vec<HeldItem>>> + Send;

    /// The time by the database's clock.
    fn now(&self) -> impl Future<Output = Result<DateTime<Utc>>> + Send;

    // In the user's transaction

    /// Opens a transaction for [`Store::finish_in`].
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction>> + Send;

    /// A signal that the transaction has been open for too long: it can no longer commit, and it keeps others from
    /// writing. A worker then stops the handler that holds it. `None` if the database ends such a transaction itself.
    fn expiry(_transaction: &mut Self::Transaction) -> Option<Expiry> {
        None
    }

    /// Writes the move as the transaction's last statement, and commits. If the lease was lost it rolls back, so that a
    /// zombie's work is never committed.
    fn finish_in(
        &self,
        transaction: Self::Transaction,
        finish: &Finish,
        limits: Limits,
    ) -> impl Future<Output = Result<Finished>> + Send;

    /// Rolls back the transaction.
    fn rollback(&self, transaction: Self::Transaction) -> impl Future<Output = Result<()>> + Send;

    // Wake-up

    /// Starts to listen for new items.
    fn listen(&self) -> impl Future<Output = Result<Self::Listener>> + Send;

    /// Whether two claims may run at once. A worker whose handlers take almost no time then runs two.
    fn claims_side_by_side(&self) -> bool {
        false
    }

    /// Keys that this process leaves out of its claims and sweeps because the database refuses their rows.
    fn excluded(&self) -> Vec<Exclusion>;

    /// Stages in which the database refuses this process one item after the other. Called after every call that met a
    /// refusal, so it has to be cheap. By default a store counts nothing, and a worker decides by the errors alone.
    fn refused_stages(&self) -> Vec<RefusedStage> {
        Vec::new()
    }
}

/// A transaction of a [`Store`], in which a handler writes and a claim is finished.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction of Rowlock's",
    note = "begin it by `context.begin()` in a handler, or by `repository.begin()`: Rowlock checks and settles its \
            commit"
)]
pub trait Transaction: Send + 'static {}

/// Receives a message when a transaction has been open for too long; closed if the transaction ends before.
pub type Expiry = tokio::sync::oneshot::Receiver<()>;

/// Receives news that there may be new items. News is only a hint: polling goes on regardless.
pub trait Listener: Send + 'static {
    /// Announces a wait of up to this long, so that new items are notified. To miss none, arm before the look that
    /// finds nothing, then wait.
    fn arm(&mut self, at_most: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Whether inserts are known to notify, as far as this can be known before the first one. If not, a worker looks
    /// more often until it has received a notification. By default it is not known.
    fn notifies(&self) -> bool {
        false
    }

    /// Returns true when there may be something to claim, and false after `at_most`.
    fn wait(&mut self, at_most: Duration) -> impl Future<Output = Result<bool>> + Send;

    /// Tests whether a notification would arrive; called after a time without any. By default it would.
    fn test_hearing(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
