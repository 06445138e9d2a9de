//! The report of a worker, what it waits for, and the errors on their way to the log.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::outage_detector::HeldStage;
use crate::pipeline::StageId;
use crate::{Error, Key};

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

/// What [`Worker::run_until_idle`](super::Worker::run_until_idle) is waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Items that are not due yet; at most 1,000 are counted for each stage.
    pub delayed_items: i64,
    /// When the first of them becomes due, by the database's clock.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Items that are never due (at `infinity`), for which the worker does not wait; counted in the same way.
    pub never_due_items: i64,
    /// Items that others hold; counted in the same way.
    pub held_items: i64,
    /// When the first of their leases ends if its holder has stopped, by the database's clock.
    pub lease_ends_at: Option<DateTime<Utc>>,
    /// Stages that are held, why and for how long: items that are due there wait for the next try.
    pub held_stages: Vec<HeldStage>,
    /// The database's time when it counted.
    pub at: DateTime<Utc>,
}

impl Waiting {
    pub(super) fn for_nothing(at: DateTime<Utc>) -> Waiting {
        Waiting {
            delayed_items: 0,
            next_due_at: None,
            never_due_items: 0,
            held_items: 0,
            lease_ends_at: None,
            held_stages: Vec::new(),
            at,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.delayed_items > 0 {
            let until = self.next_due_at.map(|due| format!(", the first at {}", clock(due))).unwrap_or_default();
            parts.push(format!("{} delayed{until}", self.delayed_items));
        }
        if self.held_items > 0 {
            let until =
                self.lease_ends_at.map(|end| format!(", unless renewed until {}", clock(end))).unwrap_or_default();
            parts.push(format!("{} held by other workers{until}", self.held_items));
        }
        parts.extend(self.held_stages.iter().map(HeldStage::to_string));
        if self.never_due_items > 0 {
            parts.push(format!("{} never due, and not waited for", self.never_due_items));
        }
        f.write_str(&parts.join("; "))
    }
}

/// With the date: a delayed item may become due in months.
fn clock(at: DateTime<Utc>) -> impl fmt::Display {
    at.format("%Y-%m-%d %H:%M:%SZ")
}

/// The report while it grows.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    report: RefCell<WorkerReport>,
}

impl Tally {
    /// Adds to the counts.
    pub(crate) fn count(&self, add: impl FnOnce(&mut WorkerReport)) {
        add(&mut self.report.borrow_mut());
    }

    pub(crate) fn report(&self) -> WorkerReport {
        self.report.borrow().clone()
    }
}

/// Errors of one kind of call: logged when they begin and when they end, not each time.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    since: Option<Instant>,
    recent: VecDeque<String>,
}

impl Errors {
    /// Notes an error, and logs it if it is new.
    pub(crate) fn met(&mut self, what: &str, error: &Error) {
        self.since.get_or_insert_with(Instant::now);
        let text = error.to_string();
        if self.recent.contains(&text) {
            tracing::debug!(what, error = text, "still failing");
            return;
        }
        tracing::error!(what, error = text, transient = error.is_transient(), "failed; will be tried again");
        self.recent.push_back(text);
        if self.recent.len() > ERRORS_REMEMBERED_MAX {
            self.recent.pop_front();
        }
    }

    /// Notes a success.
    pub(crate) fn passed(&mut self, what: &str) {
        if let Some(since) = self.since.take() {
            tracing::info!(what, after_ms = since.elapsed().as_millis(), "works again");
            self.recent.clear();
        }
    }

    /// The state after an outage of this length.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn failing_for(lasted: Duration) -> Errors {
        Errors { since: Instant::now().checked_sub(lasted), recent: VecDeque::new() }
    }

    /// For how long calls have failed.
    pub(crate) fn lasted(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// How many different errors of one outage are logged only once: an outage shows in a few ways.
const ERRORS_REMEMBERED_MAX: usize = 8;
