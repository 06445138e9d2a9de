//! What a claim brought: items for the crews, and what else it tells.

use std::time::Instant;

use super::Dispatcher;
use crate::decoding::Record;
use crate::limits::{BATCH_ITEMS_MAX, EXCLUDED_KEYS_MAX};
use crate::pipeline::StageId;
use crate::store::{ClaimBatch, ClaimedRow};
use crate::worker::claiming::found_empty;
use crate::worker::hooks::{FailedBy, FailedItem};
use crate::{Key, Store};

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    pub(super) fn take_batch(&mut self, asked: &[StageId], sent_at: Instant, batch: ClaimBatch<S::Row>) {
        let ClaimBatch { claimed, exhausted, refused, may_have_more, suspect_at_head } = batch;
        let found = !claimed.is_empty() || !exhausted.is_empty();
        self.hearing.claimed(found);
        self.full = claimed.len() >= BATCH_ITEMS_MAX;
        // Refused rows are left out of the next look, which is worth taking soon, but not at once and for ever: there may
        // be more of them than can be left out.
        let passed_over = !refused.is_empty() && self.verbs.store().excluded().len() < EXCLUDED_KEYS_MAX;
        let taken: Vec<StageId> = claimed.iter().map(|row| row.lease.stage).collect();
        if found || passed_over {
            self.poll_delay = self.engine.settings.poll_min;
        }
        if found {
            self.waiting = None;
        }
        // A claim that took nothing and says there is more (all that is due is held back) is not repeated at once.
        let look_at = self.next_look();
        // A claim beside this one may have found less than this one did.
        self.empty.retain(|stage, _| !taken.contains(stage));
        let empty = found_empty(asked, &taken, may_have_more && found);
        for crew in self.engine.crews.iter().filter(|crew| asked.contains(&crew.stage)) {
            if empty.contains(&crew.stage) {
                crew.passage.found_empty(Instant::now());
            } else {
                crew.passage.found_more();
            }
        }
        self.empty.extend(empty.into_iter().map(|stage| (stage, look_at)));
        if !found && !passed_over {
            self.poll_delay = (self.poll_delay * 2).min(self.poll_max());
        }
        self.tell(&exhausted, &refused);
        if let Some(suspect) = self.engine.take_in(claimed, sent_at) {
            self.suspect = Some(suspect);
        }
        self.make_room(asked, sent_at, suspect_at_head);
        if self.is_every_stage_empty() {
            self.hearing.queue_is_empty();
        }
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
        for row in &rows {
            tracing::info!(key = %row.lease.key, "claimed by a statement whose answer was lost: given back");
        }
        self.engine.give_back(rows, Instant::now());
    }
}
