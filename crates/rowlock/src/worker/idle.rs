//! Whether there is anything left to wait for. Pure.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::report::{Remaining, StageItems};
use crate::Key;
use crate::pipeline::{Pipeline, StageId, Status};
use crate::store::Counts;

/// What [`Worker::run_until_idle`](super::Worker::run_until_idle) is waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Items whose due time has not come.
    pub delayed_items: i64,
    /// When the first of them is due, by the database's clock.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Items that others hold.
    pub held_items: i64,
    /// When the first of their leases ends if its holder has stopped, by the database's clock.
    pub lease_ends_at: Option<DateTime<Utc>>,
    /// The database's time of this answer.
    pub at: DateTime<Utc>,
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
        f.write_str(&parts.join("; "))
    }
}

fn clock(at: DateTime<Utc>) -> impl fmt::Display {
    at.format("%H:%M:%SZ")
}

/// What counts say to a worker that holds nothing and whose claims came back empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Items are due: claim again.
    Work,
    /// Nothing to do now, but something will be.
    Wait(Waiting),
    /// Nothing will change by waiting.
    Idle(Remaining),
}

/// A key that the database refuses to have changed, and the state that it is stuck in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stuck {
    pub(crate) key: Key,
    pub(crate) reason: String,
    pub(crate) status: Option<Status>,
}

/// Decides whether a worker with handlers for these stages is done.
pub(crate) fn verdict(pipeline: &Pipeline, counts: &Counts, handled: &[StageId], stuck: &[Stuck]) -> Verdict {
    let stuck_in = |status: Status| {
        let count = stuck.iter().filter(|stuck| stuck.status == Some(status)).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let mut remaining = Remaining::default();
    let mut waiting =
        Waiting { delayed_items: 0, next_due_at: None, held_items: 0, lease_ends_at: None, at: counts.at };
    for stage in &counts.stages {
        let ready = counts.count(Status::Ready(stage.stage)) - stuck_in(Status::Ready(stage.stage));
        let held = counts.count(Status::InProgress(stage.stage)) - stuck_in(Status::InProgress(stage.stage));
        if held > 0 {
            waiting.held_items += held;
            let lease = TimeDelta::from_std(pipeline.stale_after()).unwrap_or(TimeDelta::MAX);
            let ends_at = stage.oldest_heartbeat_at.and_then(|beat| beat.checked_add_signed(lease));
            waiting.lease_ends_at = earlier(waiting.lease_ends_at, ends_at);
        }
        if ready <= 0 {
            continue;
        }
        let name = pipeline.stage(stage.stage).name().to_owned();
        let items = StageItems { stage: stage.stage, name, items: ready };
        if !handled.contains(&stage.stage) {
            remaining.without_handler.push(items);
        } else if stage.paused {
            remaining.paused.push(items);
        } else if stage.oldest_ready_since.is_some() && stuck_in(Status::Ready(stage.stage)) == 0 {
            return Verdict::Work;
        } else {
            waiting.delayed_items += ready;
            waiting.next_due_at = earlier(waiting.next_due_at, stage.next_due_at);
        }
    }
    if waiting.delayed_items > 0 || waiting.held_items > 0 {
        return Verdict::Wait(waiting);
    }
    remaining.unknown_words = counts.unknown_words().map(|entry| (entry.word.clone(), entry.count)).collect();
    remaining.refused = stuck
        .iter()
        .filter(|stuck| !stuck.status.is_some_and(Status::is_terminal))
        .map(|stuck| (stuck.key.clone(), stuck.reason.clone()))
        .collect();
    Verdict::Idle(remaining)
}

/// Whether a change is worth a line in the log: renewals of other workers are not.
pub(crate) fn is_news(before: Option<&Waiting>, now: &Waiting) -> bool {
    before.is_none_or(|before| {
        before.delayed_items != now.delayed_items
            || before.held_items != now.held_items
            || before.next_due_at != now.next_due_at
    })
}

fn earlier(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
