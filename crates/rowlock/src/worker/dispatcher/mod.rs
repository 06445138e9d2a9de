//! The dispatcher: claims for the crews, one statement at a time, and ticks.

mod batch;
mod idling;
mod winding_down;

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::claiming::{Pace, keep_queued, low_water, plan, wanted};
use super::context::WorkerFinisher;
use super::engine::{Engine, Phase};
use super::errors::Errors;
use super::idle::{Stuck, Waiting};
use super::leases::Held;
use super::report::Remaining;
use super::wakeup::Hearing;
use crate::claim::Finisher;
use crate::dispatch::Dispatch;
use crate::limits::{
    LASTING_ERROR_PATIENCE, OUTAGE_PATIENCE, POLL_MAX, POLL_MAX_UNHEARD, QUEUED_FOR_MAX, VERB_BACKOFF_MAX,
    VERB_BACKOFF_MIN,
};
use crate::pipeline::StageId;
use crate::repository::Record;
use crate::store::{ClaimBatch, ClaimedRow, Counts};
use crate::{Error, Result, Store};

/// The dispatcher of one worker.
pub(crate) struct Dispatcher<S: Store, R> {
    engine: Arc<Engine<S, R>>,
    verbs: Dispatch<S>,
    hearing: Hearing,
    finisher: Arc<dyn Finisher>,
    paces: Vec<Pace>,
    /// Stages that the last look found empty. They are not asked for until `poll_at`.
    empty: HashSet<StageId>,
    poll_at: Instant,
    poll_delay: Duration,
    /// Whether the counts were read since the last look at the queue.
    counted: bool,
    /// A suspect that runs, alone.
    suspect: Option<Arc<Held>>,
    /// A suspect is at the head of the queue: nothing is claimed until nothing else is held.
    makes_room: bool,
    errors: Errors,
    backoff: Duration,
    hold_until: Instant,
    recover_at: Instant,
    waiting: Option<Waiting>,
}

/// A call under way.
type Call<Row> = Pin<Box<dyn Future<Output = Answer<Row>> + Send>>;

