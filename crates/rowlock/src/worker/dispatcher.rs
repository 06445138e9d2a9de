//! The dispatcher: claims for the crews, one statement at a time, and ticks.

use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::claiming::{Pace, found_empty, keep_queued, low_water, plan, wanted};
use super::context::WorkerFinisher;
use super::crew::Entry;
use super::ended::{Ended, Verdict, retry};
use super::engine::{Engine, Errors, Phase};
use super::handler::panic_message;
use super::hooks::{FailedBy, FailedItem};
use super::idle::{self, Stuck, Waiting};
use super::leases::Held;
use super::report::Remaining;
use super::wakeup::Hearing;
use crate::claim::Finisher;
use crate::dispatch::Dispatch;
use crate::limits::{
    LASTING_ERROR_PATIENCE, OUTAGE_PATIENCE, POLL_MAX, POLL_MAX_UNHEARD, QUEUED_FOR_MAX, STOP_WAIT, VERB_BACKOFF_MAX,
    VERB_BACKOFF_MIN,
};
use crate::pipeline::StageId;
use crate::repository::{Record, decode};
use crate::store::{ClaimBatch, ClaimedRow, Counting, Counts};
use crate::{Claim, Error, Result, Store};

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
            return Some(Box::pin(count(self.verbs.clone())));
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

    fn take_batch(&mut self, asked: &[StageId], sent_at: Instant, batch: ClaimBatch<S::Row>) {
        let ClaimBatch { claimed, exhausted, refused, may_have_more, suspect_at_head } = batch;
        let found = !claimed.is_empty() || !exhausted.is_empty() || !refused.is_empty();
        let taken: Vec<StageId> = claimed.iter().map(|row| row.lease.stage).collect();
        // A claim that took nothing and says there is more (all that is due is held back) is not repeated at once.
        self.empty.extend(found_empty(asked, &taken, may_have_more && found));
        if found {
            self.poll_delay = self.engine.settings.poll_min;
            self.waiting = None;
        }
        self.set_poll(self.poll_delay);
        if !found {
            self.poll_delay = (self.poll_delay * 2).min(self.poll_max());
        }
        self.tell(&exhausted, &refused);
        let mut entries: Vec<Vec<Entry<R>>> = self.engine.crews.iter().map(|_| Vec::new()).collect();
        let now = Instant::now();
        for row in claimed {
            let suspect = row.suspect;
            let Some(entry) = self.entry(row, sent_at, now) else { continue };
            if suspect {
                tracing::info!(key = %entry.held.lease.key, "one more reset is the item's last: it runs alone");
                self.suspect = Some(Arc::clone(&entry.held));
            }
            match self.engine.crews.iter().position(|crew| crew.stage == entry.claim.stage()) {
                Some(crew) => entries[crew].push(entry),
                None => self.engine.release(&entry.held),
            }
        }
        for (crew, entries) in self.engine.crews.iter().zip(entries) {
            if !entries.is_empty() {
                crew.push(entries);
            }
        }
        self.makes_room = suspect_at_head;
        if suspect_at_head {
            tracing::info!("one more reset is the last of the item at the head of the queue: making room for it");
            self.engine.release_queued(|_| 0);
        }
        if self.is_every_stage_empty() {
            self.hearing.queue_is_empty();
        }
    }

    fn poll_max(&self) -> Duration {
        let default = if self.hearing.works() { POLL_MAX } else { POLL_MAX_UNHEARD };
        self.engine.settings.poll_max.unwrap_or(default).max(self.engine.settings.poll_min)
    }

    fn set_poll(&mut self, delay: Duration) {
        self.poll_at = Instant::now() + delay.mul_f64(rand::rng().random_range(0.75..=1.25));
    }

    /// A claimed row for the queue; one that does not decode is retried, and harms no other.
    fn entry(&self, row: ClaimedRow<S::Row>, sent_at: Instant, now: Instant) -> Option<Entry<R>> {
        let lease = row.lease.clone();
        let held = self.engine.floor.leases.hold(lease, sent_at);
        let error = match std::panic::catch_unwind(AssertUnwindSafe(|| decode::<S, R>(row))) {
            Ok(Ok((record, details))) => {
                let claim = Claim::new(record, details, Arc::clone(&self.finisher));
                return Some(Entry { claim, held, queued_at: now });
            }
            Ok(Err((_, error))) => error.to_string(),
            Err(panic) => panic_message(&*panic).replacen("the handler", "decoding the row", 1),
        };
        if held.end() {
            self.engine.floor.ended.push(Ended { held, verdict: Verdict::Undecodable(retry(error)) });
        }
        None
    }

    fn tell(&self, exhausted: &[crate::Key], refused: &[(crate::Key, String)]) {
        for key in exhausted {
            tracing::warn!(%key, "was ready but at a limit: failed");
            let error = "it was ready, but its retry or reset count was at the limit".to_owned();
            self.engine.failed.tell(|| FailedItem { key: key.clone(), stage: None, cause: FailedBy::Exhaust, error });
        }
        for (key, reason) in refused {
            tracing::error!(%key, reason, "the database refuses to have the item claimed");
        }
        self.engine.tally.count(|report| {
            report.exhausted += exhausted.len() as u64;
            report.refused += refused.len() as u64;
        });
    }

    /// Gives rows back that a claim took whose answer was lost.
    fn give_back(&self, rows: Vec<ClaimedRow<S::Row>>) {
        for row in rows {
            if self.engine.floor.leases.get(&row.lease).is_some() {
                continue; // adopted already
            }
            tracing::info!(key = %row.lease.key, "claimed by a statement whose answer was lost: given back");
            let held = self.engine.floor.leases.hold(row.lease, Instant::now());
            self.engine.release(&held);
        }
    }

    /// What the counts mean for a worker that is to stop when idle.
    fn judge(&mut self, counts: &Counts, stuck: &[Stuck]) -> Option<Remaining> {
        if !self.is_everything_empty() {
            return None;
        }
        let handled: Vec<StageId> = self.engine.crews.iter().map(|crew| crew.stage).collect();
        match idle::verdict(self.engine.pipeline(), counts, &handled, stuck) {
            idle::Verdict::Work => None,
            idle::Verdict::Idle(remaining) => Some(remaining),
            idle::Verdict::Wait(waiting) => {
                if let Some(due_in) = waiting.next_due_at.and_then(|due| (due - waiting.at).to_std().ok()) {
                    self.poll_at = self.poll_at.min(Instant::now() + due_in);
                }
                self.tell_waiting(waiting);
                None
            }
        }
    }

    fn tell_waiting(&mut self, waiting: Waiting) {
        if idle::is_news(self.waiting.as_ref(), &waiting) {
            tracing::info!("waiting for {waiting}");
            if let Some(on_wait) = &self.engine.on_wait {
                let told = std::panic::catch_unwind(AssertUnwindSafe(|| on_wait(&waiting)));
                if let Err(panic) = told {
                    tracing::error!(error = panic_message(&*panic), "the on-wait callback panicked");
                }
            }
        }
        self.waiting = Some(waiting);
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

    /// Ends what goes on: queued items are given back at once, running ones may finish within the grace period.
    async fn wind_down(&mut self, call: Option<Call<S::Row>>) {
        self.engine.release_queued(|_| 0);
        self.end_call(call).await;
        let running = self.engine.floor.leases.len();
        if running > 0 {
            tracing::info!(items = running, grace_ms = self.engine.settings.grace.as_millis(), "finishing what runs");
        }
        let grace = self.engine.settings.grace;
        self.wait_until_empty(grace, Phase::Draining).await;
        self.engine.enter(Phase::Stopping);
        if self.engine.floor.leases.is_empty() {
            return;
        }
        self.engine.stop_runs();
        self.wait_until_empty(STOP_WAIT, Phase::Stopping).await;
        for held in self.engine.floor.leases.all() {
            tracing::warn!(key = %held.lease.key, "could not be given back: it is left to the sweep");
        }
    }

    /// Waits for a claim that is under way, and gives back what it brings.
    async fn end_call(&mut self, call: Option<Call<S::Row>>) {
        let Some(call) = call else { return };
        match tokio::time::timeout(STOP_WAIT, call).await {
            Ok(Answer::Claimed { batch: Ok(batch), .. }) => {
                self.tell(&batch.exhausted, &batch.refused);
                for row in batch.claimed {
                    let held = self.engine.floor.leases.hold(row.lease, Instant::now());
                    self.engine.release(&held);
                }
            }
            Ok(Answer::Recovered(Ok(rows))) => self.give_back(rows),
            Ok(_) | Err(_) => {
                let recovered = tokio::time::timeout(STOP_WAIT, self.verbs.recover_lost_claims()).await;
                if let Ok(Ok(rows)) = recovered {
                    self.give_back(rows);
                }
            }
        }
    }

    /// Waits until nothing is held, at most this long, and only in this phase.
    async fn wait_until_empty(&self, at_most: Duration, phase: Phase) {
        let mut phases = self.engine.watch_phase();
        let mut tick = tokio::time::interval(self.engine.tick_interval());
        let until = tokio::time::sleep(at_most);
        tokio::pin!(until);
        while self.engine.phase() <= phase {
            tokio::select! {
                () = self.engine.floor.leases.empty() => return,
                () = &mut until => return,
                _ = tick.tick() => self.engine.tick(Instant::now()),
                _ = phases.changed() => {}
            }
        }
    }
}

/// Reads the counts, and where the items stand that the database refuses to change.
async fn count<S: Store>(verbs: Dispatch<S>) -> Answer<S::Row> {
    let read = async {
        let counting = Counting::default();
        let counts = verbs.read("counts", || verbs.store().counts(&counting)).await?;
        let mut stuck = Vec::new();
        for exclusion in verbs.store().excluded() {
            let row = verbs.read("get", || verbs.store().get(&exclusion.key)).await?;
            let status = row.and_then(|row| row.status);
            stuck.push(Stuck { key: exclusion.key, reason: exclusion.reason, status });
        }
        Ok((counts, stuck))
    };
    Answer::Counted(read.await)
}
