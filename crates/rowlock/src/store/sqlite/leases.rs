//! Leases: `renew`, `read_leases`, `find_claimed`.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::items::{BatchItem, KeyValue, json};
use super::refusal::{Batch, SILENTLY_REFUSED, WhenRefused, Written, are_all_ignored};
use super::session::{Session, Verb};
use super::store::SqliteStore;
use super::{errors, rows};
use crate::pipeline::Status;
use crate::store::{ClaimedRow, LeaseState, Limits};
use crate::{FencingToken, Key, Lease, Result};

/// The current values of a row.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The key as the row has it: the column's collation may equate another text with it.
    pub(super) key: KeyValue,
    pub(super) word: String,
    pub(super) token: Option<i64>,
    heartbeat: Option<String>,
}

impl Found {
    /// Whether the row is still as an item of a batch requires it.
    pub(super) fn matches(&self, item: &BatchItem) -> bool {
        self.word == item.word
            && (item.token.is_none() || self.token == item.token)
            && (item.step != Some("sweep") || self.heartbeat == item.heartbeat)
    }
}

impl SqliteStore {
    pub(super) async fn renew_leases(
        &self,
        verb: &Verb,
        leases: &[Lease],
        now: Option<DateTime<Utc>>,
    ) -> Result<Vec<LeaseState>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.leased(leases)?;
        let mut session = self.write(verb).await?;
        let at = self.time(&mut session, now).await?;
        let batch = Batch {
            sql: &self.statements.renew,
            items: items.into_iter().map(|item| BatchItem { step: Some("renew"), ..item }).collect(),
            now: at,
            binds: Vec::new(),
            when_refused: WhenRefused::Leave,
            cause: |_| None,
        };
        let written = match self.write_batch(&mut session, &batch).await {
            Ok(written) if !are_all_ignored(&written) => Some(written),
            Ok(_) => None,
            Err(error) if errors::may_be_a_rows(&error) => None,
            Err(error) => return Err(error),
        };
        match written {
            Some(written) => {
                let states = self.states(&mut session, &batch.items, &written).await?;
                session.commit().await?;
                self.note_refused_renewals(&batch, &written, &states);
                Ok(states)
            }
            None => {
                session.roll_back().await?;
                let written = self.repeat_batch(verb, &batch).await?;
                let mut session = self.read_session(verb).await?;
                let states = self.states(&mut session, &batch.items, &written).await?;
                session.keep();
                self.note_refused_renewals(&batch, &written, &states);
                Ok(states)
            }
        }
    }

    /// Counts the refused heartbeats. The holder of the leases decides by the count whether the items are to be failed.
    fn note_refused_renewals(&self, batch: &Batch<'_>, written: &[Written], states: &[LeaseState]) {
        self.note_passed(batch, written);
        for (item, state) in batch.items.iter().zip(states) {
            if let LeaseState::Refused { reason } = state {
                self.note_refused(item, reason);
            }
        }
    }

    /// A lease that was written is held. For the others, only reading shows whether they are refused, cancelled or
    /// lost.
    async fn states(&self, session: &mut Session, items: &[BatchItem], written: &[Written]) -> Result<Vec<LeaseState>> {
        let is_held = |outcome: &Written| matches!(outcome, Written::Applied { .. });
        if written.iter().all(is_held) {
            return Ok(vec![LeaseState::Held; items.len()]);
        }
        let found = self.read_words(session, &items.iter().collect::<Vec<_>>()).await?;
        let state = |((item, outcome), found): ((&BatchItem, &Written), Option<Found>)| {
            if is_held(outcome) {
                return LeaseState::Held;
            }
            match self.lease_state(item, found) {
                LeaseState::Held | LeaseState::Busy | LeaseState::NotRenewed => match outcome {
                    Written::Refused { reason, .. } => LeaseState::Refused { reason: reason.clone() },
                    Written::Ignored => LeaseState::Refused { reason: SILENTLY_REFUSED.to_owned() },
                    Written::Applied { .. } | Written::Missing | Written::Rewritten { .. } | Written::Held => {
                        LeaseState::Busy
                    }
                },
                ended @ (LeaseState::Refused { .. } | LeaseState::Cancelled | LeaseState::Lost) => ended,
            }
        };
        Ok(items.iter().zip(written).zip(found).map(state).collect())
    }

    pub(super) async fn read_lease_states(&self, verb: &Verb, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let items = self.leased(leases)?;
        let mut session = self.read_session(verb).await?;
        let found = self.read_words(&mut session, &items.iter().collect::<Vec<_>>()).await?;
        session.keep();
        Ok(items.iter().zip(found).map(|(item, found)| self.lease_state(item, found)).collect())
    }

    fn lease_state(&self, item: &BatchItem, found: Option<Found>) -> LeaseState {
        match found {
            Some(found) if found.matches(item) => LeaseState::Held,
            Some(found) if found.word == self.pipeline.word(Status::Cancelled) => LeaseState::Cancelled,
            Some(_) | None => LeaseState::Lost,
        }
    }

    /// Uses a write transaction. It begins only after a claim has ended whose future was dropped and whose commit still
    /// runs on its own thread; so an item that is not found was not claimed.
    pub(super) async fn find_claimed_items(
        &self,
        verb: &Verb,
        token: FencingToken,
    ) -> Result<Vec<ClaimedRow<SqliteRow>>> {
        let mut session = self.write(verb).await?;
        let now = self.time(&mut session, None).await?;
        let renewed = session.execute(&self.statements.renew_claimed, [token.as_i64().into(), now.into()]).await;
        let rows = match renewed {
            Ok(_) => {
                let rows = session.rows(&self.statements.find_claimed, [token.as_i64().into()]).await?;
                session.commit().await?;
                rows
            }
            // The database refuses the heartbeat: the claimed items are found all the same.
            Err(error) if errors::may_be_a_rows(&error) => {
                session.roll_back().await?;
                let mut session = self.read(verb).await?;
                let rows = session.rows(&self.statements.find_claimed, [token.as_i64().into()]).await?;
                session.roll_back().await?;
                rows
            }
            Err(error) => return Err(error),
        };
        let limits = Limits { max_retries: self.pipeline.max_retries(), max_resets: self.pipeline.max_resets() };
        Ok(rows.into_iter().filter_map(|row| rows::claimed(&self.pipeline, row, token, limits)).collect())
    }

    /// The word and the token of each item's row, in order; `None` if the row does not exist.
    pub(super) async fn read_words(&self, session: &mut Session, items: &[&BatchItem]) -> Result<Vec<Option<Found>>> {
        let rows = session.rows(&self.statements.read_leases, [json(items).into()]).await?;
        let found = |row: &SqliteRow| {
            (rows::integer(row, 0) == Some(1)).then(|| Found {
                key: KeyValue::of_row(&Key::new(rows::text(row, 4).unwrap_or_default()), self.pipeline.key_type()),
                word: rows::text(row, 1).unwrap_or_default(),
                token: rows::integer(row, 2),
                heartbeat: rows::text(row, 3),
            })
        };
        Ok(rows.iter().map(found).collect())
    }

    fn leased(&self, leases: &[Lease]) -> Result<Vec<BatchItem>> {
        leases.iter().map(|lease| self.leased_item(lease)).collect()
    }

    pub(super) fn leased_item(&self, lease: &Lease) -> Result<BatchItem> {
        let key = KeyValue::new(&lease.key, self.pipeline.key_type())?;
        let word = self.pipeline.word(Status::InProgress(lease.stage));
        Ok(BatchItem { token: Some(lease.token.as_i64()), ..BatchItem::new(key, word) })
    }
}
