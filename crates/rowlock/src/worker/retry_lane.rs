//! The retry lane: items whose outcome could not be written with the others. They are sent again apart, so that none of
//! the others waits for them. Items that the database refuses one after the other wait until one of them passes; one is
//! tried now and then.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::batch::Batch;
use super::refusals::Refused;
use super::supervisor::Supervisor;
use crate::limits::POLL_MAX;
use crate::pipeline::StageId;
use crate::store::Limits;
use crate::{Outcome, Store};

/// The items that are sent again apart. The producer limits their number: it claims nothing while there are many, and
/// nothing for a stage whose items wait.
#[derive(Debug, Default)]
pub(crate) struct RetryLane {
    lanes: Mutex<Lanes>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Lanes {
    batches: VecDeque<Batch>,
    /// Each is of one stage and one outcome.
    waiting: VecDeque<(Waiting, Batch)>,
    /// The worker ends: items that would wait are released, within these limits.
    gives_back: Option<Limits>,
}

/// What items wait for: that a finish of this stage with this outcome passes.
pub(crate) type Waiting = (StageId, &'static str);

/// The batch that is sent next.
pub(crate) enum Next {
    Batch(Batch),
    /// One item, to find out whether others of its kind would pass.
    Try(Waiting, Batch),
}

impl RetryLane {
    pub(crate) fn push(&self, batch: Batch) {
        self.locked().batches.push_back(batch);
        self.some.notify_one();
    }

    /// Lets the batch wait until an item of its kind passes.
    pub(crate) fn wait(&self, waiting: Waiting, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let mut lanes = self.locked();
        match lanes.gives_back {
            Some(limits) if may_be_released(waiting, &batch) => lanes.batches.push_back(batch.into_release(limits)),
            _ => lanes.waiting.push_back((waiting, batch)),
        }
        drop(lanes);
        self.some.notify_one();
    }

    /// The items that are to be sent soon.
    pub(crate) fn len(&self) -> usize {
        self.locked().batches.iter().map(Batch::len).sum()
    }

    /// One has passed: all the others are sent at once.
    pub(crate) fn resume(&self, passed: Waiting) {
        let mut lanes = self.locked();
        let of_it = lanes.waiting.iter_mut().filter(|(waiting, _)| *waiting == passed);
        let batches: Vec<Batch> = of_it.map(|(_, batch)| batch.extract(|_| true)).collect();
        lanes.waiting.retain(|(_, batch)| !batch.is_empty());
        lanes.batches.extend(batches);
        drop(lanes);
        self.some.notify_one();
    }

    /// Whether items wait for this kind of finish.
    pub(crate) fn has(&self, what: Waiting) -> bool {
        self.locked().waiting.iter().any(|(waiting, _)| *waiting == what)
    }

    /// Releases the waiting items, uncounted, because their worker ends: a sweep would count them. They are sent once
    /// more.
    pub(crate) fn give_back(&self, limits: Limits) {
        let mut lanes = self.locked();
        lanes.gives_back = Some(limits);
        for (waiting, batch) in std::mem::take(&mut lanes.waiting) {
            let may_be_released = may_be_released(waiting, &batch);
            lanes.batches.push_back(if may_be_released { batch.into_release(limits) } else { batch });
        }
        drop(lanes);
        self.some.notify_one();
    }

    /// Waits until there is something to send, and returns it. Batches that wait for nothing go first.
    pub(crate) async fn next<S: Store, R: Send + 'static>(&self, supervisor: &Supervisor<S, R>) -> Next {
        loop {
            let some = self.some.notified();
            let now = Instant::now();
            if let Some(batch) = self.locked().batches.pop_front() {
                return Next::Batch(batch);
            }
            if let Some((waiting, batch)) = self.locked().due(supervisor, now) {
                return Next::Try(waiting, batch);
            }
            let next_try_at = supervisor.pools.iter().filter_map(|pool| pool.refusals.next_try_at()).min();
            let pause = next_try_at.map_or(POLL_MAX, |at| at.saturating_duration_since(now)).min(POLL_MAX);
            let _woken = tokio::time::timeout(pause.max(Duration::from_millis(1)), some).await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not if the batch may have been written already, or is to be released anyway.
fn may_be_released(waiting: Waiting, batch: &Batch) -> bool {
    !batch.settling.is_uncertain() && waiting.1 != Outcome::Release.name()
}

impl Lanes {
    /// The item that is to be tried now, a different one each time. All items that wait with it are kept: none of their
    /// leases is given up.
    fn due<S: Store, R: Send + 'static>(
        &mut self,
        supervisor: &Supervisor<S, R>,
        now: Instant,
    ) -> Option<(Waiting, Batch)> {
        let is_due = |(stage, outcome): Waiting| {
            supervisor.pool(stage).is_none_or(|pool| {
                let what = Refused::Finishes(outcome);
                pool.refusals.is_due(what, now) || !pool.refusals.has(what)
            })
        };
        let at = self.waiting.iter().position(|(waiting, _)| is_due(*waiting))?;
        let (waiting, mut batch) = self.waiting.remove(at)?;
        let rest = batch.split_off_first();
        if !rest.is_empty() {
            self.waiting.push_back((waiting, rest));
        }
        let batches = self.waiting.iter().filter(|(other, _)| *other == waiting).map(|(_, batch)| batch);
        batches.chain([&batch]).flat_map(Batch::completions).for_each(|completion| completion.held.keep(now));
        if let Some(pool) = supervisor.pool(waiting.0) {
            pool.refusals.tried(Refused::Finishes(waiting.1), now);
        }
        Some((waiting, batch))
    }
}
