//! Batch writes, and the rows in them that the database refuses.
//!
//! A batch is one statement. When the database refuses one of its rows, the batch is repeated in a transaction that
//! finds the row by bisection under savepoints. Where that cannot work (a trigger that raises `ROLLBACK`, a
//! constraint that is checked at the commit), each item is repeated in a transaction of its own.

use std::collections::HashMap;

use serde::Serialize;

use super::items::{Item, json};
use super::session::{Bind, Session, Sql, Verb};
use super::{SqliteStore, errors, rows};
use crate::limits::FAILURES_KEPT_MAX;
use crate::store::Finished;
use crate::store::bisection::Parts;
use crate::store::error_text::stored_error;
use crate::{Key, Result};

/// What is said of a row whose update a trigger left out.
pub(super) const SILENTLY_REFUSED: &str = "a trigger of the table suppressed the update without an error";

/// A batch statement with its items. The items are its `?1`, the time its `?2`.
pub(super) struct Batch<'a> {
    pub(super) sql: &'a Sql,
    pub(super) items: Vec<Item>,
    pub(super) now: String,
    pub(super) binds: Vec<Bind>,
    pub(super) when_refused: WhenRefused,
    /// The cause under which an item's failure is recorded; none for a move that is no failure.
    pub(super) cause: fn(&Item) -> Option<&'static str>,
}

impl Batch<'_> {
    /// Its binds, with these items.
    fn binds(&self, items: String) -> impl Iterator<Item = Bind> {
        [Bind::from(items), Bind::from(self.now.as_str())].into_iter().chain(self.binds.iter().cloned())
    }
}

/// What happens to an item whose move the database refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenRefused {
    /// It is made `FAILED`; refused again, it is excluded.
    Fail,
    /// It stays as it is.
    Leave,
}

/// What became of one item of a batch.
#[derive(Debug, Clone)]
pub(super) enum Written {
    Applied {
        /// The key as the row has it.
        key: Key,
        /// The word that the row has now.
        word: String,
        holder: Option<String>,
        error: Option<String>,
    },
    /// No row matched.
    Missing,
    /// The row matches still: a trigger left the update out.
    Ignored,
    Refused {
        reason: String,
        failed: bool,
    },
}

/// One record of `rowlock_failures`.
#[derive(Debug, Serialize)]
struct Failure<'a> {
    item: String,
    word: &'a str,
    cause: &'static str,
    holder: Option<&'a str>,
    error: &'a str,
}

impl SqliteStore {
    /// The whole batch in one statement, within the session's transaction. An error that refuses a row leaves the
    /// transaction to be rolled back.
    pub(super) async fn write_batch(&self, session: &mut Session, batch: &Batch<'_>) -> Result<Vec<Written>> {
        let mut written = self.apply(session, batch, &(0..batch.items.len()).collect::<Vec<_>>()).await?;
        self.mark_ignored(session, batch, &mut written).await?;
        self.record_failures(session, batch, &written).await?;
        Ok(written)
    }

    /// The batch in the session's transaction, which ends here; what of it the database refuses or ignores is repeated.
    pub(super) async fn write_or_repeat(
        &self,
        verb: &Verb,
        mut session: Session,
        batch: &Batch<'_>,
    ) -> Result<Vec<Written>> {
        match self.write_batch(&mut session, batch).await {
            Ok(written) => match session.commit().await {
                Ok(()) => self.repeat_ignored(verb, batch, written).await,
                Err(error) if error.is_row_refusal() => self.repeat_batch(verb, batch).await,
                Err(error) => Err(error),
            },
            Err(error) if error.is_row_refusal() => {
                session.roll_back().await?;
                self.repeat_batch(verb, batch).await
            }
            Err(error) => Err(error),
        }
    }

    /// Items whose update a trigger left out, repeated in a transaction of their own.
    pub(super) async fn repeat_ignored(
        &self,
        verb: &Verb,
        batch: &Batch<'_>,
        mut written: Vec<Written>,
    ) -> Result<Vec<Written>> {
        let is_ignored = |index: &usize| matches!(written[*index], Written::Ignored);
        let ignored: Vec<usize> = (0..written.len()).filter(is_ignored).collect();
        if ignored.is_empty() {
            return Ok(written);
        }
        let items = ignored.iter().map(|index| batch.items[*index].clone()).collect();
        let again = Batch { items, now: batch.now.clone(), binds: batch.binds.clone(), ..*batch };
        for (index, outcome) in ignored.into_iter().zip(self.repeat_batch(verb, &again).await?) {
            written[index] = outcome;
        }
        Ok(written)
    }

