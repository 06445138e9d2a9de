//! One kind of the producer's calls: its errors, and how they delay it.

use std::time::Instant;

use crate::backoff::Backoff;
use crate::limits::{LASTING_ERROR_PATIENCE, OUTAGE_PATIENCE};
use crate::worker::errors::Errors;
use crate::worker::supervisor::Supervisor;
use crate::{Error, Result, Store};

/// One kind of call. Each kind has separate errors: the successes of one say nothing about another.
#[derive(Debug)]
pub(super) struct Calls {
    what: &'static str,
    errors: Errors,
    backoff: Backoff,
    hold_until: Instant,
}

impl Calls {
    pub(super) fn new(what: &'static str, now: Instant) -> Calls {
        Calls { what, errors: Errors::default(), backoff: Backoff::default(), hold_until: now }
    }

    pub(super) fn passed<S: Store, R: Send + 'static>(&mut self, supervisor: &Supervisor<S, R>) {
        supervisor.disruptions.answered(Instant::now());
        self.errors.passed(self.what);
        self.backoff = Backoff::default();
    }

    /// Notes an error, and delays the next call of this kind. Returns the error if the worker should give up.
    pub(super) fn met<S: Store, R: Send + 'static>(
        &mut self,
        supervisor: &Supervisor<S, R>,
        error: Error,
    ) -> Result<()> {
        supervisor.met(&mut self.errors, self.what, &error);
        self.hold_until = Instant::now() + self.backoff.next();
        let patience = if error.is_transient() { OUTAGE_PATIENCE } else { LASTING_ERROR_PATIENCE };
        if supervisor.settings.until_idle && self.errors.lasted() > patience { Err(error) } else { Ok(()) }
    }

    /// Notes an error that concerns one stage alone, which is delayed separately.
    pub(super) fn met_by_few<S: Store, R: Send + 'static>(&mut self, supervisor: &Supervisor<S, R>, error: &Error) {
        supervisor.disruptions.answered(Instant::now());
        supervisor.met(&mut self.errors, self.what, error);
    }

    pub(super) fn is_held(&self, now: Instant) -> bool {
        now < self.hold_until
    }

    pub(super) fn held_until(&self) -> Instant {
        self.hold_until
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::worker::supervisor::tests::supervisor_over;

    #[tokio::test]
    async fn the_successes_of_one_kind_do_not_hide_the_errors_of_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let supervisor = supervisor_over(folder.path()).await;
        let now = Instant::now();
        let (mut claims, mut counts) = (Calls::new("claim", now), Calls::new("counts", now));
        let broken = || Error::Schema { table: "items".to_owned(), problem: "gone".to_owned() };

        counts.met(&supervisor, broken()).expect("it is borne for a while");
        claims.passed(&supervisor);
        assert!(counts.is_held(now) && !claims.is_held(now));

        counts.errors = Errors::failing_for(LASTING_ERROR_PATIENCE * 2);
        claims.passed(&supervisor);
        counts.met(&supervisor, broken()).expect_err("it has lasted for too long");
    }
}
