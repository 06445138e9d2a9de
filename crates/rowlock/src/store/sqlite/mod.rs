//! SQLite: one machine, nothing to install.
//!
//! SQLite has one writer at a time. Each verb that writes is one `BEGIN IMMEDIATE` transaction, so nothing changes
//! between its statements; everything that reads uses connections that are opened read-only.

mod checks;
mod claim;
mod clock;
mod errors;
mod failure_log;
mod file;
mod finish;
mod indexes;
mod items;
mod json;
mod leases;
mod listener;
mod operator;
mod plain;
mod read;
mod refusal;
mod rows;
mod schema;
mod session;
mod statements;
mod sweep;
mod table_facts;
#[cfg(test)]
mod tests;
mod transaction;
mod trial;
mod unreadable;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};

use self::failure_log::FailureLog;
use self::file::DatabaseFile;
use self::items::KeyValue;
use self::plain::BrokenKeys;
use self::session::{Connections, Session, Verb};
use self::statements::Statements;
use super::brake::Brake;
use super::exclusion::Exclusions;
use super::passed_over::PassedOver;
use super::url::{displayable_url, refuse_url, split_scheme};
use super::{
    Added, ClaimBatch, ClaimParams, ClaimedRow, CountParams, Counts, Exclusion, Expiry, Explanation, FailureRecord,
    Finish, FinishParams, Finished, HeldItem, ItemRow, LeaseState, Limits, ListParams, Moved, Page, RefusedStage,
    RequeueParams, SetParams, Store, SweepParams, Swept,
};
use crate::limits::{BATCH_ITEMS_MAX, PREPARE_DEADLINE, SQLITE_READERS, VERB_DEADLINE};
use crate::pipeline::{Pipeline, StageId};
use crate::{Error, FencingToken, Key, Lease, Result};

pub(crate) use self::errors::is_outage;
pub use self::listener::SqliteListener;
pub use self::transaction::SqliteTransaction;

/// A pipeline's table in an SQLite file.
///
/// A store has one writing connection and several reading ones. A transaction of the user's ([`Store::begin`]) has the
/// writing one for as long as it is open: the store's other verbs wait for it, up to their deadline.
///
/// A row is no item if its key is not of the pipeline's type, such as a uuid stored as a blob, or is text that contains
/// NUL or is not valid UTF-8: no verb sees it. [`Store::inspect`] reports it, and [`Store::counts`] counts it among the
/// unknown words.
///
/// Commits are durable: [`SqliteStore::open`] and [`SqliteStore::connect`] set `synchronous = FULL`, so that everything
/// reported as a success is still there after a power cut. With `NORMAL` the last commits could be gone, including some
/// that a handler's effects elsewhere rely on. The price is one flush to disk per transaction, which is why verbs work
/// in batches.
#[derive(Clone)]
pub struct SqliteStore {
    pipeline: Arc<Pipeline>,
    statements: Arc<Statements>,
    policies: Arc<str>,
    exclusions: Exclusions,
    passed_over: PassedOver,
    brake: Brake,
    failure_log: FailureLog,
    broken_keys: BrokenKeys,
    options: SqliteConnectOptions,
    file: Arc<DatabaseFile>,
    read_only: bool,
    writer: Arc<Connections>,
    readers: Arc<Connections>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("file", &self.options.get_filename())
            .field("table", &self.pipeline.table())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a file, and creates it for its owner alone if there is none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a URL, [`Error::File`] for what is wrong with the file.
    pub async fn open(path: impl AsRef<Path>, pipeline: Pipeline) -> Result<SqliteStore> {
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(true).synchronous(SqliteSynchronous::Full);
        SqliteStore::with_file(options, true, pipeline).await
    }

    /// Opens the file of a URL, `sqlite://FILE`. It must exist, unless the URL ends in `?mode=rwc`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a URL that names no file, [`Error::File`] for what is wrong with the file.
    pub async fn connect(url: &str, pipeline: Pipeline) -> Result<SqliteStore> {
        let file = match split_scheme(url) {
            Some((scheme, file)) if scheme == "sqlite" => file,
            Some((scheme, _)) if scheme.starts_with("postgres") => {
                return Err(refuse_url(url, "an SqliteStore needs sqlite://FILE; a server is for PostgresStore"));
            }
            _ => return Err(refuse_url(url, "an SqliteStore needs sqlite://FILE")),
        };
        let (_, parameters) = file.split_once('?').unwrap_or((file, ""));
        if parameters.split('&').any(|parameter| parameter == "mode=memory") {
            return Err(refuse_url(url, IN_MEMORY));
        }
        let options = SqliteConnectOptions::from_str(&format!("sqlite:{file}"))
            .map_err(|_| refuse_url(url, "of its parameters only mode, cache, immutable and vfs are known"))?;
        let creates = parameters.split('&').any(|parameter| parameter == "mode=rwc");
        SqliteStore::with_file(options.synchronous(SqliteSynchronous::Full), creates, pipeline).await
    }

