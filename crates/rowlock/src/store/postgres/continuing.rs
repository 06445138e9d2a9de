//! Continuing with the next stage: `continue_items`.

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::PostgresStore;
use super::claim::query;
use super::complete_batch::few_tokens;
use super::finish::{is_trigger_without_lock, keys, length, tokens};
use super::rows::ClaimedColumns;
use crate::store::{ClaimedRow, Continuing};
use crate::{Lease, Result, StageId, Status};

impl PostgresStore {
    /// One statement. Where the database refuses a row nothing goes on, and finishing finds out which it is.
    pub(super) async fn continue_leases(&self, continuing: &Continuing) -> Result<Vec<ClaimedRow<PgRow>>> {
        let leases: Vec<&Lease> = continuing.leases.iter().filter(|lease| lease.stage == continuing.stage).collect();
        let Some(next) = self.pipeline.stage_after(continuing.stage).filter(|_| !leases.is_empty()) else {
            return Ok(Vec::new());
        };
        for lease in &leases {
            lease.key.check()?;
        }
        let mut session = self.sessions.open("continue_items").await?;
        let rows = match session.fetch(self.continue_query(continuing, &leases, next)).await {
            Ok(rows) => rows,
            Err(error) if error.is_row_refusal() || is_trigger_without_lock(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        session.done();
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let columns = ClaimedColumns::of("continue_items", &self.pipeline, first)?;
        let claimed = |row| columns.claimed_row(&self.pipeline, continuing.token, continuing.limits.max_resets, row);
        // A row that a trigger put into another state goes on nowhere.
        rows.into_iter().filter_map(|row| claimed(row).map(Result::ok).transpose()).collect()
    }

    fn continue_query<'q>(
        &'q self,
        continuing: &'q Continuing,
        leases: &[&'q Lease],
        next: StageId,
    ) -> Query<'q, Postgres, PgArguments> {
        let few_tokens = few_tokens(leases.iter().copied());
        let statements = &self.statements;
        let sql = if few_tokens.is_some() { &statements.continue_batch } else { &statements.continue_items };
        let statement = query(sql)
            .bind(keys(leases))
            .bind(tokens(leases))
            .bind(continuing.now)
            .bind(self.pipeline.word(Status::InProgress(continuing.stage)))
            .bind(self.pipeline.word(Status::InProgress(next)))
            .bind(continuing.token.as_i64())
            .bind(continuing.holder.as_str())
            .bind(continuing.limits.max_retries)
            .bind(continuing.limits.max_resets)
            .bind(self.pipeline.stage(next).name());
        match few_tokens {
            Some(tokens) => statement.bind(tokens),
            None => statement.bind(length(leases)),
        }
    }
}
