//! Continuing with the next stage: `continue_items`.

use sqlx::sqlite::SqliteRow;

use super::session::{Bind, Session, Verb};
use super::{SqliteStore, errors, rows};
use crate::pipeline::{StageId, Status};
use crate::store::{ClaimedRow, ContinueParams};
use crate::{Lease, Result};

impl SqliteStore {
    /// If the database refuses a row, no item continues, and finishing finds out which row it is.
    pub(super) async fn continue_leases(
        &self,
        verb: &Verb,
        continuing: &ContinueParams,
    ) -> Result<Vec<ClaimedRow<SqliteRow>>> {
        let of_stage: Vec<&Lease> = continuing.leases.iter().filter(|lease| lease.stage == continuing.stage).collect();
        // With more claims than `groups` makes statements for, no item continues: finishing them costs as little.
        let (Some(next), Some(groups)) = (self.pipeline.stage_after(continuing.stage), self.groups(of_stage)?) else {
            return Ok(Vec::new());
        };
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, continuing.now).await?;
        let mut written = 0;
        for group in &groups {
            let binds = self.group_binds(group, &now).into_iter().chain(self.continue_binds(continuing, next));
            let is_by_token = self.is_by_token(&mut session, group).await?;
            let sql = if is_by_token { &self.statements.continue_many } else { &self.statements.continue_few };
            match session.execute(sql, binds).await {
                Ok(rows) => written += rows,
                Err(error) if errors::may_be_a_rows(&error) => {
                    session.roll_back().await?;
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            }
        }
        let found = self.read_continued(&mut session, continuing, next).await?;
        if found.len() as u64 != written {
            // A trigger changed what was written, and finishing finds out which row it is.
            session.roll_back().await?;
            return Ok(Vec::new());
        }
        match session.commit().await {
            Ok(()) => Ok(found),
            Err(error) if errors::may_be_a_rows(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn read_continued(
        &self,
        session: &mut Session,
        continuing: &ContinueParams,
        next: StageId,
    ) -> Result<Vec<ClaimedRow<SqliteRow>>> {
        let rows = session.rows(&self.statements.find_claimed, [continuing.token.as_i64().into()]).await?;
        let claimed = |row| rows::claimed(&self.pipeline, row, continuing.token, continuing.limits.max_resets);
        Ok(rows.into_iter().filter_map(claimed).filter(|claimed| claimed.lease.stage == next).collect())
    }

    fn continue_binds(&self, continuing: &ContinueParams, next: StageId) -> [Bind; 6] {
        [
            self.pipeline.word(Status::InProgress(next)).into(),
            continuing.token.as_i64().into(),
            continuing.holder.as_str().into(),
            continuing.limits.max_retries.into(),
            continuing.limits.max_resets.into(),
            self.pipeline.stage(next).name().into(),
        ]
    }
}