enum Answer<Row> {
    Claimed { asked: Vec<StageId>, sent_at: Instant, batch: Result<ClaimBatch<Row>> },
    Recovered(Result<Vec<ClaimedRow<Row>>>),
    Counted(Result<(Counts, Vec<Stuck>)>),
}

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    pub(crate) fn new(engine: Arc<Engine<S, R>>, verbs: Dispatch<S>, hearing: Hearing) -> Dispatcher<S, R> {
        let now = Instant::now();
        let finisher = Arc::new(WorkerFinisher {
            repository: Arc::clone(&engine.floor.repository),
            leases: Arc::clone(&engine.floor.leases),
        });
        Dispatcher {
            paces: vec![Pace::default(); engine.crews.len()],
            empty: HashSet::new(),
            poll_at: now,
            poll_delay: engine.settings.poll_min,
            counted: false,
            suspect: None,
            makes_room: false,
            errors: Errors::default(),
            backoff: VERB_BACKOFF_MIN,
            hold_until: now,
            recover_at: now,
            waiting: None,
            engine,
            verbs,
            hearing,
            finisher,
        }
    }

    /// Works until the worker is to stop or, if it is to stop when idle, there is nothing to wait for. Then nothing
    /// is held any more, as far as that can be had.
    pub(crate) async fn run(&mut self) -> Result<Remaining> {
        let mut phase = self.engine.watch_phase();
        let mut tick = tokio::time::interval(self.engine.tick_interval());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut call: Option<Call<S::Row>> = None;
        let mut end = Ok(Remaining::default());
        while self.engine.phase() == Phase::Running {
            let now = Instant::now();
            if call.is_none() {
                call = self.next_call(now);
            }
            let poll = tokio::time::sleep_until(self.wake_at(now).into());
            tokio::select! {
                answer = async { call.as_mut().expect("guarded").await }, if call.is_some() => {
                    call = None;
                    match self.take(answer).await {
                        Ok(None) => {}
                        Ok(Some(remaining)) => {
                            end = Ok(remaining);
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
                () = poll, if call.is_none() => {}
                _ = phase.changed() => {}
            }
        }
        self.engine.enter(Phase::Draining);
        self.wind_down(call).await;
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
                let surplus = crew.take_back(keep_queued(&load, pace.ahead(&load)));
                if !surplus.is_empty() {
                    tracing::debug!(items = surplus.len(), "handlers became slow: queued items are given back");
                }
                for entry in surplus {
                    self.engine.release(&entry.held);
                }
            }
        }
    }

    /// When the loop has something to do although nothing happened.
    fn wake_at(&self, now: Instant) -> Instant {
        let far = now + POLL_MAX;
        if now < self.hold_until {
            return self.hold_until;
        }
        if self.empty.is_empty() { far } else { self.poll_at.max(now).min(far) }
    }

    fn next_call(&mut self, now: Instant) -> Option<Call<S::Row>> {
        if now < self.hold_until {
            return None;
        }
        if self.verbs.has_lost_claims() && now >= self.recover_at {
            self.recover_at = now + self.engine.pipeline().heartbeat_interval();
            let verbs = self.verbs.clone();
            return Some(Box::pin(async move { Answer::Recovered(verbs.recover_lost_claims().await) }));
        }
        if now >= self.poll_at {
            self.empty.clear();
            self.counted = false;
        }
        if self.is_a_suspect_in_the_way() || self.engine.is_clogged() {
            return None;
        }
        let wants: Vec<(StageId, usize)> = self.wants(now);
        if let Some((stages, limit)) = plan(&wants) {
            self.counted = false;
            return Some(self.claim(stages, limit));
        }
        if self.engine.settings.until_idle && !self.counted && self.is_everything_empty() {
            self.counted = true;
            return Some(Box::pin(idling::count(self.verbs.clone())));
        }
        None
    }

    fn wants(&mut self, now: Instant) -> Vec<(StageId, usize)> {
        let mut wants = Vec::with_capacity(self.engine.crews.len());
        for (crew, pace) in self.engine.crews.iter().zip(&mut self.paces) {
            let (busy, items) = crew.take_work_done();
            pace.measure(busy, items);
            let load = crew.load(now);
            let ahead = pace.ahead(&load);
            crew.wake_at(low_water(ahead));
            let empty = self.empty.contains(&crew.stage) && !self.engine.is_nudged(crew.stage);
            wants.push((crew.stage, if empty { 0 } else { wanted(&load, ahead) }));
        }
        wants
    }

    fn is_every_stage_empty(&self) -> bool {
        self.engine.crews.iter().all(|crew| self.empty.contains(&crew.stage) && !self.engine.is_nudged(crew.stage))
    }

    fn is_everything_empty(&self) -> bool {
        self.is_every_stage_empty() && self.engine.floor.leases.is_empty()
    }

    fn claim(&self, asked: Vec<StageId>, limit: usize) -> Call<S::Row> {
        self.engine.look_at(&asked);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut claiming = self.engine.floor.repository.claiming(&asked, limit);
        claiming.alone = self.engine.floor.leases.is_empty() && !self.verbs.has_lost_claims();
        let verbs = self.verbs.clone();
        Box::pin(async move {
            let sent_at = Instant::now();
            let batch = verbs.claim(&claiming).await;
            Answer::Claimed { asked, sent_at, batch }
        })
    }

    /// Takes an answer in. Something to return if the worker is done.
    async fn take(&mut self, answer: Answer<S::Row>) -> Result<Option<Remaining>> {
        match answer {
            Answer::Claimed { asked, sent_at, batch: Ok(batch) } => {
                self.passed();
                self.take_batch(&asked, sent_at, batch);
                Ok(None)
            }
            Answer::Recovered(Ok(rows)) => {
                self.passed();
                self.give_back(rows);
                Ok(None)
            }
            Answer::Counted(Ok((counts, stuck))) => {
                self.passed();
                Ok(self.judge(&counts, &stuck))
            }
            Answer::Claimed { batch: Err(error), .. } => {
                self.recover_at = Instant::now();
                self.met("claim", error).map(|()| None)
            }
            Answer::Recovered(Err(error)) => self.met("recover lost claims", error).map(|()| None),
            Answer::Counted(Err(error)) => {
                self.counted = false;
                self.met("counts", error).map(|()| None)
            }
        }
    }

    fn passed(&mut self) {
        self.engine.pulse.answered(Instant::now());
        self.errors.passed("claim");
        self.backoff = VERB_BACKOFF_MIN;
    }

    /// Notes an error of a call; returns it if the worker is to give up.
    fn met(&mut self, what: &str, error: Error) -> Result<()> {
        self.errors.met(what, &error);
        self.engine.tally.count(|report| report.errors += 1);
        self.engine.nudge(self.engine.crews.iter().map(|crew| crew.stage));
        self.hold_until = Instant::now() + self.backoff.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.backoff = (self.backoff * 2).min(VERB_BACKOFF_MAX);
        let patience = if error.is_transient() { OUTAGE_PATIENCE } else { LASTING_ERROR_PATIENCE };
        if self.engine.settings.until_idle && self.errors.lasted() > patience { Err(error) } else { Ok(()) }
    }

    fn poll_max(&self) -> Duration {
        let default = if self.hearing.works() { POLL_MAX } else { POLL_MAX_UNHEARD };
        self.engine.settings.poll_max.unwrap_or(default).max(self.engine.settings.poll_min)
    }

    fn set_poll(&mut self, delay: Duration) {
        self.poll_at = Instant::now() + delay.mul_f64(rand::rng().random_range(0.75..=1.25));
    }

    /// Whether nothing may be claimed because a suspect runs, or is to run once nothing else is held.
    fn is_a_suspect_in_the_way(&mut self) -> bool {
        if self.suspect.as_ref().is_some_and(|held| self.engine.floor.leases.get(&held.lease).is_none()) {
            self.suspect = None;
        }
        if self.makes_room && self.engine.floor.leases.is_empty() && !self.verbs.has_lost_claims() {
            self.makes_room = false;
            self.empty.clear();
        }
        self.suspect.is_some() || self.makes_room
    }
}
