//! The dispatcher, the worker's producer: the loop that claims items for the stage pools, and ticks.

mod batch;
mod calls;
mod idling;
mod room;
mod winding_down;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;

use super::claiming::{Pace, keep_queued, low_water, plan, wanted};
use super::context::WorkerFinisher;
use super::crew::Crew;
use super::engine::{Engine, Phase};
use super::idle::{Verdict, Waiting};
use super::leases::Held;
use super::refusals::Refused;
use super::report::Remaining;
use super::wakeup::Hearing;
use crate::claim::Finisher;
use crate::decoding::Record;
use crate::dispatch::{Dispatch, Recovered};
use crate::limits::{BATCH_ITEMS_MAX, POLL_MAX, POLL_MAX_UNHEARD, QUEUED_FOR_MAX};
use crate::pipeline::StageId;
use crate::store::ClaimBatch;
use crate::{Result, Store};
use calls::Calls;
use room::Room;

/// The dispatcher of one worker.
pub(crate) struct Dispatcher<S: Store, R> {
    engine: Arc<Engine<S, R>>,
    verbs: Dispatch<S>,
    hearing: Hearing,
    /// Finishes claims for handlers that do so themselves.
    finisher: Arc<dyn Finisher>,
    paces: Vec<Pace>,
    /// Stages that were found empty, each with the time of its next poll.
    empty: HashMap<StageId, Instant>,
    poll_delay: Duration,
    /// Whether the counts were read since the queue was last polled.
    counted: bool,
    /// The suspect that runs, alone.
    suspect: Option<Arc<Held>>,
    /// Set while the worker drains for a suspect at the head of the queue.
    room: Option<Room>,
    /// The limits of the claims that run; empty if none does.
    asked_for: Vec<usize>,
    /// A claim that may bring a suspect is running.
    alone: bool,
    /// The last claim brought a full batch, so the next one may too.
    full: bool,
    claims: Calls,
    recoveries: Calls,
    counts: Calls,
    recover_at: Instant,
    waiting: Option<Waiting>,
}

/// A running call.
type Call<Row> = Pin<Box<dyn Future<Output = Answer<Row>> + Send>>;

/// The running calls: one call, or two claims.
type UnderWay<Row> = FuturesUnordered<Call<Row>>;

