//! What operators do: `set`, `cancel`, `requeue`, `pause`, `resume`.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::asked_key::{AskedKey, asked_key};
use super::errors::{Hint, hint, is_about_a_value};
use super::refusal::{Refusal, SILENTLY_REFUSED, refusal_reason};
use super::rows::column;
use super::session::{Session, query};
use super::store::PostgresStore;
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{KeyType, Move};
use crate::store::bisection::Bisection;
use crate::store::error_text::stored_error;
use crate::store::ladder::{AtFault, Ladder};
use crate::store::{Moved, RequeueParams, SetParams};
use crate::{Error, Key, Result, StageId, Status};

/// The answer to an item that was not tried, because other, bad items took all the time.
const UNTRIED: &str = "it was not tried: finding out what the database refuses has taken all the time";

/// One of the three verbs that move items by their keys.
struct Operation<'a> {
    verb: &'static str,
    sql: &'a Arc<str>,
    step: Move,
    /// The word for `set`, the ready word of the named stage for `requeue`.
    word: Option<String>,
    now: Option<DateTime<Utc>>,
    error: Option<String>,
}

/// An item of the table, by one of the keys that lead to it, with the positions of the answers to all of those keys.
struct AskedItem {
    text: String,
    places: Vec<usize>,
}

impl From<AskedKey> for AskedItem {
    fn from(key: AskedKey) -> AskedItem {
        AskedItem { text: key.text, places: vec![key.place] }
    }
}

impl PostgresStore {
    pub(super) async fn set_items(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        if setting.to.is_in_progress() {
            return self.refuse_moves(&setting.keys).await;
        }
        let operation = Operation {
            verb: "set",
            sql: &self.statements.set,
            step: Move::Set(setting.to),
            word: Some(self.pipeline.word(setting.to).to_owned()),
            now: setting.now,
            error: setting.error.as_deref().map(stored_error),
        };
        self.move_items(&operation, &setting.keys).await
    }

    /// Only a claim puts an item in progress: this move exists from no state.
    async fn refuse_moves(&self, keys: &[Key]) -> Result<Vec<Moved>> {
        let mut moved = Vec::with_capacity(keys.len());
        for key in keys {
            moved.push(match (asked_key(key, self.pipeline.key_type()), self.get_item(key).await?) {
                (Err(reason), _) => Moved::Invalid { reason },
                (Ok(_), Some(item)) => Moved::Illegal { from: item.word },
                (Ok(_), None) => Moved::NotFound,
            });
        }
        Ok(moved)
    }

    pub(super) async fn cancel_items(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        let (sql, step) = (&self.statements.cancel, Move::Cancel);
        let operation = Operation { verb: "cancel", sql, step, word: None, now, error: None };
        let moved = self.move_items(&operation, keys).await?;
        let cancelled = self.pipeline.word(Status::Cancelled);
        Ok(moved.into_iter().map(|moved| moved.into_word(cancelled)).collect())
    }

    pub(super) async fn requeue_items(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        let operation = Operation {
            verb: "requeue",
            sql: &self.statements.requeue,
            step: Move::Requeue(requeueing.stage.unwrap_or(StageId::FIRST)),
            word: requeueing.stage.map(|stage| self.pipeline.word(Status::Ready(stage)).to_owned()),
            now: requeueing.now,
            error: None,
        };
        self.move_items(&operation, &requeueing.keys).await
    }

    /// All items in one transaction, or none. Answers are matched by the positions of the keys: the table may take
    /// different texts for one key, and then it has a third.
    async fn move_items(&self, operation: &Operation<'_>, keys: &[Key]) -> Result<Vec<Moved>> {
        let mut answers = vec![Moved::NotFound; keys.len()];
        let asked = asked_keys(keys, self.pipeline.key_type(), &mut answers);
        if asked.is_empty() {
            return Ok(answers);
        }
        let mut session = self.sessions.open_for_operator(operation.verb).await?;
        let items = self.find_items(&mut session, asked, &mut answers).await?;
        session.run("begin; set constraints all immediate").await?;
        let mut moved = vec![Moved::NotFound; items.len()];
        let mut again = Vec::new();
        let all: Vec<usize> = (0..items.len()).collect();
        // In the table's order over all batches: everything that may wait for row locks takes them in one order.
        for batch in all.chunks(BATCH_ITEMS_MAX) {
            let unmoved = self.move_parts(&mut session, operation, &items, batch.to_vec(), &mut moved).await?;
            again.push(unmoved);
        }
        // A row that another transaction changed while this one waited for it was judged by its older version. It is
        // locked now, and a further statement sees it as it is.
        for batch in again {
            self.move_parts(&mut session, operation, &items, batch, &mut moved).await?;
        }
        session.run("commit").await?;
        session.done();
        for (item, moved) in items.iter().zip(moved) {
            item.places.iter().for_each(|place| answers[*place] = moved.clone());
        }
        Ok(answers)
    }

