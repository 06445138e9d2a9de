//! One verb's use of a connection, and how a store's connections are set up: directly, or behind a pooler.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres};
use tokio::time::error::Elapsed;

use super::connections::{ConnectionLimits, Connections, Lent, Purpose};
use super::errors::{leaves_connection_usable, not_applied, translate, was_never_run};
use crate::limits::{CONNECTION_TESTED_AFTER, LADDER_STATEMENT_MAX};
use crate::{Error, Result};

/// How a store's connections are made, and the connections themselves.
#[derive(Clone)]
pub(super) struct Sessions {
    setup: Setup,
    /// For the verbs.
    connections: Arc<Connections>,
    /// For the user's transactions.
    transactions: Arc<Connections>,
}

/// Its options hold a password, so it is not shown.
#[derive(Clone)]
struct Setup {
    options: PgConnectOptions,
    /// Where LISTEN works, if anywhere.
    direct: Option<PgConnectOptions>,
    limits: ConnectionLimits,
    deadline: Duration,
    read_only: bool,
    through_pooler: bool,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("host", &self.setup.options.get_host())
            .field("port", &self.setup.options.get_port())
            .field("database", &self.setup.options.get_database())
            .field("limits", &self.setup.limits)
            .field("read_only", &self.setup.read_only)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Connections are made on demand, on the runtime that needs them.
    pub(super) fn new(options: PgConnectOptions, deadline: Duration) -> Sessions {
        let limits = ConnectionLimits::default();
        let direct = Some(options.clone());
        Sessions::build(Setup { options, direct, limits, deadline, read_only: false, through_pooler: false })
    }

    /// The same through a pooler that lends its connections for a transaction each. No setting and no prepared
    /// statement outlives a transaction there: another client would meet it, and this one would miss it.
    pub(super) fn through_pooler(options: PgConnectOptions, deadline: Duration) -> Sessions {
        let limits = ConnectionLimits::default();
        let options = options.statement_cache_capacity(0);
        Sessions::build(Setup { options, direct: None, limits, deadline, read_only: false, through_pooler: true })
    }

    /// The same, with a direct connection to the server for what a pooler cannot pass on.
    pub(super) fn with_direct(self, direct: PgConnectOptions) -> Sessions {
        Sessions { setup: Setup { direct: Some(direct), ..self.setup }, ..self }
    }

    /// The same, with direct connections to the server in place of the pooler.
    pub(super) fn over_direct(&self, direct: PgConnectOptions) -> Sessions {
        let options = direct.clone();
        Sessions::build(Setup { options, direct: Some(direct), through_pooler: false, ..self.setup.clone() })
    }

    /// The same with separate connections.
    pub(super) fn fork(&self, read_only: bool) -> Sessions {
        Sessions::build(Setup { read_only: self.setup.read_only || read_only, ..self.setup.clone() })
    }

    /// The same with separate connections, as many and for as long as the limits say.
    pub(super) fn with_limits(&self, limits: ConnectionLimits) -> Sessions {
        Sessions::build(Setup { limits, ..self.setup.clone() })
    }

    fn build(setup: Setup) -> Sessions {
        let set_up = (!setup.through_pooler)
            .then(|| format!("{}{}", planner_settings(), set_up(setup.deadline, setup.read_only)));
        let connections = Connections::new(setup.options.clone(), Purpose::Verbs(set_up), setup.limits);
        let transactions = Connections::new(setup.options.clone(), Purpose::Transactions, setup.limits);
        Sessions { setup, connections, transactions }
    }

    /// The connections of the user's transactions.
    pub(super) fn transactions(&self) -> &Arc<Connections> {
        &self.transactions
    }

    /// Where LISTEN works, and whatever else belongs to a connection and not to a transaction.
    pub(super) fn direct(&self) -> Option<&PgConnectOptions> {
        self.setup.direct.as_ref()
    }

    pub(super) fn limits(&self) -> ConnectionLimits {
        self.setup.limits
    }

    pub(super) fn deadline(&self) -> Duration {
        self.setup.deadline
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.setup.read_only
    }

    pub(super) fn is_through_pooler(&self) -> bool {
        self.setup.through_pooler
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
        self.transactions.close().await;
    }

    /// A connection for one verb. The verb's deadline begins now.
    pub(super) async fn open(&self, verb: &'static str) -> Result<Session> {
        self.open_tested(verb, CONNECTION_TESTED_AFTER).await
    }

    /// The same for an operator's verb, whose caller must learn what it did: it tests the connection first, however
    /// short it was idle. On a connection that died in the meantime it would stay open whether the verb ran.
    pub(super) async fn open_for_operator(&self, verb: &'static str) -> Result<Session> {
        self.open_tested(verb, Duration::ZERO).await
    }

