//! Plans: the statements that attach a pipeline to a table that is in use, and those that take it back.

use std::fmt;
use std::time::Duration;

use super::results::{Counts, HeldItem};
use crate::pipeline::{Pipeline, Role, Sign, Status};

/// One statement of a plan. It may be run again after it was interrupted at any point.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachStep {
    /// What it does.
    pub kind: StepKind,
    /// What it makes, drops or writes, as it is named in SQL.
    pub object: String,
    /// The statement, or several that belong to one transaction.
    pub sql: String,
    /// Why, in a sentence.
    pub why: String,
    /// Who has to wait for it.
    pub lock: StepLock,
    /// How long it takes, in the order of magnitude, once it has its lock.
    pub lasts: Lasting,
}

impl AttachStep {
    /// A step that takes milliseconds.
    pub(super) fn brief(kind: StepKind, lock: StepLock, object: String, sql: String, why: &str) -> AttachStep {
        AttachStep { kind, object, sql, why: why.to_owned(), lock, lasts: Lasting::Milliseconds }
    }

    /// The same step with another duration.
    pub(super) fn lasting(self, lasts: Lasting) -> AttachStep {
        AttachStep { lasts, ..self }
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// Creates Rowlock's own tables.
    OwnTables,
    /// Creates the pipeline's table, where there is none.
    Table,
    /// Notes which columns are added, for `detach`.
    Note,
    /// Adds a column; that of the status with the state of the rows that are there.
    Column,
    /// Stamps rows in progress that somebody may hold.
    Stamp,
    /// Drops an index: one that was not built to its end, one of an earlier definition, or one that `detach` takes
    /// back.
    DropIndex,
    /// Builds an index.
    Index,
    /// Drops the trigger that notifies of new items, and its function.
    DropTrigger,
    /// Drops columns that Rowlock added.
    DropColumns,
    /// Deletes the pipeline's rows in Rowlock's own tables.
    ForgetRows,
    /// Drops Rowlock's own tables.
    DropOwnTables,
}

/// Who has to wait for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepLock {
    /// Nobody who uses the table.
    Nobody,
    /// Whoever else changes the schema of the table. Others read and write it meanwhile.
    SchemaChanges,
    /// Whoever writes the same rows, for as long as a batch takes.
    Rows,
    /// Whoever writes to the table; on SQLite, to the file.
    Writers,
    /// Whoever reads or writes the table. On PostgreSQL the step waits for this lock only for a moment, and tries again
    /// later: whoever comes after it would wait as well.
    Everybody,
}

impl fmt::Display for StepLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StepLock::Nobody => "nobody waits",
            StepLock::SchemaChanges => "others read and write meanwhile; other changes of its schema wait",
            StepLock::Rows => "whoever writes the same rows waits for a batch of them",
            StepLock::Writers => "writers wait",
            StepLock::Everybody => "readers and writers wait",
        })
    }
}

/// An order of magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lasting {
    /// Less than a second, whatever the size of the table.
    Milliseconds,
    /// Less than a minute.
    Seconds,
    /// Less than an hour.
    Minutes,
    /// Longer.
    Hours,
}

/// Rows that an index takes up in a second, at least: half a million on a laptop, and less beside other work.
const ROWS_INDEXED_PER_SECOND: u64 = 100_000;

impl Lasting {
    /// How long it takes to read or write this many rows.
    pub(super) fn of_rows(rows: i64) -> Lasting {
        match u64::try_from(rows).unwrap_or(0) / ROWS_INDEXED_PER_SECOND {
            0 => Lasting::Milliseconds,
            1..60 => Lasting::Seconds,
            60..3_600 => Lasting::Minutes,
            _ => Lasting::Hours,
        }
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lasting::Milliseconds => "milliseconds",
            Lasting::Seconds => "seconds",
            Lasting::Minutes => "minutes",
            Lasting::Hours => "hours",
        })
    }
}

/// What happens while a plan runs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AttachEvent<'a> {
    /// Another process prepares or attaches a table of this database, and is waited for.
    Waiting,
    /// A step begins.
    Began {
        /// The step.
        step: &'a AttachStep,
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Others held the lock for too long: the step is tried again later.
    Retried {
        /// The step.
        step: &'a AttachStep,
        /// How often it has been tried.
        tries: u32,
    },
    /// A part of a step is done for good.
    Progressed {
        /// The step.
        step: &'a AttachStep,
        /// How much of it is done.
        done: u64,
        /// Of how much.
        of: u64,
    },
    /// A step is done.
    Done {
        /// The step.
        step: &'a AttachStep,
        /// How long it took, with its waits.
        took: Duration,
    },
}

/// How to take a pipeline back from its table, and what would be lost.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DetachPlan {
    /// The statements, in order.
    pub steps: Vec<AttachStep>,
    /// Items in progress, and who holds them; at most a page of them. They stay in progress, for ever unless somebody
    /// ends them: stop the workers first.
    pub held: Vec<HeldItem>,
    /// States that only a column of Rowlock's own says.
    pub lost: Vec<LostState>,
    /// What stays, and why, in sentences.
    pub kept: Vec<String>,
}

/// Items whose state is lost with Rowlock's column: the table itself says another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostState {
    /// The state.
    pub status: Status,
    /// How many items are in it.
    pub count: i64,
    /// Whether there may be more.
    pub at_least: bool,
}

/// The states of these counts that only the library's own column says.
pub(super) fn lost_states(pipeline: &Pipeline, counts: &Counts) -> Vec<LostState> {
    let of_own = counts.statuses.iter().filter_map(|entry| {
        let status = entry.status.filter(|status| *pipeline.sign(*status) == Sign::Own)?;
        Some(LostState { status, count: entry.count, at_least: entry.at_least })
    });
    of_own.filter(|lost| lost.count > 0).collect()
}

/// What a role's column is for.
pub(super) fn purpose(role: Role) -> &'static str {
    match role {
        Role::Status => "says the state of each row",
        Role::RetryCount => "counts the failures of an item, so that it does not fail for ever",
        Role::ResetCount => "counts how often an item was taken back from a worker that stopped",
        Role::RetryAfter => "says until when a failed item waits",
        Role::ErrorMessage => "keeps the last error",
        Role::Heartbeat => "says that the holder is alive",
        Role::ClaimToken => "tells the present holder from an earlier one; the last column, which ends the adoption",
        Role::ClaimedBy => "names the holder, for people",
        Role::ClaimedAt => "says when the item was claimed",
        Role::ResumeStatus => "says to which stage a requeue returns the item",
        Role::CreatedAt => "says the age of an item, by which the queue is ordered",
        Role::UpdatedAt => "says when the item last moved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_magnitude_follows_the_rows() {
        for (rows, lasting) in [
            (-1, Lasting::Milliseconds),
            (0, Lasting::Milliseconds),
            (99_999, Lasting::Milliseconds),
            (5_000_000, Lasting::Seconds),
            (100_000_000, Lasting::Minutes),
            (1_000_000_000, Lasting::Hours),
        ] {
            assert_eq!(Lasting::of_rows(rows), lasting, "{rows}");
        }
    }
}
