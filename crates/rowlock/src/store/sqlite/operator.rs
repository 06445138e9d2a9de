//! What operators do: `set`, `cancel`, `requeue`, `pause`, `resume`, `paused`, `add_many`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::items::{BatchItem, KeyValue, json};
use super::leases::Found;
use super::refusal::{Batch, SILENTLY_REFUSED, WhenRefused, Written};
use super::rows;
use super::session::{Bind, Sql, Verb};
use super::store::SqliteStore;
use crate::limits::SQLITE_ADDED_KEYS_MAX;
use crate::pipeline::{Move, StageId, Status};
use crate::store::error_text::stored_error;
use crate::store::{Added, Moved, RequeueParams, SetParams};
use crate::{Key, Result};

/// One of the three verbs that move items by their keys.
struct Operation<'a> {
    sql: &'a Sql,
    binds: Vec<Bind>,
    error: Option<String>,
    now: Option<DateTime<Utc>>,
    step: Move,
}

impl SqliteStore {
    pub(super) async fn set_items(&self, verb: &Verb, setting: &SetParams) -> Result<Vec<Moved>> {
        let word = self.pipeline.word(setting.to);
        let operation = Operation {
            sql: &self.statements.set,
            binds: vec![word.into()],
            error: setting.error.as_deref().map(stored_error),
            now: setting.now,
            step: Move::Set(setting.to),
        };
        self.operate(verb, &operation, &setting.keys).await
    }

    pub(super) async fn cancel_items(
        &self,
        verb: &Verb,
        keys: &[Key],
        now: Option<DateTime<Utc>>,
    ) -> Result<Vec<Moved>> {
        let operation =
            Operation { sql: &self.statements.cancel, binds: Vec::new(), error: None, now, step: Move::Cancel };
        let moved = self.operate(verb, &operation, keys).await?;
        let cancelled = self.pipeline.word(Status::Cancelled);
        Ok(moved.into_iter().map(|moved| moved.into_word(cancelled)).collect())
    }

    pub(super) async fn requeue_items(&self, verb: &Verb, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        let word = requeueing.stage.map(|stage| self.pipeline.stage(stage).ready_word());
        let operation = Operation {
            sql: &self.statements.requeue,
            binds: vec![word.into()],
            error: None,
            now: requeueing.now,
            step: Move::Requeue(requeueing.stage.unwrap_or(StageId::FIRST)),
        };
        self.operate(verb, &operation, &requeueing.keys).await
    }

