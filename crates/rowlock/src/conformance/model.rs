//! The states of a few items in memory, by the rules alone: what the store is compared with.
//!
//! The model never draws a random number and knows no clock. Where the store may choose (ties in the queue, which stale
//! items a limited sweep takes, the jitter of a delay) the model checks that the choice was one of the allowed ones,
//! and follows it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::scene::RawItem;
use crate::pipeline::{Budget, Move, Pipeline, StageId, Status};
use crate::store::{
    Claiming, Finish, Finished, Finishing, LeaseState, Limits, Moved, Outcome, Requeueing, Setting, Sweeping,
};
use crate::{Key, Lease};

/// The table in memory.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pipeline: Pipeline,
    pub(super) items: BTreeMap<String, RawItem>,
    paused: BTreeSet<StageId>,
    /// Due times that the last step drew at random: from, to.
    drawn: BTreeMap<String, (DateTime<Utc>, DateTime<Utc>)>,
    /// Items whose due time and word to resume at no rule tells after the last step: a `FAILED` item is due at no
    /// time, and a `SUCCEEDED` one resumes nowhere, whatever is left in those columns.
    unsaid: BTreeSet<String>,
}

/// Where an item stands in the queue: the latest stage first, then what is ready longest.
type Place = (std::cmp::Reverse<StageId>, Option<DateTime<Utc>>);

/// What a claim took.
pub(super) struct Taken<'a> {
    pub(super) claimed: &'a [Lease],
    pub(super) exhausted: &'a [Key],
    pub(super) may_have_more: bool,
    pub(super) suspect_at_head: bool,
}

impl Taken<'_> {
    fn keys(&self) -> BTreeSet<&str> {
        self.claimed.iter().map(|lease| &lease.key).chain(self.exhausted).map(Key::as_str).collect()
    }
}

