//! The points at which a worker's process can be made to die.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use super::log::{Event, Log};

/// A point on an item's way through a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Point {
    /// The claim was answered, and its first row is being decoded: no handler runs.
    AfterClaim,
    /// The handler is in the middle of its work.
    Running,
    /// The effect is written, but the finish has not been sent yet.
    BeforeFinish,
    /// The finish was sent; the server commits it, and no one receives its answer.
    FinishSent,
}

impl Point {
    /// All of them.
    pub const ALL: [Point; 4] = [Point::AfterClaim, Point::Running, Point::BeforeFinish, Point::FinishSent];
}

/// Where a process dies.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct KillAt {
    /// The point.
    pub point: Point,
    /// The passage of that point at which it dies, counted from 1.
    pub passage: u64,
}

/// How long the server takes for the commit of an effect whose sender will die. The sender dies in the middle.
pub(super) const COMMIT: Duration = Duration::from_millis(80);

static PASSAGES: AtomicU64 = AtomicU64::new(0);

impl KillAt {
    /// Counts a passage. True if the process dies at this one.
    fn is_due(self, point: Point) -> bool {
        self.point == point && PASSAGES.fetch_add(1, Ordering::Relaxed) + 1 == self.passage
    }
}

/// Passes a point: this process dies here if that is planned.
pub(super) fn pass(kill_at: Option<KillAt>, point: Point, log: &Log) {
    if kill_at.is_some_and(|kill_at| kill_at.is_due(point)) {
        die(point, log);
    }
}

/// Whether this process dies between sending the next finish and its answer.
pub(super) fn dies_after_sending(kill_at: Option<KillAt>) -> bool {
    kill_at.is_some_and(|kill_at| kill_at.is_due(Point::FinishSent))
}

/// Dies as by `kill -9`: nothing is flushed or dropped. Only the log records it, to show which processes reached the
/// point.
pub(super) fn die(point: Point, log: &Log) -> ! {
    log.write(&Event::Dying { point, at: chrono::Utc::now() });
    // If the signal could not be sent, the abort ends the process as well.
    let _sent = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
