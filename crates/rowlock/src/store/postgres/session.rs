//! One verb's use of a connection, and how a store's connections are set up: directly, or behind a pooler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres};
use tokio::time::error::Elapsed;

use super::connections::{Connections, Lent};
use super::errors::{leaves_connection_usable, translate};
use crate::limits::POSTGRES_CONNECTIONS_MAX;
use crate::{Error, Result};

/// How a store's own connections are made.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    connections: Arc<Connections>,
    /// For the user's transactions.
    pool: PgPool,
    options: PgConnectOptions,
    /// Where LISTEN works, if anywhere.
    direct: Option<PgConnectOptions>,
    deadline: Duration,
    read_only: bool,
    through_pooler: bool,
}

impl Sessions {
    /// Connections are made when they are needed, on the runtime that needs them.
    pub(super) fn new(options: PgConnectOptions, deadline: Duration) -> Sessions {
        Sessions::build(options.clone(), Some(options), deadline, false, false)
    }

    /// The same through a pooler that lends its connections for a transaction each. No setting and no prepared
    /// statement outlives a transaction there: another client would meet it, and we would miss it.
    pub(super) fn through_pooler(options: PgConnectOptions, deadline: Duration) -> Sessions {
        Sessions::build(options.statement_cache_capacity(0), None, deadline, false, true)
    }

    /// The same, with another way to the server for what a pooler cannot pass on.
    pub(super) fn with_direct(self, direct: PgConnectOptions) -> Sessions {
        Sessions { direct: Some(direct), ..self }
    }

    /// The same over connections of their own.
    pub(super) fn fork(&self, read_only: bool) -> Sessions {
        let read_only = self.read_only || read_only;
        Sessions::build(self.options.clone(), self.direct.clone(), self.deadline, read_only, self.through_pooler)
    }

