//! What PostgreSQL's errors mean. The only place where they are translated.

use std::io;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::{Error, Fault};

/// The error of a verb.
pub(super) fn translate(verb: &'static str, source: sqlx::Error) -> Error {
    Error::Database { verb, fault: fault(&source), source }
}

/// The error of a verb whose statement was never sent, because it got no connection.
pub(super) fn translate_connect(verb: &'static str, source: sqlx::Error) -> Error {
    let fault = match fault(&source) {
        Fault::Unknown => Fault::NotApplied,
        other => other,
    };
    Error::Database { verb, fault, source }
}

/// The same error, for something that was certainly not committed.
pub(super) fn not_applied(error: Error) -> Error {
    match error {
        Error::Database { verb, fault: Fault::Unknown, source } => {
            Error::Database { verb, fault: Fault::NotApplied, source }
        }
        other => other,
    }
}

/// Whether the server cannot have run the statement that met this error, if it was the first one of its verb.
pub(super) fn was_never_run(source: &sqlx::Error) -> bool {
    match source {
        // The session was idle for too long. The server checks that before it looks at the next statement.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "57P05"),
        // Sending failed: the message that makes a statement run is sent last.
        sqlx::Error::Io(error) => matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected),
        _ => false,
    }
}

/// Whether a transaction could not begin because the server is a read-only standby.
pub(super) fn is_in_recovery(source: &sqlx::Error) -> bool {
    source.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "25006" || code == "0A000")
}

/// Whether the connection can be used again after this error: the server answered, and keeps the connection.
pub(super) fn leaves_connection_usable(source: &sqlx::Error) -> bool {
    match source {
        // The connection would send the outdated statement again.
        sqlx::Error::Database(_) => !ends_connection(source) && routine(source) != PLAN_OUTDATED,
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

/// Whether the server says that it, or this connection, cannot be used at all: the fault of no row and no statement.
pub(crate) fn is_outage(error: &dyn DatabaseError) -> bool {
    let Some(error) = error.try_downcast_ref::<PgDatabaseError>() else { return false };
    match error.code() {
        // Told to stop, crashed, starting, dropped, idle for too long.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => true,
        // Read-only.
        "25006" => true,
        // Goes away with the connection.
        "0A000" => error.routine() == Some(PLAN_OUTDATED),
        // Connection exceptions; no connections, memory or disk left.
        code => code.starts_with("08") || code.starts_with("53"),
    }
}

/// Whether a row could not be locked within `lock_timeout`. The statement had no effect.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    has_code(error, "55P03")
}

/// Whether a statement gave up because others were in its way, or because it took longer than it may. It had no effect.
pub(super) fn gave_way(error: &Error) -> bool {
    ["55P03", "57014", "40P01"].iter().any(|code| has_code(error, code))
}

/// Whether the server ended the statement because two waited for each other. It had no effect.
pub(super) fn is_deadlock(error: &Error) -> bool {
    has_code(error, "40P01")
}

/// Whether the server cannot do that with this table at all, e.g. COPY with row security. Nothing was done.
pub(super) fn is_not_supported(error: &Error) -> bool {
    has_code(error, "0A000")
}

/// Whether a value that was sent does not fit its type, is too long or too large, or has characters that the server's
/// encoding lacks. Nothing was done.
pub(super) fn is_about_a_value(error: &Error) -> bool {
    ["22001", "22003", "22021", "22P02", "22P05"].iter().any(|code| has_code(error, code))
}

/// Whether the error says that this column takes no null.
pub(super) fn takes_no_null(error: &Error, column: &str) -> bool {
    match error {
        Error::Database { source: sqlx::Error::Database(error), .. } => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| error.code() == "23502" && error.column() == Some(column)),
        _ => false,
    }
}

/// Whether a text has characters that the server's encoding lacks, or bytes that are not valid text in it.
pub(super) fn is_untranslatable(error: &Error) -> bool {
    has_code(error, "22P05") || has_code(error, "22021")
}

fn has_code(error: &Error, code: &str) -> bool {
    match error {
        Error::Database { source: sqlx::Error::Database(error), .. } => error.code().as_deref() == Some(code),
        _ => false,
    }
}

