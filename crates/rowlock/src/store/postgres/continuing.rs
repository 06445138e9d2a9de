//! Continuing with the next stage: `continue_items`.

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::PostgresStore;
use super::claim::query;
use super::complete_batch::few_tokens;
use super::errors::may_be_a_rows;
use super::finish::{keys, length, tokens};
use super::refusal::RefusedRow;
use super::rows::{ClaimedColumns, Unclaimed};
use crate::store::{ClaimedRow, ContinueParams};
use crate::{Lease, Result, StageId, Status};

impl PostgresStore {
    /// One statement. If the database refuses a row, no item continues, and finishing finds out which row it is.
    pub(super) async fn continue_leases(&self, continuing: &ContinueParams) -> Result<Vec<ClaimedRow<PgRow>>> {
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
            // The items are then completed, which finds out whose fault it was.
            Err(error) if may_be_a_rows(&error) && !self.sessions.is_read_only() => Vec::new(),
            Err(error) => return Err(error),
        };
        session.done();
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let columns = ClaimedColumns::of("continue_items", &self.pipeline, first)?;
        let mut continued = Vec::with_capacity(rows.len());
        let mut unclaimed = Vec::new();
        for row in rows {
            match columns.claimed_row(&self.pipeline, continuing.token, continuing.limits, row)? {
                Ok(row) => continued.push(row),
                Err(other) => unclaimed.push(other),
            }
        }
        self.end_unclaimed(continuing, unclaimed).await;
        Ok(continued)
    }

    /// Ends rows that a trigger put into another state: they do not continue, and no worker holds them. The items that
    /// continued are returned all the same.
    async fn end_unclaimed(&self, continuing: &ContinueParams, unclaimed: Vec<(Lease, Unclaimed)>) {
        for (lease, why) in unclaimed {
            let ended = async {
                let mut session = self.sessions.open("continue_items").await?;
                self.begin_parts(&mut session).await?;
                let row = RefusedRow::Under(&lease.key, continuing.token);
                let failed = self.refuse(&mut session, row, continuing.now, &why.to_string()).await?;
                session.run("commit").await?;
                session.done();
                Ok::<bool, crate::Error>(failed)
            };
            match ended.await {
                Ok(failed) => tracing::warn!(key = %lease.key, failed, "{why}, and the item does not continue"),
                Err(error) => tracing::warn!(key = %lease.key, %error, "{why}, and that could not be mended"),
            }
        }
    }

    fn continue_query<'q>(
        &'q self,
        continuing: &'q ContinueParams,
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
