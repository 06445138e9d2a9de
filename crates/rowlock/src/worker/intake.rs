//! Claimed rows on their way to the crews.

use std::sync::Arc;
use std::time::Instant;

use super::crew::Entry;
use super::ended::{Verdict, retry};
use super::engine::Engine;
use super::leases::Held;
use crate::decoding::{Record, decode};
use crate::store::ClaimedRow;
use crate::{Claim, Store};

impl<S: Store, R: Record<S>> Engine<S, R> {
    /// Holds rows that were claimed by a call sent at this time, and hands them to the crews. The answer is the suspect
    /// among them.
    pub(crate) fn take_in(&self, claimed: Vec<ClaimedRow<S::Row>>, sent_at: Instant) -> Option<Arc<Held>> {
        let mut entries: Vec<Vec<Entry<R>>> = self.crews.iter().map(|_| Vec::new()).collect();
        let mut suspect = None;
        let now = Instant::now();
        for row in claimed {
            let is_suspect = row.suspect;
            let Some(entry) = self.entry(row, sent_at, now) else { continue };
            if is_suspect {
                tracing::info!(key = %entry.held.lease.key, "one more reset is the item's last: it runs alone");
                suspect = Some(Arc::clone(&entry.held));
            }
            match self.crews.iter().position(|crew| crew.stage == entry.claim.stage()) {
                Some(crew) => entries[crew].push(entry),
                None => self.release(&entry.held),
            }
        }
        for (crew, entries) in self.crews.iter().zip(entries) {
            let turns_back = || crew.hold.turns_back(sent_at) || crew.refusals.turns_back(sent_at);
            if turns_back() {
                entries.iter().for_each(|entry| self.release(&entry.held));
            } else if !entries.is_empty() {
                crew.push(entries);
                // Who began to hold the stage between the two took the queue back before they were in it.
                if turns_back() {
                    crew.take_back(0).iter().for_each(|entry| self.release(&entry.held));
                }
            }
        }
        suspect
    }

    /// Gives rows back that were claimed, and that nobody is to work on.
    pub(crate) fn give_back(&self, claimed: Vec<ClaimedRow<S::Row>>, sent_at: Instant) {
        for row in claimed {
            self.release(&self.floor.leases.hold(row.lease, sent_at));
        }
    }

    /// A claimed row for the queue; one that does not decode is retried, and harms no other.
    fn entry(&self, row: ClaimedRow<S::Row>, sent_at: Instant, now: Instant) -> Option<Entry<R>> {
        let lease = row.lease.clone();
        let held = self.floor.leases.hold(lease, sent_at);
        match decode::<S, R>(row) {
            Ok((record, details)) => {
                let claim = Claim::new(record, details, Arc::clone(&self.finisher));
                Some(Entry { claim, held, queued_at: now })
            }
            Err((_, error)) => {
                self.floor.ended.end(&held, || Verdict::Undecodable(retry(error.to_string())));
                None
            }
        }
    }
}
