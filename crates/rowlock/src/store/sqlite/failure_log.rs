//! The failure log, for people: it stops no move.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::errors;
use super::items::json;
use super::refusal::{Batch, Written};
use super::session::Session;
use super::store::SqliteStore;
use crate::Result;
use crate::limits::FAILURES_KEPT_MAX;

/// One record of `rowlock_failures`.
#[derive(Debug, Serialize)]
struct FailureLine<'a> {
    item: String,
    word: &'a str,
    cause: &'static str,
    holder: Option<&'a str>,
    error: &'a str,
}

impl SqliteStore {
    /// Records the failures among the items that were written, and prunes older ones of the same items. If that fails,
    /// the lines are lost and the moves stand: SQLite undoes the failed statement, not the transaction.
    ///
    /// # Errors
    /// Those that concern more than the log; and that the transaction is gone, if a trigger of the log rolled it back
    /// together with the moves. The moves can then be repeated, since nothing is logged any more.
    pub(super) async fn record_failures(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        written: &[Written],
    ) -> Result<()> {
        let mut records: Vec<FailureLine<'_>> = Vec::new();
        for (item, outcome) in batch.items.iter().zip(written) {
            if let (Written::Applied { key, holder, error, .. }, Some(cause)) = (outcome, (batch.cause)(item)) {
                records.push(FailureLine {
                    item: key.as_str().to_owned(),
                    word: &item.word,
                    cause,
                    holder: holder.as_deref(),
                    error: error.as_deref().unwrap_or_default(),
                });
            }
        }
        if records.is_empty() || self.log_is_given_up.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.write_failures(session, &json(&records), &batch.now).await {
            Err(error) if errors::may_be_left_out(&error) => {
                if !self.log_is_lost.swap(true, Ordering::AcqRel) {
                    tracing::warn!(
                        %error,
                        "failures of items are not logged in rowlock_failures; the items move all the same"
                    );
                }
                // Only an attempt to begin another transaction shows whether this one is still open.
                match session.run("BEGIN").await {
                    Err(within) if errors::is_within_a_transaction(&within) => Ok(()),
                    Err(other) => Err(other),
                    Ok(()) => {
                        self.log_is_given_up.store(true, Ordering::Release);
                        session.run("ROLLBACK").await?;
                        // As after any trigger that rolled a transaction back.
                        session.run("RELEASE part").await
                    }
                }
            }
            result => result,
        }
    }

    async fn write_failures(&self, session: &mut Session, records: &str, now: &str) -> Result<()> {
        let kept = i64::try_from(FAILURES_KEPT_MAX).unwrap_or(i64::MAX);
        session.execute(&self.statements.add_failures, [records.into(), now.into()]).await?;
        session.execute(&self.statements.prune_failures, [records.into(), kept.into()]).await?;
        Ok(())
    }
}
