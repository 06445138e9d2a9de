//! The user's own transaction: `begin`, `finish_in`, `rollback`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio::runtime::Handle;

use super::connections::Lent;
use super::errors::{is_in_recovery, is_untranslatable, may_be_a_rows, not_applied, translate};
use super::refusal::{Refusal, Scope};
use super::session::Session;
use super::session::planner_settings_by;
use super::store::PostgresStore;
use crate::store::{Finish, FinishParams, Finished, Limits, Transaction};
use crate::{Error, Fault, Result};

const VERB: &str = "begin";

/// How long a connection may take to end its work when its transaction was dropped.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// Removes what a handler may have left in its connection, and the next must not find: settings, a role, subscriptions,
/// locks and temporary tables of the session.
const CLEAN: &str =
    "reset all; reset session authorization; unlisten *; select pg_advisory_unlock_all(); discard temp; ";

/// A transaction, opened by [`Store::begin`](crate::Store::begin). Queries run on it as on any connection:
/// `sqlx::query("…").execute(&mut *transaction)`. Dropping it rolls it back.
///
/// Each open transaction has a connection for itself; see [`PostgresStore::with_max_connections`].
pub struct PostgresTransaction {
    lent: Option<Lent>,
}

impl Transaction for PostgresTransaction {}

impl fmt::Debug for PostgresTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransaction").finish_non_exhaustive()
    }
}

/// The invariant of both `expect`s below.
const HAS_CONNECTION: &str = "a transaction has its connection until it ends";

impl Deref for PostgresTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.lent.as_deref().expect(HAS_CONNECTION)
    }
}

impl DerefMut for PostgresTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.lent.as_deref_mut().expect(HAS_CONNECTION)
    }
}

impl PostgresTransaction {
    /// Commits without a move: its writes are independent of any item.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        let Some(mut lent) = self.lent.take() else { return Ok(()) };
        lent.execute("commit").await?;
        lent.give_back();
        Ok(())
    }

    /// Rolls it back.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        let Some(mut lent) = self.lent.take() else { return Ok(()) };
        lent.distrust_statements();
        undo(&mut lent).await?;
        lent.give_back();
        Ok(())
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        let Some(mut lent) = self.lent.take() else { return };
        lent.distrust_statements();
        // Without a runtime the connection is closed, which rolls the transaction back as well.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(RELEASE_DEADLINE, undo(&mut lent)).await {
                lent.give_back();
            }
        });
    }
}

/// Ends the transaction, whatever its state, and forgets its statements: one of them may be the cause.
async fn undo(lent: &mut Lent) -> sqlx::Result<()> {
    lent.execute("rollback").await?;
    lent.forget_statements().await
}

impl PostgresStore {
    /// The user's statements may take any time; the server ends an idle transaction after a third of `stale_after`, so
    /// that a stuck handler cannot hold its rows for ever.
    ///
    /// A connection on which no transaction begins is closed. One that existed before may lead to a server that was not
    /// the primary then, or is not now: a new one is made once.
    pub(super) async fn begin_transaction(&self) -> Result<PostgresTransaction> {
        let connections = self.sessions.transactions();
        let until = Instant::now() + self.sessions.deadline();
        let lent = connections.lend(VERB, until).await?;
        let was_idle = lent.was_idle();
        match self.begin_on(lent, until).await {
            Err(error) if was_idle => {
                tracing::debug!(%error, "no transaction begins on a connection that was there; another one is made");
                self.begin_on(connections.lend_new(VERB, until).await?, until).await
            }
            answer => answer,
        }
    }

    async fn begin_on(&self, mut lent: Lent, until: Instant) -> Result<PostgresTransaction> {
        match tokio::time::timeout_at(until.into(), self.begin_statements(&mut lent)).await {
            Ok(Ok(())) => Ok(PostgresTransaction { lent: Some(lent) }),
            Ok(Err(error)) if is_in_recovery(&error) => {
                Err(Error::Database { verb: VERB, fault: Fault::ReadOnly, source: error })
            }
            // Nothing was written yet.
            Ok(Err(error)) => Err(not_applied(translate(VERB, error))),
            Err(_) => Err(Error::Deadline { verb: VERB, deadline: self.sessions.deadline() }),
        }
    }

    async fn begin_statements(&self, lent: &mut Lent) -> sqlx::Result<()> {
        let access = if self.sessions.is_read_only() { "read only" } else { "read write" };
        // A pooler cleans its connections itself, and keeps no statement that could be outdated.
        let is_own = !self.sessions.is_through_pooler();
        let clean = if is_own && lent.was_idle() { CLEAN } else { "" };
        let asks_columns = is_own && lent.may_have_other_columns();
        let columns = if asks_columns { &*self.statements.columns_now } else { "" };
        let idle_ms = (self.pipeline.stale_after() / 3).as_millis().max(1);
        // The first query fixes the read-only mode of a transaction: after it, the mode cannot change.
        let set_up = format!(
            "begin isolation level read committed, {access}; {clean}set local statement_timeout = 0; \
             set local lock_timeout = 0; set local idle_in_transaction_session_timeout = {idle_ms}; {columns}"
        );
        let rows = lent.fetch_all(AssertSqlSafe(set_up)).await?;
        if !asks_columns {
            return Ok(());
        }
        let columns = rows.last().map(|row| row.try_get("columns_now")).transpose()?;
        lent.note_columns(columns).await
    }