/// Checks each item that was taken by itself, and the order of those that were claimed.
fn check_taken(claiming: &Claiming, queue: &[(Place, &RawItem)], taken: &Taken<'_>) -> Result<(), String> {
    let find = |key: &Key| queue.iter().find(|(_, item)| item.key == key.as_str());
    let mut last = None;
    for lease in taken.claimed {
        let (place, item) = find(&lease.key).ok_or_else(|| format!("{} could not be claimed", lease.key))?;
        if Model::is_exhausted(item, claiming.limits) {
            return Err(format!("{} is exhausted", lease.key));
        }
        if lease.stage != place.0.0 || lease.token != claiming.token {
            return Err(format!("{lease:?} is not what was claimed"));
        }
        if last > Some(*place) {
            return Err(format!("{} is out of order", lease.key));
        }
        last = Some(*place);
    }
    for key in taken.exhausted {
        let (_, item) = find(key).ok_or_else(|| format!("{key} could not be exhausted"))?;
        if !Model::is_exhausted(item, claiming.limits) {
            return Err(format!("{key} is at no limit"));
        }
    }
    Ok(())
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

    /// Compares with the table as it is, and takes over what only the table can know.
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
            // What an insert or an edit of the test's own leaves there is the table's business.
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

    /// Writes what every move writes.
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

    // Claim

    fn place(&self, item: &RawItem) -> Option<Place> {
        match self.status_of(item) {
            Some(Status::Ready(stage)) => Some((std::cmp::Reverse(stage), item.retry_after.or(item.created_at))),
            _ => None,
        }
    }

    fn is_exhausted(item: &RawItem, limits: Limits) -> bool {
        item.retry_count >= Some(i64::from(limits.max_retries))
            || item.reset_count >= Some(i64::from(limits.max_resets))
    }

    fn is_suspect(item: &RawItem, limits: Limits) -> bool {
        let resets = item.reset_count.unwrap_or(0);
        resets >= 1 && resets == i64::from(limits.max_resets) - 1 && !Model::is_exhausted(item, limits)
    }

    /// What a claim may take, in the order of the queue.
    fn queue(&self, claiming: &Claiming, now: DateTime<Utc>) -> Vec<(Place, &RawItem)> {
        let mut queue: Vec<(Place, &RawItem)> = self
            .items
            .values()
            .filter(|item| !claiming.except.contains(&Key::from(item.key.as_str())))
            .filter(|item| !(claiming.leave_exhausted && Model::is_exhausted(item, claiming.limits)))
            .filter_map(|item| self.place(item).map(|place| (place, item)))
            .filter(|(place, _)| claiming.stages.contains(&place.0.0) && !self.paused.contains(&place.0.0))
            .filter(|(place, _)| place.1.is_none_or(|since| since <= now))
            .collect();
        queue.sort_by_key(|(place, _)| *place);
        queue
    }

    /// Checks that a claim took what it may, and follows it.
    pub(super) fn claim(&mut self, claiming: &Claiming, now: DateTime<Utc>, taken: &Taken<'_>) -> Result<(), String> {
        self.check_claim(claiming, now, taken)?;
        for key in taken.exhausted {
            let item = self.item(key.as_str()).clone();
            let Some(Status::Ready(stage)) = self.status_of(&item) else { unreachable!("checked") };
            let limit = if item.retry_count >= Some(i64::from(claiming.limits.max_retries)) {
                format!("Max retries ({}) exceeded", claiming.limits.max_retries)
            } else {
                format!("Max resets ({}) exceeded", claiming.limits.max_resets)
            };
            let error = match &item.error {
                Some(before) => format!("{limit}: {before}"),
                None => limit,
            };
            self.fail(key.as_str(), stage, error, now);
            self.item(key.as_str()).token = None;
            self.unsaid.insert(key.as_str().to_owned());
        }
        for lease in taken.claimed {
            let from = self.status(lease.key.as_str()).expect("checked");
            let to = self.pipeline.after(from, Move::Claim).expect("checked");
            self.put(lease.key.as_str(), to, now);
            let item = self.item(lease.key.as_str());
            item.token = Some(claiming.token.as_i64());
            item.holder = Some(claiming.holder.as_str().to_owned());
            item.heartbeat = Some(now);
            item.claimed_at = Some(now);
        }
        Ok(())
    }

    fn check_claim(&self, claiming: &Claiming, now: DateTime<Utc>, taken: &Taken<'_>) -> Result<(), String> {
        let limit = usize::try_from(claiming.limit).map_err(|_| "a negative limit was accepted")?;
        let limits = claiming.limits;
        let queue = self.queue(claiming, now);
        check_taken(claiming, &queue, taken)?;
        let keys = taken.keys();
        if keys.len() != taken.claimed.len() + taken.exhausted.len() {
            return Err("something was taken twice".to_owned());
        }
        if keys.len() > limit {
            return Err(format!("{} were taken of {limit}", keys.len()));
        }
        let is_suspect = |item: &RawItem| Model::is_suspect(item, limits);
        let suspects = queue.iter().filter(|(_, item)| is_suspect(item)).count();
        let head = queue.iter().find(|(_, item)| !Model::is_exhausted(item, limits)).map(|(place, _)| *place);
        let suspect_taken = queue.iter().find(|(_, item)| is_suspect(item) && keys.contains(item.key.as_str()));
        let may_be_empty = limit == 0 || queue.is_empty() || (!claiming.alone && suspects > 0);
        if let Some((place, _)) = suspect_taken {
            if !claiming.alone || taken.claimed.len() != 1 || Some(*place) != head {
                return Err("a suspect was not at the head, or not alone".to_owned());
            }
        } else if keys.is_empty() && !may_be_empty {
            return Err("nothing was taken of a queue that is not empty".to_owned());
        } else if keys.len() < limit.min(queue.len() - suspects).saturating_sub(suspects) {
            return Err(format!("only {} were taken of {}", keys.len(), queue.len()));
        }
        let suspect_may_be_at_head = queue.iter().any(|(place, item)| Some(*place) == head && is_suspect(item));
        if taken.suspect_at_head && (claiming.alone || !suspect_may_be_at_head) {
            return Err("it is said that a suspect is at the head and was left out".to_owned());
        }
        // Nothing that is left stood before anything that was taken.
        let is_taken = |item: &RawItem| keys.contains(item.key.as_str());
        let last = queue.iter().filter(|(_, item)| is_taken(item)).map(|(place, _)| *place).max();
        for (place, item) in queue.iter().filter(|(_, item)| !is_taken(item)) {
            let may_be_left = is_suspect(item) || (suspect_taken.is_some() && !Model::is_exhausted(item, limits));
            if !may_be_left && Some(*place) < last {
                return Err(format!("{:?} was passed over", item.key));
            }
        }
        let left = queue.len() - keys.len();
        if left > 0 && limit > 0 && !taken.may_have_more {
            return Err(format!("{left} are left, but it is said that there are none"));
        }
        if left == 0 && keys.len() < limit && taken.may_have_more {
            return Err("nothing is left, but it is said that there may be".to_owned());
        }
        Ok(())
    }

    // Finish

    fn holds(&self, lease: &Lease) -> bool {
        self.items.get(lease.key.as_str()).is_some_and(|item| {
            item.token == Some(lease.token.as_i64()) && self.status_of(item) == Some(Status::InProgress(lease.stage))
        })
    }

    pub(super) fn finish(&mut self, finishing: &Finishing, now: DateTime<Utc>) -> Vec<Finished> {
        finishing.items.iter().map(|finish| self.finish_one(finish, finishing.limits, now)).collect()
    }

    fn finish_one(&mut self, finish: &Finish, limits: Limits, now: DateTime<Utc>) -> Finished {
        let Finish { lease, outcome } = finish;
        if !self.holds(lease) {
            return Finished::LeaseLost;
        }
        let key = lease.key.as_str();
        let count = self.item(key).retry_count.unwrap_or(0) + 1;
        let step = match outcome {
            Outcome::Complete => Move::Complete,
            Outcome::Retry { .. } => Move::Retry { spent: count >= i64::from(limits.max_retries) },
            Outcome::Fail { .. } => Move::Fail,
            Outcome::Release => Move::Release,
            Outcome::SnoozeUntil(_) | Outcome::SnoozeFor(_) => Move::Snooze,
        };
        let to = self.pipeline.after(Status::InProgress(lease.stage), step).expect("a lease is in progress");
        match outcome {
            Outcome::Complete => {
                let per_stage = self.pipeline.budget() == Budget::PerStage;
                let item = self.item(key);
                item.retry_after = None;
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

    /// Checks that a sweep took what it may, and follows it.
    pub(super) fn sweep(
        &mut self,
        sweeping: &Sweeping,
        now: DateTime<Utc>,
        swept: &[(Key, Status, String)],
    ) -> Result<(), String> {
        let limit = usize::try_from(sweeping.limit).map_err(|_| "a negative limit was accepted")?;
        let oldest = now - sweeping.stale_after;
        let stale: Vec<String> = self
            .items
            .values()
            .filter(|item| self.status_of(item).is_some_and(Status::is_in_progress))
            .filter(|item| item.heartbeat.is_none_or(|heartbeat| heartbeat < oldest))
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
        max_resets: i32,
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

    // Operators

    fn operate(&mut self, key: &Key, step: impl FnOnce(&mut Model, &str, Status) -> Moved) -> Moved {
        let Some(item) = self.items.get(key.as_str()) else { return Moved::NotFound };
        let word = item.status.clone().unwrap_or_default();
        match self.status_of(item) {
            Some(status) => step(self, key.as_str(), status),
            None => Moved::Illegal { from: word },
        }
    }

    pub(super) fn set(&mut self, setting: &Setting, now: DateTime<Utc>) -> Vec<Moved> {
        setting
            .keys
            .iter()
            .map(|key| self.operate(key, |model, key, from| model.set_one(key, from, setting, now)))
            .collect()
    }

    fn set_one(&mut self, key: &str, from: Status, setting: &Setting, now: DateTime<Utc>) -> Moved {
        let to = self.pipeline.after(from, Move::Set(setting.to)).expect("only legal states are set");
        let resume = from.stage().map(|stage| self.pipeline.word(Status::Ready(stage)).to_owned());
        self.put(key, to, now);
        let item = self.item(key);
        item.token = None;
        item.retry_after = None;
        if let Some(error) = &setting.error {
            item.error = Some(error.clone());
        }
        match to {
            Status::Ready(_) => item.resume = None,
            Status::Failed | Status::Cancelled => item.resume = resume.or(item.resume.take()),
            Status::Succeeded | Status::InProgress(_) => {}
        }
        if to == Status::Succeeded {
            self.unsaid.insert(key.to_owned());
        }
        let item = self.item(key);
        if from.is_terminal() && to.is_ready() {
            item.retry_count = Some(0);
            item.reset_count = Some(0);
        }
        Moved::Applied { to }
    }

    pub(super) fn cancel(&mut self, keys: &[Key], now: DateTime<Utc>) -> Vec<Moved> {
        keys.iter().map(|key| self.operate(key, |model, key, from| model.cancel_one(key, from, now))).collect()
    }

    fn cancel_one(&mut self, key: &str, from: Status, now: DateTime<Utc>) -> Moved {
        let Ok(to) = self.pipeline.after(from, Move::Cancel) else {
            return Moved::Illegal { from: self.pipeline.word(from).to_owned() };
        };
        let resume = from.stage().map(|stage| self.pipeline.word(Status::Ready(stage)).to_owned());
        self.put(key, to, now);
        let item = self.item(key);
        item.token = None;
        item.retry_after = None;
        item.resume = resume;
        Moved::Applied { to }
    }

    pub(super) fn requeue(&mut self, requeueing: &Requeueing, now: DateTime<Utc>) -> Vec<Moved> {
        let stage = requeueing.stage;
        requeueing
            .keys
            .iter()
            .map(|key| self.operate(key, |model, key, from| model.requeue_one(key, from, stage, now)))
            .collect()
    }

    fn requeue_one(&mut self, key: &str, from: Status, stage: Option<StageId>, now: DateTime<Utc>) -> Moved {
        let resume = self.item(key).resume.clone().and_then(|word| self.pipeline.status(&word));
        let stopped_at = match (from, resume) {
            (Status::Failed | Status::Cancelled, Some(Status::Ready(stage))) => stage,
            _ => StageId::FIRST,
        };
        let Ok(to) = self.pipeline.after(from, Move::Requeue(stage.unwrap_or(stopped_at))) else {
            return Moved::Illegal { from: self.pipeline.word(from).to_owned() };
        };
        self.put(key, to, now);
        let item = self.item(key);
        item.retry_count = Some(0);
        item.reset_count = Some(0);
        item.retry_after = None;
        item.resume = None;
        item.token = None;
        Moved::Applied { to }
    }

    /// Whether this changed something.
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
