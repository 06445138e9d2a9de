//! A stage pool: a stage's queue of claimed items, and the slots that work on them on the user's runtime.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::Instrument;

use super::completion::{Completions, Disposition, disposition_of};
use super::demand::Load;
use super::execution::{Execution, OfRun, RunEnd};
use super::handler::{Handler, Stateless};
use super::hooks::Observed;
use super::leases::{Held, Leases, Work};
use super::outage_detector::{OutageDetector, Pauses};
use crate::limits::{QUEUED_FOR_MAX, WORKER_ITEMS_BETWEEN_YIELDS};
use crate::pipeline::StageId;
use crate::{Claim, Failure, Handled, Outcome, Repository, Store};

/// The stage pool of one stage.
pub(crate) struct StagePool<S: Store, R> {
    pub(crate) stage: StageId,
    pub(crate) timeout: Option<Duration>,
    handler: Handler<S, R>,
    slots: Vec<Slot>,
    queue: Mutex<VecDeque<QueuedItem<R>>>,
    ready: Notify,
    closed: AtomicBool,
    /// When the idle slots stopped taking queued items: handlers block the threads that would poll them.
    stalled_since: Mutex<Option<Instant>>,
    /// The producer is woken when the queue has shrunk to this length.
    low_water: AtomicUsize,
    pub(crate) outages: OutageDetector,
    observed: Option<Observed>,
    busy_nanos: AtomicU64,
    handled_items: AtomicU64,
}

/// A claimed item that waits for a slot.
pub(crate) struct QueuedItem<R> {
    pub(crate) claim: Claim<R>,
    pub(crate) held: Arc<Held>,
    pub(crate) queued_at: Instant,
}

/// The state that the slots of all stage pools share with the worker's thread.
pub(crate) struct Shared<S: Store, R> {
    pub(crate) repository: Arc<Repository<S, R>>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) completions: Arc<Completions>,
    /// Wakes the producer.
    pub(crate) wake: Notify,
}