    /// Reads the words of the rows, and moves those from which the move exists, in one transaction. Answers are matched
    /// by the positions of the keys: the table may take different texts for one key.
    async fn operate(&self, verb: &Verb, operation: &Operation<'_>, keys: &[Key]) -> Result<Vec<Moved>> {
        let mut answers = vec![Moved::NotFound; keys.len()];
        let mut asked: Vec<(usize, BatchItem)> = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            match KeyValue::asked(key, self.pipeline.key_type()) {
                Ok(key) => asked.push((place, BatchItem::new(key, ""))),
                Err(reason) => answers[place] = Moved::Invalid { reason },
            }
        }
        if asked.is_empty() {
            return Ok(answers);
        }
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, operation.now).await?;
        let found = self.read_words(&mut session, &asked.iter().map(|(_, item)| item).collect::<Vec<_>>()).await?;
        // Each item once, by the key that its row has, with the positions of all the keys that led to it.
        let mut legal: HashMap<KeyValue, (BatchItem, Vec<usize>)> = HashMap::with_capacity(asked.len());
        for ((place, _), found) in asked.into_iter().zip(found) {
            match self.judge(operation, found) {
                Ok(found) => {
                    let item =
                        BatchItem { error: operation.error.clone(), ..BatchItem::new(found.key.clone(), found.word) };
                    legal.entry(found.key).or_insert_with(|| (item, Vec::new())).1.push(place);
                }
                Err(answer) => answers[place] = answer,
            }
        }
        let (items, places): (Vec<BatchItem>, Vec<Vec<usize>>) = legal.into_values().unzip();
        let batch = Batch {
            sql: operation.sql,
            items,
            now,
            binds: operation.binds.clone(),
            when_refused: WhenRefused::Leave,
            cause: |_| None,
        };
        let written = self.write_or_repeat(verb, session, &batch).await?;
        for (places, outcome) in places.into_iter().zip(written) {
            let moved = self.moved(outcome);
            places.into_iter().for_each(|place| answers[place] = moved.clone());
        }
        Ok(answers)
    }

    /// The row, if the move exists from its word; otherwise why it does not move.
    fn judge(&self, operation: &Operation<'_>, found: Option<Found>) -> Result<Found, Moved> {
        let Some(found) = found else { return Err(Moved::NotFound) };
        match self.pipeline.status(&found.word) {
            Some(from) if self.pipeline.after(from, operation.step).is_ok() => Ok(found),
            Some(_) | None => Err(Moved::Illegal { from: found.word }),
        }
    }

    fn moved(&self, outcome: Written) -> Moved {
        match outcome {
            Written::Applied { word, .. } => match self.pipeline.status(&word) {
                Some(to) => Moved::Applied { to },
                None => Moved::Refused { reason: Written::rewritten(Some(&word)) },
            },
            Written::Rewritten { word } => Moved::Refused { reason: Written::rewritten(word.as_deref()) },
            Written::Ignored => Moved::Refused { reason: SILENTLY_REFUSED.to_owned() },
            Written::Refused { reason, .. } => Moved::Refused { reason },
            // Only in a repeated batch: another program moved the row between the transactions.
            Written::Missing | Written::Held => {
                Moved::Refused { reason: "the item was moved meanwhile: try again".to_owned() }
            }
        }
    }

    pub(super) async fn pause_stage(&self, verb: &Verb, stage: StageId) -> Result<bool> {
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, None).await?;
        let binds = [self.pipeline.stage(stage).name().into(), now.into()];
        let paused = session.execute(&self.statements.pause, binds).await?;
        session.commit().await?;
        Ok(paused > 0)
    }

    pub(super) async fn resume_stage(&self, verb: &Verb, stage: StageId) -> Result<bool> {
        let mut session = self.write(verb).await?;
        let resumed = session.execute(&self.statements.resume, [self.pipeline.stage(stage).name().into()]).await?;
        session.commit().await?;
        Ok(resumed > 0)
    }

    pub(super) async fn paused_stages(&self, verb: &Verb) -> Result<Vec<StageId>> {
        let mut session = self.read_session(verb).await?;
        let paused = self.read_paused(&mut session).await?;
        session.keep();
        Ok(paused)
    }

    /// In the order of the pipeline; names that it does not have are left out.
    pub(super) async fn read_paused(&self, session: &mut super::session::Session) -> Result<Vec<StageId>> {
        let rows = session.rows(&self.statements.paused, []).await?;
        let mut stages: Vec<StageId> =
            rows.iter().filter_map(|row| self.pipeline.stage_named(&rows::text(row, 0)?)).collect();
        stages.sort_unstable();
        Ok(stages)
    }

    /// Several transactions, each within the deadline. Keys that were added before an error stay, and a repeated call
    /// skips them.
    pub(super) async fn add_keys(&self, name: &'static str, keys: &[Key]) -> Result<Added> {
        let mut added = Added::default();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match KeyValue::asked(key, self.pipeline.key_type()) {
                Ok(value) => values.push(value),
                Err(reason) => added.refused.push((key.clone(), reason)),
            }
        }
        for part in values.chunks(SQLITE_ADDED_KEYS_MAX) {
            let verb = self.verb(name);
            added.added += verb.within(self.add_part(&verb, part)).await?;
        }
        Ok(added)
    }

    async fn add_part(&self, verb: &Verb, keys: &[KeyValue]) -> Result<u64> {
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, None).await?;
        let added = session.execute(&self.statements.add_many, [json(keys).into(), now.into()]).await?;
        session.commit().await?;
        Ok(added)
    }
}
