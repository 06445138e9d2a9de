//! Which errors concern a database as a whole, and are no item's fault.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use sqlx::error::DatabaseError;

use crate::{Error, Fault};

/// Whether the error concerns the database as a whole: it cannot be reached, is read-only, shuts down, has no
/// connection left, or lost this one. The first error in the chain of sources that comes from a database decides.
pub(crate) fn is_outage(error: &(dyn StdError + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(cause) = link {
        let answer = match (cause.downcast_ref(), cause.downcast_ref(), cause.downcast_ref::<Box<dyn DatabaseError>>())
        {
            (Some(error), _, _) => Some(is_ours(error)),
            (_, Some(error), _) => Some(is_drivers(error)),
            (_, _, Some(error)) => Some(is_databases(&**error)),
            _ => None,
        };
        if let Some(is_outage) = answer {
            return is_outage;
        }
        link = cause.source();
    }
    false
}

fn is_ours(error: &Error) -> bool {
    match error {
        // If all rows are refused, the refused row is not at fault.
        Error::Held { .. } => true,
        Error::Deadline { .. }
        | Error::OutcomeUnknown { .. }
        | Error::TooManyConnections { .. }
        | Error::File { .. }
        | Error::Database { fault: Fault::ReadOnly, .. } => true,
        Error::Database { source, .. } => is_drivers(source),
        _ => false,
    }
}

fn is_drivers(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => !is_of_one_call(error),
        sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => is_databases(&**error),
        _ => false,
    }
}

/// The stores' own words for a locked row, and for an exceeded deadline.
fn is_of_one_call(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    expect(unused_variables, reason = "no store, no errors of one")
)]
fn is_databases(error: &dyn DatabaseError) -> bool {
    #[cfg(feature = "postgres")]
    if crate::store::postgres::is_outage(error) {
        return true;
    }
    #[cfg(feature = "sqlite")]
    if crate::store::sqlite::is_outage(error) {
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn io(error: io::Error) -> sqlx::Error {
        sqlx::Error::Io(error)
    }

    #[test]
    fn a_connection_that_is_lost_or_not_to_be_had_is_an_outage() {
        for error in [
            io(io::Error::from_raw_os_error(104)),
            io(io::Error::from(ErrorKind::UnexpectedEof)),
            sqlx::Error::PoolTimedOut,
            sqlx::Error::PoolClosed,
            sqlx::Error::Protocol("unexpected message".to_owned()),
            sqlx::Error::Tls("closed".into()),
            sqlx::Error::WorkerCrashed,
        ] {
            assert!(is_outage(&error), "{error}");
            let fault = Fault::NotApplied;
            assert!(is_outage(&Error::Database { verb: "begin", fault, source: error }));
        }
        assert!(is_outage(&Error::Deadline { verb: "begin", deadline: std::time::Duration::from_secs(1) }));
        assert!(is_outage(&Error::OutcomeUnknown { key: Key::from("a") }));
    }

    #[test]
    fn what_is_of_the_item_or_of_one_call_is_none() {
        let late = io::Error::new(ErrorKind::TimedOut, "the transaction was open for too long");
        for error in [io(late), sqlx::Error::RowNotFound, sqlx::Error::ColumnNotFound("x".to_owned())] {
            assert!(!is_outage(&error), "{error}");
        }
        assert!(!is_outage(&Error::busy("finish")));
        assert!(!is_outage(&Error::LeaseLost { key: Key::from("a") }));
        let other_service = io::Error::from(ErrorKind::ConnectionRefused);
        assert!(!is_outage(&other_service), "only a handler knows what that was");
    }
}
