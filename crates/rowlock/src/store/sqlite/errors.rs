//! Translates the driver's errors into Rowlock's: the only place that knows SQLite's result codes.
//!
//! Codes: <https://www.sqlite.org/rescode.html>. The low byte of an extended code is the primary one.

use std::io;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use crate::{Error, Fault};

const ERROR: i32 = 1;
const ABORT: i32 = 4;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const SCHEMA: i32 = 17;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const NOTADB: i32 = 26;

/// The error of a failed statement. A statement that failed before its commit was sent has no effect: the transaction
/// is rolled back, explicitly or by closing its connection.
pub(super) fn of_statement(verb: &'static str, source: sqlx::Error) -> Error {
    Error::Database { verb, fault: fault(&source), source }
}

/// The error of a failed commit. If it failed in the file system, or its answer never came, the write-ahead log may
/// hold it.
pub(super) fn of_commit(verb: &'static str, source: sqlx::Error) -> Error {
    let fault = match &source {
        sqlx::Error::WorkerCrashed => Fault::Unknown,
        other if primary_code(other) == Some(IOERR) => Fault::Unknown,
        other => fault(other),
    };
    Error::Database { verb, fault, source }
}

/// The error of a verb that has already committed a transaction.
pub(super) fn after_a_commit(error: Error) -> Error {
    match error {
        Error::Database { verb, source, .. } => Error::Database { verb, fault: Fault::Unknown, source },
        Error::File { verb, file, problem, .. } => Error::File { verb, file, problem, fault: Fault::Unknown },
        other => other,
    }
}

/// The deadline passed before the commit was sent: closing the connection rolls everything back.
pub(super) fn too_late(verb: &'static str, deadline: Duration) -> Error {
    let message = format!("no answer within {deadline:?}; the transaction was rolled back");
    not_applied(verb, io::Error::new(io::ErrorKind::TimedOut, message))
}

/// The store's connection is in use by a transaction of the user's, or by other verbs.
pub(super) fn no_connection(verb: &'static str, deadline: Duration) -> Error {
    let message = format!("the store's connection was in use by another transaction for {deadline:?}");
    not_applied(verb, io::Error::new(io::ErrorKind::TimedOut, message))
}

/// A transaction of the user's blocked the heartbeats for too long.
pub(super) fn open_for_too_long(verb: &'static str, longest: Duration) -> Error {
    let message = format!("the transaction was open for longer than {longest:?}; it was rolled back");
    not_applied(verb, io::Error::new(io::ErrorKind::TimedOut, message))
}

/// The store was closed.
pub(super) fn closed(verb: &'static str) -> Error {
    Error::Database { verb, fault: Fault::Lasting, source: sqlx::Error::PoolClosed }
}

fn not_applied(verb: &'static str, source: io::Error) -> Error {
    Error::Database { verb, fault: Fault::NotApplied, source: sqlx::Error::Io(source) }
}

/// Whether the file itself cannot be used: the fault of no row and no statement.
pub(crate) fn is_outage(error: &dyn DatabaseError) -> bool {
    let Some(error) = error.try_downcast_ref::<SqliteError>() else { return false };
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    matches!(code, Some(NOMEM | READONLY | IOERR | FULL | CANTOPEN | PROTOCOL))
}

/// Whether the transaction of a savepoint is gone, because a trigger raised `ROLLBACK`.
pub(super) fn is_transaction_gone(error: &Error) -> bool {
    message(error)
        .is_some_and(|message| message.starts_with("no such savepoint") || message.contains("no transaction is active"))
}

/// Whether the error may be that of one row of a batch, so that a part of the batch may pass. A code is only a hint: a
/// missing table and a trigger that cannot take a value have the same code, and a full-text index that does not match
/// one row reports a corrupt file. If the file, the disk, the memory or another writer is the obstacle, no row is.
pub(super) fn may_be_a_rows(error: &Error) -> bool {
    let Error::Database { source, .. } = error else { return false };
    primary_code(source).is_some_and(|code| {
        let is_everybodys = [BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, SCHEMA, NOTADB];
        !is_everybodys.contains(&code)
    })
}

/// Whether an insert into a table of Rowlock's own that meets this error may be left out alone: an error of a row, or
/// of a table that has used up its numbers, which SQLite calls full.
pub(super) fn may_be_left_out(error: &Error) -> bool {
    may_be_a_rows(error) || matches!(error, Error::Database { source, .. } if primary_code(source) == Some(FULL))
}

/// Whether a transaction could not begin because one is already open.
pub(super) fn is_within_a_transaction(error: &Error) -> bool {
    message(error).is_some_and(|message| message.starts_with("cannot start a transaction within a transaction"))
}

/// The database's own words about a refused row.
pub(super) fn reason(error: &Error) -> String {
    message(error).map_or_else(|| error.to_string(), ToOwned::to_owned)
}

/// Whether the file is not an SQLite database.
pub(super) fn is_not_a_database(source: &sqlx::Error) -> bool {
    primary_code(source) == Some(NOTADB)
}

/// The database's own words, without those of the driver.
pub(super) fn words(source: &sqlx::Error) -> String {
    source.as_database_error().map_or_else(|| source.to_string(), |error| error.message().to_owned())
}

fn message(error: &Error) -> Option<&str> {
    match error {
        Error::Database { source: sqlx::Error::Database(source), .. } => Some(source.message()),
        _ => None,
    }
}

fn fault(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => Fault::NotApplied,
        sqlx::Error::Database(_) => fault_of_code(primary_code(error).unwrap_or(ERROR)),
        _ => Fault::Lasting,
    }
}

/// By result code. It says what a caller may hope for; the code does not say whose fault it was.
fn fault_of_code(code: i32) -> Fault {
    match code {
        ABORT | BUSY | LOCKED | NOMEM | INTERRUPT | IOERR | FULL | CANTOPEN | PROTOCOL | SCHEMA => Fault::NotApplied,
        READONLY => Fault::ReadOnly,
        CONSTRAINT | TOOBIG | MISMATCH => Fault::RowRefused,
        _ => Fault::Lasting,
    }
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_database_and_a_full_disk_had_no_effect() {
        for code in [BUSY, LOCKED, FULL, IOERR, INTERRUPT] {
            assert_eq!(fault_of_code(code), Fault::NotApplied);
        }
    }

    #[test]
    fn a_constraint_refuses_a_row_and_a_missing_table_is_lasting() {
        assert_eq!(fault_of_code(CONSTRAINT), Fault::RowRefused);
        assert_eq!(fault_of_code(ERROR), Fault::Lasting);
    }

    #[test]
    fn a_commit_without_an_answer_is_unknown() {
        let error = of_commit("finish", sqlx::Error::WorkerCrashed);
        assert!(error.may_have_been_applied());
        assert!(!of_statement("finish", sqlx::Error::WorkerCrashed).may_have_been_applied());
    }
}
