//! How the producer ends. When there is nothing to claim, the idle check decides by the counts whether to go on, to
//! wait or to end. The drain claims nothing more, and finishes or releases what the worker holds.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::{Answer, Call, Producer, UnderWay};
use crate::decoding::Record;
use crate::dispatch::Dispatch;
use crate::limits::{COUNT_EXACT_MAX, LOST_CLAIM_LOOK_INTERVAL, STOP_WAIT, WAITING_COUNTED_MAX};
use crate::pipeline::StageId;
use crate::store::{CountParams, Exclusion};
use crate::worker::execution::panic_message;
use crate::worker::idle::{self, NextStep, Outlook, Stuck};
use crate::worker::leases::ByHandler;
use crate::worker::outage_detector::HeldStage;
use crate::worker::report::{Remaining, Waiting};
use crate::worker::supervisor::Phase;
use crate::{Result, Store};

impl<S: Store, R: Record<S>> Producer<S, R> {
    /// Counts what a worker that is to stop when idle has to wait for.
    pub(super) fn look_around(&self) -> Call<S::Row> {
        let verbs = self.verbs.clone();
        let handled: Vec<StageId> = self.supervisor.pools.iter().map(|pool| pool.stage).collect();
        let until_nothing_is_due = self.supervisor.settings.until_nothing_is_due;
        let held = self.supervisor.held_stages(Instant::now());
        Box::pin(async move { Answer::LookedAround(next_step(&verbs, &handled, &held, until_nothing_is_due).await) })
    }

    /// Takes that step, unless something came meanwhile. Returns what remains if the worker is done.
    pub(super) fn judge(&mut self, next_step: NextStep) -> Option<Remaining> {
        if !self.can_only_wait() {
            return None;
        }
        match next_step {
            NextStep::Work => None,
            NextStep::Idle(remaining) => Some(remaining),
            NextStep::Wait(waiting) => {
                if let Some(due_in) = waiting.next_due_at.and_then(|due| (due - waiting.at).to_std().ok()) {
                    // Items that become due one by one are not polled for one by one.
                    let due_at = Instant::now() + due_in.max(self.supervisor.settings.poll_min);
                    self.queue.look_by(due_at);
                }
                self.tell_waiting(waiting);
                None
            }
        }
    }

    fn tell_waiting(&mut self, waiting: Waiting) {
        if idle::is_news(self.waiting.as_ref(), &waiting) {
            tracing::info!("waiting for {waiting}");
            if let Some(on_wait) = &self.supervisor.on_wait {
                let told = std::panic::catch_unwind(AssertUnwindSafe(|| on_wait(&waiting)));
                if let Err(panic) = told {
                    tracing::error!(error = panic_message(&*panic), "the on-wait callback panicked");
                }
            }
        }
        self.waiting = Some(waiting);
    }
}

/// A cheap count as long as there is something to wait for; at the end, what remains is counted as the report should
/// show it.
async fn next_step<S: Store>(
    verbs: &Dispatch<S>,
    handled: &[StageId],
    held: &[HeldStage],
    until_nothing_is_due: bool,
) -> Result<NextStep> {
    let excluded = verbs.store().excluded();
    // Excluded rows are counted with the others, and must not use up the limit.
    let excluded_items = excluded.len();
    let count = |up_to: usize| CountParams { up_to: up_to.saturating_add(excluded_items), ..CountParams::default() };
    let pipeline = verbs.store().pipeline();
    let short = CountParams { unfinished_only: true, ..count(WAITING_COUNTED_MAX) };
    let counts = verbs.counts(&short).await?;
    let stuck = find_stuck(verbs, excluded).await;
    let outlook = Outlook { handled, stuck: &stuck, held, until_nothing_is_due };
    match idle::next_step(pipeline, &counts, outlook) {
        NextStep::Idle(_) => {
            let counts = verbs.counts(&count(COUNT_EXACT_MAX)).await?;
            Ok(idle::next_step(pipeline, &counts, outlook))
        }
        next_step => Ok(next_step),
    }
}

