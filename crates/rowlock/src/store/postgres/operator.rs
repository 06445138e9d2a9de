//! What operators do: `set`, `cancel`, `requeue`, `pause`, `resume`, `add_many`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::PostgresStore;
use super::claim::{SILENTLY_REFUSED, query};
use super::errors::is_not_supported;
use super::rows::{column, key};
use super::session::Session;
use crate::limits::BATCH_ITEMS_MAX;
use crate::store::bisection::Parts;
use crate::store::error_text::stored_error;
use crate::store::{Moved, Requeueing, Setting};
use crate::{Key, Result, StageId, Status};

/// One of the three verbs that move items by their keys.
struct Operation<'a> {
    verb: &'static str,
    sql: &'a Arc<str>,
    /// The word for `set`, the ready word of the named stage for `requeue`.
    word: Option<String>,
    now: Option<DateTime<Utc>>,
    error: Option<String>,
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
            let item = self.get_item(key).await?;
            moved.push(item.map_or(Moved::NotFound, |item| Moved::Illegal { from: item.word }));
        }
        Ok(moved)
    }

    pub(super) async fn cancel_items(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        let operation = Operation { verb: "cancel", sql: &self.statements.cancel, word: None, now, error: None };
        self.move_items(&operation, keys).await
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

    /// All keys in one transaction, or none.
    async fn move_items(&self, operation: &Operation<'_>, keys: &[Key]) -> Result<Vec<Moved>> {
        for key in keys {
            key.check()?;
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (canonical, ordered) = self.canonical_keys(operation.verb, keys).await?;
        let mut session = self.sessions.open(operation.verb).await?;
        session.run("begin; set constraints all immediate").await?;
        let mut found: HashMap<Key, Moved> = HashMap::new();
        let mut again = Vec::new();
        // In the table's order over all batches: what may wait for row locks takes them in one order.
        for batch in ordered.chunks(BATCH_ITEMS_MAX) {
            let mut parts = Parts::new(batch.to_vec());
            while let Some(part) = parts.next() {
                let reason = match self.attempt(&mut session, self.operation_query(operation, &part)).await? {
                    Ok(rows) => {
                        session.run("release savepoint part").await?;
                        let unmoved = self.note_moved(operation.verb, &rows, &mut found)?;
                        if !unmoved.is_empty() {
                            again.push(unmoved);
                        }
                        continue;
                    }
                    Err(reason) => reason,
                };
                if let Some(key) = parts.halve(part) {
                    found.insert(key, Moved::Refused { reason });
                }
            }
        }
        // A row that another transaction changed while we waited for it was judged by its older version. It is ours now,
        // and a further statement sees it as it is.
        for keys in again {
            let mut parts = Parts::new(keys);
            while let Some(part) = parts.next() {
                match self.attempt(&mut session, self.operation_query(operation, &part)).await? {
                    Ok(rows) => {
                        session.run("release savepoint part").await?;
                        self.note_moved(operation.verb, &rows, &mut found)?;
                    }
                    Err(reason) => {
                        if let Some(key) = parts.halve(part) {
                            found.insert(key, Moved::Refused { reason });
                        }
                    }
                }
            }
        }
        session.run("commit").await?;
        session.done();
        Ok(canonical.iter().map(|key| found.get(key).cloned().unwrap_or(Moved::NotFound)).collect())
    }

    /// The keys as the table writes them (a uuid in capitals is the same item), in the given order; and each of them
    /// once, in the table's order.
    async fn canonical_keys(&self, verb: &'static str, keys: &[Key]) -> Result<(Vec<Key>, Vec<Key>)> {
        let mut session = self.sessions.open(verb).await?;
        let texts: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let rows = session.fetch(query(&self.statements.canonical_keys).bind(texts)).await?;
        session.done();
        let mut sorted = Vec::with_capacity(rows.len());
        for row in &rows {
            sorted.push((column::<i64>(verb, row, "position")?, key(verb, row, "key")?));
        }
        let mut seen = HashSet::new();
        let ordered = sorted.iter().map(|(_, key)| key).filter(|key| seen.insert(*key)).cloned().collect();
        sorted.sort_unstable_by_key(|(position, _)| *position);
        Ok((sorted.into_iter().map(|(_, key)| key).collect(), ordered))
    }

    fn operation_query<'q>(&'q self, operation: &Operation<'_>, keys: &[Key]) -> Query<'q, Postgres, PgArguments> {
        let keys: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        query(operation.sql).bind(keys).bind(operation.word.clone()).bind(operation.now).bind(operation.error.clone())
    }

    /// A row for each item that was found, then one for each that was moved. The answer are the keys of those that
    /// should have been moved and were not.
    fn note_moved(&self, verb: &'static str, rows: &[PgRow], found: &mut HashMap<Key, Moved>) -> Result<Vec<Key>> {
        let mut unmoved = HashSet::new();
        for row in rows {
            let word = column::<Option<String>>(verb, row, "word")?.unwrap_or_default();
            let item = key(verb, row, "key")?;
            unmoved.remove(&item);
            let answer = match (column::<bool>(verb, row, "moved")?, self.pipeline.status(&word)) {
                (true, Some(to)) => Moved::Applied { to },
                (true, None) => Moved::Refused { reason: format!("a trigger changed the status to {word:?}") },
                (false, from) if self.is_legal_from(verb, from) => {
                    unmoved.insert(item.clone());
                    Moved::Refused { reason: SILENTLY_REFUSED.to_owned() }
                }
                (false, _) => Moved::Illegal { from: word },
            };
            found.insert(item, answer);
        }
        Ok(unmoved.into_iter().collect())
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
    pub(super) async fn add_keys(&self, keys: &[Key]) -> Result<u64> {
        for key in keys {
            key.check()?;
        }
        let mut session = self.sessions.open("add_many").await?;
        let added = if self.keys_existed.load(Ordering::Relaxed) {
            self.stage_keys(&mut session, keys).await?
        } else {
            match self.copy_new_keys(&mut session, keys).await {
                Err(error) if error.is_row_refusal() || is_not_supported(&error) => {
                    session.run("rollback").await?;
                    session.extend_deadline(self.sessions.deadline());
                    self.stage_keys(&mut session, keys).await?
                }
                answer => answer?,
            }
        };
        session.done();
        self.keys_existed.store(added < keys.len() as u64, Ordering::Relaxed);
        Ok(added)
    }

    async fn copy_new_keys(&self, session: &mut Session, keys: &[Key]) -> Result<u64> {
        session.run("begin").await?;
        let added = copy_keys(session, &self.statements.copy_keys, keys).await?;
        session.run("commit").await?;
        Ok(added)
    }

    async fn stage_keys(&self, session: &mut Session, keys: &[Key]) -> Result<u64> {
        session.run("begin").await?;
        session.execute(query(&self.statements.stage_keys)).await?;
        copy_keys(session, "copy rowlock_staged (key) from stdin", keys).await?;
        let added = session.execute(query(&self.statements.add_many)).await?;
        session.run("commit").await?;
        Ok(added)
    }
}

async fn copy_keys(session: &mut Session, copy: &str, keys: &[Key]) -> Result<u64> {
    /// Bytes sent at a time.
    const CHUNK_BYTES: usize = 64 * 1024;
    let copied = session.work(async |connection| {
        let mut copy = connection.copy_in_raw(copy).await?;
        let mut chunk = String::with_capacity(CHUNK_BYTES + 1024);
        for key in keys {
            push_copied(&mut chunk, key.as_str());
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
