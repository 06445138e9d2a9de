//! A worker's own log: what it saw and which answers it received, one line for each event. A line is one write, so that
//! the log of a killed process is complete.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use chrono::{DateTime, Utc};
use rowlock::{Lease, WorkerReport};
use serde::{Deserialize, Serialize};

use super::Point;

/// An event of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Event {
    /// It started under this name, at this time by its own clock.
    Started { holder: String, wall_clock: DateTime<Utc> },
    /// A claim was answered.
    Claimed { limit: u64, claimed: u64 },
    /// A handler began.
    Run { item: String, stage: usize, token: i64 },
    /// A handler is about to fail.
    Failing { item: String, stage: usize, token: i64 },
    /// The transaction that completes a stage was answered with success, possibly to a handler that its worker had
    /// given up by then.
    Acknowledged { item: String, stage: usize, token: i64, told_to_stop: bool },
    /// The transaction that completes a stage was answered with this error.
    NotAcknowledged { item: String, stage: usize, token: i64, error: String },
    /// It is at the point at which it is to die, and logs nothing after this.
    Dying { point: Point, at: DateTime<Utc> },
    /// It ended normally.
    Ended { completed: u64, unknown: u64, lost: u64, released: u64, swept: u64, errors: u64, leaked_slots: u64 },
}

impl Event {
    pub(super) fn run(lease: &Lease) -> Event {
        Event::Run { item: lease.key.as_str().to_owned(), stage: lease.stage.index(), token: lease.token.as_i64() }
    }

    pub(super) fn failing(lease: &Lease) -> Event {
        Event::Failing { item: lease.key.as_str().to_owned(), stage: lease.stage.index(), token: lease.token.as_i64() }
    }

    pub(super) fn acknowledged(lease: &Lease, told_to_stop: bool) -> Event {
        Event::Acknowledged {
            item: lease.key.as_str().to_owned(),
            stage: lease.stage.index(),
            token: lease.token.as_i64(),
            told_to_stop,
        }
    }

    pub(super) fn not_acknowledged(lease: &Lease, error: &rowlock::Error) -> Event {
        Event::NotAcknowledged {
            item: lease.key.as_str().to_owned(),
            stage: lease.stage.index(),
            token: lease.token.as_i64(),
            error: error.to_string(),
        }
    }

    pub(super) fn ended(report: &WorkerReport) -> Event {
        Event::Ended {
            completed: report.completed,
            unknown: report.unknown,
            lost: report.lost,
            released: report.released,
            swept: report.swept,
            errors: report.errors,
            leaked_slots: report.leaked_slots,
        }
    }
}

/// The log of this process.
#[derive(Debug)]
pub struct Log {
    file: Mutex<File>,
}

impl Log {
    /// A new log in this file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn create(path: &Path) -> anyhow::Result<Log> {
        let file = File::options().create(true).append(true).open(path);
        Ok(Log { file: Mutex::new(file.with_context(|| format!("the log {}", path.display()))?) })
    }

    /// Adds an event.
    pub fn write(&self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("an event is plain data");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = file.write_all(&line) {
            tracing::error!(%error, "the worker's log cannot be written");
        }
    }
}

/// Reads a log. A last line that was cut off by the end of its process is left out.
///
/// # Errors
/// A file that cannot be read, and a line in the middle that is not an event.
pub fn read(path: &Path) -> anyhow::Result<Vec<Event>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("the log {}", path.display()))?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("the log {}: {line}", path.display())))
        .collect()
}
