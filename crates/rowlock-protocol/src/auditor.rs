//! The auditor: sees every write and every report, and notes what must never happen.
//!
//! No rule of the protocol reads the auditor. It tells leases apart by the claim that they came from, not by token, so
//! that a flaw in the tokens cannot hide from it.

use std::collections::BTreeSet;

use crate::row::Move;
use crate::statement::{ClaimId, LeaseId};
use crate::worker::Report;

/// Something that must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// An item was claimed while another lease on it was unexpired.
    ClaimedWhileHeld,
    /// An item was taken back while its lease was unexpired.
    SweptWhileHeld,
    /// A write was accepted from someone who was not the present holder.
    ZombieWrite,
    /// One lease was ended twice by its holder.
    FinishedTwice,
    /// One stage of one item was completed twice, without the operator asking for it.
    CompletedTwice,
    /// A worker reported a move that the database had not applied.
    DoneButNotApplied,
    /// A worker reported a lost lease, and its move was or came to be applied.
    LostButApplied,
    /// A claim took more rows than asked for.
    TookTooMany,
}

/// The lease on an item, as the auditor knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    /// The claim that it came from.
    pub claim: ClaimId,
    /// Whether `stale_after` has passed since the last stamp.
    pub expired: bool,
}

/// The fate of a lease that some worker still remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fact {
    /// The lease.
    pub lease: LeaseId,
    /// The finish that was applied.
    pub applied: Option<Move>,
    /// Whether the holder was told that the lease was lost.
    pub reported_lost: bool,
}

/// The auditor's book.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Auditor {
    /// The present lease of each item.
    pub live: Vec<Option<Live>>,
    /// Bit S of an item is set once its stage S was completed.
    pub completed: Vec<u8>,
    /// The fate of ended leases.
    pub facts: Vec<Fact>,
    /// The violations.
    pub violations: BTreeSet<Violation>,
}

impl Auditor {
    /// An empty book for this many items.
    #[must_use]
    pub fn new(items: usize) -> Self {
        Auditor { live: vec![None; items], completed: vec![0; items], facts: Vec::new(), violations: BTreeSet::new() }
    }

    /// Whether this lease is the present one.
    #[must_use]
    pub fn is_present(&self, lease: LeaseId) -> bool {
        self.live[lease.item].is_some_and(|live| live.claim == lease.claim)
    }

    /// The finish of this lease that was applied, if any.
    #[must_use]
    pub fn applied(&self, lease: LeaseId) -> Option<Move> {
        self.facts.iter().find(|fact| fact.lease == lease).and_then(|fact| fact.applied)
    }

    /// A claim took an item.
    pub fn claimed(&mut self, lease: LeaseId) {
        if self.live[lease.item].is_some_and(|live| !live.expired) {
            self.violations.insert(Violation::ClaimedWhileHeld);
        }
        self.live[lease.item] = Some(Live { claim: lease.claim, expired: false });
    }

    /// A renewal was accepted.
    pub fn renewed(&mut self, lease: LeaseId) {
        if !self.is_present(lease) {
            self.violations.insert(Violation::ZombieWrite);
        }
        if let Some(live) = &mut self.live[lease.item] {
            live.expired = false;
        }
    }

    /// A finish was accepted.
    pub fn finished(&mut self, lease: LeaseId, action: Move, stage: u8) {
        if !self.is_present(lease) {
            self.violations.insert(Violation::ZombieWrite);
        }
        self.live[lease.item] = None;
        if action == Move::Complete {
            let bit = 1 << stage;
            if self.completed[lease.item] & bit != 0 {
                self.violations.insert(Violation::CompletedTwice);
            }
            self.completed[lease.item] |= bit;
        }
        let fact = self.fact_mut(lease);
        let (applied, reported_lost) = (fact.applied.replace(action), fact.reported_lost);
        if applied.is_some() {
            self.violations.insert(Violation::FinishedTwice);
        }
        if reported_lost {
            self.violations.insert(Violation::LostButApplied);
        }
    }

    /// The sweep took an item back.
    pub fn swept(&mut self, item: usize) {
        if self.live[item].is_some_and(|live| !live.expired) {
            self.violations.insert(Violation::SweptWhileHeld);
        }
        self.live[item] = None;
    }

    /// The operator moved an item; a ready state requests the work from that stage on again.
    pub fn set(&mut self, item: usize, ready_for: Option<u8>) {
        self.live[item] = None;
        if let Some(stage) = ready_for {
            self.completed[item] &= (1 << stage) - 1;
        }
    }

    /// A worker told its caller how a finish ended.
    pub fn reported(&mut self, lease: LeaseId, report: Report) {
        let applied = self.applied(lease);
        match report {
            Report::Done(action) if applied == Some(action) => {}
            Report::Done(_) => {
                self.violations.insert(Violation::DoneButNotApplied);
            }
            Report::LeaseLost if applied.is_some() => {
                self.violations.insert(Violation::LostButApplied);
            }
            Report::LeaseLost => self.fact_mut(lease).reported_lost = true,
            Report::OutcomeUnknown => {}
        }
    }

    /// Drops the facts about leases that no worker remembers: nothing can contradict them any more.
    pub fn keep_facts(&mut self, is_remembered: impl Fn(LeaseId) -> bool) {
        self.facts.retain(|fact| is_remembered(fact.lease));
        self.facts.sort_unstable();
    }

    fn fact_mut(&mut self, lease: LeaseId) -> &mut Fact {
        let place = self.facts.iter().position(|fact| fact.lease == lease).unwrap_or_else(|| {
            self.facts.push(Fact { lease, applied: None, reported_lost: false });
            self.facts.len() - 1
        });
        &mut self.facts[place]
    }
}
