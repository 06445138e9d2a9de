//! The producer: the loop that claims items for the stage pools, and ticks.

mod claimed;
mod ending;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;

use super::demand::{Pace, QueueView, keep_queued, low_water, plan, wanted};
use super::handler::WorkerFinisher;
use super::idle::NextStep;
use super::leases::Held;
use super::listener::Listening;
use super::refusals::{Refused, StageRefusals};
use super::report::{Errors, Remaining, Waiting};
use super::stage_pool::StagePool;
use super::supervisor::{Phase, Supervisor};
use crate::backoff::RetryWait;
use crate::claim::Finisher;
use crate::decoding::Record;
use crate::dispatch::{Dispatch, Recovered};
use crate::limits::{BATCH_ITEMS_MAX, POLL_MAX, POLL_MAX_UNHEARD, QUEUED_FOR_MAX};
use crate::pipeline::StageId;
use crate::store::ClaimBatch;
use crate::{Error, Result, Store};

/// The producer of one worker.
pub(crate) struct Producer<S: Store, R> {
    supervisor: Rc<Supervisor<S, R>>,
    verbs: Dispatch<S>,
    listening: Listening,
    /// Finishes claims for handlers that do so themselves.
    finisher: Arc<dyn Finisher>,
    paces: Vec<Pace>,
    queue: QueueView,
    /// The suspect that runs, alone.
    suspect: Option<Arc<Held>>,
    /// Set while the worker drains for a suspect at the head of the queue.
    suspect_drain: Option<SuspectDrain>,
    /// The limits of the claims that run; empty if none does.
    asked_for: Vec<usize>,
    /// A claim that may bring a suspect is running.
    alone: bool,
    claims: Calls,
    recoveries: Calls,
    counts: Calls,
    recover_at: Instant,
    waiting: Option<Waiting>,
}

/// A drain for a suspect at the head of the queue: nothing is claimed until nothing else is held, or until the suspect
/// is gone because another worker took it or an operator moved it.
#[derive(Debug)]
struct SuspectDrain {
    /// The stages of the claim that found it.
    stages: Vec<StageId>,
    /// When it was found. The result of a claim that was sent earlier proves nothing about the suspect, whose row the
    /// other claim had locked.
    found_at: Instant,
    /// When to check whether it is still there.
    look_at: Instant,
}

/// A running call.
type Call<Row> = Pin<Box<dyn Future<Output = Answer<Row>> + Send>>;

/// The running calls: one call, or two claims.
type UnderWay<Row> = FuturesUnordered<Call<Row>>;

enum Answer<Row> {
    Claimed { asked: Vec<StageId>, limit: usize, sent_at: Instant, batch: Result<ClaimBatch<Row>> },
    Recovered(Recovered<Row>),
    LookedAround(Result<NextStep>),
}

impl<S: Store, R: Record<S>> Producer<S, R> {
    pub(crate) fn new(supervisor: Rc<Supervisor<S, R>>, verbs: Dispatch<S>, listening: Listening) -> Producer<S, R> {
        let now = Instant::now();
        let finisher = Arc::new(WorkerFinisher {
            repository: Arc::clone(&supervisor.shared.repository),
            leases: Arc::clone(&supervisor.shared.leases),
        });
        Producer {
            finisher,
            paces: vec![Pace::default(); supervisor.pools.len()],
            queue: QueueView::new(supervisor.settings.poll_min),
            suspect: None,
            suspect_drain: None,
            asked_for: Vec::new(),
            alone: false,
            claims: Calls::new("claim", now),
            recoveries: Calls::new("recover lost claims", now),
            counts: Calls::new("counts", now),
            recover_at: now,
            waiting: None,
            supervisor,
            verbs,
            listening,
        }
    }