    async fn open_tested(&self, verb: &'static str, after: Duration) -> Result<Session> {
        let deadline = self.setup.deadline;
        let until = Instant::now() + deadline;
        let lent = self.connections.lend_tested(verb, until, after).await?;
        let read_only = self.setup.read_only;
        let transactions = self.setup.through_pooler.then_some(Transactions {
            access: if read_only { "read only" } else { "read write" },
            lock_timeout: Duration::ZERO,
            is_open: false,
        });
        let effect = Effect::None;
        Ok(Session {
            lent,
            verb,
            until,
            deadline,
            is_usable: true,
            read_only,
            may_only_be_read: false,
            effect,
            transactions,
        })
    }
}

/// The planner's settings where the verbs run. The user's transactions are planned as ever, but what triggers of the
/// user's do within a verb is planned like this too.
///
/// Row searches go through an index by design, in the order of that index. A planner that has no statistics of a table,
/// or old ones of a table whose states change by the second, must not decide otherwise: it would read the whole backlog
/// and sort it at each claim. A scan that is needed all the same (of Rowlock's own small tables) then has such a high
/// cost that the server would compile the statement for longer than it runs: a count of six rows took 200 ms.
const SEARCH_BY_INDEX: &[(&str, &str)] = &[("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("jit", "off")];

/// Each statement is planned once per connection: planning takes longer than claiming one item. (Behind a pooler, where
/// nothing stays prepared, this setting would only keep the planner from looking at the values.)
const PLAN_ONCE: &[(&str, &str)] = &[("plan_cache_mode", "force_generic_plan")];

/// How the parts of a batch that failed as a whole are tried: planned for the rows that each part names. Checks that
/// are deferred to the commit run with each part, and a part that does not end is stopped soon.
pub(super) fn begin_in_parts(deadline: Duration) -> String {
    let limit = limit_statements(part_ms(deadline));
    format!("begin; set local plan_cache_mode = force_custom_plan; {limit}; set constraints all immediate")
}

/// How long the server lets the statement for a part of a batch run.
pub(super) fn part_ms(deadline: Duration) -> u128 {
    (deadline / 10).min(LADDER_STATEMENT_MAX).as_millis().max(1)
}

/// Limits the statements in the rest of a transaction.
pub(super) fn limit_statements(ms: u128) -> String {
    format!("set local statement_timeout = {ms}")
}

/// The settings of the verbs' own connections, each followed by a semicolon and a space.
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

/// How long the server lets one statement of a verb run. It gives up before the client does, whose timeout would leave
/// the outcome of the statement open and cost the connection.
pub(super) fn statement_ms(deadline: Duration) -> u128 {
    (deadline * 9 / 10).as_millis().max(1)
}

fn set_up(deadline: Duration, read_only: bool) -> String {
    format!(
        "set statement_timeout = {statement_ms}; set lock_timeout = 0; set idle_in_transaction_session_timeout = {ms}; \
         set default_transaction_isolation = 'read committed'; set default_transaction_read_only = {read_only}",
        statement_ms = statement_ms(deadline),
        ms = deadline.as_millis().max(1),
    )
}

/// A statement of this crate, prepared once per connection.
pub(super) fn query<'q>(sql: &Arc<str>) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(Arc::clone(sql)))
}

/// One verb's use of a connection. A connection that was left in the middle of something is closed, not kept.
pub(super) struct Session {
    lent: Lent,
    verb: &'static str,
    until: Instant,
    deadline: Duration,
    is_usable: bool,
    read_only: bool,
    /// The server said that it is read-only, and nothing was written since.
    may_only_be_read: bool,
    effect: Effect,
    /// Behind a pooler every statement runs in an explicit transaction.
    transactions: Option<Transactions>,
}

/// What a verb's statements can have changed permanently so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing: no statement was answered yet.
    None,
    /// Nothing: they belong to a transaction that is open.
    InTransaction,
    /// Something: one of them was committed, or is being committed.
    Any,
}

impl Effect {
    fn begin(&mut self) {
        if *self == Effect::None {
            *self = Effect::InTransaction;
        }
    }

    fn roll_back(&mut self) {
        if *self == Effect::InTransaction {
            *self = Effect::None;
        }
    }
}

/// How a transaction through a pooler begins.
#[derive(Debug, Clone, Copy)]
struct Transactions {
    access: &'static str,
    lock_timeout: Duration,
    /// The verb has begun its own transaction.
    is_open: bool,
}

