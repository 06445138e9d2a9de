//! What a claim brought: items for the crews, and what else it tells.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use super::Dispatcher;
use crate::pipeline::StageId;
use crate::repository::{Record, decode};
use crate::store::{ClaimBatch, ClaimedRow};
use crate::worker::claiming::found_empty;
use crate::worker::crew::Entry;
use crate::worker::ended::{Ended, Verdict, retry};
use crate::worker::handler::panic_message;
use crate::worker::hooks::{FailedBy, FailedItem};
use crate::{Claim, Key, Store};

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    pub(super) fn take_batch(&mut self, asked: &[StageId], sent_at: Instant, batch: ClaimBatch<S::Row>) {
        let ClaimBatch { claimed, exhausted, refused, may_have_more, suspect_at_head } = batch;
        let found = !claimed.is_empty() || !exhausted.is_empty() || !refused.is_empty();
        let taken: Vec<StageId> = claimed.iter().map(|row| row.lease.stage).collect();
        // A claim that took nothing and says there is more (all that is due is held back) is not repeated at once.
        self.empty.extend(found_empty(asked, &taken, may_have_more && found));
        if found {
            self.poll_delay = self.engine.settings.poll_min;
            self.waiting = None;
        }
        self.set_poll(self.poll_delay);
        if !found {
            self.poll_delay = (self.poll_delay * 2).min(self.poll_max());
        }
        self.tell(&exhausted, &refused);
        let mut entries: Vec<Vec<Entry<R>>> = self.engine.crews.iter().map(|_| Vec::new()).collect();
        let now = Instant::now();
        for row in claimed {
            let suspect = row.suspect;
            let Some(entry) = self.entry(row, sent_at, now) else { continue };
            if suspect {
                tracing::info!(key = %entry.held.lease.key, "one more reset is the item's last: it runs alone");
                self.suspect = Some(Arc::clone(&entry.held));
            }
            match self.engine.crews.iter().position(|crew| crew.stage == entry.claim.stage()) {
                Some(crew) => entries[crew].push(entry),
                None => self.engine.release(&entry.held),
            }
        }
        for (crew, entries) in self.engine.crews.iter().zip(entries) {
            if !entries.is_empty() {
                crew.push(entries);
            }
        }
        self.makes_room = suspect_at_head;
        if suspect_at_head {
            tracing::info!("one more reset is the last of the item at the head of the queue: making room for it");
            self.engine.release_queued(|_| 0);
        }
        if self.is_every_stage_empty() {
            self.hearing.queue_is_empty();
        }
    }

    /// A claimed row for the queue; one that does not decode is retried, and harms no other.
    fn entry(&self, row: ClaimedRow<S::Row>, sent_at: Instant, now: Instant) -> Option<Entry<R>> {
        let lease = row.lease.clone();
        let held = self.engine.floor.leases.hold(lease, sent_at);
        let error = match std::panic::catch_unwind(AssertUnwindSafe(|| decode::<S, R>(row))) {
            Ok(Ok((record, details))) => {
                let claim = Claim::new(record, details, Arc::clone(&self.finisher));
                return Some(Entry { claim, held, queued_at: now });
            }
            Ok(Err((_, error))) => error.to_string(),
            Err(panic) => panic_message(&*panic).replacen("the handler", "decoding the row", 1),
        };
        if held.end() {
            self.engine.floor.ended.push(Ended { held, verdict: Verdict::Undecodable(retry(error)) });
        }
        None
    }

    pub(super) fn tell(&self, exhausted: &[Key], refused: &[(Key, String)]) {
        for key in exhausted {
            tracing::warn!(%key, "was ready but at a limit: failed");
            let error = "it was ready, but its retry or reset count was at the limit".to_owned();
            self.engine.failed.tell(|| FailedItem { key: key.clone(), stage: None, cause: FailedBy::Exhaust, error });
        }
        for (key, reason) in refused {
            tracing::error!(%key, reason, "the database refuses to have the item claimed");
        }
        self.engine.tally.count(|report| {
            report.exhausted += exhausted.len() as u64;
            report.refused += refused.len() as u64;
        });
    }

    /// Gives rows back that a claim took whose answer was lost.
    pub(super) fn give_back(&self, rows: Vec<ClaimedRow<S::Row>>) {
        for row in rows {
            if self.engine.floor.leases.get(&row.lease).is_some() {
                continue; // adopted already
            }
            tracing::info!(key = %row.lease.key, "claimed by a statement whose answer was lost: given back");
            let held = self.engine.floor.leases.hold(row.lease, Instant::now());
            self.engine.release(&held);
        }
    }
}
