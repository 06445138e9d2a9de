//! Batch writes, and the rows in them that the database refuses.
//!
//! A batch is one statement. If it fails, an experiment shows whose fault that is (`trial`).

use std::collections::HashMap;

use super::items::{BatchItem, json};
use super::session::{Bind, Session, Sql, Verb};
use super::store::SqliteStore;
use super::{errors, rows};
use crate::store::Finished;
use crate::store::error_text::stored_error;
use crate::{Error, Key, Result};

/// The reason for a row whose update a trigger suppressed.
pub(super) const SILENTLY_REFUSED: &str = "a trigger of the table suppressed the update without an error";

/// A batch statement with its items. The items are its `?1`, the time its `?2`.
pub(super) struct Batch<'a> {
    pub(super) sql: &'a Sql,
    pub(super) items: Vec<BatchItem>,
    pub(super) now: String,
    pub(super) binds: Vec<Bind>,
    pub(super) when_refused: WhenRefused,
    /// The cause under which an item's failure is recorded; `None` for a move that is no failure.
    pub(super) cause: fn(&BatchItem) -> Option<&'static str>,
}

impl Batch<'_> {
    /// Its binds, with these items.
    pub(super) fn binds(&self, items: String) -> impl Iterator<Item = Bind> {
        [Bind::from(items), Bind::from(self.now.as_str())].into_iter().chain(self.binds.iter().cloned())
    }
}

/// What happens to an item whose move the database refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenRefused {
    /// It becomes `FAILED`; if the database refuses that as well, it is excluded.
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
    /// The row still matches: a trigger suppressed the update.
    Ignored,
    /// It was written, and a trigger changed its status afterwards.
    Rewritten {
        /// The word that the row has now; `None` if the row no longer exists.
        word: Option<String>,
    },
    Refused {
        reason: String,
        failed: bool,
    },
    /// Refused for the same cause as many others, and left as it is.
    Held,
}

impl Written {
    /// The reason for a row whose status a trigger changed after the move.
    pub(super) fn rewritten(word: Option<&str>) -> String {
        match word {
            Some(word) => format!("a trigger changed the status to {word:?}"),
            None => "a trigger deleted the row, or gave it another key".to_owned(),
        }
    }
}

impl SqliteStore {
    /// The whole batch in one statement, within the session's transaction. After an error that may be a row's, the
    /// caller has to roll the transaction back.
    pub(super) async fn write_batch(&self, session: &mut Session, batch: &Batch<'_>) -> Result<Vec<Written>> {
        let mut written = self.apply(session, batch, &(0..batch.items.len()).collect::<Vec<_>>()).await?;
        self.mark_ignored(session, batch, &mut written).await?;
        self.mark_rewritten(session, batch, &mut written).await?;
        self.record_failures(session, batch, &written).await?;
        Ok(written)
    }

    /// The batch in the session's transaction, which ends here; the part of it that the database refuses or ignores is
    /// repeated.
    pub(super) async fn write_or_repeat(
        &self,
        verb: &Verb,
        mut session: Session,
        batch: &Batch<'_>,
    ) -> Result<Vec<Written>> {
        match self.write_batch(&mut session, batch).await {
            Ok(written) if are_all_ignored(&written) => {
                session.roll_back().await?;
                self.repeat_batch(verb, batch).await
            }
            Ok(written) => match session.commit().await {
                Ok(()) => {
                    self.note_passed(batch, &written);
                    self.repeat_ignored(verb, batch, written).await
                }
                Err(error) if errors::may_be_a_rows(&error) => self.repeat_batch(verb, batch).await,
                Err(error) => Err(error),
            },
            Err(error) if errors::may_be_a_rows(&error) => {
                session.roll_back().await?;
                self.repeat_batch(verb, batch).await
            }
            Err(error) => Err(error),
        }
    }

