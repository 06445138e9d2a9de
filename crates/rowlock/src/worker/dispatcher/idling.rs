//! When there is nothing to claim: what the counts say about going on, waiting or ending.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use super::{Answer, Dispatcher};
use crate::Store;
use crate::decoding::Record;
use crate::dispatch::Dispatch;
use crate::pipeline::StageId;
use crate::store::{Counting, Counts};
use crate::worker::handler::panic_message;
use crate::worker::idle::{self, Stuck, Waiting};
use crate::worker::report::Remaining;

impl<S: Store, R: Record<S>> Dispatcher<S, R> {
    /// What the counts mean for a worker that is to stop when idle.
    pub(super) fn judge(&mut self, counts: &Counts, stuck: &[Stuck]) -> Option<Remaining> {
        if !self.is_everything_empty() {
            return None;
        }
        let handled: Vec<StageId> = self.engine.crews.iter().map(|crew| crew.stage).collect();
        match idle::verdict(self.engine.pipeline(), counts, &handled, stuck) {
            idle::Verdict::Work => None,
            idle::Verdict::Idle(remaining) => Some(remaining),
            idle::Verdict::Wait(waiting) => {
                if let Some(due_in) = waiting.next_due_at.and_then(|due| (due - waiting.at).to_std().ok()) {
                    let due_at = Instant::now() + due_in;
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
            if let Some(on_wait) = &self.engine.on_wait {
                let told = std::panic::catch_unwind(AssertUnwindSafe(|| on_wait(&waiting)));
                if let Err(panic) = told {
                    tracing::error!(error = panic_message(&*panic), "the on-wait callback panicked");
                }
            }
        }
        self.waiting = Some(waiting);
    }
}

/// Reads the counts, and where the items stand that the database refuses to change.
pub(super) async fn count<S: Store>(verbs: Dispatch<S>) -> Answer<S::Row> {
    let read = async {
        let counting = Counting::default();
        let counts = verbs.counts(&counting).await?;
        let mut stuck = Vec::new();
        for exclusion in verbs.store().excluded() {
            // A key that cannot even be asked for stands in a state that nobody knows.
            let status = verbs.get(&exclusion.key).await.ok().flatten().and_then(|row| row.status);
            stuck.push(Stuck { key: exclusion.key, reason: exclusion.reason, status });
        }
        Ok((counts, stuck))
    };
    Answer::Counted(read.await)
}