impl<S: Store, R: Send + 'static> StagePool<S, R> {
    pub(crate) fn new(
        stage: StageId,
        timeout: Option<Duration>,
        handler: Handler<S, R>,
        concurrency: usize,
        pauses: Pauses,
    ) -> StagePool<S, R> {
        StagePool {
            stage,
            timeout,
            handler,
            slots: (0..concurrency).map(|_| Slot::default()).collect(),
            queue: Mutex::default(),
            ready: Notify::new(),
            closed: AtomicBool::new(false),
            stalled_since: Mutex::new(None),
            low_water: AtomicUsize::new(0),
            outages: OutageDetector::new(pauses),
            observed: None,
            busy_nanos: AtomicU64::new(0),
            handled_items: AtomicU64::new(0),
        }
    }

    pub(crate) fn observed_by(mut self, observed: Option<Observed>) -> StagePool<S, R> {
        self.observed = observed;
        self
    }

    /// Starts a task for each slot on this runtime.
    pub(crate) fn start(self: &Arc<Self>, shared: &Arc<Shared<S, R>>, runtime: &tokio::runtime::Handle) {
        for slot in 0..self.slots.len() {
            let (pool, shared) = (Arc::clone(self), Arc::clone(shared));
            runtime.spawn(async move {
                let _gone = GoneGuard { pool: &pool, slot };
                pool.work(&shared, slot).await;
            });
        }
    }

    /// Hands claimed items to the slots.
    pub(crate) fn push(&self, entries: impl IntoIterator<Item = QueuedItem<R>>) {
        self.queue_locked().extend(entries);
        self.ready.notify_waiters();
    }

    /// Takes queued items back, except the first `keep`.
    pub(crate) fn take_back(&self, keep: usize) -> Vec<QueuedItem<R>> {
        let mut queue = self.queue_locked();
        let keep = keep.min(queue.len());
        queue.split_off(keep).into()
    }

    /// How long the item at the head of the queue has waited.
    pub(crate) fn head_waited(&self, now: Instant) -> Option<Duration> {
        self.queue_locked().front().map(|entry| now.saturating_duration_since(entry.queued_at))
    }

    /// Notes that the idle slots are not polled. The first one that is polled ends this.
    pub(crate) fn stall(&self, now: Instant) {
        self.stalled_locked().get_or_insert(now);
    }

    /// How many idle slots have not been polled for a long time.
    pub(crate) fn stalled_slots(&self, now: Instant) -> usize {
        let since = *self.stalled_locked();
        if since.is_none_or(|since| now.saturating_duration_since(since) <= QUEUED_FOR_MAX) {
            return 0;
        }
        self.slots.iter().filter(|slot| !slot.is_lost() && slot.run().is_none()).count()
    }

    fn stalled_locked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stalled_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the pool: each slot ends when its handler does.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ready.notify_waiters();
    }

    pub(crate) fn wake_at(&self, low_water: usize) {
        self.low_water.store(low_water, Ordering::Relaxed);
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn leaked_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_lost()).count()
    }

    /// The current runs, each with the index of its slot.
    pub(crate) fn runs(&self) -> Vec<(usize, Arc<Execution>)> {
        let running = |(index, slot): (usize, &Slot)| slot.run().map(|run| (index, run));
        self.slots.iter().enumerate().filter_map(running).collect()
    }

    /// Counts a slot as leaked: its handler does not release its thread. False if it was leaked already, or if the run
    /// is over.
    pub(crate) fn leak(&self, slot: usize, run: &Arc<Execution>) -> bool {
        let leaked = self.slots[slot].leak(run);
        if leaked {
            self.outages.end_try(run.since, false);
        }
        leaked
    }

    pub(crate) fn load(&self, now: Instant) -> Load {
        // Read before the slots: an item that is taken from the queue meanwhile counts twice. Counted as neither, it
        // would make the next claim larger.
        let queued = self.queue_locked().len();
        let (mut idle, mut slots, mut youngest) = (0, 0, None);
        for slot in self.slots.iter().filter(|slot| !slot.is_lost()) {
            slots += 1;
            match slot.run() {
                None => idle += 1,
                Some(run) => {
                    let lasted = now.saturating_duration_since(run.since);
                    youngest = Some(youngest.map_or(lasted, |other: Duration| other.min(lasted)));
                }
            }
        }
        if self.stalled_locked().is_some() {
            slots -= idle;
            idle = 0;
        }
        let youngest_run = if idle == 0 { youngest } else { None };
        Load { slots, idle, size: self.handler.size(), queued, youngest_run }
    }

    /// The time for which slots were busy, and the number of items that they handled, since the last call.
    pub(crate) fn take_work_done(&self) -> (Duration, u64) {
        let busy = Duration::from_nanos(self.busy_nanos.swap(0, Ordering::Relaxed));
        (busy, self.handled_items.swap(0, Ordering::Relaxed))
    }

    async fn work(&self, shared: &Arc<Shared<S, R>>, slot: usize) {
        let mut since_yield = 0;
        loop {
            let ready = self.ready.notified();
            let Some((claims, run)) = self.pop(shared, slot) else {
                if self.closed.load(Ordering::Acquire) {
                    return;
                }
                ready.await;
                continue;
            };
            since_yield += run.items.len();
            self.run(shared, slot, claims, run).await;
            if since_yield >= WORKER_ITEMS_BETWEEN_YIELDS {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes the items of one run. The slot is busy before the queue is seen to be shorter.
    fn pop(&self, shared: &Shared<S, R>, slot: usize) -> Option<(OfRun<Claim<R>>, Arc<Execution>)> {
        if self.stalled_locked().take().is_some() {
            shared.wake.notify_one();
        }
        let mut queue = self.queue_locked();
        let before = queue.len();
        let is_held = self.outages.is_held();
        let size = match (before, is_held) {
            (0, _) => 0,
            (_, false) => self.handler.size().min(before),
            (_, true) => usize::from(self.outages.start_try(Instant::now())),
        };
        let (mut claims, mut items) = (OfRun::with_capacity(size), OfRun::with_capacity(size));
        let mut ended = Vec::new();
        while items.len() < size
            && let Some(QueuedItem { claim, held, .. }) = queue.pop_front()
        {
            if held.is_ended() {
                // Lost or released while it was queued. Dropped below, without the lock: dropping runs the user's code.
                ended.push(claim);
            } else {
                claims.push(claim);
                items.push(held);
            }
        }
        let run = (!items.is_empty()).then(|| Arc::new(Execution::new(items, Instant::now())));
        if let Some(run) = &run {
            self.slots[slot].occupy(run);
        }
        let after = queue.len();
        drop(queue);
        drop(ended);
        if is_held && size > 0 && run.is_none() {
            self.outages.end_try(Instant::now(), true);
        }
        let low_water = self.low_water.load(Ordering::Relaxed);
        if before > 0 && (after == 0 || (before > low_water && after <= low_water)) {
            shared.wake.notify_one();
        }
        run.map(|run| (claims, run))
    }

    async fn run(&self, shared: &Arc<Shared<S, R>>, slot: usize, claims: OfRun<Claim<R>>, run: Arc<Execution>) {
        for held in &run.items {
            if !held.start(&run) {
                run.lose_item(); // lost since it was taken from the queue
            }
        }
        let guard = RunGuard { shared, pool: self, slot, run: &run };
        let context = Stateless::live(Arc::clone(&shared.repository), &run);
        let work = self.handler.run(context, claims);
        let end = match &self.observed {
            None => run.drive(work).await,
            Some(observed) => {
                let span = observed.start(&run);
                let end = run.drive(work.instrument(span)).await;
                observed.end(&run, &end, self.timeout);
                end
            }
        };
        self.report(shared, &run, end);
        let busy = u64::try_from(run.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(busy, Ordering::Relaxed);
        self.handled_items.fetch_add(run.items.len() as u64, Ordering::Relaxed);
        drop(guard);
    }

    fn report(&self, shared: &Shared<S, R>, run: &Execution, end: RunEnd) {
        let mut results = match end {
            RunEnd::Returned(results) => Ok(self.note_outages(shared, run, results).into_iter()),
            other => {
                self.outages.end_try(run.since, false);
                Err(other)
            }
        };
        for held in &run.items {
            let result = results.as_mut().map(Iterator::next).map_err(|end| &*end);
            shared.completions.end(held, || disposition_of(held.by_handler(), result, run.stop_reason(), self.timeout));
        }
    }

    /// Decides by a handler's results whether to hold the stage, and what becomes of items that met an outage.
    fn note_outages(
        &self,
        shared: &Shared<S, R>,
        run: &Execution,
        mut results: OfRun<Result<Handled, Failure>>,
    ) -> OfRun<Result<Handled, Failure>> {
        let was_held = self.outages.is_held();
        let mut is_outage = false;
        for (held, result) in run.items.iter().zip(&mut results) {
            if let Err(failure) = result
                && failure.is_outage()
            {
                is_outage = true;
                let failure = std::mem::replace(failure, Failure::retryable(""));
                *result = Err(self.outages.outage(&held.lease.key, failure, run.since, Instant::now()));
            }
        }
        let passed = run.items.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let mut passed = passed.map(|(held, _)| &held.lease.key).peekable();
        if passed.peek().is_some() {
            self.outages.passed(passed);
        } else if !is_outage {
            // The handler failed in another way: the next item may tell more.
            self.outages.end_try(run.since, true);
        }
        let is_held = self.outages.is_held();
        if is_held && !was_held {
            for entry in self.take_back(0) {
                shared.completions.end(&entry.held, || Disposition::Write(Outcome::Release));
            }
        }
        if is_held || was_held {
            shared.wake.notify_one();
        }
        results
    }

    fn queue_locked(&self) -> MutexGuard<'_, VecDeque<QueuedItem<R>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the slot when a run is over, also when the user's runtime drops the run: items that were not reported count as
/// stopped.
struct RunGuard<'a, S: Store, R> {
    shared: &'a Shared<S, R>,
    pool: &'a StagePool<S, R>,
    slot: usize,
    run: &'a Arc<Execution>,
}

impl<S: Store, R> Drop for RunGuard<'_, S, R> {
    fn drop(&mut self) {
        for held in &self.run.items {
            self.shared.completions.end(held, || {
                disposition_of(held.by_handler(), Err(&RunEnd::Stopped), self.run.stop_reason(), self.pool.timeout)
            });
        }
        if self.pool.slots[self.slot].free() {
            tracing::info!(slot = self.slot, "a handler past its timeout let go of its slot after all");
        }
        if slot_matters(self.pool) {
            self.shared.wake.notify_one();
        }
    }
}

/// Whether the producer needs to know that a slot is free: the queue has nothing for it.
fn slot_matters<S: Store, R>(pool: &StagePool<S, R>) -> bool {
    pool.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// Marks a slot whose task ended: the pool was closed, or the user's runtime shut down.
struct GoneGuard<'a, S: Store, R> {
    pool: &'a StagePool<S, R>,
    slot: usize,
}

impl<S: Store, R> Drop for GoneGuard<'_, S, R> {
    fn drop(&mut self) {
        self.pool.slots[self.slot].leave();
    }
}

/// One place at which a handler runs.
#[derive(Debug, Default)]
struct Slot {
    run: Mutex<Option<Arc<Execution>>>,
    /// Its handler does not release its thread.
    leaked: AtomicBool,
    /// Its task has ended.
    gone: AtomicBool,
}

impl Slot {
    /// The current run.
    fn run(&self) -> Option<Arc<Execution>> {
        self.locked().clone()
    }

    fn occupy(&self, run: &Arc<Execution>) {
        *self.locked() = Some(Arc::clone(run));
    }

    /// Counts the slot as leaked. False if it was leaked already, or the run is over.
    fn leak(&self, run: &Arc<Execution>) -> bool {
        let current = self.locked();
        let same = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, run));
        same && !self.leaked.swap(true, Ordering::AcqRel)
    }

    /// The run is over. True if the slot had been leaked.
    fn free(&self) -> bool {
        *self.locked() = None;
        self.leaked.swap(false, Ordering::AcqRel)
    }

    fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether no handler can run here.
    fn is_lost(&self) -> bool {
        self.leaked.load(Ordering::Acquire) || self.gone.load(Ordering::Acquire)
    }

    fn locked(&self) -> MutexGuard<'_, Option<Arc<Execution>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "sqlite"))]
