//! Suspects: items of which one more reset is the last. A suspect runs alone; the worker drains for it.

use std::time::Instant;

use super::{Call, Dispatcher};
use crate::Store;
use crate::decoding::Record;
use crate::pipeline::StageId;

/// A drain for a suspect at the head of the queue: nothing is claimed until nothing else is held, or until the suspect
/// is gone because another worker took it or an operator moved it.
#[derive(Debug)]
pub(super) struct Room {
    /// The stages of the claim that found it.
    stages: Vec<StageId>,
    /// When it was found. The result of a claim that was sent earlier proves nothing about the suspect, whose row the
    /// other claim had locked.
    found_at: Instant,
    /// When to check whether it is still there.
    pub(super) look_at: Instant,
}

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    /// Whether a suspect runs, so that nothing else may be claimed.
    pub(super) fn does_a_suspect_run(&mut self) -> bool {
        if self.suspect.as_ref().is_some_and(|held| self.engine.floor.leases.get(&held.lease).is_none()) {
            self.suspect = None;
        }
        self.suspect.is_some()
    }

    /// Whether the worker still drains for a suspect.
    pub(super) fn is_making_room(&mut self) -> bool {
        let made = self.engine.floor.leases.is_empty() && !self.verbs.has_lost_claims();
        if made && self.room.is_some() {
            self.room = None;
            self.empty.clear();
        }
        self.room.is_some()
    }

    /// Checks by a claim of the head alone whether the suspect is still there: the claim leaves a suspect out, because
    /// this worker holds other items.
    pub(super) fn look_from_the_room(&mut self, now: Instant) -> Option<Call<S::Row>> {
        let stages = self.room.as_ref().filter(|room| now >= room.look_at)?.stages.clone();
        Some(self.claim(stages, 1))
    }

    /// Notes what a claim says about the head of the queue.
    pub(super) fn make_room(&mut self, asked: &[StageId], sent_at: Instant, suspect_at_head: bool) {
        if !suspect_at_head {
            match &self.room {
                Some(room) if sent_at < room.found_at => self.engine.release_queued(|_| 0),
                _ => self.room = None,
            }
            return;
        }
        if self.room.is_none() {
            tracing::info!("one more reset is the last of the item at the head of the queue: making room for it");
        }
        let look_at = self.next_look();
        self.room = Some(Room { stages: asked.to_vec(), found_at: Instant::now(), look_at });
        self.engine.release_queued(|_| 0);
    }
}
