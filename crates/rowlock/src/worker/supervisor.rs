//! The supervisor: the state that the tasks of a worker share, the checks of its tick, and the requests to stop it by
//! signals and cancellation tokens.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::batch::RetryLane;
use super::completion::{Completion, Disposition, LossReason, disposition_of};
use super::disruptions::DisruptionDetector;
use super::execution::{Execution, RunEnd, Stop, panic_message};
use super::hooks::{FailedHook, OnHold, OnWait};
use super::leases::Held;
use super::outage_detector::{HeldStage, News, Pauses};
use super::refusals::{Refusals, Refused, StageRefusals};
use super::report::{Errors, Tally};
use super::stage_pool::{Shared, StagePool};
use crate::limits::{ENDED_ITEMS_MAX, LEAK_AFTER, OUTAGE_PATIENCE};
use crate::pipeline::{Pipeline, StageId};
use crate::store::RefusedStage;
use crate::{Error, Outcome, Store};

/// The state that the tasks of a worker share. All of them run on its own thread; what they share with the slots is in
/// `shared` and in the pools.
pub(crate) struct Supervisor<S: Store, R> {
    pub(crate) shared: Arc<Shared<S, R>>,
    /// The stage pools of the stages that have a handler, in order.
    pub(crate) pools: Vec<Arc<StagePool<S, R>>>,
    pub(crate) settings: Settings,
    pub(crate) refusals: Refusals,
    pub(crate) tally: Tally,
    pub(crate) disruptions: DisruptionDetector,
    /// The retry lane: items that are sent again apart from the others.
    pub(crate) retry_lane: RetryLane,
    pub(crate) failed: FailedHook,
    pub(crate) on_wait: Option<OnWait>,
    pub(crate) on_hold: Option<OnHold>,
    phase: watch::Sender<Phase>,
    ticked_at: Cell<Instant>,
    /// One bit for each stage that may have new items.
    nudged: Cell<u64>,
    problem: RefCell<Option<Error>>,
}

/// The settings of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) grace: Duration,
    pub(crate) poll_min: Duration,
    pub(crate) poll_max: Option<Duration>,
    pub(crate) until_idle: bool,
    /// With `until_idle`: the worker does not wait for items that become due later.
    pub(crate) until_nothing_is_due: bool,
    pub(crate) signals: bool,
    pub(crate) hold_pauses: Pauses,
}

/// The phase of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It claims and works.
    Running,
    /// It claims nothing more, and lets its handlers finish.
    Draining,
    /// It stops its handlers.
    Stopping,
}

