//! The user's own transaction: `begin`, `finish_in`, `rollback`.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Postgres, Transaction};

use super::PostgresStore;
use super::claim::SILENTLY_REFUSED;
use super::errors::{translate, translate_connect};
use super::refusal::refusal_reason;
use super::session::planner_settings_by;
use crate::store::{Finish, Finished, Finishing, LeaseState, Limits};
use crate::{Error, Result};

impl PostgresStore {
    /// The user's statements may take as long as they like; an idle transaction is ended by the server after a third
    /// of `stale_after`, so that a stuck handler cannot hold its rows for ever.
    pub(super) async fn begin_transaction(&self) -> Result<Transaction<'static, Postgres>> {
        let deadline = self.sessions.deadline();
        let begun = tokio::time::timeout(deadline, self.sessions.pool().begin()).await;
        let mut transaction =
            begun.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| translate_connect("begin", error))?;
        let idle_ms = (self.pipeline.stale_after() / 3).as_millis().max(1);
        let access = if self.sessions.is_read_only() { "read only" } else { "read write" };
        // The first query fixes a read-only transaction as one: after it, nobody can make it writable.
        let set_up = format!(
            "set transaction isolation level read committed, {access}; set local statement_timeout = 0; \
             set local idle_in_transaction_session_timeout = {idle_ms}; select 1"
        );
        match tokio::time::timeout(deadline, transaction.execute(AssertSqlSafe(set_up))).await {
            Ok(Ok(_)) => Ok(transaction),
            Ok(Err(error)) => Err(translate("begin", error)),
            Err(_) => Err(Error::Deadline { verb: "begin", deadline }),
        }
    }

    pub(super) async fn finish_in_transaction(
        &self,
        mut transaction: Transaction<'static, Postgres>,
        finish: &Finish,
        limits: Limits,
    ) -> Result<Finished> {
        finish.lease.key.check()?;
        let finishing = Finishing { items: vec![finish.clone()], limits, now: None };
        match self.finish_statement(&mut transaction, &finishing).await {
            Ok(Some(applied)) => {
                let deadline = self.sessions.deadline();
                match tokio::time::timeout(deadline, transaction.commit()).await {
                    Ok(Ok(())) => Ok(applied),
                    Ok(Err(error)) => Err(translate("finish_in", error)),
                    Err(_) => Err(Error::Deadline { verb: "finish_in", deadline }),
                }
            }
            Ok(None) => {
                self.roll_back(transaction).await?;
                let mut session = self.sessions.open("finish_in").await?;
                let states = self.read_lease_states(&mut session, std::slice::from_ref(&finish.lease)).await?;
                if states != [LeaseState::Held] {
                    session.done();
                    return Ok(Finished::LeaseLost);
                }
                let reason = SILENTLY_REFUSED.to_owned();
                let failed = self.refuse_finish(&mut session, finish, None, &reason).await?;
                session.done();
                Ok(Finished::Refused { reason, failed })
            }
            Err(error) if error.is_row_refusal() => {
                self.roll_back(transaction).await?;
                let reason = refusal_reason(&error);
                let mut session = self.sessions.open("finish_in").await?;
                let failed = self.refuse_finish(&mut session, finish, None, &reason).await?;
                session.done();
                Ok(Finished::Refused { reason, failed })
            }
            // The transaction was not committed, so nothing of it was applied, whatever happened to the statement.
            Err(error) => Err(super::not_applied(error)),
        }
    }

    /// The move as a statement of the transaction; none if it matched nothing.
    async fn finish_statement(&self, connection: &mut PgConnection, finishing: &Finishing) -> Result<Option<Finished>> {
        const VERB: &str = "finish_in";
        let deadline = self.sessions.deadline();
        // What follows is the transaction's last statement. It is planned as the verbs are: once, and by its index.
        let planner = planner_settings_by("set local");
        let set_up = format!("{planner}set local statement_timeout = {}", deadline.as_millis().max(1));
        let work = async {
            connection.execute(AssertSqlSafe(set_up)).await?;
            let statement = self.single_query(finishing, 0);
            let statement = statement.persistent(!self.sessions.is_through_pooler());
            statement.fetch_optional(&mut *connection).await
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(row)) => row.map(|row| self.written(&row)).transpose(),
            Ok(Err(error)) => Err(translate(VERB, error)),
            Err(_) => Err(Error::Deadline { verb: VERB, deadline }),
        }
    }

    pub(super) async fn roll_back(&self, transaction: Transaction<'static, Postgres>) -> Result<()> {
        let deadline = self.sessions.deadline();
        match tokio::time::timeout(deadline, transaction.rollback()).await {
            Ok(answer) => answer.map_err(|error| translate("rollback", error)),
            // The connection is given up with the transaction, which ends it as well.
            Err(_) => Err(Error::Deadline { verb: "rollback", deadline }),
        }
    }
}
