//! Connections: how they are made, and one verb's use of one.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres};
use tokio::time::error::Elapsed;

use super::errors::{leaves_connection_usable, translate, translate_connect};
use crate::{Error, Result};

/// How a store's own connections are made.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pool: PgPool,
    options: PgConnectOptions,
    deadline: Duration,
    read_only: bool,
}

/// Connections of one store: verbs of a worker are few at a time; the user's transactions take one each.
const CONNECTIONS_MAX: u32 = 8;

impl Sessions {
    /// Connections are made when they are needed, on the runtime that needs them.
    pub(super) fn new(options: PgConnectOptions, deadline: Duration, read_only: bool) -> Sessions {
        let set_up = set_up(deadline, read_only);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(deadline)
            // A ping before each use would be a round trip more; a broken connection is noticed and replaced.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            // A connection that does not answer is closed: the pool's own ping has no end.
            .after_release(|connection, _| Box::pin(answers_in_time(connection)))
            .after_connect(move |connection, _| {
                let set_up = set_up.clone();
                Box::pin(async move {
                    connection.execute(AssertSqlSafe(set_up)).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        Sessions { pool, options, deadline, read_only }
    }

    /// The same over connections of their own.
    pub(super) fn fork(&self, read_only: bool) -> Sessions {
        Sessions::new(self.options.clone(), self.deadline, self.read_only || read_only)
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// A connection for one verb. The verb's deadline begins now.
    pub(super) async fn open(&self, verb: &'static str) -> Result<Session> {
        let until = Instant::now() + self.deadline;
        let connection = match tokio::time::timeout(self.deadline, self.pool.acquire()).await {
            Ok(acquired) => acquired.map_err(|error| translate_connect(verb, error))?,
            Err(_) => return Err(translate_connect(verb, sqlx::Error::PoolTimedOut)),
        };
        Ok(Session { connection: Some(connection), verb, until, deadline: self.deadline })
    }
}

/// How long a connection that is given back may take to end what it was in the middle of.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

async fn answers_in_time(connection: &mut PgConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(RELEASE_DEADLINE, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Row searches go through an index by design; a planner that has old statistics of a table whose states change by
/// the second must not decide otherwise. A scan that is needed all the same (of rowlock's own small tables) is then
/// costed so high that the server would compile the statement for longer than it runs: a count of six rows took 200 ms.
fn set_up(deadline: Duration, read_only: bool) -> String {
    format!(
        "set statement_timeout = {ms}; set lock_timeout = 0; set idle_in_transaction_session_timeout = {ms}; set enable_seqscan = off; \
         set jit = off; \
         set default_transaction_isolation = 'read committed'; set default_transaction_read_only = {read_only}",
        ms = deadline.as_millis().max(1),
    )
}

/// One verb's use of a connection. A connection that was left in the middle of something is closed, not pooled.
pub(super) struct Session {
    connection: Option<PoolConnection<Postgres>>,
    verb: &'static str,
    until: Instant,
    deadline: Duration,
}

impl Session {
    /// All rows of a statement.
    pub(super) async fn fetch(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let until = self.until.into();
        let answer = tokio::time::timeout_at(until, query.fetch_all(self.connection())).await;
        self.answered(answer)
    }

    /// The number of rows that a statement touched.
    pub(super) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let until = self.until.into();
        let answer = tokio::time::timeout_at(until, query.execute(self.connection())).await;
        self.answered(answer).map(|done| done.rows_affected())
    }

    /// Statements without parameters, e.g. `begin`.
    pub(super) async fn run(&mut self, sql: &str) -> Result<()> {
        let until = self.until.into();
        let work = self.connection().execute(AssertSqlSafe(sql.to_owned()));
        let answer = tokio::time::timeout_at(until, work).await;
        self.answered(answer).map(drop)
    }

    /// Something that is no statement, e.g. COPY.
    pub(super) async fn work<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let until = self.until.into();
        let answer = tokio::time::timeout_at(until, work(self.connection())).await;
        self.answered(answer)
    }

    /// The answer, or why there is none; a connection that is not between statements is kept out of the pool.
    fn answered<T>(&mut self, answer: Result<sqlx::Result<T>, Elapsed>) -> Result<T> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if !leaves_connection_usable(&error) {
                    self.close();
                }
                Err(translate(self.verb, error))
            }
            Err(_) => {
                self.close();
                Err(Error::Deadline { verb: self.verb, deadline: self.deadline })
            }
        }
    }

    /// Gives a verb more time, from now.
    pub(super) fn extend_deadline(&mut self, deadline: Duration) {
        self.until = Instant::now() + deadline;
        self.deadline = deadline;
    }

    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a session has its connection until it is done")
    }

    /// The verb is over and the connection is between statements and outside of a transaction.
    pub(super) fn done(mut self) {
        drop(self.connection.take());
    }

    fn close(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl Drop for Session {
    /// A verb that ended early, or whose future was dropped: nobody knows what the connection is in the middle of.
    fn drop(&mut self) {
        self.close();
    }
}