impl<S: Store, R: Send + 'static> Supervisor<S, R> {
    pub(crate) fn new(
        shared: Arc<Shared<S, R>>,
        pools: Vec<Arc<StagePool<S, R>>>,
        settings: Settings,
        failed: FailedHook,
        on_wait: Option<OnWait>,
        on_hold: Option<OnHold>,
    ) -> Supervisor<S, R> {
        let now = Instant::now();
        let pipeline = shared.repository.pipeline();
        let disruptions = DisruptionDetector::new(pipeline.stale_after(), pipeline.heartbeat_interval(), now);
        let refusals = Refusals::new(pools.iter().map(|pool| pool.stage), settings.hold_pauses);
        Supervisor {
            shared,
            pools,
            settings,
            refusals,
            tally: Tally::default(),
            disruptions,
            retry_lane: RetryLane::default(),
            failed,
            on_wait,
            on_hold,
            phase: watch::Sender::new(Phase::Running),
            ticked_at: Cell::new(now),
            nudged: Cell::new(u64::MAX),
            problem: RefCell::new(None),
        }
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        self.shared.repository.pipeline()
    }

    /// The stage pool of a stage that has a handler.
    pub(crate) fn pool(&self, stage: StageId) -> Option<&Arc<StagePool<S, R>>> {
        self.pools.iter().find(|pool| pool.stage == stage)
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// For the future that runs the worker: when it is dropped, the worker stops.
    pub(crate) fn phases(&self) -> watch::Sender<Phase> {
        self.phase.clone()
    }

    pub(crate) fn watch_phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Advances to this phase; never goes back.
    pub(crate) fn enter(&self, phase: Phase) {
        enter(&self.phase, phase);
    }

    /// Ends the worker with this error, unless it already has one.
    pub(crate) fn fail(&self, error: Error) {
        self.problem.borrow_mut().get_or_insert(error);
        self.enter(Phase::Draining);
    }

    pub(crate) fn take_problem(&self) -> Option<Error> {
        self.problem.take()
    }

    /// Notes an error of one kind of call.
    pub(crate) fn met(&self, errors: &mut Errors, what: &str, error: &Error) {
        errors.met(what, error);
        self.tally.count(|report| report.errors += 1);
        if error.is_read_only() {
            self.disruptions.refused_writes();
        } else if error.is_transient() {
            self.disruptions.failed();
        }
    }

    /// Marks stages that may have new items, and wakes the producer.
    pub(crate) fn nudge(&self, stages: impl IntoIterator<Item = StageId>) {
        let bits = stages.into_iter().fold(0, |bits, stage| bits | bit(stage));
        if bits != 0 {
            self.nudged.set(self.nudged.get() | bits);
            self.shared.wake.notify_one();
        }
    }

    /// As [`Supervisor::nudge`] for all stages.
    pub(crate) fn nudge_all(&self) {
        self.nudge(self.pipeline().stage_ids());
    }

    pub(crate) fn is_nudged(&self, stage: StageId) -> bool {
        self.nudged.get() & bit(stage) != 0
    }

    /// Clears the marks of stages that are about to be polled.
    pub(crate) fn look_at(&self, stages: &[StageId]) {
        let bits = stages.iter().fold(0, |bits, stage| bits | bit(*stage));
        self.nudged.set(self.nudged.get() & !bits);
    }

    /// Whether so much waits to be written or reported that nothing more should be claimed.
    pub(crate) fn is_clogged(&self) -> bool {
        self.shared.completions.len() + self.retry_lane.len() + self.failed.pending() > ENDED_ITEMS_MAX
    }

    /// When the producer last ticked.
    pub(crate) fn ticked_at(&self) -> Instant {
        self.ticked_at.get()
    }

    /// The time between two ticks: a small part of the shortest time that a tick checks.
    pub(crate) fn tick_interval(&self) -> Duration {
        let shortest_timeout = self.pools.iter().filter_map(|pool| pool.timeout).min().unwrap_or(Duration::MAX);
        (self.pipeline().stale_after() / 20)
            .min(shortest_timeout / 10)
            .clamp(Duration::from_millis(5), Duration::from_millis(500))
    }

    /// Checks everything that depends on time: timeouts, leaked slots, leases past their life, stages that are held.
    pub(crate) fn tick(&self, now: Instant) {
        self.runs(now);
        self.ticked_at.set(now);
        for pool in &self.pools {
            for (slot, run) in pool.runs() {
                self.check_timeout(pool, slot, &run, now);
            }
        }
        self.drop_over_aged(now);
        self.check_holds(now);
    }

    fn check_timeout(&self, pool: &StagePool<S, R>, slot: usize, run: &Arc<Execution>, now: Instant) {
        let is_over = pool.timeout.is_some_and(|timeout| run.lasted(now) > timeout);
        if !is_over && !run.is_unanswered(now) && run.timed_out_at().is_none() {
            return;
        }
        for held in &run.items {
            held.stop_renewing();
        }
        match run.timed_out_at() {
            None => run.stop(Stop::TimedOut(now)),
            // The answer to the handler's own finish is worth more than the slot, as long as it may still come.
            Some(told_at) if now.saturating_duration_since(told_at) > self.leak_after() && !run.is_settling(now) => {
                if !pool.leak(slot, run) {
                    return;
                }
                let stage = self.pipeline().stage(pool.stage).name();
                let items: Vec<_> = run.items.iter().map(|held| &held.lease.key).collect();
                tracing::error!(stage, slot, ?items, "a handler past its timeout does not stop: its slot is leaked");
                self.tally.count(|report| report.leaked_slots += 1);
                for held in &run.items {
                    self.shared.completions.end(held, || {
                        disposition_of(held.by_handler(), Err(&RunEnd::Stopped), run.stop_reason(), pool.timeout)
                    });
                }
                self.check_leaks(pool);
            }
            Some(_) => {}
        }
    }

    fn leak_after(&self) -> Duration {
        LEAK_AFTER.min(self.pipeline().stale_after() / 3)
    }

    /// Ends the worker if no slot of a stage pool can work any more.
    pub(crate) fn check_leaks(&self, pool: &StagePool<S, R>) {
        if pool.is_lost(Instant::now()) {
            let stage = self.pipeline().stage(pool.stage).name();
            self.fail(Error::Worker {
                problem: format!(
                    "all {} slots of stage {stage} are held by handlers that do not stop: start a new process, and \
                     let the handler run blocking work where it can be stopped",
                    pool.slot_count()
                ),
            });
        }
    }

    /// Detects that this process was stopped and has resumed: the first check of the time on the worker's thread
    /// reports it.
    pub(crate) fn runs(&self, now: Instant) {
        let Some(stood_still) = self.disruptions.runs(now) else { return };
        tracing::warn!(
            stood_still_s = stood_still.as_secs_f64(),
            "this process was stopped, or its machine: leases are renewed before one is given up, and before a sweep"
        );
        for held in self.shared.leases.all() {
            held.stood_still(stood_still);
        }
        for (_, run) in self.pools.iter().flat_map(|pool| pool.runs()) {
            run.stood_still(stood_still);
        }
    }

    /// Stops the work under leases that were not renewed within the life of a lease, by this process's own clock:
    /// others may hold those items by now. After a standstill of this process a renewal is tried first: there may have
    /// been no other worker to take the items.
    pub(crate) fn drop_over_aged(&self, now: Instant) {
        let (stale_after, respite) = (self.pipeline().stale_after(), self.disruptions.respite());
        for held in self.shared.leases.all() {
            if held.is_over_aged(now, stale_after, respite) && held.lose() {
                self.shared
                    .completions
                    .push(Completion { held, disposition: Disposition::Lost(LossReason::NotRenewed) });
            }
        }
    }

    /// The stages that are held.
    pub(crate) fn held_stages(&self, now: Instant) -> Vec<HeldStage> {
        let current = |pool: &Arc<StagePool<S, R>>| {
            let refused = self.refusals.of(pool.stage).map(|refusals| refusals.current(now));
            let news = pool.outages.current(now).into_iter().chain(refused.into_iter().flatten());
            news.map(|news| self.held_stage(pool.stage, news)).collect::<Vec<_>>()
        };
        self.pools.iter().flat_map(current).collect()
    }

    /// Reports which stages are held now, and which resume.
    pub(crate) fn tell_holds(&self) {
        for pool in &self.pools {
            let refused = self.refusals.of(pool.stage).map(StageRefusals::take_news);
            for news in pool.outages.take_news().into_iter().chain(refused.into_iter().flatten()) {
                let held = self.held_stage(pool.stage, news);
                if held.is_over {
                    tracing::info!("stage {held}");
                } else {
                    tracing::warn!("stage {held}; one item is tried now and then");
                }
                let Some(on_hold) = &self.on_hold else { continue };
                if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| on_hold(&held))) {
                    tracing::error!(error = panic_message(&*panic), "the on-hold callback panicked");
                }
            }
        }
    }

    fn held_stage(&self, stage: StageId, news: News) -> HeldStage {
        let News { cause, reason, held_for, is_over } = news;
        HeldStage { stage, name: self.pipeline().stage(stage).name().to_owned(), cause, reason, held_for, is_over }
    }

    /// Ends a worker that is to end when idle if a stage has been held for too long.
    pub(crate) fn check_holds(&self, now: Instant) {
        if !self.settings.until_idle {
            return;
        }
        for pool in &self.pools {
            let outage = pool.outages.overdue(now).map(|(lasted, reason)| (lasted, "by an outage", reason));
            let refusals = self.refusals.of(pool.stage).map(|refusals| refusals.current(now));
            let refusals = refusals.into_iter().flatten();
            let refusals = refusals.map(|news| (news.held_for, "because the database refuses its items", news.reason));
            for (lasted, why, reason) in outage.into_iter().chain(refusals) {
                if lasted > OUTAGE_PATIENCE {
                    let stage = self.pipeline().stage(pool.stage).name();
                    let problem = format!("stage {stage} has been held for {} s {why}: {reason}", lasted.as_secs());
                    self.fail(Error::Worker { problem });
                }
            }
        }
    }

    /// Holds those of these stages for which the database refused this since the last check, and returns them.
    pub(crate) fn note_refused(&self, store: &S, what: Refused, stages: &[StageId]) -> Vec<StageId> {
        let now = Instant::now();
        let is_asked = |refused: &RefusedStage| refused.verb == what.verb() && stages.contains(&refused.stage);
        let mut held = Vec::new();
        for RefusedStage { stage, reason, times, .. } in store.refused_stages().into_iter().filter(is_asked) {
            let (Some(pool), Some(refusals)) = (self.pool(stage), self.refusals.of(stage)) else { continue };
            if !refusals.is_news(what, times) {
                continue;
            }
            held.push(stage);
            if refusals.refused(what, &reason, now) {
                // Not for claims: where those are refused, what was claimed before has passed.
                if matches!(what, Refused::Finishes(_) | Refused::Heartbeats) {
                    pool.take_back(0).iter().for_each(|entry| self.release(&entry.held));
                }
                self.shared.wake.notify_one();
            }
        }
        held
    }

    /// Notes that items of a stage passed.
    pub(crate) fn note_passed(&self, what: Refused, stage: StageId) {
        if let Some(refusals) = self.refusals.of(stage)
            && refusals.has(what)
        {
            refusals.passed(what);
            self.shared.wake.notify_one();
        }
    }

    /// Releases queued items, except the first `keep` of each stage pool.
    pub(crate) fn release_queued(&self, keep: impl Fn(&StagePool<S, R>) -> usize) {
        for pool in &self.pools {
            for entry in pool.take_back(keep(pool)) {
                self.release(&entry.held);
            }
        }
    }

    pub(crate) fn release(&self, held: &Arc<Held>) {
        self.shared.completions.end(held, || Disposition::Write(Outcome::Release));
    }

    /// Tells every handler to stop because the worker stops.
    pub(crate) fn stop_runs(&self) {
        for pool in &self.pools {
            pool.stop_runs();
        }
    }
}