    pub(super) async fn finish_in_transaction(
        &self,
        mut transaction: PostgresTransaction,
        finish: &Finish,
        limits: Limits,
    ) -> Result<Finished> {
        finish.lease.key.check()?;
        let finishing = FinishParams { items: vec![finish.clone()], limits, now: None };
        match self.finish_statement(&mut transaction, &finishing).await {
            Ok(Some(applied)) => {
                let deadline = self.sessions.deadline();
                match tokio::time::timeout(deadline, transaction.commit()).await {
                    Ok(Ok(())) => {
                        self.brake.passed(finish.outcome.name(), [finish.lease.stage]);
                        Ok(applied)
                    }
                    Ok(Err(error)) => Err(translate("finish_in", error)),
                    Err(_) => Err(Error::Deadline { verb: "finish_in", deadline }),
                }
            }
            Ok(None) => {
                self.roll_back(transaction).await?;
                let mut session = self.sessions.open("finish_in").await?;
                if !self.is_held(&mut session, &finish.lease).await? {
                    session.done();
                    return Ok(Finished::LeaseLost);
                }
                let refused = Box::pin(self.refuse_in(&mut session, finish, &Refusal::Silent)).await?;
                session.done();
                Ok(refused)
            }
            Err(error) if may_be_a_rows(&error) && !error.is_transient() => {
                self.roll_back(transaction).await?;
                let mut session = self.sessions.open("finish_in").await?;
                if !error.is_row_refusal() && !Box::pin(self.fails_alone(&mut session, &finishing)).await? {
                    session.done();
                    return Err(error);
                }
                let refused = Box::pin(self.refuse_in(&mut session, finish, &Refusal::Loud(error))).await?;
                session.done();
                Ok(refused)
            }
            // The transaction was not committed, so nothing of it was applied, whatever happened to the statement.
            Err(error) => Err(not_applied(error)),
        }
    }

    /// Makes an item `FAILED` whose move was refused in a transaction that was rolled back, unless all of its kind are
    /// refused.
    async fn refuse_in(&self, session: &mut Session, finish: &Finish, refusal: &Refusal) -> Result<Finished> {
        let reason = refusal.reason();
        if !self.may_fail(Scope::of_finish(finish), refusal) {
            return Err(Error::Held { verb: "finish_in", reason });
        }
        let failed = self.refuse_finish(session, finish, None, &reason).await?;
        Ok(Finished::Refused { reason, failed })
    }

    /// The move as a statement of the transaction; `None` if it matched nothing.
    async fn finish_statement(
        &self,
        connection: &mut PgConnection,
        finishing: &FinishParams,
    ) -> Result<Option<Finished>> {
        const VERB: &str = "finish_in";
        let deadline = self.sessions.deadline();
        // This is the transaction's last statement. It is planned as the verbs are: once, and by its index.
        let planner = planner_settings_by("set local");
        // Only an outcome with an error goes into the log, which must not stop it.
        let is_logged = finishing.items.iter().any(|item| item.outcome.error().is_some());
        let savepoint = if is_logged { "; savepoint rowlock_finish" } else { "" };
        let set_up = format!("{planner}set local statement_timeout = {}{savepoint}", deadline.as_millis().max(1));
        let work = async {
            connection.execute(AssertSqlSafe(set_up)).await?;
            let statement = self.single_query(finishing, 0);
            let statement = statement.persistent(!self.sessions.is_through_pooler());
            statement.fetch_optional(&mut *connection).await
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(row)) => row.map(|row| self.written(&row)).transpose(),
            Ok(Err(error)) => {
                let error = translate(VERB, error);
                if is_logged && may_be_a_rows(&error) {
                    return Box::pin(self.finish_otherwise(connection, finishing, error)).await;
                }
                Err(error)
            }
            Err(_) => Err(Error::Deadline { verb: VERB, deadline }),
        }
    }

    /// The same without the failure log, or with an error reduced to what the database can hold; the first error if
    /// that was not the obstacle.
    async fn finish_otherwise(
        &self,
        connection: &mut PgConnection,
        finishing: &FinishParams,
        error: Error,
    ) -> Result<Option<Finished>> {
        let is_text = is_untranslatable(&error);
        let mut reduced = None;
        if is_text {
            let mut session = self.sessions.open("finish_in").await?;
            reduced = self.reduced(&mut session, finishing).await?;
            session.done();
        }
        let finishing = reduced.as_ref().unwrap_or(finishing);
        let statement = if is_text { self.single_query(finishing, 0) } else { self.unlogged_query(finishing, 0) };
        let statement = statement.persistent(!self.sessions.is_through_pooler());
        let deadline = self.sessions.deadline();
        let work = async {
            connection.execute("rollback to savepoint rowlock_finish").await?;
            statement.fetch_optional(&mut *connection).await
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(row)) => {
                if !is_text && row.is_some() {
                    self.say_log_is_lost(&error);
                }
                row.map(|row| self.written(&row)).transpose()
            }
            Ok(Err(_)) => Err(error),
            Err(_) => Err(Error::Deadline { verb: "finish_in", deadline }),
        }
    }

    pub(super) async fn roll_back(&self, transaction: PostgresTransaction) -> Result<()> {
        let deadline = self.sessions.deadline();
        match tokio::time::timeout(deadline, transaction.rollback()).await {
            Ok(answer) => answer.map_err(|error| translate("rollback", error)),
            // The connection is dropped with the transaction, which ends it as well.
            Err(_) => Err(Error::Deadline { verb: "rollback", deadline }),
        }
    }
}