    /// Opens a file with the caller's options. In any case the journal is a write-ahead log, and the busy timeout
    /// follows the verbs' deadline; how durable commits are is the caller's choice.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a database in memory, [`Error::File`] for what is wrong with the file.
    pub async fn with_options(options: SqliteConnectOptions, pipeline: Pipeline) -> Result<SqliteStore> {
        SqliteStore::with_file(options, false, pipeline).await
    }

    async fn with_file(options: SqliteConnectOptions, creates: bool, pipeline: Pipeline) -> Result<SqliteStore> {
        let path = path_of(&options)?;
        if pipeline.table().schema().is_some_and(|schema| schema != "main") {
            return Err(Error::InvalidPipeline {
                field: "table.schema".to_owned(),
                value: format!("{:?}", pipeline.table().schema().unwrap_or_default()),
                rule: "SQLite has no schemas: a file has one set of tables".to_owned(),
            });
        }
        // It stays valid if this process changes its folder.
        let options = options.filename(&path);
        let file = Arc::new(DatabaseFile::new(path));
        let statements = Arc::new(Statements::new(&pipeline));
        let policies = statements::policies(&pipeline).into();
        let (writer, readers) = connections(&options, &file, false, &pipeline);
        let exclusions = Exclusions::default();
        let store = SqliteStore {
            pipeline: Arc::new(pipeline),
            statements,
            policies,
            brake: Brake::new(exclusions.clone()),
            exclusions,
            passed_over: PassedOver::default(),
            failure_log: FailureLog::default(),
            broken_keys: BrokenKeys::default(),
            options,
            file,
            read_only: false,
            writer,
            readers,
        };
        if creates {
            store.file.create();
        }
        let was_there = store.file.is_there();
        let verb = store.verb("open");
        verb.within(async { store.take_writer(&verb).await.map(Session::keep) }).await?;
        if !was_there {
            store.file.restrict();
        }
        Ok(store)
    }

    /// The same with separate connections, which are not open yet.
    fn again(&self, read_only: bool) -> SqliteStore {
        let (writer, readers) = connections(&self.options, &self.file, read_only, &self.pipeline);
        SqliteStore { read_only, writer, readers, ..self.clone() }
    }

    /// Opens the writing connection before any reading one, because those need the write-ahead log. Refuses a file that
    /// a newer Rowlock prepared.
    async fn open_writer(&self, name: &'static str) -> Result<()> {
        let verb = self.verb(name);
        verb.within(async {
            let mut session = self.take_writer(&verb).await?;
            self.check_version(&mut session).await?;
            session.keep();
            Ok(())
        })
        .await
    }

    fn verb(&self, name: &'static str) -> Verb {
        Verb::new(name, verb_deadline(&self.pipeline))
    }

    async fn take_writer(&self, verb: &Verb) -> Result<Session> {
        self.writer.take(verb).await
    }

    /// Begins a write transaction. SQLite refuses it on a read-only store, even if it would write nothing.
    async fn write(&self, verb: &Verb) -> Result<Session> {
        let mut session = self.take_writer(verb).await?;
        if self.read_only {
            session.execute(&self.statements.refuse_writes, []).await?;
        }
        session.begin_writing().await?;
        Ok(session)
    }

    async fn read_session(&self, verb: &Verb) -> Result<Session> {
        self.readers.take(verb).await
    }

    /// Begins a read transaction.
    async fn read(&self, verb: &Verb) -> Result<Session> {
        let mut session = self.read_session(verb).await?;
        session.begin_reading().await?;
        Ok(session)
    }

    /// The time of a verb, the same for all of its statements.
    async fn time(&self, session: &mut Session, now: Option<DateTime<Utc>>) -> Result<String> {
        match now {
            Some(now) => Ok(clock::format(now)),
            None => Ok(self.moment(session, None).await?.now),
        }
    }

