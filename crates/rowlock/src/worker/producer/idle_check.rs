//! The idle check: when there is nothing to claim, the counts say whether to go on, wait or end.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use super::{Answer, Call, Producer};
use crate::decoding::Record;
use crate::dispatch::Dispatch;
use crate::limits::{COUNT_EXACT_MAX, WAITING_COUNTED_MAX};
use crate::pipeline::StageId;
use crate::store::{CountParams, Exclusion};
use crate::worker::handler::panic_message;
use crate::worker::idle::{self, NextStep, Outlook, Stuck, Waiting};
use crate::worker::outage_detector::HeldStage;
use crate::worker::report::Remaining;
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
                    self.empty.values_mut().for_each(|look_at| *look_at = due_at.min(*look_at));
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
    let excluded_items = i64::try_from(excluded.len()).unwrap_or(i64::MAX);
    let count = |up_to: i64| CountParams { up_to: up_to.saturating_add(excluded_items), ..CountParams::default() };
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