    /// Works until the worker should stop or, if it is to stop when idle, until there is nothing to wait for. After
    /// that nothing is held any more, as far as that can be achieved.
    pub(crate) async fn run(&mut self) -> Result<Remaining> {
        let mut phase = self.supervisor.watch_phase();
        let mut tick = tokio::time::interval(self.supervisor.tick_interval());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut calls: UnderWay<S::Row> = FuturesUnordered::new();
        let mut end = Ok(Remaining::default());
        let mut is_idle = false;
        while self.supervisor.phase() == Phase::Running {
            let now = Instant::now();
            self.supervisor.tell_holds();
            while let Some(call) = if calls.is_empty() { self.next_call(now) } else { self.claim_beside(now) } {
                calls.push(call);
            }
            let poll = tokio::time::sleep_until(self.wake_at(now).into());
            tokio::select! {
                Some(answer) = calls.next(), if !calls.is_empty() => {
                    match self.take(answer) {
                        Ok(None) => {}
                        Ok(Some(remaining)) => {
                            end = Ok(remaining);
                            is_idle = true;
                            break;
                        }
                        Err(error) => {
                            end = Err(error);
                            break;
                        }
                    }
                }
                _ = tick.tick() => self.tick(),
                () = self.supervisor.shared.wake.notified() => {}
                () = poll, if calls.is_empty() => {}
                _ = phase.changed() => {}
            }
        }
        self.supervisor.enter(Phase::Draining);
        self.wind_down(calls, is_idle).await;
        self.supervisor.tell_holds();
        match self.supervisor.take_problem() {
            Some(problem) => Err(problem),
            None => end,
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.supervisor.tick(now);
        for (pool, pace) in self.supervisor.pools.iter().zip(&mut self.paces) {
            let (busy, items) = pool.take_work_done();
            pace.measure(busy, items);
            if pool.head_waited(now).is_some_and(|waited| waited > QUEUED_FOR_MAX) {
                let load = pool.load(now);
                if load.idle > 0 {
                    pool.stall(now);
                }
                let surplus = pool.take_back(keep_queued(&load, pace.ahead(&load)));
                if !surplus.is_empty() {
                    let why = if load.idle > 0 { "handlers block their threads" } else { "handlers became slow" };
                    tracing::debug!(items = surplus.len(), why, "queued items are released");
                }
                for entry in surplus {
                    self.supervisor.release(&entry.held);
                }
            }
            if pool.leaked_count() > 0 {
                self.supervisor.check_leaks(pool);
            }
        }
    }

    /// When the loop has something to do even if nothing happens before.
    fn wake_at(&self, now: Instant) -> Instant {
        let held = [&self.claims, &self.recoveries, &self.counts].map(|calls| calls.held_until());
        let suspect_drain = self.suspect_drain.iter().map(|suspect_drain| suspect_drain.look_at);
        let tries = self.supervisor.pools.iter().filter_map(|pool| pool.outages.next_try_at());
        let tries = tries.chain(self.supervisor.refusals.next_tries());
        let times = self.queue.next_looks().chain(held).chain(suspect_drain).chain(tries);
        times.filter(|at| *at > now).fold(now + POLL_MAX, Instant::min)
    }

    fn next_call(&mut self, now: Instant) -> Option<Call<S::Row>> {
        if self.verbs.has_lost_claims() && now >= self.recover_at && !self.recoveries.is_held(now) {
            self.recover_at = now + self.supervisor.pipeline().heartbeat_interval();
            return Some(self.recover());
        }
        self.queue.forget_due(now);
        if self.does_a_suspect_run() || self.supervisor.is_clogged() {
            return None;
        }
        if !self.claims.is_held(now) {
            if self.is_draining_for_suspect() {
                return self.look_for_suspect(now);
            }
            if let Some(stage) = self.due_try(now) {
                self.queue.is_counted = false;
                return Some(self.claim(vec![stage], 1));
            }
            let wants: Vec<(StageId, usize)> = self.wants(now);
            if let Some((stages, limit)) = plan(&wants) {
                self.queue.is_counted = false;
                return Some(self.claim(stages, limit));
            }
        }
        let counts = self.supervisor.settings.until_idle && !self.queue.is_counted && self.can_only_wait();
        if counts && !self.counts.is_held(now) {
            self.queue.is_counted = true;
            return Some(self.look_around());
        }
        None
    }

    /// A second claim while one is running, so that the server works on it while this worker takes in the items of the
    /// first. Only where handlers are so fast that full batches are wanted one after the other, and only as long as
    /// they come.
    fn claim_beside(&mut self, now: Instant) -> Option<Call<S::Row>> {
        let is_pointless = !self.queue.is_full || !self.verbs.store().claims_side_by_side();
        // Anything that has to precede the next claim gets its turn when the running one is answered.
        let is_held_back = self.alone
            || self.suspect_drain.is_some()
            || self.verbs.has_lost_claims()
            || self.claims.is_held(now)
            || self.supervisor.is_clogged();
        if self.asked_for.len() != 1 || is_pointless || is_held_back {
            return None;
        }
        self.queue.forget_due(now);
        let (stages, limit) = plan(&self.wants(now))?;
        (limit == BATCH_ITEMS_MAX).then(|| self.claim(stages, limit))
    }

    fn wants(&mut self, now: Instant) -> Vec<(StageId, usize)> {
        let asked_for: usize = self.asked_for.iter().sum();
        let mut wants = Vec::with_capacity(self.supervisor.pools.len());
        for (pool, pace) in self.supervisor.pools.iter().zip(&mut self.paces) {
            let (busy, items) = pool.take_work_done();
            pace.measure(busy, items);
            let mut load = pool.load(now);
            load.queued += asked_for;
            let ahead = pace.ahead(&load);
            pool.wake_at(low_water(ahead));
            let empty = self.queue.is_empty(pool.stage) && !self.supervisor.is_nudged(pool.stage);
            let want = match pool.outages.is_held() {
                false => wanted(&load, ahead),
                true => usize::from(load.idle > 0 && load.queued == 0 && pool.outages.may_try(now)),
            };
            let refusals = self.supervisor.refusals.of(pool.stage);
            let want = refusals.map_or(want, |refusals| refusals.wanted(&load, want, now));
            wants.push((pool.stage, if empty { 0 } else { want }));
        }
        wants
    }

    /// A stage whose claims were refused and are due for a try. The try claims one item for this stage alone: it would
    /// keep another stage in the same claim from its items.
    fn due_try(&self, now: Instant) -> Option<StageId> {
        let is_due = |pool: &Arc<StagePool<S, R>>| {
            let refusals = self.supervisor.refusals.of(pool.stage);
            refusals.is_some_and(|refusals| refusals.is_claim_due(&pool.load(now), now))
        };
        self.supervisor.pools.iter().find(|pool| is_due(pool)).map(|pool| pool.stage)
    }

    fn was_found_empty(&self, stage: StageId) -> bool {
        self.queue.is_empty(stage) && !self.supervisor.is_nudged(stage)
    }

    fn is_every_stage_empty(&self) -> bool {
        self.supervisor.pools.iter().all(|pool| self.was_found_empty(pool.stage))
    }

    /// Whether nothing is held, and no stage can be claimed for now: a held stage waits for its next try.
    fn can_only_wait(&self) -> bool {
        let now = Instant::now();
        let is_held = |pool: &StagePool<S, R>| {
            let refusals = self.supervisor.refusals.of(pool.stage);
            (pool.outages.is_held() && !pool.outages.may_try(now))
                || refusals.and_then(StageRefusals::next_try_at).is_some_and(|next_try_at| next_try_at > now)
        };
        let waits = |pool: &StagePool<S, R>| self.was_found_empty(pool.stage) || is_held(pool);
        self.supervisor.shared.leases.is_empty() && self.supervisor.pools.iter().all(|pool| waits(pool))
    }

    fn claim(&mut self, asked: Vec<StageId>, limit: usize) -> Call<S::Row> {
        self.supervisor.look_at(&asked);
        let now = Instant::now();
        for pool in self.supervisor.pools.iter().filter(|pool| asked.contains(&pool.stage)) {
            pool.outages.asked(now);
            if let Some(refusals) = self.supervisor.refusals.of(pool.stage) {
                refusals.tried(Refused::Claims, now);
                refusals.tried(Refused::Heartbeats, now);
            }
        }
        self.queue.forget(&asked);
        let mut claiming = self.supervisor.shared.repository.params_for(asked.clone(), limit);
        let holds_nothing = self.supervisor.shared.leases.is_empty() && self.asked_for.is_empty();
        claiming.alone = holds_nothing && !self.verbs.has_lost_claims();
        self.asked_for.push(limit);
        self.alone = claiming.alone;
        let verbs = self.verbs.clone();
        Box::pin(async move {
            let sent_at = Instant::now();
            let batch = verbs.claim_once(&claiming).await;
            Answer::Claimed { asked, limit, sent_at, batch }
        })
    }

    fn recover(&self) -> Call<S::Row> {
        let verbs = self.verbs.clone();
        Box::pin(async move { Answer::Recovered(verbs.recover_lost_claims().await) })
    }

    /// Handles an answer. Returns what remains if the worker is done.
    fn take(&mut self, answer: Answer<S::Row>) -> Result<Option<Remaining>> {
        if let Answer::Claimed { limit, .. } = &answer {
            if let Some(at) = self.asked_for.iter().position(|asked_for| asked_for == limit) {
                self.asked_for.swap_remove(at);
            }
            self.alone = false;
        }
        match answer {
            Answer::Claimed { asked, sent_at, batch: Ok(batch), .. } => {
                self.supervisor.disruptions.wrote(Instant::now());
                self.claims.passed(&self.supervisor);
                self.note_claimed(&asked, &batch);
                self.take_batch(&asked, sent_at, batch);
                Ok(None)
            }
            Answer::Recovered(Recovered { rows, error }) => {
                self.give_back(rows);
                match error {
                    None => self.recoveries.passed(&self.supervisor),
                    Some(error) => {
                        self.recover_at = Instant::now();
                        self.recoveries.met(&self.supervisor, error)?;
                    }
                }
                Ok(None)
            }
            Answer::LookedAround(Ok(next_step)) => {
                self.counts.passed(&self.supervisor);
                Ok(self.judge(next_step))
            }
            Answer::Claimed { asked, batch: Err(error), .. } => {
                self.recover_at = Instant::now();
                // The stages that it asked for are not empty, but unknown.
                self.supervisor.nudge(self.supervisor.pools.iter().map(|pool| pool.stage));
                if !error.is_transient() && self.note_refused_claim(&asked) {
                    // The error does not delay other stages.
                    self.claims.met_by_few(&self.supervisor, &error);
                    return Ok(None);
                }
                self.claims.met(&self.supervisor, error).map(|()| None)
            }
            Answer::LookedAround(Err(error)) => {
                self.queue.is_counted = false;
                self.counts.met(&self.supervisor, error).map(|()| None)
            }
        }
    }

    fn poll_max(&self) -> Duration {
        let default = if self.listening.works() { POLL_MAX } else { POLL_MAX_UNHEARD };
        self.supervisor.settings.poll_max.unwrap_or(default).max(self.supervisor.settings.poll_min)
    }

    /// When to poll again what was found empty now.
    fn next_look(&self) -> Instant {
        Instant::now() + self.queue.poll_delay.mul_f64(rand::rng().random_range(0.75..=1.25))
    }
}

/// One kind of call. Each kind has separate errors: the successes of one say nothing about another.
#[derive(Debug)]
struct Calls {
    what: &'static str,
    errors: Errors,
    backoff: RetryWait,
    hold_until: Instant,
}

impl Calls {
    fn new(what: &'static str, now: Instant) -> Calls {
        Calls { what, errors: Errors::default(), backoff: RetryWait::default(), hold_until: now }
    }