    /// The batch, or what of it is to be repeated, in transactions of its own that find the refused rows.
    pub(super) async fn repeat_batch(&self, verb: &Verb, batch: &Batch<'_>) -> Result<Vec<Written>> {
        let mut session = self.write(verb).await?;
        match self.bisect(&mut session, batch).await {
            Ok(written) => match session.commit().await {
                Ok(()) => return Ok(self.excluding(batch, written)),
                Err(error) if error.is_row_refusal() => {}
                Err(error) => return Err(error),
            },
            Err(error) if errors::is_transaction_gone(&error) => session.roll_back().await?,
            Err(error) => return Err(error),
        }
        let mut written = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            written.push(self.repeat_alone(verb, batch, item).await?);
        }
        Ok(self.excluding(batch, written))
    }

    async fn bisect(&self, session: &mut Session, batch: &Batch<'_>) -> Result<Vec<Written>> {
        let mut written = vec![Written::Missing; batch.items.len()];
        let mut refused: Vec<(usize, String)> = Vec::new();
        let mut parts = Parts::new((0..batch.items.len()).collect::<Vec<_>>());
        while let Some(part) = parts.next() {
            session.run("SAVEPOINT part").await?;
            match self.apply(session, batch, &part).await {
                Ok(applied) => {
                    session.run("RELEASE part").await?;
                    for (index, outcome) in part.into_iter().zip(applied) {
                        written[index] = outcome;
                    }
                }
                Err(error) if error.is_row_refusal() => {
                    session.run("ROLLBACK TO part").await?;
                    session.run("RELEASE part").await?;
                    let reason = errors::reason(&error);
                    if let Some(index) = parts.halve(part) {
                        written[index] = Written::Refused { reason: reason.clone(), failed: false };
                        refused.push((index, reason));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.mark_ignored(session, batch, &mut written).await?;
        let ignored = written.iter().enumerate().filter(|(_, outcome)| matches!(outcome, Written::Ignored));
        refused.extend(ignored.map(|(index, _)| (index, SILENTLY_REFUSED.to_owned())));
        self.record_failures(session, batch, &written).await?;
        for (index, reason) in refused {
            let failed = self.fail_refused(session, batch, &batch.items[index], &reason).await?;
            written[index] = Written::Refused { reason, failed };
        }
        Ok(written)
    }

    /// One item in a transaction of its own, and in another as `FAILED`.
    async fn repeat_alone(&self, verb: &Verb, batch: &Batch<'_>, item: &Item) -> Result<Written> {
        let alone = Batch { items: vec![item.clone()], now: batch.now.clone(), binds: batch.binds.clone(), ..*batch };
        let mut session = self.write(verb).await?;
        let attempt = match self.write_batch(&mut session, &alone).await {
            Ok(written) => session.commit().await.map(|()| written),
            Err(error) if error.is_row_refusal() => {
                session.roll_back().await?;
                Err(error)
            }
            Err(error) => return Err(error),
        };
        let reason = match attempt {
            Ok(mut written) => match written.pop() {
                Some(Written::Ignored) => SILENTLY_REFUSED.to_owned(),
                Some(outcome) => return Ok(outcome),
                None => return Ok(Written::Missing),
            },
            Err(error) if error.is_row_refusal() => errors::reason(&error),
            Err(error) => return Err(error),
        };
        let failed = self.fail_alone(verb, batch, item, &reason).await?;
        Ok(Written::Refused { reason, failed })
    }

    /// Makes the only item of a batch `FAILED` whose move was refused in a transaction of the user's. Its move alone
    /// is not repeated: it would be committed without what the user wrote.
    pub(super) async fn refuse_finish(&self, verb: &Verb, batch: &Batch<'_>, outcome: Written) -> Result<Finished> {
        let reason = match outcome {
            Written::Refused { reason, .. } => reason,
            Written::Applied { .. } | Written::Missing | Written::Ignored => SILENTLY_REFUSED.to_owned(),
        };
        let failed = match batch.items.first() {
            Some(item) => self.fail_alone(verb, batch, item, &reason).await?,
            None => false,
        };
        let written = self.excluding(batch, vec![Written::Refused { reason: reason.clone(), failed }]);
        Ok(written.into_iter().next().map_or(Finished::LeaseLost, |outcome| self.finished(outcome)))
    }

    /// Makes a refused item `FAILED` in a transaction of its own. False if the database refuses that too.
    async fn fail_alone(&self, verb: &Verb, batch: &Batch<'_>, item: &Item, reason: &str) -> Result<bool> {
        let mut session = self.write(verb).await?;
        match self.fail_refused(&mut session, batch, item, reason).await {
            Ok(failed) => match session.commit().await {
                Ok(()) => Ok(failed),
                Err(error) if error.is_row_refusal() => Ok(false),
                Err(error) => Err(error),
            },
            Err(error) if errors::is_transaction_gone(&error) => {
                session.roll_back().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a refused item `FAILED`, under a savepoint. False if the database refuses that too.
    async fn fail_refused(&self, session: &mut Session, batch: &Batch<'_>, item: &Item, reason: &str) -> Result<bool> {
        if batch.when_refused == WhenRefused::Leave {
            return Ok(false);
        }
        let failing =
            Item { error: Some(stored_error(&format!("the database refuses this row: {reason}"))), ..item.clone() };
        let failing = Batch {
            sql: &self.statements.refuse,
            items: vec![failing],
            now: batch.now.clone(),
            binds: Vec::new(),
            when_refused: WhenRefused::Leave,
            cause: |_| Some("refused"),
        };
        session.run("SAVEPOINT failing").await?;
        match self.write_batch(session, &failing).await {
            Ok(written) => {
                session.run("RELEASE failing").await?;
                Ok(matches!(written.as_slice(), [Written::Applied { .. }]))
            }
            Err(error) if error.is_row_refusal() => {
                session.run("ROLLBACK TO failing").await?;
                session.run("RELEASE failing").await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves out what could not even be made `FAILED`.
    fn excluding(&self, batch: &Batch<'_>, written: Vec<Written>) -> Vec<Written> {
        if batch.when_refused == WhenRefused::Fail {
            for (item, outcome) in batch.items.iter().zip(&written) {
                if let Written::Refused { reason, failed: false } = outcome {
                    self.exclusions.add(item.key.to_key(), reason);
                }
            }
        }
        written
    }

    /// The statement for some of the batch's items; the answer has one entry for each, in order.
    async fn apply(&self, session: &mut Session, batch: &Batch<'_>, indexes: &[usize]) -> Result<Vec<Written>> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let items: Vec<&Item> = indexes.iter().map(|index| &batch.items[*index]).collect();
        let rows = session.rows(batch.sql, batch.binds(json(&items))).await?;
        // With its token: of two leases of one item only one was written.
        let mut by_key: HashMap<Key, (Option<i64>, Written)> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let key = Key::new(rows::text(row, 0).unwrap_or_default());
            let applied = Written::Applied {
                key: key.clone(),
                word: rows::text(row, 1).unwrap_or_default(),
                holder: rows::text(row, 2),
                error: rows::text(row, 3),
            };
            by_key.insert(key, (rows::integer(row, 4), applied));
        }
        let outcome = |item: &Item, key: &Key| match by_key.get(key) {
            Some((token, applied)) if item.token.is_none() || item.token == *token => applied.clone(),
            Some(_) | None => Written::Missing,
        };
        let mut written: Vec<Written> = items.iter().map(|item| outcome(item, &item.key.to_key())).collect();
        let is_applied = |outcome: &&Written| matches!(outcome, Written::Applied { .. });
        if written.iter().filter(is_applied).count() < rows.len() {
            // The column's collation takes the key of a row for another text: what the rows' keys are is asked by place.
            let found = self.read_words(session, &items).await?;
            for ((item, written), found) in items.iter().zip(&mut written).zip(found) {
                if let (Written::Missing, Some(found)) = (&*written, found) {
                    *written = outcome(item, &found.key.to_key());
                }
            }
        }
        Ok(written)
    }

    /// Tells a row that does not match from one whose update a trigger left out.
    async fn mark_ignored(&self, session: &mut Session, batch: &Batch<'_>, written: &mut [Written]) -> Result<()> {
        let missing = |outcome: &Written| matches!(outcome, Written::Missing);
        let asked: Vec<usize> = (0..written.len()).filter(|index| missing(&written[*index])).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let items: Vec<&Item> = asked.iter().map(|index| &batch.items[*index]).collect();
        let found = self.read_words(session, &items).await?;
        for (index, found) in asked.into_iter().zip(found) {
            let item = &batch.items[index];
            if found.is_some_and(|found| found.matches(item)) {
                written[index] = Written::Ignored;
            }
        }
        Ok(())
    }

    /// Writes the failures among what was written, and prunes the older ones of the same items.
    async fn record_failures(&self, session: &mut Session, batch: &Batch<'_>, written: &[Written]) -> Result<()> {
        let mut records: Vec<Failure<'_>> = Vec::new();
        for (item, outcome) in batch.items.iter().zip(written) {
            if let (Written::Applied { key, holder, error, .. }, Some(cause)) = (outcome, (batch.cause)(item)) {
                records.push(Failure {
                    item: key.as_str().to_owned(),
                    word: &item.word,
                    cause,
                    holder: holder.as_deref(),
                    error: error.as_deref().unwrap_or_default(),
                });
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        let records = json(&records);
        let kept = i64::try_from(FAILURES_KEPT_MAX).unwrap_or(i64::MAX);
        session.execute(&self.statements.add_failures, [records.as_str().into(), batch.now.as_str().into()]).await?;
        session.execute(&self.statements.prune_failures, [records.into(), kept.into()]).await?;
        Ok(())
    }
}