impl Transactions {
    fn begin(self, deadline: Duration) -> String {
        format!(
            "begin isolation level read committed {access}; {planner}set local statement_timeout = {statement_ms}; \
             set local lock_timeout = {lock_ms}; set local idle_in_transaction_session_timeout = {ms}",
            access = self.access,
            statement_ms = statement_ms(deadline),
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

    /// The number of rows that a statement affected.
    pub(super) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64> {
        let query = query.persistent(self.transactions.is_none());
        self.in_transaction(async |connection| query.execute(connection).await).await.map(|done| done.rows_affected())
    }

    /// Runs statements without parameters, e.g. `begin`. It is not for settings of the connection: behind a pooler they
    /// would be lost, or affect other clients.
    pub(super) async fn run(&mut self, sql: &str) -> Result<()> {
        let deadline = self.deadline;
        let begins = sql.starts_with("begin");
        if begins {
            self.effect.begin();
        } else if sql == "commit" {
            self.effect = Effect::Any;
        }
        let sql = match &mut self.transactions {
            Some(transactions) if begins => {
                transactions.is_open = true;
                format!("{}{}", transactions.begin(deadline), &sql["begin".len()..])
            }
            Some(transactions) if matches!(sql, "commit" | "rollback") => {
                transactions.is_open = false;
                sql.to_owned()
            }
            Some(_) => {
                let sql = AssertSqlSafe(sql.to_owned());
                return self.in_transaction(async |connection| connection.execute(sql).await).await.map(drop);
            }
            None => sql.to_owned(),
        };
        let ends = sql == "rollback";
        self.send(sql).await?;
        if ends {
            self.effect.roll_back();
        }
        Ok(())
    }

    /// Ends a transaction that met an error after others of the verb were committed. If that fails, the connection is
    /// not kept.
    pub(super) async fn give_up_transaction(&mut self) {
        self.is_usable &= self.run("rollback").await.is_ok();
    }

    /// How long statements wait for a lock from now on; with zero, as long as the verb may take.
    pub(super) async fn set_lock_timeout(&mut self, lock_timeout: Duration) -> Result<()> {
        match &mut self.transactions {
            Some(transactions) => transactions.lock_timeout = lock_timeout,
            None => {
                let before = self.effect;
                self.send(format!("set lock_timeout = {}", lock_timeout.as_millis())).await?;
                self.effect = before;
            }
        }
        Ok(())
    }

    /// Work that is not a statement, e.g. COPY. It belongs to a transaction that the verb has begun.
    pub(super) async fn work<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let until = self.until.into();
        let answer = tokio::time::timeout_at(until, work(&mut self.lent)).await;
        self.answered(answer)
    }

    /// Behind a pooler, and outside of the verb's own transaction, in a separate one.
    async fn in_transaction<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        let begin = self.transactions.filter(|transactions| !transactions.is_open).map(|new| new.begin(self.deadline));
        let Some(begin) = begin else { return self.work(work).await };
        self.effect.begin();
        self.send(begin).await?;
        match self.work(work).await {
            Ok(answer) => {
                self.effect = Effect::Any;
                self.send("commit".to_owned()).await.map(|()| answer)
            }
            Err(error) => {
                if self.is_usable {
                    self.send("rollback".to_owned()).await?;
                    self.effect.roll_back();
                }
                Err(error)
            }
        }
    }

    async fn send(&mut self, sql: String) -> Result<()> {
        self.work(async |connection| connection.execute(AssertSqlSafe(sql)).await).await.map(drop)
    }

    /// The answer, or why there is none. A connection that is not between statements is not kept.
    fn answered<T>(&mut self, answer: Result<sqlx::Result<T>, Elapsed>) -> Result<T> {
        let before = self.effect;
        if before == Effect::None {
            self.effect = Effect::Any;
        }
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let had_no_effect = match before {
                    Effect::None => was_never_run(&error),
                    Effect::InTransaction => true,
                    Effect::Any => false,
                };
                let translated = translate(self.verb, error);
                let error = if had_no_effect { not_applied(translated) } else { translated };
                self.retire_after(&error);
                Err(error)
            }
            Err(_) => {
                self.is_usable = false;
                Err(Error::Deadline { verb: self.verb, deadline: self.deadline })
            }
        }
    }

    /// Whether there is time for one more step of many, and for the steps that end them.
    pub(super) fn has_time(&self) -> bool {
        self.until.saturating_duration_since(Instant::now()) > self.deadline / 3
    }

    fn retire_after(&mut self, error: &Error) {
        let is_usable = match error {
            Error::Database { source, .. } => leaves_connection_usable(source),
            _ => true,
        };
        let may_only_be_read = error.is_read_only() && !self.read_only;
        // A read-only server is not the primary, and another one may be by now.
        self.may_only_be_read |= may_only_be_read;
        self.is_usable &= is_usable;
        if !is_usable || may_only_be_read {
            self.lent.give_up_others();
        }
    }

    /// A statement that writes passed: it was a row that reported a read-only server.
    pub(super) fn can_write(&mut self) {
        self.may_only_be_read = false;
    }

    /// Gives a verb more time, from now.
    pub(super) fn extend_deadline(&mut self, deadline: Duration) {
        self.until = Instant::now() + deadline;
        self.deadline = deadline;
    }

    /// The verb is over, and the connection is between statements and outside of a transaction. A session that is
    /// dropped without this closes its connection, whose state is unknown.
    pub(super) fn done(self) {
        if self.is_usable && !self.may_only_be_read {
            self.lent.give_back();
        }
    }
}
