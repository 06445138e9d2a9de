//! PostgreSQL: a store for a fleet.
//!
//! Every verb has its statement in `sql/<verb>.sql`; `statements` says which text runs when.

mod add_many;
mod asked_key;
mod claim;
mod complete_batch;
mod connections;
mod encoding;
mod errors;
mod fields;
mod finish;
mod indexes;
mod json;
mod leases;
mod listener;
mod operator;
mod queue_head;
mod read;
mod refusal;
mod rows;
mod schema;
mod session;
mod shapes;
mod shown;
mod statements;
mod sweep;
mod table_facts;
mod text;
mod time;
mod transaction;
mod variables;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgRow};

use self::connections::ConnectionLimits;
use self::leases::LateRenewals;
use self::queue_head::QueueHead;
use self::session::Sessions;
use self::statements::{DelayTable, Statements};
use super::brake::Brake;
use super::exclusion::Exclusions;
use super::passed_over::PassedOver;
use super::url::{postgres_url, unreadable};
use super::{
    Added, ClaimBatch, ClaimParams, ClaimedRow, CountParams, Counts, Exclusion, Explanation, FailureRecord, Finish,
    FinishParams, Finished, HeldItem, ItemRow, LeaseState, Limits, ListParams, Moved, Page, RefusedStage,
    RequeueParams, SetParams, Store, SweepParams, Swept,
};
use crate::limits::VERB_DEADLINE;
use crate::pipeline::{Pipeline, StageId};
use crate::{Error, FencingToken, Key, Lease, Result};

pub(crate) use self::errors::is_outage;
pub use self::listener::PostgresListener;
pub use self::transaction::PostgresTransaction;

/// A pipeline's table on a PostgreSQL server. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pipeline: Arc<Pipeline>,
    statements: Arc<Statements>,
    delays: Arc<DelayTable>,
    sessions: Sessions,
    exclusions: Exclusions,
    passed_over: PassedOver,
    brake: Brake,
    /// The last call of `add_many` met existing keys.
    keys_existed: Arc<AtomicBool>,
    queue_head: QueueHead,
    /// The loss of the failure log was reported.
    log_is_lost: Arc<AtomicBool>,
    late: LateRenewals,
    /// The error column takes no null, as it turned out, so that an item that succeeded has '' there.
    error_needs_text: Arc<AtomicBool>,
}

impl PostgresStore {
    /// A store on the server with this URL, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Connects once, to check that
    /// it can.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the URL is invalid or names another kind of database, [`Error::Database`] if the
    /// server cannot be reached, [`Error::TooManyConnections`], [`Error::SchemaTooNew`].
    pub async fn connect(url: &str, pipeline: Pipeline) -> Result<PostgresStore> {
        let options = postgres_url(url)?.parse::<PgConnectOptions>().map_err(|_| unreadable(url))?;
        let store = PostgresStore::with_options(options, pipeline);
        store.refuse_newer_schema().await?;
        Ok(store)
    }

    /// A store with these connect options. Connects on first use.
    pub fn with_options(options: PgConnectOptions, pipeline: Pipeline) -> PostgresStore {
        let sessions = Sessions::new(without_brackets(options), deadline(&pipeline));
        PostgresStore::build(sessions, pipeline)
    }

    /// A store behind a pooler that lends its connections for one transaction each, as PgBouncer does in transaction
    /// mode. Every statement is sent unprepared and in its own transaction, which costs two more round trips. Without a
    /// direct connection to the server (see [`PostgresStore::with_direct`]) new items are found by polling alone, and
    /// the table cannot be prepared.
    ///
    /// A handler must send its own statements in the transaction of [`Store::begin`] unprepared as well:
    /// `sqlx::query(…).persistent(false)`.
    pub fn through_pooler(options: PgConnectOptions, pipeline: Pipeline) -> PostgresStore {
        let sessions = Sessions::through_pooler(without_brackets(options), deadline(&pipeline));
        PostgresStore::build(sessions, pipeline)
    }

    /// The same store with a direct connection to the server, for what needs a session: notifications of new items, and
    /// [`Store::prepare`].
    #[must_use]
    pub fn with_direct(self, direct: PgConnectOptions) -> PostgresStore {
        let sessions = self.sessions.clone().with_direct(without_brackets(direct));
        self.over(sessions)
    }