    fn build(
        options: PgConnectOptions,
        direct: Option<PgConnectOptions>,
        deadline: Duration,
        read_only: bool,
        through_pooler: bool,
    ) -> Sessions {
        let set_up = (!through_pooler).then(|| set_up(deadline, read_only));
        let for_verbs = set_up.as_ref().map(|set_up| format!("{}{set_up}", planner_settings()));
        let connections = Connections::new(options.clone(), for_verbs);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
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
                    if let Some(set_up) = set_up {
                        connection.execute(AssertSqlSafe(set_up)).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        Sessions { connections, pool, options, direct, deadline, read_only, through_pooler }
    }

    /// The connections of the user's transactions.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Where LISTEN, and what else belongs to a connection and not to a transaction, works.
    pub(super) fn direct(&self) -> Option<&PgConnectOptions> {
        self.direct.as_ref()
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn is_through_pooler(&self) -> bool {
        self.through_pooler
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
        self.pool.close().await;
    }

    /// A connection for one verb. The verb's deadline begins now.
    pub(super) async fn open(&self, verb: &'static str) -> Result<Session> {
        let until = Instant::now() + self.deadline;
        let lent = self.connections.lend(verb, until).await?;
        let transactions = self.through_pooler.then_some(Transactions {
            access: if self.read_only { "read only" } else { "read write" },
            lock_timeout: Duration::ZERO,
            is_open: false,
        });
        Ok(Session { lent, verb, until, deadline: self.deadline, is_usable: true, transactions })
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

/// What the planner is told where the verbs run; the user's transactions are planned as ever, but what triggers of the
/// user's do within a verb is planned like this too.
///
/// Row searches go through an index by design, in the order of that index. A planner that has no statistics of a table,
/// or old ones of one whose states change by the second, must not decide otherwise: it would read the whole backlog and
/// sort it at each claim. A scan that is needed all the same (of rowlock's own small tables) is then costed so high that
/// the server would compile the statement for longer than it runs: a count of six rows took 200 ms.
const SEARCH_BY_INDEX: &[(&str, &str)] = &[("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("jit", "off")];

/// Each statement is planned once a connection: planning takes longer than claiming one item. (Behind a pooler, where
/// nothing stays prepared, it would only keep the planner from looking at the values.)
const PLAN_ONCE: &[(&str, &str)] = &[("plan_cache_mode", "force_generic_plan")];

/// How a batch that the database refused is repeated in parts. Each is named by its keys: `claim_part` looks them up under
/// any plan, `sweep` only under one that is made for them; the plan for all cases walks through all that is in progress.
pub(super) const BEGIN_IN_PARTS: &str =
    "begin; set local plan_cache_mode = force_custom_plan; set constraints all immediate";

/// The settings of the verbs' own connections, each with a semicolon and a space behind it.
pub(super) fn planner_settings() -> String {
    planner_settings_by("set")
}

/// The same by `set`, or by `set local` for the rest of a transaction.
pub(super) fn planner_settings_by(set: &str) -> String {
    [SEARCH_BY_INDEX, PLAN_ONCE].map(|settings| each_set(set, settings)).concat()
}

fn each_set(set: &str, settings: &[(&str, &str)]) -> String {
    settings.iter().map(|(name, value)| format!("{set} {name} = {value}; ")).collect()
}

fn set_up(deadline: Duration, read_only: bool) -> String {
    format!(
        "set statement_timeout = {ms}; set lock_timeout = 0; set idle_in_transaction_session_timeout = {ms}; \
         set default_transaction_isolation = 'read committed'; set default_transaction_read_only = {read_only}",
        ms = deadline.as_millis().max(1),
    )
}

/// One verb's use of a connection. A connection that was left in the middle of something is closed, not kept.
pub(super) struct Session {
    lent: Lent,
    verb: &'static str,
    until: Instant,
    deadline: Duration,
    is_usable: bool,
    /// Behind a pooler every statement stands in an explicit transaction.
    transactions: Option<Transactions>,
}

/// What a transaction through a pooler begins with.
#[derive(Debug, Clone, Copy)]
struct Transactions {
    access: &'static str,
    lock_timeout: Duration,
    /// The verb has begun one of its own.
    is_open: bool,
}

impl Transactions {
    fn begin(self, deadline: Duration) -> String {
        format!(
            "begin isolation level read committed {access}; {planner}set local statement_timeout = {ms}; \
             set local lock_timeout = {lock_ms}; set local idle_in_transaction_session_timeout = {ms}",
            access = self.access,
            ms = deadline.as_millis().max(1),
            lock_ms = self.lock_timeout.as_millis(),
            planner = each_set("set local", SEARCH_BY_INDEX),
        )
    }
}

impl Session {
    /// All rows of a statement.
    pub(super) async fn fetch(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        let query = query.persistent(self.transactions.is_none());
        self.in_transaction(async |connection| query.fetch_all(connection).await).await
    }

    /// The number of rows that a statement touched.
    pub(super) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let query = query.persistent(self.transactions.is_none());
        self.in_transaction(async |connection| query.execute(connection).await).await.map(|done| done.rows_affected())
    }

    /// Statements without parameters, e.g. `begin`. Settings of the connection are not for here: behind a pooler they
    /// would be lost, or found by others.
    pub(super) async fn run(&mut self, sql: &str) -> Result<()> {
        let deadline = self.deadline;
        let Some(transactions) = &mut self.transactions else { return self.send(sql.to_owned()).await };
        match sql {
            "commit" | "rollback" => {
                transactions.is_open = false;
                self.send(sql.to_owned()).await
            }
            _ if sql.starts_with("begin") => {
                transactions.is_open = true;
                let begin = format!("{}{}", transactions.begin(deadline), &sql["begin".len()..]);
                self.send(begin).await
            }
            _ => {
                let sql = AssertSqlSafe(sql.to_owned());
                self.in_transaction(async |connection| connection.execute(sql).await).await.map(drop)
            }
        }
    }

    /// How long statements wait for a lock from now on; zero is as long as the verb.
    pub(super) async fn set_lock_timeout(&mut self, lock_timeout: Duration) -> Result<()> {
        match &mut self.transactions {
            Some(transactions) => transactions.lock_timeout = lock_timeout,
            None => self.send(format!("set lock_timeout = {}", lock_timeout.as_millis())).await?,
        }
        Ok(())
    }

    /// Something that is no statement, e.g. COPY. It stands in a transaction that the verb has begun.
    pub(super) async fn work<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let until = self.until.into();
        let answer = tokio::time::timeout_at(until, work(&mut self.lent.connection)).await;
        self.answered(answer)
    }

    /// Behind a pooler, and outside of a transaction of the verb's own, in one of its own.
    async fn in_transaction<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let begin = self.transactions.filter(|transactions| !transactions.is_open).map(|new| new.begin(self.deadline));
        let Some(begin) = begin else { return self.work(work).await };
        self.send(begin).await?;
        match self.work(work).await {
            Ok(answer) => self.send("commit".to_owned()).await.map(|()| answer),
            Err(error) => {
                if self.is_usable {
                    self.send("rollback".to_owned()).await?;
                }
                Err(error)
            }
        }
    }

    async fn send(&mut self, sql: String) -> Result<()> {
        self.work(async |connection| connection.execute(AssertSqlSafe(sql)).await).await.map(drop)
    }

    /// The answer, or why there is none; a connection that is not between statements is not kept.
    fn answered<T>(&mut self, answer: Result<sqlx::Result<T>, Elapsed>) -> Result<T> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if !leaves_connection_usable(&error) {
                    self.is_usable = false;
                    self.lent.give_up_others();
                }
                Err(translate(self.verb, error))
            }
            Err(_) => {
                self.is_usable = false;
                Err(Error::Deadline { verb: self.verb, deadline: self.deadline })
            }
        }
    }

    /// Gives a verb more time, from now.
    pub(super) fn extend_deadline(&mut self, deadline: Duration) {
        self.until = Instant::now() + deadline;
        self.deadline = deadline;
    }

    /// The verb is over and the connection is between statements and outside of a transaction. A session that is
    /// dropped without this closes its connection: nobody knows what it is in the middle of.
    pub(super) fn done(self) {
        if self.is_usable {
            self.lent.give_back();
        }
    }
}