/// Advances to this phase; never goes back.
pub(crate) fn enter(phases: &watch::Sender<Phase>, phase: Phase) {
    phases.send_if_modified(|now| {
        let later = phase > *now;
        if later {
            *now = phase;
        }
        later
    });
}

/// Stops the worker gracefully at the first signal, and at once at the second.
#[cfg(unix)]
pub(crate) async fn obey_signals<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>) {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be caught: the worker will not stop gracefully");
            return;
        }
    };
    for phase in [Phase::Draining, Phase::Stopping] {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        match phase {
            Phase::Running | Phase::Draining => tracing::info!(signal, "stopping: nothing more is claimed"),
            Phase::Stopping => tracing::info!(signal, "stopping at once"),
        }
        supervisor.enter(phase);
    }
}

/// Stops the worker gracefully at the first Ctrl-C, and at once at the second.
#[cfg(not(unix))]
pub(crate) async fn obey_signals<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>) {
    for phase in [Phase::Draining, Phase::Stopping] {
        if tokio::signal::ctrl_c().await.is_ok() {
            tracing::info!("stopping");
            supervisor.enter(phase);
        }
    }
}

/// Stops the worker gracefully when the token is cancelled.
pub(crate) async fn obey_token<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, token: CancellationToken) {
    token.cancelled().await;
    tracing::info!("asked to stop: nothing more is claimed");
    supervisor.enter(Phase::Draining);
}