/// What the code of an error hints at. A trigger may raise any code: whose fault it is comes out when the batch is
/// tried in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// The connection, or everything that it may do: no part of a batch would fare better on it.
    Connection,
    /// Memory, disk, or another resource that the server ran out of.
    Resources,
    /// Others were in the way, or it took too long.
    Contention,
    /// Anything else.
    Row,
}

/// Whether the server answered, so that a part of the same batch may pass.
pub(super) fn may_be_a_rows(error: &Error) -> bool {
    hint(error) != Hint::Connection
}

pub(super) fn hint(error: &Error) -> Hint {
    match error {
        Error::Database { source, .. } => match source {
            sqlx::Error::Database(database) if !ends_connection(source) => {
                hint_of_code(&database.code().unwrap_or_default(), routine(source))
            }
            // An answer that the driver cannot read.
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Hint::Row,
            _ => Hint::Connection,
        },
        _ => Hint::Connection,
    }
}

fn hint_of_code(code: &str, routine: &str) -> Hint {
    match code {
        // No trigger raises errors from this routine.
        "0A000" if routine == PLAN_OUTDATED => Hint::Connection,
        "58030" => Hint::Resources,
        // Including read-only mode, which passes: of this server, or of another one that a trigger writes to.
        "40001" | "40P01" | "55P03" | "57014" | "25006" => Hint::Contention,
        _ => match code.get(..2).unwrap_or_default() {
            "53" | "72" => Hint::Resources,
            _ => Hint::Row,
        },
    }
}

/// Whether the server closes the connection with this error. The code does not tell: a trigger that loses its
/// connection to a foreign server raises the same.
fn ends_connection(source: &sqlx::Error) -> bool {
    match source {
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => false,
    }
}

fn fault(source: &sqlx::Error) -> Fault {
    match source {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => match fault_of_code(&code, routine(source)) {
                Fault::Unknown if is_rolled_back(source, &code) => Fault::NotApplied,
                fault => fault,
            },
            None => Fault::Lasting,
        },
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Fault::Unknown,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault::NotApplied,
        sqlx::Error::Tls(_) => Fault::NotApplied,
        _ => Fault::Lasting,
    }
}

/// Whether the server goes on after this error, and so has undone the statement, even if the code is that of a lost
/// connection: it may be a trigger's connection to another server. An error of the pooler's own says nothing about the
/// statement.
fn is_rolled_back(source: &sqlx::Error, code: &str) -> bool {
    !ends_connection(source) && code != POOLERS_OWN
}

/// Protocol violation: a pooler reports all of its own errors by this code.
const POOLERS_OWN: &str = "08P01";

/// Whether the server, or a pooler in front of it, accepts no further connection: the server, the database, the role
/// and the pooler's clients each have a limit.
pub(super) fn lets_nobody_in(source: &sqlx::Error) -> bool {
    let Some(error) = source.as_database_error() else { return false };
    match error.code().as_deref() {
        Some("53300") => true,
        Some(POOLERS_OWN) => {
            let message = error.message().to_lowercase();
            ["no more connections", "client_conn", "client connections"].iter().any(|words| message.contains(words))
        }
        _ => false,
    }
}

/// The server's function that raised the error; empty if the error does not name it.
fn routine(source: &sqlx::Error) -> &str {
    match source {
        sqlx::Error::Database(error) => {
            error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine).unwrap_or_default()
        }
        _ => "",
    }
}

/// The function that raises the error when a prepared statement cannot go on because the table got another column.
const PLAN_OUTDATED: &str = "RevalidateCachedQuery";

/// The function that checks a row against row security and a view's check option. A missing right is found elsewhere.
const ROW_CHECK: &str = "ExecWithCheckOptions";

