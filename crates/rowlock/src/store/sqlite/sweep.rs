//! `sweep`.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::claim::spent;
use super::items::{BatchItem, json};
use super::refusal::{Batch, SILENTLY_REFUSED, WhenRefused, Written};
use super::session::{Bind, Verb};
use super::store::SqliteStore;
use super::{clock, rows};
use crate::Result;
use crate::limits::BATCH_ITEMS_MAX;
use crate::store::error_text::stored_error;
use crate::store::params::budget_limit;
use crate::store::{Limit, SweepParams, Swept, SweptItem};

impl SqliteStore {
    pub(super) async fn sweep_items(&self, verb: &Verb, sweeping: &SweepParams) -> Result<Swept> {
        let limit = sweeping.limit.min(BATCH_ITEMS_MAX);
        if limit == 0 {
            return Ok(Swept::default());
        }
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, sweeping.now).await?;
        let at = clock::parse(&now).unwrap_or_default();
        let stale_before = clock::before(at, sweeping.stale_after);
        // The given time may be older than this transaction, by a suspend between the two: what was renewed in the
        // meantime is not ahead.
        let own = self.time(&mut session, None).await?;
        let stale_beyond = clock::after(clock::parse(&own).unwrap_or(at).max(at), sweeping.stale_after);
        let binds: [Bind; 4] = [
            clock::format(stale_before).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
            json(&self.excluded_keys("sweep")).into(),
            clock::format(stale_beyond).into(),
        ];
        let found = session.rows(&self.statements.find_stale, binds).await?;
        if found.is_empty() {
            session.commit().await?;
            if self.passed_over.let_back("sweep", self.pipeline.stage_ids()) {
                return Box::pin(self.sweep_items(verb, sweeping)).await;
            }
            return Ok(Swept::default());
        }
        let batch = Batch {
            sql: &self.statements.take_back,
            items: found.iter().map(|row| self.stale_item(row, at, sweeping.max_resets)).collect(),
            now,
            binds: vec![budget_limit(sweeping.max_resets).into()],
            when_refused: WhenRefused::Fail,
            cause: |_| Some("sweep"),
        };
        let written = self.write_or_repeat(verb, session, &batch).await?;
        Ok(self.swept(&batch.items, written, found.len() >= limit))
    }

    fn stale_item(&self, row: &SqliteRow, at: DateTime<Utc>, max_resets: u32) -> BatchItem {
        let key = self.key_of_row(row, 0);
        let heartbeat = rows::text(row, 3);
        let holder = rows::text(row, 2).unwrap_or_else(|| "(unknown)".to_owned());
        let error = match &heartbeat {
            Some(heartbeat) => {
                let is_ahead = clock::parse(heartbeat).is_some_and(|heartbeat| heartbeat > at);
                let ahead = if is_ahead { ", which is in the future" } else { "" };
                format!("worker {holder} stopped: last heartbeat {heartbeat}{ahead}")
            }
            None => format!("worker {holder} stopped: no heartbeat"),
        };
        BatchItem {
            step: Some("sweep"),
            spent_error: Some(spent(Limit::Resets(max_resets), Some(&error))),
            error: Some(stored_error(&error)),
            heartbeat,
            ..BatchItem::new(key, rows::text(row, 1).unwrap_or_default())
        }
    }

    fn swept(&self, items: &[BatchItem], written: Vec<Written>, may_have_more: bool) -> Swept {
        let mut swept = Swept { may_have_more, ..Swept::default() };
        for (item, outcome) in items.iter().zip(written) {
            let key = item.key.to_key();
            match outcome {
                Written::Applied { word, holder, error, .. } => match self.pipeline.status(&word) {
                    Some(to) => swept.items.push(SweptItem { key, to, holder, error: error.unwrap_or_default() }),
                    None => swept.refused.push((key, Written::rewritten(Some(&word)))),
                },
                Written::Rewritten { word } => swept.refused.push((key, Written::rewritten(word.as_deref()))),
                Written::Refused { reason, .. } => swept.refused.push((key, reason)),
                Written::Ignored => swept.refused.push((key, SILENTLY_REFUSED.to_owned())),
                // Its holder was heard of again between the search and the repeated attempt to take it back, or its
                // stage is held.
                Written::Missing | Written::Held => {}
            }
        }
        swept
    }
}