    fn passed<S: Store, R: Send + 'static>(&mut self, supervisor: &Supervisor<S, R>) {
        supervisor.disruptions.answered(Instant::now());
        self.errors.passed(self.what);
        self.backoff = RetryWait::default();
    }

    /// Notes an error, and delays the next call of this kind. Returns the error if the worker should give up.
    fn met<S: Store, R: Send + 'static>(&mut self, supervisor: &Supervisor<S, R>, error: Error) -> Result<()> {
        supervisor.met(&mut self.errors, self.what, &error);
        self.hold_until = Instant::now() + self.backoff.next();
        let is_over = supervisor.settings.until_idle && self.errors.lasted() > error.patience();
        if is_over { Err(error) } else { Ok(()) }
    }

    /// Notes an error that concerns one stage alone, which is delayed separately.
    fn met_by_few<S: Store, R: Send + 'static>(&mut self, supervisor: &Supervisor<S, R>, error: &Error) {
        supervisor.disruptions.answered(Instant::now());
        supervisor.met(&mut self.errors, self.what, error);
    }

    fn is_held(&self, now: Instant) -> bool {
        now < self.hold_until
    }

    fn held_until(&self) -> Instant {
        self.hold_until
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::limits::LASTING_ERROR_PATIENCE;
    use crate::worker::supervisor::tests::supervisor_over;

    #[tokio::test]
    async fn the_successes_of_one_kind_do_not_hide_the_errors_of_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let supervisor = supervisor_over(folder.path()).await;
        let now = Instant::now();
        let (mut claims, mut counts) = (Calls::new("claim", now), Calls::new("counts", now));
        let broken = || Error::Schema { table: "items".to_owned(), problem: "gone".to_owned() };

        counts.met(&supervisor, broken()).expect("it is borne for a while");
        claims.passed(&supervisor);
        assert!(counts.is_held(now) && !claims.is_held(now));

        counts.errors = Errors::failing_for(LASTING_ERROR_PATIENCE * 2);
        claims.passed(&supervisor);
        counts.met(&supervisor, broken()).expect_err("it has lasted for too long");
    }
}
