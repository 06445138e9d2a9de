//! The drain at the end of a worker: it claims nothing more, and finishes or releases what it holds.

use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::{Answer, Call, Producer, UnderWay};
use crate::Store;
use crate::decoding::Record;
use crate::limits::{LOST_CLAIM_LOOK_INTERVAL, STOP_WAIT};
use crate::worker::leases::ByHandler;
use crate::worker::supervisor::Phase;

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
                tracing::warn!(key = %held.lease.key, "could not be given back: it is left to the sweep");
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
