//! Suspects: items of which one more reset is the last. A suspect runs alone; the worker drains for it.

use std::time::Instant;

use super::{Call, Producer};
use crate::Store;
use crate::decoding::Record;
use crate::pipeline::StageId;

/// A drain for a suspect at the head of the queue: nothing is claimed until nothing else is held, or until the suspect
/// is gone because another worker took it or an operator moved it.
#[derive(Debug)]
pub(super) struct SuspectDrain {
    /// The stages of the claim that found it.
    stages: Vec<StageId>,
    /// When it was found. The result of a claim that was sent earlier proves nothing about the suspect, whose row the
    /// other claim had locked.
    found_at: Instant,
    /// When to check whether it is still there.
    pub(super) look_at: Instant,
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
            self.empty.clear();
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
            tracing::info!("one more reset is the last of the item at the head of the queue: making room for it");
        }
        let look_at = self.next_look();
        self.suspect_drain = Some(SuspectDrain { stages: asked.to_vec(), found_at: Instant::now(), look_at });
        self.supervisor.release_queued(|_| 0);
    }
}
