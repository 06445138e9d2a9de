//! Handles the result of a claim: items for the stage pools, and what else the result says. Suspects too: items of
//! which one more reset is the last. A suspect runs alone; the worker drains for it.

use std::sync::Arc;
use std::time::Instant;

use super::{Call, Producer, SuspectDrain};
use crate::decoding::{Record, decode};
use crate::limits::{BATCH_ITEMS_MAX, EXCLUDED_KEYS_MAX};
use crate::pipeline::StageId;
use crate::store::{ClaimBatch, ClaimedRow};
use crate::worker::completion::{Disposition, retry};
use crate::worker::demand::found_empty;
use crate::worker::hooks::{FailedBy, FailedItem};
use crate::worker::leases::Held;
use crate::worker::refusals::{Refused, StageRefusals};
use crate::worker::stage_pool::QueuedItem;
use crate::{Claim, Key, Store};

impl<S: Store, R: Record<S>> Producer<S, R> {
    pub(super) fn take_batch(&mut self, asked: &[StageId], sent_at: Instant, batch: ClaimBatch<S::Row>) {
        let ClaimBatch { claimed, exhausted, refused, may_have_more, suspect_at_head } = batch;
        let found = !claimed.is_empty() || !exhausted.is_empty();
        self.listening.claimed(found);
        self.queue.is_full = claimed.len() >= BATCH_ITEMS_MAX;
        // Poll again soon: the next claim leaves the refused rows out. But not once the list of excluded rows is full:
        // there may be more refused rows than it holds.
        let passed_over = !refused.is_empty() && self.verbs.store().excluded().len() < EXCLUDED_KEYS_MAX;
        let taken: Vec<StageId> = claimed.iter().map(|row| row.lease.stage).collect();
        if found || passed_over {
            self.queue.poll_delay = self.supervisor.settings.poll_min;
        }
        if found {
            self.waiting = None;
        }
        // A claim that took nothing and says that there is more (all due items are held back) is not repeated at once.
        let look_at = self.next_look();
        // A concurrent claim may have found less than this one did.
        self.queue.forget(&taken);
        self.queue.found_empty(found_empty(asked, &taken, may_have_more && found), look_at);
        if !found && !passed_over {
            self.queue.poll_delay = (self.queue.poll_delay * 2).min(self.poll_max());
        }
        self.tell(&exhausted, &refused);
        if let Some(suspect) = self.take_in(claimed, sent_at) {
            self.suspect = Some(suspect);
        }
        self.drain_for_suspect(asked, sent_at, suspect_at_head);
        if self.is_every_stage_empty() {
            self.listening.queue_is_empty();
        }
    }

    /// Registers the leases of rows that were claimed by a call sent at this time, and passes the rows to the stage
    /// pools. Returns the suspect among them.
    fn take_in(&self, claimed: Vec<ClaimedRow<S::Row>>, sent_at: Instant) -> Option<Arc<Held>> {
        let supervisor = &self.supervisor;
        let mut entries: Vec<Vec<QueuedItem<R>>> = supervisor.pools.iter().map(|_| Vec::new()).collect();
        let mut suspect = None;
        let now = Instant::now();
        for row in claimed {
            let is_suspect = row.suspect;
            let Some(entry) = self.entry(row, sent_at, now) else { continue };
            if is_suspect {
                tracing::info!(key = %entry.held.lease.key, "one more reset is the item's last: it runs alone");
                suspect = Some(Arc::clone(&entry.held));
            }
            match supervisor.pools.iter().position(|pool| pool.stage == entry.claim.stage()) {
                Some(pool) => entries[pool].push(entry),
                None => supervisor.release(&entry.held),
            }
        }
        for (pool, entries) in supervisor.pools.iter().zip(entries) {
            let refusals = supervisor.refusals.of(pool.stage);
            let turns_back =
                || pool.outages.turns_back(sent_at) || refusals.is_some_and(|refusals| refusals.turns_back(sent_at));
            if turns_back() {
                entries.iter().for_each(|entry| supervisor.release(&entry.held));
            } else if !entries.is_empty() {
                pool.push(entries);
                // If the stage became held between the two checks, its queue was emptied before these entries were in
                // it.
                if turns_back() {
                    pool.take_back(0).iter().for_each(|entry| supervisor.release(&entry.held));
                }
            }
        }
        suspect
    }

    /// A claimed row as an entry of the queue. A row that does not decode is retried, and affects no other row.
    fn entry(&self, row: ClaimedRow<S::Row>, sent_at: Instant, now: Instant) -> Option<QueuedItem<R>> {
        let supervisor = &self.supervisor;
        let held = supervisor.shared.leases.hold(row.lease.clone(), sent_at);
        match decode::<S, R>(row) {
            Ok((record, details)) => {
                let claim = Claim::new(record, details, Arc::clone(&self.finisher));
                Some(QueuedItem { claim, held, queued_at: now })
            }
            Err((_, error)) => {
                supervisor.shared.completions.end(&held, || Disposition::Undecodable(retry(error.to_string())));
                None
            }
        }
    }

