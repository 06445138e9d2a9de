//! Batches in which nothing is out of the ordinary: items that are all to be taken, completed or kept alive. They are
//! written by statements that say no more than how many rows they wrote. If that is not all of them, or the database
//! refuses one, the transaction is undone, and the statements that answer for each item find out why.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::items::{KeyValue, json};
use super::refusal::Written;
use super::session::{Bind, Session, Sql, Verb};
use super::{SqliteStore, rows};
use crate::pipeline::{StageId, Status};
use crate::store::{ClaimBatch, Claiming, Finish, Finished, Finishing, Outcome};
use crate::{FencingToken, Lease, Result};

/// Tokens in a batch up to which each has a statement of its own.
const TOKENS_MAX: usize = 8;

/// The head of one stage's queue.
pub(super) struct Head {
    stage: StageId,
    /// In the order of the queue, as JSON.
    keys: String,
    count: usize,
}

/// Leases of a batch, by what one statement can say of them.
type ByToken<'a> = HashMap<(FencingToken, StageId), Vec<&'a Lease>>;

impl SqliteStore {
    /// The heads of the queues that a claim asks for; none if anything in them is not plain to take.
    pub(super) async fn plain_heads(
        &self,
        session: &mut Session,
        claiming: &Claiming,
        now: &str,
        limit: usize,
    ) -> Result<Option<Vec<Head>>> {
        let except = self.left_out(claiming)?;
        let mut left = limit;
        let mut heads = Vec::new();
        for stage in self.stages_to_pick(claiming) {
            let binds = self.pick_binds(claiming, stage, now, left, &except);
            let rows = session.rows(&self.statements.pick_plain, binds).await?;
            let Some(head) = rows.first().and_then(|row| head(stage, row)) else { return Ok(None) };
            left = left.saturating_sub(head.count);
            if head.count > 0 {
                heads.push(head);
            }
            if left == 0 {
                break;
            }
        }
        Ok(Some(heads))
    }

    /// Takes what was found at the heads, and commits it; none if that was undone.
    pub(super) async fn claim_heads(
        &self,
        mut session: Session,
        claiming: &Claiming,
        now: &str,
        limit: usize,
        heads: &[Head],
    ) -> Result<Option<ClaimBatch<SqliteRow>>> {
        let mut batch = ClaimBatch::default();
        for head in heads {
            let binds: [Bind; 6] = [
                head.keys.as_str().into(),
                now.into(),
                claiming.token.as_i64().into(),
                claiming.holder.as_str().into(),
                self.pipeline.word(Status::Ready(head.stage)).into(),
                self.pipeline.word(Status::InProgress(head.stage)).into(),
            ];
            if !wrote(&mut session, &self.statements.take_plain, binds, head.count).await? {
                session.roll_back().await?;
                return Ok(None);
            }
            let rows = session.rows(&self.statements.read, [head.keys.as_str().into()]).await?;
            batch.claimed.extend(rows.into_iter().filter_map(|row| self.claimed(claiming, Some(row))));
        }
        batch.may_have_more = heads.iter().map(|head| head.count).sum::<usize>() >= limit;
        Ok(committed(session).await?.then_some(batch))
    }

    /// A finish, of which the completions are plain; none if it was undone, or would not be worth it.
    pub(super) async fn finish_plain(&self, verb: &Verb, finishing: &Finishing) -> Result<Option<Vec<Finished>>> {
        let items = &finishing.items;
        let is_completion = |index: &usize| matches!(items[*index].outcome, Outcome::Complete);
        let (completed, others): (Vec<usize>, Vec<usize>) = (0..items.len()).partition(is_completion);
        let by_token = by_token(completed.iter().map(|index| &items[*index].lease));
        if by_token.is_empty() || by_token.len() > TOKENS_MAX {
            return Ok(None);
        }
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, finishing.now).await?;
        for ((token, stage), leases) in &by_token {
            let word = self.pipeline.word(self.pipeline.completed(*stage));
            let binds = self.lease_binds(*token, *stage, leases, &now)?.into_iter().chain([word.into()]);
            if !wrote(&mut session, &self.statements.complete_plain, binds, leases.len()).await? {
                session.roll_back().await?;
                return Ok(None);
            }
        }
        let completed = |finish: &Finish| Finished::Applied { to: self.pipeline.completed(finish.lease.stage) };
        let mut finished: Vec<Finished> = items.iter().map(completed).collect();
        if !others.is_empty() {
            let rest: Vec<Finish> = others.iter().map(|index| items[*index].clone()).collect();
            let batch = self.finish_batch(&rest, finishing.limits, now)?;
            let written = match self.write_batch(&mut session, &batch).await {
                Ok(written) if !written.iter().any(|outcome| matches!(outcome, Written::Ignored)) => written,
                Err(error) if !error.is_row_refusal() => return Err(error),
                Ok(_) | Err(_) => {
                    session.roll_back().await?;
                    return Ok(None);
                }
            };
            for (index, outcome) in others.into_iter().zip(written) {
                finished[index] = self.finished(outcome);
            }
        }
        Ok(committed(session).await?.then_some(finished))
    }

    /// A heartbeat for leases all of which are held. False if it was undone, or would not be worth it.
    pub(super) async fn renew_plain(&self, verb: &Verb, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<bool> {
        let by_token = by_token(leases);
        if by_token.len() > TOKENS_MAX {
            return Ok(false);
        }
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, now).await?;
        for ((token, stage), leases) in &by_token {
            let binds = self.lease_binds(*token, *stage, leases, &now)?;
            if !wrote(&mut session, &self.statements.renew_plain, binds, leases.len()).await? {
                session.roll_back().await?;
                return Ok(false);
            }
        }
        committed(session).await
    }

    fn lease_binds(&self, token: FencingToken, stage: StageId, leases: &[&Lease], now: &str) -> Result<[Bind; 4]> {
        let keys = KeyValue::all(leases.iter().map(|lease| &lease.key), self.pipeline.key_type())?;
        let word = self.pipeline.word(Status::InProgress(stage));
        Ok([json(&keys).into(), now.into(), token.as_i64().into(), word.into()])
    }
}

/// None if an item is not plain to take. A key that is no UTF-8 is none either: it would be claimed under another name.
fn head(stage: StageId, row: &SqliteRow) -> Option<Head> {
    let keys = row.try_get_unchecked::<Vec<u8>, _>(0).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    let count = rows::integer(row, 1).and_then(|count| usize::try_from(count).ok())?;
    (rows::integer(row, 2) == Some(0)).then_some(Head { stage, keys, count })
}

fn by_token<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> ByToken<'a> {
    let mut by_token = ByToken::new();
    for lease in leases {
        by_token.entry((lease.token, lease.stage)).or_default().push(lease);
    }
    by_token
}

/// Whether a statement wrote as many rows as it has keys. If not, the transaction is to be undone.
async fn wrote(session: &mut Session, sql: &Sql, binds: impl IntoIterator<Item = Bind>, keys: usize) -> Result<bool> {
    match session.execute(sql, binds).await {
        Ok(rows) => Ok(rows == keys as u64),
        Err(error) if error.is_row_refusal() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends the transaction. False if the database refused a row at the commit, and undid it.
async fn committed(session: Session) -> Result<bool> {
    match session.commit().await {
        Ok(()) => Ok(true),
        Err(error) if error.is_row_refusal() => Ok(false),
        Err(error) => Err(error),
    }
}