    /// The same store with at most this many connections for its verbs, and as many for the user's transactions; 8 by
    /// default, and at least 1. Each worker opens at most twice as many more, and one to listen.
    #[must_use]
    pub fn with_max_connections(self, connections: u32) -> PostgresStore {
        let limits = ConnectionLimits { connections_max: connections.max(1), ..self.sessions.limits() };
        self.over(self.sessions.with_limits(limits))
    }

    /// The same store, which closes a connection that was not used for this long; one minute by default.
    #[must_use]
    pub fn with_idle_timeout(self, idle_timeout: Duration) -> PostgresStore {
        let limits = ConnectionLimits { idle_max: idle_timeout, ..self.sessions.limits() };
        self.over(self.sessions.with_limits(limits))
    }

    /// The same store, which uses no connection for longer than this; half an hour by default.
    #[must_use]
    pub fn with_max_lifetime(self, max_lifetime: Duration) -> PostgresStore {
        let limits = ConnectionLimits { lifetime_max: max_lifetime, ..self.sessions.limits() };
        self.over(self.sessions.with_limits(limits))
    }

    fn build(sessions: Sessions, pipeline: Pipeline) -> PostgresStore {
        let exclusions = Exclusions::default();
        PostgresStore {
            statements: Arc::new(Statements::new(&pipeline)),
            delays: Arc::new(DelayTable::new(&pipeline)),
            sessions,
            brake: Brake::new(exclusions.clone()),
            exclusions,
            passed_over: PassedOver::default(),
            keys_existed: Arc::default(),
            queue_head: QueueHead::default(),
            log_is_lost: Arc::default(),
            late: LateRenewals::default(),
            error_needs_text: Arc::default(),
            pipeline: Arc::new(pipeline),
        }
    }

    /// A store on the same database as a pool of the user's, with separate connections: a drained pool must not keep a
    /// worker from its heartbeats.
    pub fn from_pool(pool: &PgPool, pipeline: Pipeline) -> PostgresStore {
        PostgresStore::with_options(pool.connect_options().as_ref().clone(), pipeline)
    }

    /// The statement with this name as it is sent, with the binds `$1`, `$2`, …; `None` if there is none of that name.
    pub fn sql(&self, name: &str) -> Option<&str> {
        self.statements.all().into_iter().find(|(other, _)| *other == name).map(|(_, sql)| sql)
    }

    /// The names of all statements, for [`PostgresStore::sql`].
    pub fn statement_names(&self) -> Vec<&'static str> {
        self.statements.all().into_iter().map(|(name, _)| name).collect()
    }

    /// The planner settings under which the store's own connections run the statements, as SQL. With these settings, a
    /// statement of [`PostgresStore::sql`] that is run by hand gets the store's plan.
    pub fn planner_settings() -> String {
        session::planner_settings()
    }

    fn over(&self, sessions: Sessions) -> PostgresStore {
        PostgresStore { sessions, ..self.clone() }
    }

    /// The same store with a direct connection in place of its pooler, if it has one.
    fn directly(&self) -> Result<PostgresStore> {
        if !self.sessions.is_through_pooler() {
            return Ok(self.clone());
        }
        let direct = self.sessions.direct().ok_or_else(|| Error::InvalidArgument {
            argument: "store",
            value: "connected through a pooler".to_owned(),
            rule: "preparing needs locks that a connection holds: give the store a way past it by with_direct"
                .to_owned(),
        })?;
        Ok(self.over(self.sessions.over_direct(direct.clone())))
    }
}

/// A URL has an IPv6 address in brackets, which the driver takes for a part of the name.
fn without_brackets(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    match address {
        Some(address) => options.host(&address),
        None => options,
    }
}

/// How long a verb of this pipeline may take: its leases must outlive it.
fn deadline(pipeline: &Pipeline) -> Duration {
    VERB_DEADLINE.min(pipeline.stale_after() / 3)
}