    pub(super) fn tell(&self, exhausted: &[Key], refused: &[(Key, String)]) {
        for key in exhausted {
            tracing::warn!(%key, "was ready but at a limit: failed");
            let error = "it was ready, but its retry or reset count was at the limit".to_owned();
            self.supervisor.failed.tell(|| FailedItem {
                key: key.clone(),
                stage: None,
                cause: FailedBy::Exhaust,
                error,
            });
        }
        for (key, reason) in refused {
            tracing::error!(%key, reason, "the database refuses to have the item claimed");
        }
        self.supervisor.tally.count(|report| {
            report.exhausted += exhausted.len() as u64;
            report.refused += refused.len() as u64;
        });
    }

    /// Releases rows of a claim whose answer was lost.
    pub(super) fn give_back(&self, rows: Vec<ClaimedRow<S::Row>>) {
        for row in &rows {
            tracing::info!(key = %row.lease.key, "claimed by a statement whose answer was lost: released");
        }
        self.release_claimed(rows);
    }

    /// Releases claimed rows that are not to be worked on.
    pub(super) fn release_claimed(&self, claimed: Vec<ClaimedRow<S::Row>>) {
        let now = Instant::now();
        for row in claimed {
            self.supervisor.release(&self.supervisor.shared.leases.hold(row.lease, now));
        }
    }

    /// Notes which of these stages go on, and which stay held although the claim succeeded, because only others had
    /// items that passed.
    pub(super) fn note_claimed(&self, asked: &[StageId], batch: &ClaimBatch<S::Row>) {
        if !self.supervisor.refusals.is_any() && self.verbs.store().refused_stages().is_empty() {
            return;
        }
        batch.claimed.iter().for_each(|row| self.supervisor.note_passed(Refused::Claims, row.lease.stage));
        let is_missing = |stage: &&StageId| !batch.claimed.iter().any(|row| row.lease.stage == **stage);
        let missing: Vec<StageId> = asked.iter().filter(is_missing).copied().collect();
        if batch.claimed.is_empty() && batch.refused.is_empty() && batch.exhausted.is_empty() {
            let refusals = asked.iter().filter_map(|stage| self.supervisor.refusals.of(*stage));
            refusals.for_each(StageRefusals::found_nothing);
        } else if !missing.is_empty() {
            self.note_refused_claim(&missing);
        }
    }

    pub(super) fn note_refused_claim(&self, asked: &[StageId]) -> bool {
        !self.supervisor.note_refused(self.verbs.store(), Refused::Claims, asked).is_empty()
    }
}

impl<S: Store, R: Record<S>> Producer<S, R> {
    /// Whether a suspect runs, so that nothing else may be claimed.
    pub(super) fn does_a_suspect_run(&mut self) -> bool {
        if self.suspect.as_ref().is_some_and(|held| self.supervisor.shared.leases.get(&held.lease).is_none()) {
            self.suspect = None;
        }
        self.suspect.is_some()
    }

    /// Whether the worker still drains for a suspect.
    pub(super) fn is_draining_for_suspect(&mut self) -> bool {
        let made = self.supervisor.shared.leases.is_empty() && !self.verbs.has_lost_claims();
        if made && self.suspect_drain.is_some() {
            self.suspect_drain = None;
            self.queue.forget_all();
        }
        self.suspect_drain.is_some()
    }

    /// Checks by a claim of the head alone whether the suspect is still there: the claim leaves a suspect out, because
    /// this worker holds other items.
    pub(super) fn look_for_suspect(&mut self, now: Instant) -> Option<Call<S::Row>> {
        let stages = self.suspect_drain.as_ref().filter(|suspect_drain| now >= suspect_drain.look_at)?.stages.clone();
        Some(self.claim(stages, 1))
    }

    /// Notes what a claim says about the head of the queue.
    pub(super) fn drain_for_suspect(&mut self, asked: &[StageId], sent_at: Instant, suspect_at_head: bool) {
        if !suspect_at_head {
            match &self.suspect_drain {
                Some(suspect_drain) if sent_at < suspect_drain.found_at => self.supervisor.release_queued(|_| 0),
                _ => self.suspect_drain = None,
            }
            return;
        }
        if self.suspect_drain.is_none() {
            tracing::info!("one more reset is the last of the item at the head of the queue: draining for it");
        }
        let look_at = self.next_look();
        self.suspect_drain = Some(SuspectDrain { stages: asked.to_vec(), found_at: Instant::now(), look_at });
        self.supervisor.release_queued(|_| 0);
    }
}
