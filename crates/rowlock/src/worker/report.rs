//! The report of a worker.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::idle::clock;
use super::outage_detector::HeldStage;
use crate::Key;
use crate::pipeline::StageId;

/// What a worker did, and what it left.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Stages that were completed: an item of two stages counts twice.
    pub completed: u64,
    /// Failed attempts after which the item waits for another one.
    pub retried: u64,
    /// Items that became `FAILED` by their handler: permanently, or with their budget spent.
    pub failed: u64,
    /// Items that the worker or their handler released, uncounted.
    pub released: u64,
    /// Items that their handler put off, including those of outages.
    pub snoozed: u64,
    /// Items that were put off because what their handler needs was unavailable. No attempt was counted.
    pub outages: u64,
    /// Leases that were lost: swept, set or deleted by others, or not renewed in time.
    pub lost: u64,
    /// Leases that ended because an operator cancelled the item.
    pub cancelled: u64,
    /// Items whose last write may or may not have been applied.
    pub unknown: u64,
    /// Items that this worker took back from workers that had stopped.
    pub swept: u64,
    /// The part of `swept` that was taken back once too often and is `FAILED`.
    pub sweep_failed: u64,
    /// Items at a limit that this worker's claims met; they are `FAILED`.
    pub exhausted: u64,
    /// Items whose row the database refuses to change.
    pub refused: u64,
    /// Runs that were stopped by their stage's timeout.
    pub timed_out: u64,
    /// Runs that panicked.
    pub panicked: u64,
    /// Rows that did not decode to the record.
    pub undecodable: u64,
    /// Slots whose handler never released its thread.
    pub leaked_slots: u64,
    /// Claims, sweeps and other calls that met an error. Each was logged and tried again.
    pub errors: u64,
    /// How long the worker ran.
    pub duration: Duration,
    /// Stages that were held when the worker ended, because what their handlers need was unavailable, or because the
    /// database refused their items one after the other.
    pub held_stages: Vec<HeldStage>,
    /// What cannot go on by itself. Only [`Worker::run_until_idle`](super::Worker::run_until_idle) and
    /// [`Worker::run_until_nothing_is_due`](super::Worker::run_until_nothing_is_due) fill this in.
    pub remaining: Remaining,
}

/// Items that are not terminal, and that waiting will not change or for which the worker was not to wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Remaining {
    /// Paused stages with the number of items that are ready for them.
    pub paused: Vec<StageItems>,
    /// Stages for which this worker has no handler, with the number of items that are ready for them.
    pub without_handler: Vec<StageItems>,
    /// Words in the status column that the pipeline does not know, each with its number of items; the empty word stands
    /// for NULL.
    pub unknown_words: Vec<(String, i64)>,
    /// Items whose row the database refuses to change, with its reason.
    pub refused: Vec<(Key, String)>,
    /// Stages with items that are never due: at `infinity`, or from the last day of the year 9999 on.
    pub never_due: Vec<StageItems>,
    /// Stages with items that become due later. Only after
    /// [`Worker::run_until_nothing_is_due`](super::Worker::run_until_nothing_is_due), which does not wait for them.
    pub delayed: Vec<StageItems>,
    /// When the first of those is due, by the database's clock.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Those of these stages that are held, why and for how long: an outage put their items off.
    pub held_stages: Vec<HeldStage>,
}

/// A stage and how many items wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageItems {
    /// The stage.
    pub stage: StageId,
    /// Its name.
    pub name: String,
    /// How many items; counting stops at 10,000.
    pub items: i64,
}

impl StageItems {
    /// The same stage with this many items, if there are any.
    pub(super) fn of(&self, items: i64) -> Option<StageItems> {
        (items > 0).then(|| StageItems { items, ..self.clone() })
    }
}

impl Remaining {
    /// Whether every item is terminal.
    pub fn is_empty(&self) -> bool {
        self.paused.is_empty()
            && self.without_handler.is_empty()
            && self.unknown_words.is_empty()
            && self.refused.is_empty()
            && self.never_due.is_empty()
            && self.delayed.is_empty()
    }
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for StageItems { name, items, .. } in &self.paused {
            parts.push(format!("{items} ready for {name}, which is paused"));
        }
        for StageItems { name, items, .. } in &self.without_handler {
            parts.push(format!("{items} ready for {name}, for which there is no handler"));
        }
        for (word, items) in &self.unknown_words {
            parts.push(format!("{items} with the unknown status {word:?}"));
        }
        for (key, reason) in &self.refused {
            parts.push(format!("{key}, whose row the database refuses to change: {reason}"));
        }
        for StageItems { name, items, .. } in &self.never_due {
            parts.push(format!("{items} ready for {name} that are never due"));
        }
        for StageItems { name, items, .. } in &self.delayed {
            parts.push(format!("{items} delayed for {name}"));
        }
        if let Some(next_due_at) = self.next_due_at {
            parts.push(format!("the next is due at {}", clock(next_due_at)));
        }
        parts.extend(self.held_stages.iter().map(HeldStage::to_string));
        if parts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&parts.join("; "))
    }
}

/// The report while it grows.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    report: Mutex<WorkerReport>,
}

impl Tally {
    /// Adds to the counts.
    pub(crate) fn count(&self, add: impl FnOnce(&mut WorkerReport)) {
        add(&mut self.locked());
    }

    pub(crate) fn report(&self) -> WorkerReport {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, WorkerReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