fn bit(stage: StageId) -> u64 {
    // STAGES_MAX is 64.
    1_u64 << stage.index()
}

#[cfg(all(test, feature = "sqlite"))]
pub(crate) mod tests {
    use super::*;
    use crate::store::sqlite::SqliteStore;
    use crate::worker::stage_pool::tests::shared_over;

    /// The state that the tasks of a worker share, without the tasks, over a new table.
    pub(crate) async fn supervisor_over(folder: &std::path::Path) -> Supervisor<SqliteStore, (String,)> {
        let shared = shared_over(folder).await;
        let settings = Settings {
            grace: Duration::ZERO,
            poll_min: Duration::from_secs(1),
            poll_max: None,
            until_idle: true,
            until_nothing_is_due: false,
            signals: false,
            hold_pauses: Pauses { min: Duration::from_secs(1), max: Duration::from_secs(1) },
        };
        let (hook, _task) = FailedHook::start(None, &tokio::runtime::Handle::current());
        Supervisor::new(shared, Vec::new(), settings, hook, None, None)
    }

    #[tokio::test]
    async fn a_worker_that_is_to_end_when_idle_says_which_stage_was_held_for_too_long_and_why() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut supervisor = supervisor_over(folder.path()).await;
        let handler = crate::worker::handler::Handler::one(Arc::new(()), |_, _| async { Ok(()) });
        let pool = StagePool::new(StageId::FIRST, None, handler, 1, supervisor.settings.hold_pauses);
        let now = Instant::now();
        pool.outages.outage(&"a".into(), crate::Failure::outage("the API answers 503"), now, now);
        supervisor.pools.push(Arc::new(pool));

        supervisor.check_holds(now + OUTAGE_PATIENCE);
        assert!(supervisor.take_problem().is_none());
        supervisor.check_holds(now + OUTAGE_PATIENCE + Duration::from_secs(1));
        let problem = supervisor.take_problem().expect("it gives up").to_string();
        assert_eq!(problem, "worker: stage ONE has been held for 601 s by an outage: the API answers 503");
    }
}
