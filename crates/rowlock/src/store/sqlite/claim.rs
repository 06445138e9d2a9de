//! `claim` and `preview`.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;

use super::items::{BatchItem, KeyValue, json};
use super::plain::Ended;
use super::refusal::{Batch, SILENTLY_REFUSED, WhenRefused, Written, are_all_ignored};
use super::session::{Bind, Session, Sql, Verb};
use super::store::SqliteStore;
use super::{errors, rows};
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{StageId, Status};
use crate::store::error_text::stored_error;
use crate::store::params::budget_limit;
use crate::store::{ClaimBatch, ClaimParams, ClaimedRow, ItemRow, Limit, Limits};
use crate::{Key, Result};

/// The reason for a row that is not found by the key that was read from it.
const STRANGE_KEY: &str = "the row is not found by its key";

/// An item at the head of its queue.
#[derive(Debug)]
struct Picked {
    stage: StageId,
    key: KeyValue,
    reset_count: i32,
    /// The error with which it fails, if it is at a limit.
    exhausted: Option<String>,
}

/// What a claim does with the items that it picked.
#[derive(Debug, Default)]
struct Plan {
    /// The items to claim or to fail, in the order of the queue.
    items: Vec<BatchItem>,
    may_have_more: bool,
    suspect_at_head: bool,
}