/// The states of the items that the database refuses to change.
async fn find_stuck<S: Store>(verbs: &Dispatch<S>, excluded: Vec<Exclusion>) -> Vec<Stuck> {
    let mut stuck = Vec::with_capacity(excluded.len());
    for exclusion in excluded {
        // The state of a row that cannot even be read is unknown.
        let status = verbs.get(&exclusion.key).await.ok().flatten().and_then(|row| row.status);
        stuck.push(Stuck { key: exclusion.key, reason: exclusion.reason, status });
    }
    stuck
}

impl<S: Store, R: Record<S>> Producer<S, R> {
    /// Drains the worker: queued items are released at once, running ones may finish within the grace period.
    ///
    /// A claim whose answer was lost may still take items, which then count as held. This does not apply if `is_idle`:
    /// there was nothing to take.
    pub(super) async fn wind_down(&mut self, calls: UnderWay<S::Row>, is_idle: bool) {
        self.supervisor.release_queued(|_| 0);
        self.end_calls(calls).await;
        let running = self.supervisor.shared.leases.len();
        if running > 0 {
            tracing::info!(
                items = running,
                grace_ms = self.supervisor.settings.grace.as_millis(),
                "finishing what runs"
            );
        }
        let grace = self.supervisor.settings.grace;
        self.wait_until_empty(grace, Phase::Draining, is_idle).await;
        self.supervisor.enter(Phase::Stopping);
        if self.is_empty(is_idle) {
            return;
        }
        self.supervisor.stop_runs();
        self.supervisor.retry_lane.give_back(self.verbs.limits());
        self.wait_until_empty(STOP_WAIT, Phase::Stopping, is_idle).await;
        for held in self.supervisor.shared.leases.all() {
            if matches!(held.by_handler(), ByHandler::Settling { .. } | ByHandler::Unknown) {
                tracing::warn!(
                    key = %held.lease.key,
                    "a finish of its handler's own was not answered: its outcome is unknown"
                );
                self.supervisor.tally.count(|report| report.unknown += 1);
            } else {
                tracing::warn!(key = %held.lease.key, "could not be released: it is left to the sweep");
            }
        }
    }

    /// Waits for running claims, and releases the items that they bring.
    async fn end_calls(&mut self, mut calls: UnderWay<S::Row>) {
        let until = tokio::time::Instant::now() + STOP_WAIT;
        // The rows of a claim that is dropped here, or that failed, are looked up below.
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, calls.next()).await {
            match answer {
                Answer::Claimed { batch: Ok(batch), .. } => {
                    self.tell(&batch.exhausted, &batch.refused);
                    self.release_claimed(batch.claimed);
                }
                Answer::Recovered(recovered) => self.give_back(recovered.rows),
                Answer::Claimed { batch: Err(_), .. } | Answer::LookedAround(_) => {}
            }
        }
    }

    fn is_empty(&self, is_idle: bool) -> bool {
        self.supervisor.shared.leases.is_empty() && (is_idle || !self.verbs.may_lost_claims_commit())
    }

    /// Waits until nothing is held, at most for this long, and not beyond this phase.
    async fn wait_until_empty(&self, at_most: Duration, phase: Phase, is_idle: bool) {
        let mut phases = self.supervisor.watch_phase();
        let mut tick = tokio::time::interval(self.supervisor.tick_interval());
        let mut look = tokio::time::interval(LOST_CLAIM_LOOK_INTERVAL);
        let mut looking: Option<Call<S::Row>> = None;
        let until = tokio::time::sleep(at_most);
        tokio::pin!(until);
        while self.supervisor.phase() <= phase && !self.is_empty(is_idle) {
            tokio::select! {
                () = self.supervisor.shared.leases.empty(), if !self.supervisor.shared.leases.is_empty() => {}
                () = &mut until => return,
                _ = tick.tick() => self.supervisor.tick(Instant::now()),
                _ = look.tick(), if looking.is_none() && self.verbs.has_lost_claims() => looking = Some(self.recover()),
                answer = async { looking.as_mut().expect("guarded").await }, if looking.is_some() => {
                    looking = None;
                    if let Answer::Recovered(recovered) = answer {
                        self.give_back(recovered.rows);
                    }
                }
                _ = phases.changed() => {}
            }
        }
    }
}
