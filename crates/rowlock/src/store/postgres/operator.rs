//! What operators do: `set`, `cancel`, `requeue`, `pause`, `resume`, `add_many`.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::PostgresStore;
use super::asked_key::asked_key;
use super::claim::query;
use super::errors::{is_about_a_value, is_not_supported};
use super::refusal::{Refusal, SILENTLY_REFUSED, refusal_reason};
use super::rows::column;
use super::session::Session;
use crate::limits::{BATCH_ITEMS_MAX, REFUSED_KEYS_MAX};
use crate::pipeline::KeyType;
use crate::store::bisection::Parts;
use crate::store::error_text::stored_error;
use crate::store::ladder::Ladder;
use crate::store::{Added, Moved, Requeueing, Setting};
use crate::{Error, Key, Result, StageId, Status};

/// One of the three verbs that move items by their keys.
struct Operation<'a> {
    verb: &'static str,
    sql: &'a Arc<str>,
    /// The word for `set`, the ready word of the named stage for `requeue`.
    word: Option<String>,
    now: Option<DateTime<Utc>>,
    error: Option<String>,
}

/// A key that a row may have, and the place of the answer to it.
struct AskedKey {
    text: String,
    place: usize,
}

/// An item of the table, by one of the keys that lead to it, and the places of the answers to all of those.
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
    pub(super) async fn set_items(&self, setting: &Setting) -> Result<Vec<Moved>> {
        if setting.to.is_in_progress() {
            return self.refuse_moves(&setting.keys).await;
        }
        let operation = Operation {
            verb: "set",
            sql: &self.statements.set,
            word: Some(self.pipeline.word(setting.to).to_owned()),
            now: setting.now,
            error: setting.error.as_deref().map(stored_error),
        };
        self.move_items(&operation, &setting.keys).await
    }

    /// An item is put in progress by a claim only: from no state does this move exist.
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
        let operation = Operation { verb: "cancel", sql: &self.statements.cancel, word: None, now, error: None };
        let moved = self.move_items(&operation, keys).await?;
        let cancelled = self.pipeline.word(Status::Cancelled);
        Ok(moved.into_iter().map(|moved| moved.into_word(cancelled)).collect())
    }

    pub(super) async fn requeue_items(&self, requeueing: &Requeueing) -> Result<Vec<Moved>> {
        let operation = Operation {
            verb: "requeue",
            sql: &self.statements.requeue,
            word: requeueing.stage.map(|stage| self.pipeline.word(Status::Ready(stage)).to_owned()),
            now: requeueing.now,
            error: None,
        };
        self.move_items(&operation, &requeueing.keys).await
    }

    /// All items in one transaction, or none. Answers go by the places of the keys: the table may take different texts for
    /// one key, and then it has a third.
    async fn move_items(&self, operation: &Operation<'_>, keys: &[Key]) -> Result<Vec<Moved>> {
        let mut answers = vec![Moved::NotFound; keys.len()];
        let asked = asked_keys(keys, self.pipeline.key_type(), &mut answers);
        if asked.is_empty() {
            return Ok(answers);
        }
        let mut session = self.sessions.open(operation.verb).await?;
        let items = self.find_items(&mut session, asked, &mut answers).await?;
        session.run("begin; set constraints all immediate").await?;
        let mut moved = vec![Moved::NotFound; items.len()];
        let mut again = Vec::new();
        let all: Vec<usize> = (0..items.len()).collect();
        // In the table's order over all batches: what may wait for row locks takes them in one order.
        for batch in all.chunks(BATCH_ITEMS_MAX) {
            let unmoved = self.move_parts(&mut session, operation, &items, batch.to_vec(), &mut moved).await?;
            again.push(unmoved);
        }
        // A row that another transaction changed while we waited for it was judged by its older version. It is ours now,
        // and a further statement sees it as it is.
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

    /// Moves what of a batch the database lets be moved. The answer are those that should have been moved and were not.
    async fn move_parts(
        &self,
        session: &mut Session,
        operation: &Operation<'_>,
        items: &[AskedItem],
        batch: Vec<usize>,
        moved: &mut [Moved],
    ) -> Result<Vec<usize>> {
        let whole = match self.attempt(session, operation_query(operation, items, &batch)).await? {
            Ok(rows) => {
                session.run("release savepoint part").await?;
                return self.note_moved(operation.verb, &rows, &batch, moved);
            }
            Err(error) => error,
        };
        let mut unmoved = Vec::new();
        let mut ladder = Ladder::new(batch.len());
        while let Some(part) = ladder.next() {
            let of_batch: Vec<usize> = part.iter().map(|item| batch[*item]).collect();
            match self.attempt(session, operation_query(operation, items, &of_batch)).await? {
                Ok(rows) => {
                    session.run("release savepoint part").await?;
                    unmoved.extend(self.note_moved(operation.verb, &rows, &of_batch, moved)?);
                    ladder.passed(&part);
                }
                Err(error) => ladder.failed(part, Refusal::Loud(error)),
            }
        }
        let probe = operation_query(operation, items, &[]);
        for (item, refusal) in Box::pin(self.settle_fault(session, ladder.at_fault(), Some(whole), probe)).await? {
            moved[batch[item]] = Moved::Refused { reason: refusal.reason() };
        }
        Ok(unmoved)
    }

    /// The items among what is asked for, each once, in the order in which the table sorts their keys. A key that the
    /// database cannot read is answered as that.
    async fn find_items(
        &self,
        session: &mut Session,
        asked: Vec<AskedKey>,
        answers: &mut [Moved],
    ) -> Result<Vec<AskedItem>> {
        // A single key has no order, and every encoding has what is ASCII.
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

    /// The keys that the database can read, alone or together. The others are answered as what they are.
    async fn readable_keys(
        &self,
        session: &mut Session,
        asked: Vec<AskedKey>,
        answers: &mut [Moved],
    ) -> Result<Vec<AskedKey>> {
        let mut readable = Vec::with_capacity(asked.len());
        let mut parts = Parts::new(asked);
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

    /// The rows of `canonical_keys`, or the error of a text among them that the server cannot read.
    async fn sort_keys(&self, session: &mut Session, asked: &[AskedKey]) -> Result<Result<Vec<PgRow>, Error>> {
        let texts: Vec<&str> = asked.iter().map(|key| key.text.as_str()).collect();
        match session.fetch(query(&self.statements.canonical_keys).bind(texts)).await {
            Err(error) if is_about_a_value(&error) => Ok(Err(error)),
            answer => answer.map(Ok),
        }
    }

    /// A row for each item that was found, then one for each that was moved. The answer are those that should have been
    /// moved and were not.
    fn note_moved(
        &self,
        verb: &'static str,
        rows: &[PgRow],
        part: &[usize],
        moved: &mut [Moved],
    ) -> Result<Vec<usize>> {
        let mut unmoved = HashSet::new();
        for row in rows {
            let word = column::<Option<String>>(verb, row, "word")?.unwrap_or_default();
            let n = usize::try_from(column::<i32>(verb, row, "n")?).unwrap_or_default();
            let Some(item) = n.checked_sub(1).and_then(|at| part.get(at)).copied() else { continue };
            unmoved.remove(&item);
            moved[item] = match (column::<bool>(verb, row, "moved")?, self.pipeline.status(&word)) {
                (true, Some(to)) => Moved::Applied { to },
                (true, None) => Moved::Refused { reason: format!("a trigger changed the status to {word:?}") },
                (false, from) if self.is_legal_from(verb, from) => {
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

    /// Whether the statement would have moved an item from this state. As in the SQL.
    fn is_legal_from(&self, verb: &str, from: Option<Status>) -> bool {
        match (verb, from) {
            (_, None) => false,
            ("cancel", Some(from)) => !from.is_terminal(),
            ("requeue", Some(from)) => from.is_terminal(),
            (_, Some(_)) => true,
        }
    }

    pub(super) async fn pause_stage(&self, stage: StageId) -> Result<bool> {
        self.change_stage("pause", &self.statements.pause, stage).await
    }

    pub(super) async fn resume_stage(&self, stage: StageId) -> Result<bool> {
        self.change_stage("resume", &self.statements.resume, stage).await
    }

    async fn change_stage(&self, verb: &'static str, sql: &Arc<str>, stage: StageId) -> Result<bool> {
        let name = self.pipeline.stage(stage).name();
        let mut session = self.sessions.open(verb).await?;
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

    /// A plain COPY, as if every key were new. If one is not, or the table takes no COPY, then COPY into a staging table and
    /// one insert that skips those that exist: twice as dear, and what the first COPY wrote is left for vacuum. Who adds keys
    /// that exist will do so again: the next call stages its keys at once.
    pub(super) async fn add_keys(&self, keys: &[Key]) -> Result<Added> {
        let mut asked = Vec::with_capacity(keys.len());
        let mut refused: Vec<(usize, String)> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            match asked_key(key, self.pipeline.key_type()) {
                Ok(text) => asked.push(AskedKey { text, place }),
                Err(reason) => refused.push((place, reason)),
            }
        }
        let mut session = self.sessions.open("add_many").await?;
        let added = match self.add_asked(&mut session, &asked).await {
            Err(error) if is_about_a_value(&error) => {
                let holdable = self.holdable_keys(&mut session, asked, &mut refused).await?;
                self.start_again(&mut session).await?;
                asked = holdable;
                self.stage_keys(&mut session, &asked).await?
            }
            answer => answer?,
        };
        session.done();
        self.keys_existed.store(added < asked.len() as u64, Ordering::Relaxed);
        refused.sort_unstable();
        let refused = refused.into_iter().map(|(place, reason)| (keys[place].clone(), reason)).collect();
        Ok(Added { added, refused })
    }

    async fn add_asked(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        // COPY would give each row the default status.
        if self.keys_existed.load(Ordering::Relaxed) || self.pipeline.allows_other_default() {
            return self.stage_keys(session, keys).await;
        }
        match self.copy_new_keys(session, keys).await {
            Err(error) if error.is_row_refusal() || is_not_supported(&error) => {
                self.start_again(session).await?;
                self.stage_keys(session, keys).await
            }
            answer => answer,
        }
    }

    async fn start_again(&self, session: &mut Session) -> Result<()> {
        session.run("rollback").await?;
        session.extend_deadline(self.sessions.deadline());
        Ok(())
    }

    /// The keys that the column can hold, found by adding parts of them and undoing it. The others are refused.
    async fn holdable_keys(
        &self,
        session: &mut Session,
        keys: Vec<AskedKey>,
        refused: &mut Vec<(usize, String)>,
    ) -> Result<Vec<AskedKey>> {
        let mut holdable = Vec::with_capacity(keys.len());
        let mut parts = Parts::new(keys);
        while let Some(part) = parts.next() {
            self.start_again(session).await?;
            match self.stage_part(session, &part).await {
                Ok(_) => holdable.extend(part),
                Err(error) if is_about_a_value(&error) && refused.len() < REFUSED_KEYS_MAX => {
                    if let Some(key) = parts.halve(part) {
                        refused.push((key.place, refusal_reason(&error)));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(holdable)
    }

    async fn copy_new_keys(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        session.run("begin").await?;
        let added = copy_keys(session, &self.statements.copy_keys, keys).await?;
        session.run("commit").await?;
        Ok(added)
    }

    async fn stage_keys(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        let added = self.stage_part(session, keys).await?;
        session.run("commit").await?;
        Ok(added)
    }

    /// Adds keys in a transaction that it leaves open.
    async fn stage_part(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        session.run("begin").await?;
        session.execute(query(&self.statements.stage_keys)).await?;
        copy_keys(session, "copy rowlock_staged (key) from stdin", keys).await?;
        session.execute(query(&self.statements.add_many)).await
    }
}

/// The keys that a row may have. The others are answered as what they are.
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

/// The rows of `canonical_keys` as items. Keys that lead to none are left out.
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

async fn copy_keys(session: &mut Session, copy: &str, keys: &[AskedKey]) -> Result<u64> {
    /// Bytes sent at a time.
    const CHUNK_BYTES: usize = 64 * 1024;
    let copied = session.work(async |connection| {
        let mut copy = connection.copy_in_raw(copy).await?;
        let mut chunk = String::with_capacity(CHUNK_BYTES + 1024);
        for key in keys {
            push_copied(&mut chunk, &key.text);
            if chunk.len() >= CHUNK_BYTES {
                copy.send(chunk.as_bytes()).await?;
                chunk.clear();
            }
        }
        copy.send(chunk.as_bytes()).await?;
        copy.finish().await
    });
    copied.await
}

/// A line of COPY's text format.
fn push_copied(chunk: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\n', '\r', '\t']) {
        chunk.push_str(&rest[..at]);
        chunk.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    chunk.push_str(rest);
    chunk.push('\n');
}

#[cfg(test)]
mod tests {
    use super::push_copied;

    #[test]
    fn a_key_cannot_end_its_own_line() {
        let mut chunk = String::new();
        push_copied(&mut chunk, "a\nb\\.\tc");
        assert_eq!(chunk, "a\\nb\\\\.\\tc\n");
    }
}