enum Answer<Row> {
    Claimed { asked: Vec<StageId>, limit: usize, sent_at: Instant, batch: Result<ClaimBatch<Row>> },
    Recovered(Recovered<Row>),
    LookedAround(Result<Verdict>),
}

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    pub(crate) fn new(engine: Arc<Engine<S, R>>, verbs: Dispatch<S>, hearing: Hearing) -> Dispatcher<S, R> {
        let now = Instant::now();
        let finisher = Arc::new(WorkerFinisher {
            repository: Arc::clone(&engine.floor.repository),
            leases: Arc::clone(&engine.floor.leases),
        });
        Dispatcher {
            finisher,
            paces: vec![Pace::default(); engine.crews.len()],
            empty: HashMap::new(),
            poll_delay: engine.settings.poll_min,
            counted: false,
            suspect: None,
            room: None,
            asked_for: Vec::new(),
            alone: false,
            full: false,
            claims: Calls::new("claim", now),
            recoveries: Calls::new("recover lost claims", now),
            counts: Calls::new("counts", now),
            recover_at: now,
            waiting: None,
            engine,
            verbs,
            hearing,
        }
    }

    /// Works until the worker should stop or, if it is to stop when idle, until there is nothing to wait for. After
    /// that nothing is held any more, as far as that can be achieved.
    pub(crate) async fn run(&mut self) -> Result<Remaining> {
        let mut phase = self.engine.watch_phase();
        let mut tick = tokio::time::interval(self.engine.tick_interval());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut calls: UnderWay<S::Row> = FuturesUnordered::new();
        let mut end = Ok(Remaining::default());
        let mut is_idle = false;
        while self.engine.phase() == Phase::Running {
            let now = Instant::now();
            self.engine.tell_holds();
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
                () = self.engine.floor.wake.notified() => {}
                () = poll, if calls.is_empty() => {}
                _ = phase.changed() => {}
            }
        }
        self.engine.enter(Phase::Draining);
        self.wind_down(calls, is_idle).await;
        self.engine.tell_holds();
        match self.engine.take_problem() {
            Some(problem) => Err(problem),
            None => end,
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.engine.tick(now);
        for (crew, pace) in self.engine.crews.iter().zip(&mut self.paces) {
            let (busy, items) = crew.take_work_done();
            pace.measure(busy, items);
            if crew.head_waited(now).is_some_and(|waited| waited > QUEUED_FOR_MAX) {
                let load = crew.load(now);
                if load.idle > 0 {
                    crew.stall(now);
                }
                let surplus = crew.take_back(keep_queued(&load, pace.ahead(&load)));
                if !surplus.is_empty() {
                    let why = if load.idle > 0 { "handlers block their threads" } else { "handlers became slow" };
                    tracing::debug!(items = surplus.len(), why, "queued items are given back");
                }
                for entry in surplus {
                    self.engine.release(&entry.held);
                }
            }
            if crew.leaked_count() > 0 {
                self.engine.check_leaks(crew);
            }
        }
    }

    /// When the loop has something to do even if nothing happens before.
    fn wake_at(&self, now: Instant) -> Instant {
        let held = [&self.claims, &self.recoveries, &self.counts].map(|calls| calls.held_until());
        let room = self.room.iter().map(|room| room.look_at);
        let crews = self.engine.crews.iter();
        let tries = crews.flat_map(|crew| crew.hold.next_try_at().into_iter().chain(crew.refusals.next_try_at()));
        let times = self.empty.values().copied().chain(held).chain(room).chain(tries);
        times.filter(|at| *at > now).fold(now + POLL_MAX, Instant::min)
    }

    fn next_call(&mut self, now: Instant) -> Option<Call<S::Row>> {
        if self.verbs.has_lost_claims() && now >= self.recover_at && !self.recoveries.is_held(now) {
            self.recover_at = now + self.engine.pipeline().heartbeat_interval();
            return Some(self.recover());
        }
        self.forget_empty(now);
        if self.does_a_suspect_run() || self.engine.is_clogged() {
            return None;
        }
        if !self.claims.is_held(now) {
            if self.is_making_room() {
                return self.look_from_the_room(now);
            }
            if let Some(stage) = self.due_try(now) {
                self.counted = false;
                return Some(self.claim(vec![stage], 1));
            }
            let wants: Vec<(StageId, usize)> = self.wants(now);
            if let Some((stages, limit)) = plan(&wants) {
                self.counted = false;
                return Some(self.claim(stages, limit));
            }
        }
        let counts = self.engine.settings.until_idle && !self.counted && self.can_only_wait();
        if counts && !self.counts.is_held(now) {
            self.counted = true;
            return Some(self.look_around());
        }
        None
    }

    /// A second claim while one is running, so that the server works on it while this worker takes in the items of the
    /// first. Only where handlers are so fast that full batches are wanted one after the other, and only as long as
    /// they come.
    fn claim_beside(&mut self, now: Instant) -> Option<Call<S::Row>> {
        let is_pointless = !self.full || !self.verbs.store().claims_side_by_side();
        // Anything that has to precede the next claim gets its turn when the running one is answered.
        let is_held_back = self.alone
            || self.room.is_some()
            || self.verbs.has_lost_claims()
            || self.claims.is_held(now)
            || self.engine.is_clogged();
        if self.asked_for.len() != 1 || is_pointless || is_held_back {
            return None;
        }
        self.forget_empty(now);
        let (stages, limit) = plan(&self.wants(now))?;
        (limit == BATCH_ITEMS_MAX).then(|| self.claim(stages, limit))
    }

    /// Forgets that stages were found empty when it is time to poll them again.
    fn forget_empty(&mut self, now: Instant) {
        let known = self.empty.len();
        self.empty.retain(|_, look_at| *look_at > now);
        if self.empty.len() < known {
            self.counted = false;
        }
    }

    fn wants(&mut self, now: Instant) -> Vec<(StageId, usize)> {
        let asked_for: usize = self.asked_for.iter().sum();
        let mut wants = Vec::with_capacity(self.engine.crews.len());
        for (crew, pace) in self.engine.crews.iter().zip(&mut self.paces) {
            let (busy, items) = crew.take_work_done();
            pace.measure(busy, items);
            let mut load = crew.load(now);
            load.queued += asked_for;
            let ahead = pace.ahead(&load);
            crew.wake_at(low_water(ahead));
            let empty = self.empty.contains_key(&crew.stage) && !self.engine.is_nudged(crew.stage);
            let want = match crew.hold.is_held() {
                false => wanted(&load, ahead),
                true => usize::from(load.idle > 0 && load.queued == 0 && crew.hold.may_try(now)),
            };
            let want = crew.refusals.wanted(&load, want, now);
            wants.push((crew.stage, if empty { 0 } else { want }));
        }
        wants
    }

    /// A stage whose claims were refused and are due for a try. The try claims one item for this stage alone: it would
    /// keep another stage in the same claim from its items.
    fn due_try(&self, now: Instant) -> Option<StageId> {
        let is_due = |crew: &Arc<Crew<S, R>>| crew.refusals.is_claim_due(&crew.load(now), now);
        self.engine.crews.iter().find(|crew| is_due(crew)).map(|crew| crew.stage)
    }

    fn was_found_empty(&self, stage: StageId) -> bool {
        self.empty.contains_key(&stage) && !self.engine.is_nudged(stage)
    }

    fn is_every_stage_empty(&self) -> bool {
        self.engine.crews.iter().all(|crew| self.was_found_empty(crew.stage))
    }

    /// Whether nothing is held, and no stage can be claimed for now: a held stage waits for its next try.
    fn can_only_wait(&self) -> bool {
        let now = Instant::now();
        let is_held = |crew: &Crew<S, R>| {
            (crew.hold.is_held() && !crew.hold.may_try(now))
                || crew.refusals.next_try_at().is_some_and(|next_try_at| next_try_at > now)
        };
        let waits = |crew: &Crew<S, R>| self.was_found_empty(crew.stage) || is_held(crew);
        self.engine.floor.leases.is_empty() && self.engine.crews.iter().all(|crew| waits(crew))
    }

    fn claim(&mut self, asked: Vec<StageId>, limit: usize) -> Call<S::Row> {
        self.engine.look_at(&asked);
        let now = Instant::now();
        for crew in self.engine.crews.iter().filter(|crew| asked.contains(&crew.stage)) {
            crew.hold.asked(now);
            crew.refusals.tried(Refused::Claims, now);
            crew.refusals.tried(Refused::Heartbeats, now);
        }
        self.empty.retain(|stage, _| !asked.contains(stage));
        let mut claiming = self.engine.floor.repository.params_for(asked.clone(), limit);
        let holds_nothing = self.engine.floor.leases.is_empty() && self.asked_for.is_empty();
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
                self.engine.pulse.wrote(Instant::now());
                self.claims.passed(&self.engine);
                self.note_claimed(&asked, &batch);
                self.take_batch(&asked, sent_at, batch);
                Ok(None)
            }
            Answer::Recovered(Recovered { rows, error }) => {
                self.give_back(rows);
                match error {
                    None => self.recoveries.passed(&self.engine),
                    Some(error) => {
                        self.recover_at = Instant::now();
                        self.recoveries.met(&self.engine, error)?;
                    }
                }
                Ok(None)
            }
            Answer::LookedAround(Ok(verdict)) => {
                self.counts.passed(&self.engine);
                Ok(self.judge(verdict))
            }
            Answer::Claimed { asked, batch: Err(error), .. } => {
                self.recover_at = Instant::now();
                // The stages that it asked for are not empty, but unknown.
                self.engine.nudge(self.engine.crews.iter().map(|crew| crew.stage));
                if !error.is_transient() && self.note_refused_claim(&asked) {
                    // The error does not delay other stages.
                    self.claims.met_by_few(&self.engine, &error);
                    return Ok(None);
                }
                self.claims.met(&self.engine, error).map(|()| None)
            }
            Answer::LookedAround(Err(error)) => {
                self.counted = false;
                self.counts.met(&self.engine, error).map(|()| None)
            }
        }
    }

    /// Notes which of these stages go on, and which stay held although the claim succeeded, because only others had
    /// items that passed.
    fn note_claimed(&self, asked: &[StageId], batch: &ClaimBatch<S::Row>) {
        if !self.engine.is_anything_refused() && self.verbs.store().refused_stages().is_empty() {
            return;
        }
        batch.claimed.iter().for_each(|row| self.engine.note_passed(Refused::Claims, row.lease.stage));
        let is_missing = |stage: &&StageId| !batch.claimed.iter().any(|row| row.lease.stage == **stage);
        let missing: Vec<StageId> = asked.iter().filter(is_missing).copied().collect();
        if batch.claimed.is_empty() && batch.refused.is_empty() && batch.exhausted.is_empty() {
            let crews = self.engine.crews.iter().filter(|crew| asked.contains(&crew.stage));
            crews.for_each(|crew| crew.refusals.found_nothing());
        } else if !missing.is_empty() {
            self.note_refused_claim(&missing);
        }
    }

    fn note_refused_claim(&self, asked: &[StageId]) -> bool {
        !self.engine.note_refused(self.verbs.store(), Refused::Claims, asked).is_empty()
    }

    fn poll_max(&self) -> Duration {
        let default = if self.hearing.works() { POLL_MAX } else { POLL_MAX_UNHEARD };
        self.engine.settings.poll_max.unwrap_or(default).max(self.engine.settings.poll_min)
    }

    /// When to poll again what was found empty now.
    fn next_look(&self) -> Instant {
        Instant::now() + self.poll_delay.mul_f64(rand::rng().random_range(0.75..=1.25))
    }
}
