//! Rows that the database refuses: trying a statement under a savepoint, and failing what cannot be moved.

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::PostgresStore;
use super::claim::query;
use super::session::Session;
use crate::store::error_text::stored_error;
use crate::{Error, FencingToken, Key, Result};

impl PostgresStore {
    /// Tries a statement under a savepoint named `part`. With rows the savepoint is still there, to be released or
    /// rolled back to; with the reason of a refusal it has been rolled back.
    pub(super) async fn attempt(
        &self,
        session: &mut Session,
        statement: Query<'_, Postgres, PgArguments>,
    ) -> Result<Result<Vec<PgRow>, String>> {
        session.run("savepoint part").await?;
        match session.fetch(statement).await {
            Ok(rows) => Ok(Ok(rows)),
            Err(error) if error.is_row_refusal() => {
                session.run("rollback to savepoint part").await?;
                Ok(Err(refusal_reason(&error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a refused item `FAILED` with the reason, in the session's transaction. If the database refuses that too
    /// the key is left out of this process's claims for a while. The answer says whether the item is `FAILED`.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        key: &Key,
        word: Option<&str>,
        holder: Option<FencingToken>,
        now: Option<DateTime<Utc>>,
        reason: &str,
    ) -> Result<bool> {
        let text = stored_error(&format!("the database refuses this row: {reason}"));
        let statement = query(&self.statements.refuse)
            .bind(key.as_str())
            .bind(word)
            .bind(now)
            .bind(holder.map(FencingToken::as_i64))
            .bind(text);
        let failed = match self.attempt(session, statement).await? {
            Ok(rows) => {
                session.run("release savepoint part").await?;
                !rows.is_empty()
            }
            Err(_) => false,
        };
        if !failed {
            self.exclusions.add(key.clone(), reason);
        }
        Ok(failed)
    }
}

/// The database's own words.
pub(super) fn refusal_reason(error: &Error) -> String {
    match error {
        Error::Database { source: sqlx::Error::Database(database), .. } => database.message().to_owned(),
        other => other.to_string(),
    }
}
