//! What PostgreSQL's errors mean. The only place where they are translated.

use crate::{Error, Fault};

/// The error of a verb.
pub(super) fn translate(verb: &'static str, source: sqlx::Error) -> Error {
    Error::Database { verb, fault: fault(&source), source }
}

/// The error of a verb whose statement was never sent: no connection was to be had.
pub(super) fn translate_connect(verb: &'static str, source: sqlx::Error) -> Error {
    let fault = match fault(&source) {
        Fault::Unknown => Fault::NotApplied,
        other => other,
    };
    Error::Database { verb, fault, source }
}

/// Whether the connection can be used again after this error: the server answered, and it goes on.
pub(super) fn leaves_connection_usable(source: &sqlx::Error) -> bool {
    match source {
        sqlx::Error::Database(error) => {
            !error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        sqlx::Error::RowNotFound
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => true,
        _ => false,
    }
}

fn fault(source: &sqlx::Error) -> Fault {
    match source {
        sqlx::Error::Database(error) => error.code().map_or(Fault::Lasting, |code| fault_of_code(&code)),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Fault::Unknown,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault::NotApplied,
        sqlx::Error::Tls(_) => Fault::NotApplied,
        _ => Fault::Lasting,
    }
}

/// By SQLSTATE; see the appendix "PostgreSQL Error Codes" of its documentation.
fn fault_of_code(code: &str) -> Fault {
    match code {
        // Serialization failure, deadlock, lock not available, query cancelled by statement_timeout.
        "40001" | "40P01" | "55P03" | "57014" => Fault::NotApplied,
        // Completion unknown.
        "40003" => Fault::Unknown,
        // Read-only transaction.
        "25006" => Fault::ReadOnly,
        // Shutting down, crash of another backend, starting up, database dropped: rolled back, or never begun.
        // A backend that is told to stop while it commits may have committed.
        "57P01" | "57P02" | "57P05" => Fault::Unknown,
        "57P03" => Fault::NotApplied,
        // Row security's WITH CHECK, and no right to write to the row.
        "42501" | "44000" => Fault::RowRefused,
        // A value too long or out of range for its column or for a time, and `raise exception` in a trigger.
        "22001" | "22003" | "22008" | "P0001" => Fault::RowRefused,
        _ if code.starts_with("23") => Fault::RowRefused,
        // Connection exceptions.
        _ if code.starts_with("08") => Fault::Unknown,
        // Too many connections, out of memory, disk full: the statement was rolled back.
        _ if code.starts_with("53") => Fault::NotApplied,
        // I/O error.
        "58030" => Fault::NotApplied,
        _ => Fault::Lasting,
    }
}