// The handling of a bad row makes a verb's future large, and every future around it would reserve that space, so it is
// boxed.
impl Store for PostgresStore {
    type Row = PgRow;
    type Transaction = PostgresTransaction;
    type Listener = PostgresListener;

    fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    async fn fork(&self) -> Result<Self> {
        let store = self.over(self.sessions.fork(false));
        store.refuse_newer_schema().await?;
        Ok(store)
    }

    async fn read_only(&self) -> Result<Self> {
        Ok(self.over(self.sessions.fork(true)))
    }

    async fn close(&self) {
        self.sessions.close().await;
    }

    async fn prepare(&self) -> Result<()> {
        self.directly()?.prepare_schema().await
    }

    async fn inspect(&self) -> Result<Vec<String>> {
        Box::pin(self.inspect_schema()).await
    }

    async fn claim(&self, claiming: &ClaimParams) -> Result<ClaimBatch<PgRow>> {
        Box::pin(self.claim_batch(claiming)).await
    }

    async fn find_claimed(&self, token: FencingToken) -> Result<Vec<ClaimedRow<PgRow>>> {
        Box::pin(self.find_claimed_rows(token)).await
    }

    async fn finish(&self, finishing: &FinishParams) -> Result<Vec<Finished>> {
        Box::pin(self.finish_batch(finishing)).await
    }

    async fn renew(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        Box::pin(self.renew_leases(leases, now)).await
    }

    async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        for lease in leases {
            lease.key.check()?;
        }
        let mut session = self.sessions.open("read_leases").await?;
        let states = self.read_lease_states(&mut session, leases).await?;
        session.done();
        Ok(states)
    }

    async fn sweep(&self, sweeping: &SweepParams) -> Result<Swept> {
        Box::pin(self.sweep_batch(sweeping)).await
    }

    async fn sweep_turn(&self, every: Duration) -> Result<Duration> {
        Box::pin(self.take_sweep_turn(every)).await
    }

    async fn set(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        Box::pin(self.set_items(setting)).await
    }

    async fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        Box::pin(self.cancel_items(keys, now)).await
    }

    async fn requeue(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        Box::pin(self.requeue_items(requeueing)).await
    }

    async fn pause(&self, stage: StageId) -> Result<bool> {
        Box::pin(self.pause_stage(stage)).await
    }

    async fn resume(&self, stage: StageId) -> Result<bool> {
        Box::pin(self.resume_stage(stage)).await
    }

    async fn paused(&self) -> Result<Vec<StageId>> {
        Box::pin(self.paused_stages()).await
    }

    async fn add_many(&self, keys: &[Key]) -> Result<Added> {
        Box::pin(self.add_keys(keys)).await
    }

    async fn preview(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<PgRow>>> {
        Box::pin(self.preview_rows(claiming)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<ItemRow<PgRow>>> {
        Box::pin(self.get_item(key)).await
    }

    async fn list(&self, listing: &ListParams) -> Result<Page<PgRow>> {
        Box::pin(self.list_items(listing)).await
    }

    async fn counts(&self, counting: &CountParams) -> Result<Counts> {
        Box::pin(self.count_items(counting)).await
    }

    async fn explain(&self, key: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        Box::pin(self.explain_item(key, now)).await
    }

    async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        Box::pin(self.failure_records(key)).await
    }

    async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        Box::pin(self.held_items(limit)).await
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        Box::pin(self.database_time()).await
    }

    async fn begin(&self) -> Result<Self::Transaction> {
        Box::pin(self.begin_transaction()).await
    }

    async fn finish_in(&self, transaction: Self::Transaction, finish: &Finish, limits: Limits) -> Result<Finished> {
        Box::pin(self.finish_in_transaction(transaction, finish, limits)).await
    }

    async fn rollback(&self, transaction: Self::Transaction) -> Result<()> {
        Box::pin(self.roll_back(transaction)).await
    }

    async fn listen(&self) -> Result<PostgresListener> {
        PostgresListener::connect(self).await
    }

    fn claims_side_by_side(&self) -> bool {
        true
    }

    fn excluded(&self) -> Vec<Exclusion> {
        self.exclusions.list()
    }

    fn refused_stages(&self) -> Vec<RefusedStage> {
        self.brake.held()
    }
}