    /// Moves those items of a batch that the database lets move. Returns those that should have moved and did not.
    async fn move_parts(
        &self,
        session: &mut Session,
        operation: &Operation<'_>,
        items: &[AskedItem],
        batch: Vec<usize>,
        moved: &mut [Moved],
    ) -> Result<Vec<usize>> {
        let whole = match self.try_part(session, operation_query(operation, items, &batch)).await? {
            Ok(rows) => {
                session.run("release savepoint part").await?;
                return self.note_moved(operation, &rows, &batch, moved);
            }
            Err(error) => error,
        };
        self.lock_batch(session, items, &batch, &whole).await?;
        self.limit_parts(session).await?;
        let mut unmoved = Vec::new();
        let mut ladder = Ladder::new(batch.len());
        while session.has_time()
            && let Some(part) = ladder.next()
        {
            let of_batch: Vec<usize> = part.iter().map(|item| batch[*item]).collect();
            match self.try_part(session, operation_query(operation, items, &of_batch)).await? {
                Ok(rows) => {
                    session.run("release savepoint part").await?;
                    unmoved.extend(self.note_moved(operation, &rows, &of_batch, moved)?);
                    ladder.passed(&part);
                }
                Err(error) => ladder.failed(part, Refusal::Loud(error)),
            }
        }
        while let Some(part) = ladder.next() {
            let untried = Moved::Refused { reason: UNTRIED.to_owned() };
            part.iter().for_each(|item| moved[batch[*item]] = untried.clone());
        }
        let at_fault = match ladder.at_fault() {
            // There is nothing to compare with, and the obstacle may be gone on the next call.
            AtFault::AllTried(items) if items.iter().any(|(_, refusal)| !refusal.lasts()) => return Err(whole),
            at_fault => at_fault,
        };
        let probe = operation_query(operation, items, &[]);
        for (item, refusal) in Box::pin(self.settle_fault(session, at_fault, Some(whole), probe)).await? {
            moved[batch[item]] = Moved::Refused { reason: refusal.reason() };
        }
        self.unlimit_parts(session).await?;
        Ok(unmoved)
    }

    /// Locks a batch that failed as a whole, in the table's order: its parts come in another order, and a savepoint
    /// that is rolled back releases what was locked after it. Not if the batch failed because another transaction was
    /// in the way for too long: then the parts have to find this item.
    async fn lock_batch(
        &self,
        session: &mut Session,
        items: &[AskedItem],
        batch: &[usize],
        whole: &Error,
    ) -> Result<()> {
        if batch.len() < 2 || hint(whole) == Hint::Contention {
            return Ok(());
        }
        let keys: Vec<String> = batch.iter().map(|item| items[*item].text.clone()).collect();
        if self.try_part(session, query(&self.statements.lock_items).bind(keys)).await?.is_ok() {
            session.run("release savepoint part").await?;
        }
        Ok(())
    }

    /// The items that are asked for, each once, in the order in which the table sorts their keys. For a key that the
    /// database cannot read, the answer says so.
    async fn find_items(
        &self,
        session: &mut Session,
        asked: Vec<AskedKey>,
        answers: &mut [Moved],
    ) -> Result<Vec<AskedItem>> {
        // A single key has no order, and every encoding has ASCII.
        if asked.len() == 1 && asked[0].text.is_ascii() {
            return Ok(asked.into_iter().map(AskedItem::from).collect());
        }
        let rows = match self.sort_keys(session, &asked).await? {
            Ok(rows) => rows,
            Err(_) => {
                let readable = self.readable_keys(session, asked, answers).await?;
                return match self.sort_keys(session, &readable).await? {
                    Ok(rows) => sorted_items(&rows, readable),
                    Err(error) => Err(error),
                };
            }
        };
        sorted_items(&rows, asked)
    }

    /// The keys that the database can read, alone or together. For the others, the answers say why not.
    async fn readable_keys(
        &self,
        session: &mut Session,
        asked: Vec<AskedKey>,
        answers: &mut [Moved],
    ) -> Result<Vec<AskedKey>> {
        let mut readable = Vec::with_capacity(asked.len());
        let mut parts = Bisection::new(asked);
        while let Some(part) = parts.next() {
            match self.sort_keys(session, &part).await? {
                Ok(_) => readable.extend(part),
                Err(error) => {
                    if let Some(key) = parts.halve(part) {
                        answers[key.place] = Moved::Invalid { reason: refusal_reason(&error) };
                    }
                }
            }
        }
        Ok(readable)
    }

