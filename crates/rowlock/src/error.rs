//! What can go wrong, in words for the person who has to fix it.

use std::time::Duration;

use crate::Key;
use crate::limits::{LASTING_ERROR_PATIENCE, OUTAGE_PATIENCE};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pipeline that cannot work.
    #[error("pipeline: {field} is {value}, but {rule}")]
    InvalidPipeline {
        /// The field of the builder.
        field: String,
        /// The value that it was given.
        value: String,
        /// The rule that this breaks.
        rule: String,
    },

    /// An argument that makes no sense.
    #[error("{argument} is {value}, but {rule}")]
    InvalidArgument {
        /// The argument.
        argument: &'static str,
        /// The value that it was given.
        value: String,
        /// The rule that this breaks.
        rule: String,
    },

    /// The table, or one of Rowlock's own tables, is not as the pipeline needs it.
    #[error("table {table}: {problem}")]
    Schema {
        /// The table.
        table: String,
        /// What is wrong, and what to do about it.
        problem: String,
    },

    /// The database was prepared by a newer Rowlock.
    #[error(
        "the database has schema version {found} of rowlock's tables, this rowlock knows versions up to {known}: \
         update rowlock"
    )]
    SchemaTooNew {
        /// The version of the database.
        found: i32,
        /// The newest version that this library knows.
        known: i32,
    },

    /// A move that does not exist. Nothing was changed.
    #[error("item {key} is {from}: it cannot be moved to {to}")]
    IllegalMove {
        /// The item.
        key: Key,
        /// The word of the item's present state.
        from: String,
        /// The word of the requested state.
        to: String,
    },

    /// There is no such item.
    #[error("there is no item {key}")]
    NotFound {
        /// The requested key.
        key: Key,
    },

    /// The lease ended before the write: swept, cancelled, set, deleted or claimed again. Nothing was changed.
    #[error("the lease on item {key} was lost")]
    LeaseLost {
        /// The item.
        key: Key,
    },

    /// The answer to a write was lost, and it cannot be proved whether the write was applied.
    #[error("the answer to the last write to item {key} was lost, and it cannot be proved whether it was applied")]
    OutcomeUnknown {
        /// The item.
        key: Key,
    },

    /// The database refuses every write to this row: a constraint, a trigger, row security.
    #[error("the database refuses the write to item {key}: {reason}")]
    Refused {
        /// The item.
        key: Key,
        /// The database's own words, or that a trigger returned nothing.
        reason: String,
        /// Whether the item became `FAILED` instead, which ended the lease. Otherwise nothing was changed.
        failed: bool,
    },

    /// A row that does not fit the record type.
    #[error("item {key} does not decode: {source}")]
    Decode {
        /// The item.
        key: Key,
        /// The reason why it does not fit.
        source: sqlx::Error,
    },

    /// The deadline of a verb passed; its connection was closed.
    #[error("{verb}: no answer from the database within {deadline:?}")]
    Deadline {
        /// The verb.
        verb: &'static str,
        /// How long the verb waited.
        deadline: Duration,
    },

    /// The server has no connection left for this process.
    #[error("{verb}: the server has no connection left, and this process holds {held} of them: {source}")]
    TooManyConnections {
        /// The verb.
        verb: &'static str,
        /// How many connections Rowlock has in this process, over all of its stores.
        held: usize,
        /// The server's own words: they say whether the server, the database or the role has too many.
        source: sqlx::Error,
    },

    /// The file of an SQLite database cannot be opened, or is no longer the one that was opened.
    #[error("{verb}: the file {file}: {problem}")]
    File {
        /// The verb.
        verb: &'static str,
        /// The path of the file.
        file: String,
        /// What is wrong with it, and what to do about it.
        problem: String,
        /// What this means for the verb.
        fault: Fault,
    },

    /// The database refused several items in a row for the same cause, and accepted none. No more of them become
    /// `FAILED` for this cause until one passes.
    #[error(
        "{verb}: the database refused ten items in a row for the same cause; no more of them is made FAILED until one \
         passes: {reason}"
    )]
    Held {
        /// The verb.
        verb: &'static str,
        /// The database's own words about the last item, or that a trigger said nothing.
        reason: String,
    },

    /// The worker cannot go on.
    #[error("worker: {problem}")]
    Worker {
        /// What is wrong, and what to do about it.
        problem: String,
    },

    /// The database returned an error, or did not answer.
    #[error("{verb}: {source}")]
    Database {
        /// The verb.
        verb: &'static str,
        /// What this means for the verb.
        fault: Fault,
        /// The driver's error.
        source: sqlx::Error,
    },
}

/// What a database error means for the statement that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Temporary, and the statement certainly had no effect: serialization failure, deadlock, `SQLITE_BUSY`, a full
    /// disk, a connection that could not be made.
    NotApplied,
    /// Temporary, and the statement may have had its effect: the connection broke before the answer.
    Unknown,
    /// The database refuses a row: a constraint, a trigger, row security, a value out of range.
    RowRefused,
    /// The connection or the transaction may only read.
    ReadOnly,
    /// Permanent until someone fixes it: a missing table, a wrong password.
    Lasting,
}

impl Error {
    /// The error of a write that gave up because another transaction had the row locked. Nothing was written.
    pub fn busy(verb: &'static str) -> Error {
        let source = std::io::Error::new(std::io::ErrorKind::WouldBlock, "another transaction has the row locked");
        Error::Database { verb, fault: Fault::NotApplied, source: sqlx::Error::Io(source) }
    }

    /// Whether the same call may succeed later without anyone intervening.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Database { fault, .. } | Error::File { fault, .. } => {
                matches!(fault, Fault::NotApplied | Fault::Unknown)
            }
            Error::Deadline { .. } | Error::TooManyConnections { .. } => true,
            Error::InvalidPipeline { .. }
            | Error::InvalidArgument { .. }
            | Error::Schema { .. }
            | Error::SchemaTooNew { .. }
            | Error::IllegalMove { .. }
            | Error::NotFound { .. }
            | Error::LeaseLost { .. }
            | Error::OutcomeUnknown { .. }
            | Error::Refused { .. }
            | Error::Decode { .. }
            | Error::Held { .. }
            | Error::Worker { .. } => false,
        }
    }

    /// Whether the call may have changed something, although it failed.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Error::Database { fault, .. } | Error::File { fault, .. } => *fault == Fault::Unknown,
            Error::Deadline { .. } | Error::OutcomeUnknown { .. } => true,
            _ => false,
        }
    }

    /// Whether the database refused to write because the connection or transaction is read-only.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Error::Database { fault: Fault::ReadOnly, .. })
    }

    /// How long a worker that is to end when idle goes on under this error.
    pub(crate) fn patience(&self) -> Duration {
        if self.is_transient() { OUTAGE_PATIENCE } else { LASTING_ERROR_PATIENCE }
    }

    /// Whether the database refused a row, so that the same statement without that row may succeed.
    pub(crate) fn is_row_refusal(&self) -> bool {
        matches!(self, Error::Database { fault: Fault::RowRefused, .. })
    }
}