    async fn moment(&self, session: &mut Session, now: Option<DateTime<Utc>>) -> Result<Moment> {
        let rows = session.rows(&self.statements.now, [self.pipeline.table().name().into()]).await?;
        let row = rows.first();
        Ok(Moment {
            now: match now {
                Some(now) => clock::format(now),
                None => row.and_then(|row| rows::text(row, 0)).unwrap_or_default(),
            },
            has_triggers: row.and_then(|row| rows::integer(row, 1)) == Some(1),
        })
    }

    fn key_of_row(&self, row: &SqliteRow, column: usize) -> KeyValue {
        let key = Key::new(rows::text(row, column).unwrap_or_default());
        KeyValue::of_row(&key, self.pipeline.key_type())
    }

    /// The keys that a claim or a sweep leaves out.
    fn excluded_keys(&self, verb: &'static str) -> Vec<KeyValue> {
        let (excluded, passed_over) = (self.exclusions.keys(), self.passed_over.keys(verb));
        excluded.iter().chain(&passed_over).map(|key| KeyValue::of_row(key, self.pipeline.key_type())).collect()
    }
}

const IN_MEMORY: &str = "a database in memory ends with its process, which a queue must outlive: name a file";

/// The file's absolute path.
fn path_of(options: &SqliteConnectOptions) -> Result<PathBuf> {
    let name = options.get_filename();
    let text = name.to_string_lossy();
    if text.is_empty() || text == ":memory:" || text.contains(":memory:") || text.starts_with("file:") {
        let value = if text.starts_with("file:") { displayable_url(&text) } else { format!("{text:?}") };
        return Err(Error::InvalidArgument { argument: "file", value, rule: IN_MEMORY.to_owned() });
    }
    // In anything else that begins like a URL, a part may be a password.
    let is_url = split_scheme(&text).is_some_and(|(_, rest)| rest.starts_with("//"));
    let may_hold_password = text.split_once(':').is_some_and(|(_, rest)| rest.contains('@'));
    if is_url || (may_hold_password && !name.exists()) {
        let rule = "it must be the path of a file; a URL is for connect, and sqlite://FILE is this database's";
        let value = displayable_url(&text);
        return Err(Error::InvalidArgument { argument: "file", value, rule: rule.to_owned() });
    }
    std::path::absolute(name).map_err(|error| Error::InvalidArgument {
        argument: "file",
        value: format!("{name:?}"),
        rule: format!("it must be the path of a file: {error}"),
    })
}

/// What a verb asks first.
struct Moment {
    now: String,
    /// Whether the table has triggers, which may change a row after a move.
    has_triggers: bool,
}

/// The places for a store's writing connection and for its reading ones.
fn connections(
    options: &SqliteConnectOptions,
    file: &Arc<DatabaseFile>,
    read_only: bool,
    pipeline: &Pipeline,
) -> (Arc<Connections>, Arc<Connections>) {
    // A tenth less than the deadline: SQLite's own answer, that the file is busy, is the clearer one.
    let busy_timeout = verb_deadline(pipeline).mul_f64(0.9);
    // The rows of a whole batch fit, so that the driver's thread never waits for someone to take them.
    let shared = options.clone().row_buffer_size(BATCH_ITEMS_MAX);
    let reading = shared.clone().read_only(true).create_if_missing(false);
    let writing = if read_only { reading.clone() } else { shared.journal_mode(SqliteJournalMode::Wal) };
    let new = |options, places| Connections::new(options, busy_timeout, Arc::clone(file), places);
    (new(writing, 1), new(reading, SQLITE_READERS))
}

fn verb_deadline(pipeline: &Pipeline) -> Duration {
    VERB_DEADLINE.min(pipeline.stale_after() / 3)
}

impl Store for SqliteStore {
    type Row = SqliteRow;
    type Transaction = SqliteTransaction;
    type Listener = SqliteListener;

    fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    async fn fork(&self) -> Result<SqliteStore> {
        let fork = self.again(self.read_only);
        fork.open_writer("fork").await?;
        Ok(fork)
    }