    /// Repeats items whose update a trigger suppressed, in a separate transaction.
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
        let beside_others = written.iter().any(|outcome| matches!(outcome, Written::Applied { .. }));
        for (index, outcome) in ignored.into_iter().zip(self.settle(verb, &again, beside_others).await?) {
            written[index] = outcome;
        }
        self.note_passed(batch, &written);
        Ok(written)
    }

    /// Tries a batch that failed as a whole in parts. If none of its items is at fault, it returns the error, and
    /// nothing is changed.
    pub(super) async fn repeat_batch(&self, verb: &Verb, batch: &Batch<'_>) -> Result<Vec<Written>> {
        self.settle(verb, batch, false).await
    }

    /// Makes the only item of a batch `FAILED` whose move was refused in a transaction of the user's. It does not
    /// repeat the move alone: that would commit without the user's writes.
    pub(super) async fn refuse_finish(&self, verb: &Verb, batch: &Batch<'_>, outcome: Written) -> Result<Finished> {
        let reason = match outcome {
            Written::Refused { reason, .. } => reason,
            Written::Rewritten { word } => Written::rewritten(word.as_deref()),
            Written::Applied { .. } | Written::Missing | Written::Ignored | Written::Held => {
                SILENTLY_REFUSED.to_owned()
            }
        };
        self.probe_apart(verb, batch).await?;
        if let Some(item) = batch.items.first()
            && !self.may_fail(batch, item, &reason)
        {
            return Err(Error::Held { verb: verb.name, reason });
        }
        let failed = match batch.items.first() {
            Some(item) => self.fail_alone(verb, batch, item, &reason).await?,
            None => false,
        };
        let written = self.excluding(batch, vec![Written::Refused { reason: reason.clone(), failed }]);
        Ok(written.into_iter().next().map_or(Finished::LeaseLost, |outcome| self.finished(outcome)))
    }

    /// Makes a refused item `FAILED` in a separate transaction. False if the database refuses that too.
    pub(super) async fn fail_alone(
        &self,
        verb: &Verb,
        batch: &Batch<'_>,
        item: &BatchItem,
        reason: &str,
    ) -> Result<bool> {
        let mut session = self.write(verb).await?;
        match self.fail_refused(&mut session, batch, item, reason).await {
            Ok(failed) => match session.commit().await {
                Ok(()) => Ok(failed),
                Err(error) if errors::may_be_a_rows(&error) => Ok(false),
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
    pub(super) async fn fail_refused(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        item: &BatchItem,
        reason: &str,
    ) -> Result<bool> {
        if batch.when_refused == WhenRefused::Leave {
            return Ok(false);
        }
        let failing = BatchItem {
            error: Some(stored_error(&format!("the database refuses this row: {reason}"))),
            ..item.clone()
        };
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
            Err(error) if errors::may_be_a_rows(&error) => {
                session.run("ROLLBACK TO failing").await?;
                session.run("RELEASE failing").await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Excludes items that could not even be made `FAILED`, unless they are only passed over.
    pub(super) fn excluding(&self, batch: &Batch<'_>, written: Vec<Written>) -> Vec<Written> {
        if batch.when_refused == WhenRefused::Fail {
            for (item, outcome) in batch.items.iter().zip(&written) {
                if let Written::Refused { reason, failed: false } = outcome
                    && !self.is_passed_over(item)
                {
                    self.exclusions.add(item.key.to_key(), reason);
                }
            }
        }
        written
    }

    /// Runs the statement for some of the batch's items; the answer has one entry per item, in order.
    pub(super) async fn apply(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        indexes: &[usize],
    ) -> Result<Vec<Written>> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let items: Vec<&BatchItem> = indexes.iter().map(|index| &batch.items[*index]).collect();
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
        let outcome = |item: &BatchItem, key: &Key| match by_key.get(key) {
            Some((token, applied)) if item.token.is_none() || item.token == *token => applied.clone(),
            Some(_) | None => Written::Missing,
        };
        let mut written: Vec<Written> = items.iter().map(|item| outcome(item, &item.key.to_key())).collect();
        let is_applied = |outcome: &&Written| matches!(outcome, Written::Applied { .. });
        if written.iter().filter(is_applied).count() < rows.len() {
            // The column's collation equates a row's key with another text: the rows' keys are then asked for by
            // position.
            let found = self.read_words(session, &items).await?;
            for ((item, written), found) in items.iter().zip(&mut written).zip(found) {
                if let (Written::Missing, Some(found)) = (&*written, found) {
                    *written = outcome(item, &found.key.to_key());
                }
            }
        }
        Ok(written)
    }

    /// Tells a row that does not match from one whose update a trigger suppressed.
    pub(super) async fn mark_ignored(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        written: &mut [Written],
    ) -> Result<()> {
        let missing = |outcome: &Written| matches!(outcome, Written::Missing);
        let asked: Vec<usize> = (0..written.len()).filter(|index| missing(&written[*index])).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let items: Vec<&BatchItem> = asked.iter().map(|index| &batch.items[*index]).collect();
        let found = self.read_words(session, &items).await?;
        for (index, found) in asked.into_iter().zip(found) {
            let item = &batch.items[index];
            if found.is_some_and(|found| found.matches(item)) {
                written[index] = Written::Ignored;
            }
        }
        Ok(())
    }

    /// Tells a move that stands from one whose status a trigger changed afterwards: a statement returns values from
    /// before such triggers run.
    pub(super) async fn mark_rewritten(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        written: &mut [Written],
    ) -> Result<()> {
        let is_applied = |index: &usize| matches!(written[*index], Written::Applied { .. });
        let applied: Vec<usize> = (0..written.len()).filter(is_applied).collect();
        if applied.is_empty() || !self.moment(session, None).await?.has_triggers {
            return Ok(());
        }
        let items: Vec<&BatchItem> = applied.iter().map(|index| &batch.items[*index]).collect();
        for (index, found) in applied.into_iter().zip(self.read_words(session, &items).await?) {
            let now = found.map(|found| found.word);
            if let Written::Applied { word, .. } = &written[index]
                && now.as_ref() != Some(word)
            {
                written[index] = Written::Rewritten { word: now };
            }
        }
        Ok(())
    }
}

/// Whether triggers have suppressed every update that matches: then nothing was written, and whose fault that is has to
/// be found out.
pub(super) fn are_all_ignored(written: &[Written]) -> bool {
    written.iter().any(|outcome| matches!(outcome, Written::Ignored))
        && written.iter().all(|outcome| matches!(outcome, Written::Ignored | Written::Missing))
}
