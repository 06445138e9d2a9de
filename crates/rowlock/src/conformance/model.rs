//! The states of a few items in memory, by the rules alone: the store is compared with them.
//!
//! The model draws no random number and knows no clock. Where the store may choose (ties in the queue, which stale
//! items a limited sweep takes, the jitter of a delay), the model checks that the choice was allowed, and follows it.

mod claims;
mod operators;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::scene::RawItem;
use crate::pipeline::{Budget, Move, Pipeline, StageId, Status};
use crate::store::{Finish, FinishParams, Finished, LeaseState, Limits, Outcome, SweepParams};
use crate::{Key, Lease};

pub(super) use claims::Taken;

/// The table in memory.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pipeline: Pipeline,
    pub(super) items: BTreeMap<String, RawItem>,
    paused: BTreeSet<StageId>,
    /// Due times that the last step drew at random: the earliest and the latest.
    drawn: BTreeMap<String, (DateTime<Utc>, DateTime<Utc>)>,
    /// Items whose due time and resume word no rule fixes after the last step: a `FAILED` item is never due, and a
    /// `SUCCEEDED` one resumes nowhere, whatever those columns still hold.
    unsaid: BTreeSet<String>,
}

impl Model {
    pub(super) fn new(pipeline: Pipeline) -> Model {
        Model {
            pipeline,
            items: BTreeMap::new(),
            paused: BTreeSet::new(),
            drawn: BTreeMap::new(),
            unsaid: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, key: &str, created_at: DateTime<Utc>) {
        let item = RawItem {
            key: key.to_owned(),
            status: Some(self.pipeline.word(Status::Ready(StageId::FIRST)).to_owned()),
            retry_count: Some(0),
            reset_count: Some(0),
            retry_after: None,
            error: None,
            heartbeat: None,
            token: None,
            holder: None,
            claimed_at: None,
            resume: None,
            created_at: Some(created_at),
            updated_at: None,
        };
        self.items.insert(key.to_owned(), item);
    }

    /// Compares itself with the table, and takes over the values that only the table can know.
    pub(super) fn compare(&mut self, table: Vec<RawItem>) -> Result<(), String> {
        let drawn = std::mem::take(&mut self.drawn);
        let unsaid = std::mem::take(&mut self.unsaid);
        if table.len() != self.items.len() {
            return Err(format!("the table has {} rows, the model {}", table.len(), self.items.len()));
        }
        for found in table {
            let expected = self.items.get_mut(&found.key).ok_or_else(|| format!("a row {:?}", found.key))?;
            if let Some((from, to)) = drawn.get(&found.key) {
                match found.retry_after {
                    Some(due) if *from <= due && due <= *to => expected.retry_after = Some(due),
                    other => return Err(format!("{:?} is due at {other:?}, not in {from} to {to}", found.key)),
                }
            }
            if unsaid.contains(&found.key) {
                expected.retry_after = found.retry_after;
                if found.status.as_deref() == Some(self.pipeline.word(Status::Succeeded)) {
                    expected.resume.clone_from(&found.resume);
                }
            }
            // No rule fixes what an insert or an edit of the test itself leaves there.
            if expected.updated_at.is_none() {
                expected.updated_at = found.updated_at;
            }
            if *expected != found {
                return Err(format!("expected {expected:#?}\nfound {found:#?}"));
            }
        }
        Ok(())
    }

    pub(super) fn status(&self, key: &str) -> Option<Status> {
        self.items.get(key).and_then(|item| self.status_of(item))
    }

    fn status_of(&self, item: &RawItem) -> Option<Status> {
        item.status.as_deref().and_then(|word| self.pipeline.status(word))
    }

    fn item(&mut self, key: &str) -> &mut RawItem {
        self.items.get_mut(key).expect("an item of the model")
    }

    /// Writes the columns that every move writes.
    fn put(&mut self, key: &str, to: Status, now: DateTime<Utc>) {
        let word = self.pipeline.word(to).to_owned();
        let item = self.item(key);
        item.status = Some(word);
        item.updated_at = Some(now);
    }

    fn fail(&mut self, key: &str, stage: StageId, error: String, now: DateTime<Utc>) {
        let resume = self.pipeline.word(Status::Ready(stage)).to_owned();
        self.put(key, Status::Failed, now);
        let item = self.item(key);
        item.error = Some(error);
        item.resume = Some(resume);
    }

    // Finish

    fn holds(&self, lease: &Lease) -> bool {
        self.items.get(lease.key.as_str()).is_some_and(|item| {
            item.token == Some(lease.token.as_i64()) && self.status_of(item) == Some(Status::InProgress(lease.stage))
        })
    }

    pub(super) fn finish(&mut self, finishing: &FinishParams, now: DateTime<Utc>) -> Vec<Finished> {
        finishing.items.iter().map(|finish| self.finish_one(finish, finishing.limits, now)).collect()
    }

    fn finish_one(&mut self, finish: &Finish, limits: Limits, now: DateTime<Utc>) -> Finished {
        let Finish { lease, outcome } = finish;
        if !self.holds(lease) {
            return Finished::LeaseLost;
        }
        let key = lease.key.as_str();
        let count = self.item(key).retry_count.unwrap_or(0) + 1;
        let step = outcome.to_move(count >= i64::from(limits.max_retries));
        let to = self.pipeline.after(Status::InProgress(lease.stage), step).expect("a lease is in progress");
        match outcome {
            Outcome::Complete => {
                let per_stage = self.pipeline.budget() == Budget::PerStage;
                let item = self.item(key);
                item.retry_after = None;
                if to == Status::Succeeded {
                    item.error = None;
                }
                if per_stage {
                    item.retry_count = Some(0);
                    item.reset_count = Some(0);
                }
            }
            Outcome::Retry { error, .. } if to == Status::Failed => {
                let item = self.item(key);
                item.retry_count = Some(count);
                item.retry_after = None;
                let error = format!("Max retries ({}) exceeded: {error}", limits.max_retries);
                self.fail(key, lease.stage, error, now);
            }
            Outcome::Retry { error, delay } => {
                let due = match delay {
                    Some(delay) => (now + *delay, now + *delay),
                    None => self.drawn_delay(lease.stage, count, now),
                };
                let item = self.item(key);
                item.retry_count = Some(count);
                item.error = Some(error.clone());
                self.drawn.insert(key.to_owned(), due);
            }
            Outcome::Fail { error } => {
                self.item(key).retry_after = None;
                self.fail(key, lease.stage, error.clone(), now);
            }
            Outcome::Release => {}
            Outcome::SnoozeUntil(due) => self.item(key).retry_after = Some(*due),
            Outcome::SnoozeFor(delay) => self.item(key).retry_after = Some(now + *delay),
        }
        self.put(key, to, now);
        Finished::Applied { to }
    }

    /// The earliest and the latest due time that the policy allows, to the millisecond.
    fn drawn_delay(&self, stage: StageId, count: i64, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let policy = self.pipeline.retry_policy(stage);
        let delay = policy.delay(u32::try_from(count).unwrap_or(u32::MAX));
        let shortest = delay.mul_f64(1.0 - policy.jitter()).max(policy.floor());
        let longest = delay.mul_f64(1.0 + policy.jitter()).max(policy.floor());
        let rounding = TimeDelta::milliseconds(1);
        (now + shortest - rounding, now + longest + rounding)
    }

    // Leases

    pub(super) fn lease_states(&self, leases: &[Lease]) -> Vec<LeaseState> {
        let state = |lease: &Lease| {
            if self.holds(lease) {
                LeaseState::Held
            } else if self.status(lease.key.as_str()) == Some(Status::Cancelled) {
                LeaseState::Cancelled
            } else {
                LeaseState::Lost
            }
        };
        leases.iter().map(state).collect()
    }

    pub(super) fn renew(&mut self, leases: &[Lease], now: DateTime<Utc>) -> Vec<LeaseState> {
        let states = self.lease_states(leases);
        for lease in leases.iter().zip(&states).filter(|(_, state)| **state == LeaseState::Held).map(|(lease, _)| lease)
        {
            let item = self.item(lease.key.as_str());
            item.heartbeat = Some(now);
            item.updated_at = Some(now);
        }
        states
    }

    // Sweep

    /// Checks that a sweep took only what it may, and follows it.
    pub(super) fn sweep(
        &mut self,
        sweeping: &SweepParams,
        now: DateTime<Utc>,
        swept: &[(Key, Status, String)],
    ) -> Result<(), String> {
        let limit = sweeping.limit;
        let (oldest, latest) = (now - sweeping.stale_after, now + sweeping.stale_after);
        let stale: Vec<String> = self
            .items
            .values()
            .filter(|item| self.status_of(item).is_some_and(Status::is_in_progress))
            .filter(|item| item.heartbeat.is_none_or(|heartbeat| heartbeat < oldest || heartbeat > latest))
            .map(|item| item.key.clone())
            .collect();
        if swept.len() != stale.len().min(limit) {
            return Err(format!("{} were swept of {} stale ones, limit {limit}", swept.len(), stale.len()));
        }
        for (key, to, error) in swept {
            if !stale.iter().any(|stale| stale == key.as_str()) {
                return Err(format!("{key} was not stale"));
            }
            self.sweep_one(key.as_str(), *to, error, sweeping.max_resets, now)?;
        }
        Ok(())
    }

    fn sweep_one(
        &mut self,
        key: &str,
        to: Status,
        error: &str,
        max_resets: u32,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let from = self.status(key).expect("checked");
        let Some(stage) = from.stage() else { return Err(format!("{key} was swept twice")) };
        let item = self.item(key);
        let count = item.reset_count.unwrap_or(0) + 1;
        let spent = count >= i64::from(max_resets);
        let holder = item.holder.clone().unwrap_or_else(|| "(unknown)".to_owned());
        item.reset_count = Some(count);
        item.token = None;
        item.retry_after = Some(now);
        let expected = self.pipeline.after(from, Move::Sweep { spent }).expect("only what is in progress is swept");
        if to != expected {
            return Err(format!("{key} was swept to {to:?} and not to {expected:?}"));
        }
        let starts = if spent {
            format!("Max resets ({max_resets}) exceeded: worker {holder} stopped: ")
        } else {
            format!("worker {holder} stopped: ")
        };
        if !error.starts_with(&starts) {
            return Err(format!("{key} was swept with the error {error:?}"));
        }
        if spent {
            self.fail(key, stage, error.to_owned(), now);
            self.unsaid.insert(key.to_owned());
        } else {
            self.put(key, to, now);
            self.item(key).error = Some(error.to_owned());
        }
        Ok(())
    }

    /// Whether this changed anything.
    pub(super) fn pause(&mut self, stage: StageId, paused: bool) -> bool {
        if paused { self.paused.insert(stage) } else { self.paused.remove(&stage) }
    }

    /// How many items have each word.
    pub(super) fn counts(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for item in self.items.values() {
            *counts.entry(item.status.clone().unwrap_or_default()).or_default() += 1;
        }
        counts
    }
}
