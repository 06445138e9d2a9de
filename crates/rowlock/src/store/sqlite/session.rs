//! Connections, deadlines and transactions.
//!
//! A verb takes a connection out of its place, and puts it back only when it has ended its transaction. When a verb's
//! future is dropped midway, or its deadline passes, the connection is closed instead, which rolls back whatever was
//! open: a half-done transaction cannot come back.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::file::{DatabaseFile, busy_timeout_of_opening};
use super::{errors, rows};
use crate::{Error, Fault, Result};

/// SQLite's virtual-machine steps between two checks whether a statement is still wanted: a few microseconds.
const STEPS_BETWEEN_INTERRUPT_CHECKS: i32 = 10_000;

/// How long SQLite itself waits for a busy file before [`Session::begin`] tries again, until the verb's deadline.
/// SQLite sleeps longer between two tries the longer it waits, up to 100 ms. On a file that is busy most of the time, a
/// connection that has waited for long would hardly ever find it free: heartbeats would starve beside new claims.
const BUSY_TRIES: Duration = Duration::from_millis(50);

/// Wait between two of these tries: SQLite answers at once where it sees that waiting would not help.
const BETWEEN_BUSY_TRIES: Duration = Duration::from_millis(1);

/// Wait before another attempt to open a connection: `busy_timeout` does not cover turning a new file into WAL mode.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Begins, and in the same call returns which schema the transaction sees.
const BEGIN_WRITING: &str = "BEGIN IMMEDIATE; PRAGMA schema_version";
const BEGIN_READING: &str = "BEGIN; PRAGMA schema_version";

/// Running a statement makes the connection read a changed schema again; preparing one does not.
const READ_SCHEMA: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

/// One statement of a pipeline, rendered.
#[derive(Debug, Clone)]
pub(super) struct Sql(Arc<str>);

impl Sql {
    pub(super) fn new(text: String) -> Sql {
        Sql(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub(super) enum Bind {
    Null,
    Integer(i64),
    Text(String),
}

impl From<i64> for Bind {
    fn from(number: i64) -> Bind {
        Bind::Integer(number)
    }
}

impl From<i32> for Bind {
    fn from(number: i32) -> Bind {
        Bind::Integer(number.into())
    }
}

impl From<&str> for Bind {
    fn from(text: &str) -> Bind {
        Bind::Text(text.to_owned())
    }
}

impl From<String> for Bind {
    fn from(text: String) -> Bind {
        Bind::Text(text)
    }
}

impl<T: Into<Bind>> From<Option<T>> for Bind {
    fn from(value: Option<T>) -> Bind {
        value.map_or(Bind::Null, Into::into)
    }
}

/// One call of a verb: its name, its deadline, and whether something of it may be committed.
#[derive(Debug, Clone)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) deadline: Duration,
    may_be_committed: Arc<AtomicBool>,
}

impl Verb {
    pub(super) fn new(name: &'static str, deadline: Duration) -> Verb {
        Verb { name, deadline, may_be_committed: Arc::new(AtomicBool::new(false)) }
    }

    /// Runs the verb, and drops it with its connection when the deadline passes. An error says whether the verb may
    /// have had an effect: it may have more than one transaction, if rows were refused.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::time::timeout(self.deadline, work).await;
        let may_be_committed = self.may_be_committed.load(Ordering::Acquire);
        match result {
            Ok(Err(error)) if may_be_committed => Err(errors::after_a_commit(error)),
            Ok(result) => result,
            Err(_) if may_be_committed => Err(Error::Deadline { verb: self.name, deadline: self.deadline }),
            Err(_) => Err(errors::too_late(self.name, self.deadline)),
        }
    }
}

/// The places for connections of one kind. A verb that finds its place empty opens a connection.
pub(super) struct Connections {
    options: SqliteConnectOptions,
    busy_timeout: Duration,
    file: Arc<DatabaseFile>,
    idle: Mutex<Vec<Open>>,
    places: Arc<Semaphore>,
}

/// An open connection, with the switch that stops its running statement.
struct Open {
    raw: SqliteConnection,
    interrupt: Arc<AtomicBool>,
    /// SQLite's number of the schema under which the connection's statements were prepared.
    schema_version: Option<i64>,
}

impl Connections {
    pub(super) fn new(
        options: SqliteConnectOptions,
        busy_timeout: Duration,
        file: Arc<DatabaseFile>,
        places: usize,
    ) -> Arc<Connections> {
        let places = Arc::new(Semaphore::new(places));
        Arc::new(Connections { options, busy_timeout, file, idle: Mutex::default(), places })
    }

