//! A stage pool: a stage's queue of claimed items, and the slots that work on them on the user's runtime.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::Instrument;

use super::completion::{Completions, Disposition, disposition_of};
use super::demand::Load;
use super::execution::{Execution, OfRun, RunEnd, Stop};
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
    state: Mutex<PoolState<R>>,
    ready: Notify,
    pub(crate) outages: OutageDetector,
    observed: Option<Observed>,
}

/// The queue and the slots, which change together.
struct PoolState<R> {
    queue: VecDeque<QueuedItem<R>>,
    slots: Vec<Slot>,
    is_closed: bool,
    /// When the idle slots stopped taking queued items: handlers block the threads that would poll them.
    stalled_since: Option<Instant>,
    /// The producer is woken when the queue has shrunk to this length.
    low_water: usize,
    /// For how long slots were busy, and how many items they handled, since the producer last asked.
    busy: Duration,
    handled_items: u64,
}

/// One place at which a handler runs.
#[derive(Debug, Default)]
struct Slot {
    run: Option<Arc<Execution>>,
    /// Its handler does not release its thread.
    is_leaked: bool,
    /// Its task has ended.
    is_gone: bool,
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
        let state = PoolState {
            queue: VecDeque::new(),
            slots: (0..concurrency).map(|_| Slot::default()).collect(),
            is_closed: false,
            stalled_since: None,
            low_water: 0,
            busy: Duration::ZERO,
            handled_items: 0,
        };
        StagePool {
            stage,
            timeout,
            handler,
            state: Mutex::new(state),
            ready: Notify::new(),
            outages: OutageDetector::new(pauses),
            observed: None,
        }
    }

    pub(crate) fn observed_by(mut self, observed: Option<Observed>) -> StagePool<S, R> {
        self.observed = observed;
        self
    }

    /// Starts a task for each slot on this runtime.
    pub(crate) fn start(self: &Arc<Self>, shared: &Arc<Shared<S, R>>, runtime: &tokio::runtime::Handle) {
        for slot in 0..self.slot_count() {
            let (pool, shared) = (Arc::clone(self), Arc::clone(shared));
            runtime.spawn(async move {
                let _gone = GoneGuard { pool: &pool, slot };
                pool.work(&shared, slot).await;
            });
        }
    }

    /// Hands claimed items to the slots.
    pub(crate) fn push(&self, entries: impl IntoIterator<Item = QueuedItem<R>>) {
        self.state().queue.extend(entries);
        self.ready.notify_waiters();
    }

    /// Takes queued items back, except the first `keep`.
    pub(crate) fn take_back(&self, keep: usize) -> Vec<QueuedItem<R>> {
        let mut state = self.state();
        let keep = keep.min(state.queue.len());
        state.queue.split_off(keep).into()
    }

    /// How long the item at the head of the queue has waited.
    pub(crate) fn head_waited(&self, now: Instant) -> Option<Duration> {
        self.state().queue.front().map(|entry| now.saturating_duration_since(entry.queued_at))
    }

    /// Notes that the idle slots are not polled. The first one that is polled ends this.
    pub(crate) fn stall(&self, now: Instant) {
        self.state().stalled_since.get_or_insert(now);
    }

    /// Whether no slot can work any more. While one slot is leaked, slots that are not polled count too: the leaked
    /// handler blocks their thread.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        let state = self.state();
        let leaked = state.slots.iter().filter(|slot| slot.is_lost()).count();
        let is_long_ago = |since| now.saturating_duration_since(since) > QUEUED_FOR_MAX;
        let is_stalled = leaked > 0 && state.stalled_since.is_some_and(is_long_ago);
        let blocked = state.slots.iter().filter(|slot| is_stalled && !slot.is_lost() && slot.run.is_none()).count();
        leaked + blocked == state.slots.len()
    }

    /// Closes the pool: each slot ends when its handler does.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.ready.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    pub(crate) fn wake_at(&self, low_water: usize) {
        self.state().low_water = low_water;
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.state().slots.len()
    }

    pub(crate) fn leaked_count(&self) -> usize {
        self.state().slots.iter().filter(|slot| slot.is_lost()).count()
    }

    /// The current runs, each with the index of its slot.
    pub(crate) fn runs(&self) -> Vec<(usize, Arc<Execution>)> {
        let running = |(index, slot): (usize, &Slot)| slot.run.clone().map(|run| (index, run));
        self.state().slots.iter().enumerate().filter_map(running).collect()
    }

    /// Tells every handler to stop because the worker stops.
    pub(crate) fn stop_runs(&self) {
        for (_, run) in self.runs() {
            run.stop(Stop::Shutdown);
        }
    }

    /// Counts a slot as leaked: its handler does not release its thread. False if it was leaked already, or if the run
    /// is over.
    pub(crate) fn leak(&self, slot: usize, run: &Arc<Execution>) -> bool {
        let mut state = self.state();
        let slot = &mut state.slots[slot];
        let is_running = slot.run.as_ref().is_some_and(|current| Arc::ptr_eq(current, run));
        if !is_running || slot.is_leaked {
            return false;
        }
        slot.is_leaked = true;
        drop(state);
        self.outages.end_try(run.since, false);
        true
    }

    pub(crate) fn load(&self, now: Instant) -> Load {
        // Together: an item that is taken from the queue meanwhile, and counted neither there nor in a slot, would make
        // the next claim larger.
        let state = self.state();
        let queued = state.queue.len();
        let (mut idle, mut slots, mut youngest) = (0, 0, None);
        for slot in state.slots.iter().filter(|slot| !slot.is_lost()) {
            slots += 1;
            match &slot.run {
                None => idle += 1,
                Some(run) => {
                    let lasted = now.saturating_duration_since(run.since);
                    youngest = Some(youngest.map_or(lasted, |other: Duration| other.min(lasted)));
                }
            }
        }
        if state.stalled_since.is_some() {
            slots -= idle;
            idle = 0;
        }
        let youngest_run = if idle == 0 { youngest } else { None };
        Load { slots, idle, size: self.handler.size(), queued, youngest_run }
    }

    /// The time for which slots were busy, and the number of items that they handled, since the last call.
    pub(crate) fn take_work_done(&self) -> (Duration, u64) {
        let mut state = self.state();
        (std::mem::take(&mut state.busy), std::mem::take(&mut state.handled_items))
    }

    async fn work(&self, shared: &Arc<Shared<S, R>>, slot: usize) {
        let mut since_yield = 0;
        loop {
            let ready = self.ready.notified();
            let Some((claims, run)) = self.pop(shared, slot) else {
                if self.is_closed() {
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
        let mut state = self.state();
        let was_stalled = state.stalled_since.take().is_some();
        let before = state.queue.len();
        let is_held = self.outages.is_held();
        let size = match (before, is_held) {
            (0, _) => 0,
            (_, false) => self.handler.size().min(before),
            (_, true) => usize::from(self.outages.start_try(Instant::now())),
        };
        let (mut claims, mut items) = (OfRun::with_capacity(size), OfRun::with_capacity(size));
        let mut ended = Vec::new();
        while items.len() < size
            && let Some(QueuedItem { claim, held, .. }) = state.queue.pop_front()
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
            state.slots[slot].run = Some(Arc::clone(run));
        }
        let (after, low_water) = (state.queue.len(), state.low_water);
        drop(state);
        drop(ended);
        if is_held && size > 0 && run.is_none() {
            self.outages.end_try(Instant::now(), true);
        }
        let is_low = before > 0 && (after == 0 || (before > low_water && after <= low_water));
        if was_stalled || is_low {
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
        let mut guard = RunGuard { shared, pool: self, slot, run: &run, busy: None };
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
        guard.busy = Some(run.since.elapsed());
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
}

impl<S: Store, R> StagePool<S, R> {
    fn state(&self) -> MutexGuard<'_, PoolState<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run of this slot is over, with this work done. The producer has to know of it if the queue has nothing for
    /// the slot.
    fn free(&self, slot: usize, busy: Duration, handled_items: u64, wake: &Notify) {
        let mut state = self.state();
        state.busy += busy;
        state.handled_items += handled_items;
        let was_leaked = std::mem::take(&mut state.slots[slot].is_leaked);
        state.slots[slot].run = None;
        let is_queue_empty = state.queue.is_empty();
        drop(state);
        if was_leaked {
            tracing::info!(slot, "a handler past its timeout let go of its slot after all");
        }
        if is_queue_empty {
            wake.notify_one();
        }
    }
}

impl Slot {
    /// Whether no handler can run here.
    fn is_lost(&self) -> bool {
        self.is_leaked || self.is_gone
    }
}

/// Frees the slot when a run is over, also when the user's runtime drops the run: items that were not reported count as
/// stopped.
struct RunGuard<'a, S: Store, R> {
    shared: &'a Shared<S, R>,
    pool: &'a StagePool<S, R>,
    slot: usize,
    run: &'a Arc<Execution>,
    /// For how long it was busy; `None` if it was dropped.
    busy: Option<Duration>,
}

impl<S: Store, R> Drop for RunGuard<'_, S, R> {
    fn drop(&mut self) {
        for held in &self.run.items {
            self.shared.completions.end(held, || {
                disposition_of(held.by_handler(), Err(&RunEnd::Stopped), self.run.stop_reason(), self.pool.timeout)
            });
        }
        let handled_items = if self.busy.is_some() { self.run.items.len() as u64 } else { 0 };
        self.pool.free(self.slot, self.busy.unwrap_or_default(), handled_items, &self.shared.wake);
    }
}

/// Marks a slot whose task ended: the pool was closed, or the user's runtime shut down.
struct GoneGuard<'a, S: Store, R> {
    pool: &'a StagePool<S, R>,
    slot: usize,
}

impl<S: Store, R> Drop for GoneGuard<'_, S, R> {
    fn drop(&mut self) {
        self.pool.state().slots[self.slot].is_gone = true;
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