    async fn read_only(&self) -> Result<SqliteStore> {
        let store = self.again(true);
        store.open_writer("read_only").await?;
        Ok(store)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn prepare(&self) -> Result<()> {
        let verb = Verb::new("prepare", PREPARE_DEADLINE);
        verb.within(self.prepare_schema(&verb)).await
    }

    async fn inspect(&self) -> Result<Vec<String>> {
        let verb = self.verb("inspect");
        verb.within(self.inspect_schema(&verb)).await
    }

    async fn claim(&self, claiming: &ClaimParams) -> Result<ClaimBatch<SqliteRow>> {
        let verb = self.verb("claim");
        verb.within(self.claim_items(&verb, claiming)).await
    }

    async fn find_claimed(&self, token: FencingToken) -> Result<Vec<ClaimedRow<SqliteRow>>> {
        let verb = self.verb("find_claimed");
        verb.within(self.find_claimed_items(&verb, token)).await
    }

    async fn finish(&self, finishing: &FinishParams) -> Result<Vec<Finished>> {
        let verb = self.verb("finish");
        verb.within(self.finish_items(&verb, finishing)).await
    }

    async fn renew(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        let verb = self.verb("renew");
        verb.within(self.renew_leases(&verb, leases, now)).await
    }

    async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let verb = self.verb("read_leases");
        verb.within(self.read_lease_states(&verb, leases)).await
    }

    async fn sweep(&self, sweeping: &SweepParams) -> Result<Swept> {
        let verb = self.verb("sweep");
        verb.within(self.sweep_items(&verb, sweeping)).await
    }

    async fn set(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        let verb = self.verb("set");
        verb.within(self.set_items(&verb, setting)).await
    }

    async fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        let verb = self.verb("cancel");
        verb.within(self.cancel_items(&verb, keys, now)).await
    }

    async fn requeue(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        let verb = self.verb("requeue");
        verb.within(self.requeue_items(&verb, requeueing)).await
    }

    async fn pause(&self, stage: StageId) -> Result<bool> {
        let verb = self.verb("pause");
        verb.within(self.pause_stage(&verb, stage)).await
    }

    async fn resume(&self, stage: StageId) -> Result<bool> {
        let verb = self.verb("resume");
        verb.within(self.resume_stage(&verb, stage)).await
    }

    async fn paused(&self) -> Result<Vec<StageId>> {
        let verb = self.verb("paused");
        verb.within(self.paused_stages(&verb)).await
    }

    async fn add_many(&self, keys: &[Key]) -> Result<Added> {
        self.add_keys("add_many", keys).await
    }

    async fn preview(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<SqliteRow>>> {
        let verb = self.verb("preview");
        verb.within(self.preview_items(&verb, claiming)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<ItemRow<SqliteRow>>> {
        let verb = self.verb("get");
        verb.within(self.get_item(&verb, key)).await
    }

    async fn list(&self, listing: &ListParams) -> Result<Page<SqliteRow>> {
        let verb = self.verb("list");
        verb.within(self.list_items(&verb, listing)).await
    }

    async fn counts(&self, counting: &CountParams) -> Result<Counts> {
        let verb = self.verb("counts");
        verb.within(self.count_items(&verb, counting)).await
    }

    async fn explain(&self, key: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        let verb = self.verb("explain");
        verb.within(self.explain_item(&verb, key, now)).await
    }

    async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        let verb = self.verb("failures");
        verb.within(self.read_failures(&verb, key)).await
    }

    async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        let verb = self.verb("held");
        verb.within(self.held_items(&verb, limit)).await
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        let verb = self.verb("now");
        verb.within(self.read_clock(&verb)).await
    }

    async fn begin(&self) -> Result<SqliteTransaction> {
        let verb = self.verb("begin");
        verb.within(self.begin_transaction(&verb)).await
    }

    fn expiry(transaction: &mut SqliteTransaction) -> Option<Expiry> {
        transaction.expiry()
    }

    async fn finish_in(&self, transaction: SqliteTransaction, finish: &Finish, limits: Limits) -> Result<Finished> {
        let verb = transaction.verb().clone();
        verb.within(self.finish_transaction(&verb, transaction, finish, limits)).await
    }

    async fn rollback(&self, transaction: SqliteTransaction) -> Result<()> {
        let verb = self.verb("rollback");
        verb.within(transaction.roll_back()).await
    }

    async fn listen(&self) -> Result<SqliteListener> {
        let verb = self.verb("listen");
        verb.within(self.start_listening(&verb)).await
    }

    fn excluded(&self) -> Vec<Exclusion> {
        self.exclusions.list()
    }

    fn refused_stages(&self) -> Vec<RefusedStage> {
        self.brake.held()
    }
}