    /// Takes a connection, when a place is free.
    pub(super) async fn take(self: &Arc<Self>, verb: &Verb) -> Result<Session> {
        let start = Instant::now();
        self.file.check(verb.name)?;
        let acquiring = Arc::clone(&self.places).acquire_owned();
        let permit = match tokio::time::timeout(verb.deadline, acquiring).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(errors::closed(verb.name)),
            Err(_) => return Err(errors::no_connection(verb.name, verb.deadline)),
        };
        let idle = self.idle().pop();
        let open = match idle {
            Some(open) => open,
            // A tenth less than the deadline, so that what is wrong with the file is reported first.
            None => self.open(verb, start + verb.deadline.mul_f64(0.9)).await?,
        };
        Ok(Session { verb: verb.clone(), open: Some(open), home: Arc::clone(self), _permit: permit })
    }

    /// Opens a connection, and tries again as long as the file is busy.
    async fn open(&self, verb: &Verb, until: Instant) -> Result<Open> {
        let opening = busy_timeout_of_opening(verb.deadline).min(self.busy_timeout);
        loop {
            // A connection to another file would take the log beside it for its own, write it there, and delete it.
            self.file.still_the_same(verb.name)?;
            match self.open_once(opening).await.map_err(|error| errors::of_statement(verb.name, error)) {
                Err(Error::Database { fault: Fault::NotApplied, source: sqlx::Error::Database(source), .. })
                    if is_busy(&*source) && Instant::now() + OPEN_AGAIN_AFTER + opening < until =>
                {
                    tokio::time::sleep(OPEN_AGAIN_AFTER).await;
                }
                Ok(open) => return self.file.opened(verb.name).map(|()| open),
                Err(error) => return Err(self.file.explain(verb.name, error)),
            }
        }
    }

    async fn open_once(&self, opening: Duration) -> Result<Open, sqlx::Error> {
        let mut raw = self.options.clone().busy_timeout(opening).connect().await?;
        let busy_timeout = format!("PRAGMA busy_timeout = {}", self.busy_timeout.min(BUSY_TRIES).as_millis());
        sqlx::query(AssertSqlSafe(busy_timeout)).execute(&mut raw).await?;
        count_one_transaction(&mut raw).await?;
        let interrupt = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&interrupt);
        let committing = Arc::clone(&interrupt);
        let mut handle = raw.lock_handle().await?;
        handle.set_progress_handler(STEPS_BETWEEN_INTERRUPT_CHECKS, move || !wanted.load(Ordering::Acquire));
        // A shorter statement is not stopped. It is not committed either: SQLite rolls the whole transaction back when
        // it stops a write, and later statements on the connection would commit by themselves.
        handle.set_commit_hook(move || !committing.load(Ordering::Acquire));
        drop(handle);
        Ok(Open { raw, interrupt, schema_version: None })
    }

    /// Closes the idle connections, and every other one when it is returned.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for open in idle {
            if let Err(error) = open.raw.close().await {
                tracing::debug!(%error, "a connection did not close cleanly");
            }
        }
    }

    /// A panic while the list is locked leaves it intact: every change of it is one call.
    fn idle(&self) -> MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Makes the driver count one transaction for good. Rowlock's own `BEGIN` and `COMMIT` are plain statements, which it
