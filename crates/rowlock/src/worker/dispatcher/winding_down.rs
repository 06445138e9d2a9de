//! The end of a worker: nothing more is claimed, and what is held is finished or given back.

use std::time::{Duration, Instant};

use super::{Answer, Call, Dispatcher};
use crate::Store;
use crate::limits::STOP_WAIT;
use crate::repository::Record;
use crate::worker::engine::Phase;

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    /// Ends what goes on: queued items are given back at once, running ones may finish within the grace period.
    pub(super) async fn wind_down(&mut self, call: Option<Call<S::Row>>) {
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