/// By SQLSTATE; see the appendix "PostgreSQL Error Codes" of its documentation. It says what a caller may hope for. The
/// code does not say whose fault it was: a trigger may raise any.
fn fault_of_code(code: &str, routine: &str) -> Fault {
    match code {
        // Serialization failure, deadlock, lock not available, query cancelled by statement_timeout.
        "40001" | "40P01" | "55P03" | "57014" => Fault::NotApplied,
        // Completion unknown.
        "40003" => Fault::Unknown,
        // Read-only transaction.
        "25006" => Fault::ReadOnly,
        // Shutting down, crash of another backend, idle for too long, database dropped: rolled back, or never begun. A
        // backend that is asked to stop while it commits may have committed.
        "57P01" | "57P02" | "57P05" => Fault::Unknown,
        "57P03" => Fault::NotApplied,
        // The connection is closed, and a new one prepares the statement again.
        "0A000" if routine == PLAN_OUTDATED => Fault::NotApplied,
        "42501" if routine == ROW_CHECK => Fault::RowRefused,
        // I/O error.
        "58030" => Fault::NotApplied,
        _ => match code.get(..2).unwrap_or_default() {
            // Connection exceptions.
            "08" => Fault::Unknown,
            // Too many connections, out of memory, disk full: the statement was rolled back. Snapshot too old.
            "53" | "72" => Fault::NotApplied,
            // Feature not supported, transaction state, authorization, transaction control in a function, names of
            // databases and schemas, other rollbacks, missing rights and objects, object state, operator intervention,
            // the system, configuration files, foreign data, internal errors.
            "0A" | "0B" | "25" | "26" | "28" | "2D" | "3B" | "3D" | "3F" | "40" | "42" | "55" | "57" | "58" | "F0"
            | "HV" | "XX" => Fault::Lasting,
            _ => Fault::RowRefused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: &str) -> Fault {
        fault_of_code(code, "")
    }

    #[test]
    fn what_passes_by_itself_had_no_effect() {
        for code in ["40001", "40P01", "55P03", "57014", "57P03", "53100", "53200", "53300", "58030", "72000"] {
            assert_eq!(fault(code), Fault::NotApplied, "{code}");
        }
    }

    #[test]
    fn a_connection_that_breaks_leaves_the_outcome_open() {
        for code in ["08006", "08003", "08P01", "40003", "57P01", "57P02", "57P05"] {
            assert_eq!(fault(code), Fault::Unknown, "{code}");
        }
    }

    #[test]
    fn whatever_a_constraint_or_a_trigger_raises_is_the_rows_own() {
        let constraints = ["23502", "23503", "23505", "23514", "23P01", "44000"];
        let values = ["22001", "22003", "22004", "22008", "22012", "22023", "22P02", "54000", "21000"];
        let raised = ["P0001", "P0002", "P0003", "P0004", "39000", "38000", "ZZ001", "U0001"];
        for code in constraints.iter().chain(&values).chain(&raised) {
            assert_eq!(fault(code), Fault::RowRefused, "{code}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_schema_or_the_server_is_no_rows_fault() {
        for code in
            ["42P01", "42703", "42883", "0A000", "28P01", "3D000", "3F000", "25P02", "55000", "57000", "XX000", "XX001"]
        {
            assert_eq!(fault(code), Fault::Lasting, "{code}");
        }
        assert_eq!(fault("25006"), Fault::ReadOnly);
    }

    #[test]
    fn whatever_a_trigger_may_raise_is_tried_in_parts() {
        for code in
            ["XX000", "42P01", "42883", "0A000", "55000", "HV000", "P0001", "23514", "25P01", "F0000", "ZZ001", "08006"]
        {
            assert_eq!(hint_of_code(code, ""), Hint::Row, "{code}");
        }
        for code in ["40001", "40P01", "55P03", "57014", "25006"] {
            assert_eq!(hint_of_code(code, ""), Hint::Contention, "{code}");
        }
        for code in ["53100", "53200", "58030", "72000"] {
            assert_eq!(hint_of_code(code, ""), Hint::Resources, "{code}");
        }
        assert_eq!(hint_of_code("0A000", PLAN_OUTDATED), Hint::Connection);
    }

    #[test]
    fn a_missing_right_is_not_taken_for_row_security() {
        assert_eq!(fault_of_code("42501", "aclcheck_error"), Fault::Lasting);
        assert_eq!(fault_of_code("42501", "ExecWithCheckOptions"), Fault::RowRefused);
    }

    #[test]
    fn an_outdated_plan_passes_with_its_connection() {
        assert_eq!(fault_of_code("0A000", "RevalidateCachedQuery"), Fault::NotApplied);
        assert_eq!(fault_of_code("0A000", "transformSetOperationTree"), Fault::Lasting);
    }
}