/// does not count; this way, code that gets the connection within one of them and calls `begin` on it gets a savepoint
/// and not an error.
async fn count_one_transaction(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    std::mem::forget(connection.begin_with("BEGIN").await?);
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// A connection, out of its place. Dropping it closes it; only [`Session::keep`], [`Session::commit`] and
/// [`Session::roll_back`] put it back.
pub(super) struct Session {
    verb: Verb,
    open: Option<Open>,
    home: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    /// The verb that uses the connection from now on.
    pub(super) fn set_verb(&mut self, verb: Verb) {
        self.verb = verb;
    }

    /// Runs a statement of transaction control.
    pub(super) async fn run(&mut self, statement: &'static str) -> Result<()> {
        let verb = self.verb.name;
        sqlx::query(statement).execute(&mut **self).await.map_err(|error| errors::of_statement(verb, error))?;
        Ok(())
    }

    /// Begins a write transaction.
    pub(super) async fn begin_writing(&mut self) -> Result<()> {
        self.begin(BEGIN_WRITING).await
    }

    /// Begins a read transaction. A statement that reads whole rows of the user's table is always in a transaction.
    pub(super) async fn begin_reading(&mut self) -> Result<()> {
        self.begin(BEGIN_READING).await
    }

    /// Begins a transaction, in which no other connection changes the schema, and forgets the statements that were
    /// prepared under another one. SQLite prepares them again by itself, but the driver remembers their columns: it
    /// could not read a row of a table that got a column, and would mix up the columns of one that lost a column.
    async fn begin(&mut self, statement: &'static str) -> Result<()> {
        let verb = self.verb.name;
        let of_statement = |error| errors::of_statement(verb, error);
        let until = Instant::now() + self.home.busy_timeout;
        let row = loop {
            match sqlx::query(statement).fetch_one(&mut **self).await {
                Err(sqlx::Error::Database(error)) if is_busy(&*error) && Instant::now() + BUSY_TRIES < until => {
                    // SQLite does not wait before every busy answer.
                    tokio::time::sleep(BETWEEN_BUSY_TRIES).await;
                }
                answer => break answer.map_err(of_statement)?,
            }
        };
        let version = rows::integer(&row, 0);
        if version.is_none() || version != self.open().schema_version {
            self.clear_cached_statements().await.map_err(of_statement)?;
            sqlx::query(READ_SCHEMA).execute(&mut **self).await.map_err(of_statement)?;
            self.open().schema_version = version;
        }
        Ok(())
    }

    /// Called after a transaction of the user's was rolled back: it may have changed the schema, which is restored.
    pub(super) fn forget_schema(&mut self) {
        self.open().schema_version = None;
    }

    fn open(&mut self) -> &mut Open {
        self.open.as_mut().expect("a session has its connection until it ends")
    }

    /// Makes the transaction durable, and puts the connection back.
    pub(super) async fn commit(mut self) -> Result<()> {
        let verb = self.verb.name;
        let before = self.verb.may_be_committed.swap(true, Ordering::AcqRel);
        match sqlx::query("COMMIT").execute(&mut *self).await {
            Ok(_) => {
                self.keep();
                Ok(())
            }
            Err(error) => {
                let error = errors::of_commit(verb, error);
                self.verb.may_be_committed.store(before || error.may_have_been_applied(), Ordering::Release);
                if errors::may_be_a_rows(&error) {
                    self.roll_back().await?;
                }
                Err(error)
            }
        }
    }

    /// Rolls the transaction back, and puts the connection back. A trigger may have rolled it back already.
    pub(super) async fn roll_back(mut self) -> Result<()> {
        let verb = self.verb.name;
        let undone = sqlx::query("ROLLBACK").execute(&mut *self).await;
        match undone.map_err(|error| errors::of_statement(verb, error)) {
            Ok(_) => {
                self.keep();
                Ok(())
            }
            Err(error) if errors::is_transaction_gone(&error) => {
                self.keep();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Rolls the write transaction back, and begins another one at once. A trigger may have rolled it back already.
    pub(super) async fn begin_again(&mut self) -> Result<()> {
        match self.run("ROLLBACK").await {
            Err(error) if !errors::is_transaction_gone(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.begin_writing().await
    }

    /// Closes the connection, which rolls back an open transaction.
    pub(super) async fn close(mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.raw.close().await
        {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }

    /// The switch that stops the running statement, and each later one that is not short.
    pub(super) fn interrupt(&self) -> Arc<AtomicBool> {
        let open = self.open.as_ref().expect("a session has its connection until it ends");
        Arc::clone(&open.interrupt)
    }

    /// Puts the connection back. It has no transaction open.
    pub(super) fn keep(mut self) {
        if let Some(open) = self.open.take()
            && !self.home.places.is_closed()
        {
            self.home.idle().push(open);
        }
    }

    /// Runs a statement for its rows.
    pub(super) async fn rows(&mut self, sql: &Sql, binds: impl IntoIterator<Item = Bind>) -> Result<Vec<SqliteRow>> {
        let verb = self.verb.name;
        let arguments = arguments(binds).map_err(|error| errors::of_statement(verb, error))?;
        sqlx::query_with(AssertSqlSafe(Arc::clone(&sql.0)), arguments)
            .fetch_all(&mut **self)
            .await
            .map_err(|error| errors::of_statement(verb, error))
    }

    /// Runs a statement for the number of rows that it changed.
    pub(super) async fn execute(&mut self, sql: &Sql, binds: impl IntoIterator<Item = Bind>) -> Result<u64> {
        let verb = self.verb.name;
        let arguments = arguments(binds).map_err(|error| errors::of_statement(verb, error))?;
        let done = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql.0)), arguments)
            .execute(&mut **self)
            .await
            .map_err(|error| errors::of_statement(verb, error))?;
        Ok(done.rows_affected())
    }
}

fn arguments(binds: impl IntoIterator<Item = Bind>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for bind in binds {
        let added = match bind {
            Bind::Null => arguments.add(None::<String>),
            Bind::Integer(number) => arguments.add(number),
            Bind::Text(text) => arguments.add(text),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

impl Deref for Session {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.open.as_ref().expect("a session has its connection until it ends").raw
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.open().raw
    }
}

impl Drop for Session {
    /// A statement that runs on would hold the write lock, so it is stopped before the connection closes.
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.interrupt.store(true, Ordering::Release);
        }
    }
}