pub(crate) mod tests {
    use super::*;
    use crate::Pipeline;
    use crate::store::sqlite::SqliteStore;

    const PAUSES: Pauses = Pauses { min: Duration::from_secs(1), max: Duration::from_secs(1) };

    /// What the worker's thread and the slots share, over a new table.
    pub(crate) async fn shared_over(folder: &std::path::Path) -> Arc<Shared<SqliteStore, (String,)>> {
        let pipeline = Pipeline::builder("p").table("items").key("id").stage("ONE").stale_after(Duration::from_secs(3));
        let pipeline = pipeline.heartbeat_interval(Duration::from_millis(100)).build().expect("a valid pipeline");
        let store = SqliteStore::open(folder.join("queue.sqlite"), pipeline).await.expect("the file opens");
        let repository = Repository::new(store);
        repository.prepare().await.expect("prepared");
        Arc::new(Shared {
            repository: Arc::new(repository),
            leases: Arc::default(),
            completions: Arc::default(),
            wake: Notify::new(),
        })
    }

    /// Otherwise the producer, which the shorter queue wakes, would claim once more for the slot.
    #[tokio::test]
    async fn a_slot_is_busy_as_soon_as_the_queue_is_shorter() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shared = shared_over(folder.path()).await;
        let repository = Arc::clone(&shared.repository);
        repository.add_many(["a"]).await.expect("added");
        let claim = repository.claim(1).await.expect("claimed").items.remove(0);
        let now = Instant::now();
        let handler =
            Handler::one(Arc::new(()), |_: crate::Context<SqliteStore, (String,)>, _: Claim<(String,)>| async {
                Ok(())
            });
        let pool = StagePool::new(StageId::FIRST, None, handler, 2, PAUSES);
        let held = shared.leases.hold(claim.lease().clone(), now);
        pool.push([QueuedItem { claim, held, queued_at: now }]);
        let load = pool.load(now);
        assert_eq!((load.idle, load.queued), (2, 1));

        let taken = pool.pop(&shared, 0).expect("an item");

        let load = pool.load(now);
        assert_eq!((load.idle, load.queued), (1, 0));
        drop(taken);
    }
}