impl SqliteStore {
    pub(super) async fn claim_items(&self, verb: &Verb, claiming: &ClaimParams) -> Result<ClaimBatch<SqliteRow>> {
        let limit = claiming.limit.min(BATCH_ITEMS_MAX);
        if limit == 0 {
            return Ok(ClaimBatch::default());
        }
        let mut session = self.write(verb).await?;
        let mut now = self.time(&mut session, claiming.now).await?;
        if let Some(heads) = self.plain_heads(&mut session, claiming, &now, limit).await? {
            let taken = self.take_heads(&mut session, claiming, &now, limit, &heads).await?;
            match self.end_plain(verb, session, taken).await? {
                Ended::Committed(batch) => {
                    if batch.claimed.is_empty() && self.passed_over.let_back("claim", claiming.stages.iter().copied()) {
                        return Box::pin(self.claim_items(verb, claiming)).await;
                    }
                    let stages = batch.claimed.iter().map(|row| row.lease.stage);
                    self.brake.passed("claim", stages.clone());
                    self.passed_over.let_back("claim", stages);
                    return Ok(batch);
                }
                Ended::Undone(again) => session = again,
            }
            now = self.time(&mut session, claiming.now).await?;
        }
        let picked = self.pick(&mut session, claiming, &now, limit).await?;
        let plan = self.plan(picked, limit, claiming);
        let is_empty = plan.items.is_empty() && !plan.suspect_at_head;
        if is_empty && self.passed_over.let_back("claim", claiming.stages.iter().copied()) {
            session.roll_back().await?;
            return Box::pin(self.claim_items(verb, claiming)).await;
        }
        let answer = ClaimBatch {
            may_have_more: plan.may_have_more,
            suspect_at_head: plan.suspect_at_head,
            ..ClaimBatch::default()
        };
        let batch = Batch {
            sql: &self.statements.take,
            items: plan.items,
            now,
            binds: vec![claiming.token.as_i64().into(), claiming.holder.as_str().into()],
            when_refused: WhenRefused::Fail,
            cause: |item| item.step.filter(|step| *step == "exhaust"),
        };
        match self.write_batch(&mut session, &batch).await {
            Ok(written) if are_all_ignored(&written) => {
                session.roll_back().await?;
                self.claim_repeated(verb, claiming, &batch, answer).await
            }
            Ok(written) => {
                let rows = self.read_rows(&mut session, &self.statements.read_claimed, &batch.items).await?;
                self.let_go(&mut session, claiming, &batch, &written).await?;
                match session.commit().await {
                    Ok(()) => {
                        self.note_passed(&batch, &written);
                        let written = self.repeat_ignored(verb, &batch, refusing_strange_keys(written)).await?;
                        Ok(self.fill(answer, claiming, &batch.items, written, rows))
                    }
                    Err(error) if errors::may_be_a_rows(&error) => {
                        self.claim_repeated(verb, claiming, &batch, answer).await
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) if errors::may_be_a_rows(&error) => {
                session.roll_back().await?;
                self.claim_repeated(verb, claiming, &batch, answer).await
            }
            Err(error) => Err(error),
        }
    }

    async fn claim_repeated(
        &self,
        verb: &Verb,
        claiming: &ClaimParams,
        batch: &Batch<'_>,
        answer: ClaimBatch<SqliteRow>,
    ) -> Result<ClaimBatch<SqliteRow>> {
        let written = self.repeat_batch(verb, batch).await?;
        if written.iter().any(|outcome| matches!(outcome, Written::Rewritten { .. })) {
            let mut session = self.write(verb).await?;
            self.let_go(&mut session, claiming, batch, &written).await?;
            session.commit().await?;
        }
        let mut session = self.read(verb).await?;
        let rows = self.read_rows(&mut session, &self.statements.read_claimed, &batch.items).await?;
        session.roll_back().await?;
        Ok(self.fill(answer, claiming, &batch.items, written, rows))
    }

    /// Clears the token of rows that are not claimed after all. If the database refuses that too, the token stays: no
    /// verb relies on it.
    async fn let_go(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        batch: &Batch<'_>,
        written: &[Written],
    ) -> Result<()> {
        let is_rewritten = |outcome: &Written| matches!(outcome, Written::Rewritten { .. });
        let keys: Vec<&KeyValue> = batch
            .items
            .iter()
            .zip(written)
            .filter(|(_, outcome)| is_rewritten(outcome))
            .map(|(item, _)| &item.key)
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        session.run("SAVEPOINT letting_go").await?;
        let binds: [Bind; 3] = [json(&keys).into(), batch.now.as_str().into(), claiming.token.as_i64().into()];
        match session.execute(&self.statements.let_go, binds).await {
            Ok(_) => {}
            Err(error) if errors::may_be_a_rows(&error) => session.run("ROLLBACK TO letting_go").await?,
            Err(error) => return Err(error),
        }
        session.run("RELEASE letting_go").await
    }

    pub(super) async fn preview_items(&self, verb: &Verb, claiming: &ClaimParams) -> Result<Vec<ItemRow<SqliteRow>>> {
        let limit = claiming.limit.min(BATCH_ITEMS_MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut session = self.read(verb).await?;
        let now = self.time(&mut session, claiming.now).await?;
        let picked = self.pick(&mut session, claiming, &now, limit).await?;
        let mut plan = self.plan(picked, limit, claiming);
        plan.items.retain(|item| item.step != Some("exhaust"));
        let mut rows = self.read_rows(&mut session, &self.statements.preview, &plan.items).await?;
        session.roll_back().await?;
        let in_order = plan.items.iter().filter_map(|item| rows.remove(&item.key.to_key()));
        Ok(in_order.map(|row| rows::item(&self.pipeline, row)).collect())
    }

    /// Stage by stage, with the rest of the limit.
    async fn pick(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        now: &str,
        limit: usize,
    ) -> Result<Vec<Picked>> {
        let except = self.left_out(claiming)?;
        let mut picked = Vec::new();
        for stage in self.stages_to_pick(claiming) {
            let left = limit - picked.len();
            if left == 0 {
                break;
            }
            let binds = self.pick_binds(claiming, stage, now, left, &except, false);
            for row in session.rows(&self.statements.pick, binds).await? {
                picked.push(self.picked(stage, claiming.limits, &row));
            }
        }
        Ok(picked)
    }

    /// Keys that no claim of this process takes, as JSON.
    pub(super) fn left_out(&self, claiming: &ClaimParams) -> Result<String> {
        let mut except = KeyValue::all(&claiming.except, self.pipeline.key_type())?;
        except.extend(self.excluded_keys("claim"));
        Ok(json(&except))
    }

    /// The latest stage first.
    pub(super) fn stages_to_pick(&self, claiming: &ClaimParams) -> impl Iterator<Item = StageId> {
        let mut stages: Vec<StageId> =
            self.pipeline.stage_ids().filter(|stage| claiming.stages.contains(stage)).collect();
        stages.reverse();
        stages.into_iter()
    }

    pub(super) fn pick_binds(
        &self,
        claiming: &ClaimParams,
        stage: StageId,
        now: &str,
        limit: usize,
        left_out: &str,
        takes_keys_for_utf8: bool,
    ) -> [Bind; 9] {
        [
            self.pipeline.stage(stage).ready_word().into(),
            self.pipeline.stage(stage).name().into(),
            now.into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
            budget_limit(claiming.limits.max_retries).into(),
            budget_limit(claiming.limits.max_resets).into(),
            i64::from(claiming.leave_exhausted).into(),
            left_out.into(),
            i64::from(takes_keys_for_utf8).into(),
        ]
    }

    fn picked(&self, stage: StageId, limits: Limits, row: &SqliteRow) -> Picked {
        let key = self.key_of_row(row, 0);
        let reset_count = rows::count(row, 3);
        let limit = limits.reached(rows::count(row, 2), reset_count);
        let exhausted = limit.map(|limit| spent(limit, rows::text(row, 4).as_deref()));
        Picked { stage, key, reset_count, exhausted }
    }

    /// A suspect is taken only from the head, by a claimer that holds nothing else, and alone: anything else in
    /// progress there could kill the process and cost the suspect its last reset. Other suspects wait.
    fn plan(&self, picked: Vec<Picked>, limit: usize, claiming: &ClaimParams) -> Plan {
        let is_suspect = |picked: &Picked| claiming.limits.is_suspect(picked.reset_count);
        let head = picked.iter().position(|picked| picked.exhausted.is_none());
        let suspect_head = head.filter(|head| is_suspect(&picked[*head]));
        let count = picked.len();
        let mut items = Vec::with_capacity(count);
        for (index, picked) in picked.into_iter().enumerate() {
            let chosen = match suspect_head {
                Some(head) if claiming.alone => index == head,
                Some(_) | None => !is_suspect(&picked),
            };
            let item = BatchItem::new(picked.key, self.pipeline.word(Status::Ready(picked.stage)));
            if picked.exhausted.is_some() {
                items.push(BatchItem { step: Some("exhaust"), error: picked.exhausted, ..item });
            } else if chosen {
                items.push(BatchItem { step: Some("take"), ..item });
            }
        }
        Plan {
            may_have_more: count >= limit || count > items.len(),
            suspect_at_head: suspect_head.is_some() && !claiming.alone,
            items,
        }
    }

    fn fill(
        &self,
        mut batch: ClaimBatch<SqliteRow>,
        claiming: &ClaimParams,
        items: &[BatchItem],
        written: Vec<Written>,
        mut rows: HashMap<Key, SqliteRow>,
    ) -> ClaimBatch<SqliteRow> {
        for (item, outcome) in items.iter().zip(written) {
            let key = item.key.to_key();
            match outcome {
                Written::Applied { .. } if item.step == Some("exhaust") => batch.exhausted.push(key),
                Written::Applied { .. } => {
                    batch.claimed.extend(rows.remove(&key).and_then(|row| self.claimed(claiming, row)));
                }
                Written::Rewritten { word } => {
                    let reason = Written::rewritten(word.as_deref());
                    // Otherwise it would be claimed again at once, and rewritten.
                    if word.and_then(|word| self.pipeline.status(&word)).is_some_and(Status::is_ready) {
                        self.exclusions.add(key.clone(), &reason);
                    }
                    batch.refused.push((key, reason));
                }
                Written::Refused { reason, .. } => batch.refused.push((key, reason)),
                Written::Ignored => batch.refused.push((key, SILENTLY_REFUSED.to_owned())),
                // In a repeated batch another claim took it between the transactions, or its stage is held.
                Written::Missing | Written::Held => {}
            }
        }
        // Those were not excluded: the next claim meets them again.
        batch.may_have_more |= batch.refused.iter().any(|(_, reason)| reason != STRANGE_KEY);
        batch
    }

    pub(super) fn claimed(&self, claiming: &ClaimParams, row: SqliteRow) -> Option<ClaimedRow<SqliteRow>> {
        rows::claimed(&self.pipeline, row, claiming.token, claiming.limits)
    }

    async fn read_rows(
        &self,
        session: &mut Session,
        sql: &Sql,
        items: &[BatchItem],
    ) -> Result<HashMap<Key, SqliteRow>> {
        let keys: Vec<&KeyValue> = items.iter().filter(|item| item.step != Some("exhaust")).map(|i| &i.key).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = session.rows(sql, [json(&keys).into()]).await?;
        Ok(rows.into_iter().map(|row| (rows::RoleReader::new(&self.pipeline, &row).key(), row)).collect())
    }
}

/// Within the transaction that picked the rows, a row is missing only if its key was not read as it is.
fn refusing_strange_keys(written: Vec<Written>) -> Vec<Written> {
    let refusing = |outcome| match outcome {
        Written::Missing => Written::Refused { reason: STRANGE_KEY.to_owned(), failed: false },
        other => other,
    };
    written.into_iter().map(refusing).collect()
}

/// The error of an item that is at a limit.
pub(super) fn spent(limit: Limit, error: Option<&str>) -> String {
    let (budget, most) = match limit {
        Limit::Retries(most) => ("retries", most),
        Limit::Resets(most) => ("resets", most),
    };
    match error {
        Some(error) if !error.is_empty() => format!("Max {budget} ({most}) exceeded: {}", stored_error(error)),
        Some(_) | None => format!("Max {budget} ({most}) exceeded"),
    }
}