    /// The rows of `canonical_keys`, or the error of a text that the server cannot read.
    async fn sort_keys(&self, session: &mut Session, asked: &[AskedKey]) -> Result<Result<Vec<PgRow>, Error>> {
        let texts: Vec<&str> = asked.iter().map(|key| key.text.as_str()).collect();
        match session.fetch(query(&self.statements.canonical_keys).bind(texts)).await {
            Err(error) if is_about_a_value(&error) => Ok(Err(error)),
            answer => answer.map(Ok),
        }
    }

    /// The rows name each item that was found, then each that was moved. Returns those that should have moved and did
    /// not.
    fn note_moved(
        &self,
        operation: &Operation<'_>,
        rows: &[PgRow],
        part: &[usize],
        moved: &mut [Moved],
    ) -> Result<Vec<usize>> {
        let verb = operation.verb;
        let is_legal_from = |from| self.pipeline.after(from, operation.step).is_ok();
        let mut unmoved = HashSet::new();
        for row in rows {
            let word = column::<Option<String>>(verb, row, "word")?.unwrap_or_default();
            let n = usize::try_from(column::<i32>(verb, row, "n")?).unwrap_or_default();
            let Some(item) = n.checked_sub(1).and_then(|at| part.get(at)).copied() else { continue };
            unmoved.remove(&item);
            moved[item] = match (column::<bool>(verb, row, "moved")?, self.pipeline.status(&word)) {
                (true, Some(to)) => Moved::Applied { to },
                (true, None) => Moved::Refused { reason: format!("a trigger changed the status to {word:?}") },
                (false, Some(from)) if is_legal_from(from) => {
                    unmoved.insert(item);
                    Moved::Refused { reason: SILENTLY_REFUSED.to_owned() }
                }
                (false, _) => Moved::Illegal { from: word },
            };
        }
        let mut unmoved: Vec<usize> = unmoved.into_iter().collect();
        unmoved.sort_unstable();
        Ok(unmoved)
    }

    pub(super) async fn pause_stage(&self, stage: StageId) -> Result<bool> {
        self.change_stage("pause", &self.statements.pause, stage).await
    }

    pub(super) async fn resume_stage(&self, stage: StageId) -> Result<bool> {
        self.change_stage("resume", &self.statements.resume, stage).await
    }

    async fn change_stage(&self, verb: &'static str, sql: &Arc<str>, stage: StageId) -> Result<bool> {
        let name = self.pipeline.stage(stage).name();
        let mut session = self.sessions.open_for_operator(verb).await?;
        let changed = session.execute(query(sql).bind(name)).await?;
        session.done();
        Ok(changed > 0)
    }

    pub(super) async fn paused_stages(&self) -> Result<Vec<StageId>> {
        let mut session = self.sessions.open("paused").await?;
        let rows = session.fetch(query(&self.statements.paused)).await?;
        session.done();
        let mut stages = Vec::new();
        for row in &rows {
            let name: String = column("paused", row, "stage")?;
            stages.extend(self.pipeline.stage_named(&name));
        }
        stages.sort_unstable();
        Ok(stages)
    }
}

/// The keys that a row may have. For the others, the answers say why not.
fn asked_keys(keys: &[Key], key_type: KeyType, answers: &mut [Moved]) -> Vec<AskedKey> {
    let mut asked = Vec::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        match asked_key(key, key_type) {
            Ok(text) => asked.push(AskedKey { text, place }),
            Err(reason) => answers[place] = Moved::Invalid { reason },
        }
    }
    asked
}

/// The rows of `canonical_keys` as items. Keys that lead to no item are left out.
fn sorted_items(rows: &[PgRow], asked: Vec<AskedKey>) -> Result<Vec<AskedItem>> {
    const VERB: &str = "canonical_keys";
    let mut asked: Vec<Option<AskedKey>> = asked.into_iter().map(Some).collect();
    let mut items: Vec<AskedItem> = Vec::with_capacity(asked.len());
    let mut last = None;
    for row in rows {
        let Some(item) = column::<Option<i64>>(VERB, row, "item")? else { continue };
        let position = usize::try_from(column::<i64>(VERB, row, "position")?).unwrap_or_default();
        let Some(key) = position.checked_sub(1).and_then(|at| asked.get_mut(at)?.take()) else { continue };
        match items.last_mut().filter(|_| last == Some(item)) {
            Some(same) => same.places.push(key.place),
            None => items.push(key.into()),
        }
        last = Some(item);
    }
    Ok(items)
}

fn operation_query<'q>(
    operation: &Operation<'q>,
    items: &[AskedItem],
    part: &[usize],
) -> Query<'q, Postgres, PgArguments> {
    let keys: Vec<String> = part.iter().map(|item| items[*item].text.clone()).collect();
    let count = i32::try_from(keys.len()).unwrap_or(i32::MAX);
    query(operation.sql)
        .bind(keys)
        .bind(operation.word.clone())
        .bind(operation.now)
        .bind(operation.error.clone())
        .bind(count)
}
