//! One kind of the dispatcher's calls: its errors, and how they delay it.

use std::time::Instant;

use crate::backoff::Backoff;
use crate::limits::{LASTING_ERROR_PATIENCE, OUTAGE_PATIENCE};
use crate::worker::engine::Engine;
use crate::worker::errors::Errors;
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

    pub(super) fn passed<S: Store, R: Send + 'static>(&mut self, engine: &Engine<S, R>) {
        engine.pulse.answered(Instant::now());
        self.errors.passed(self.what);
        self.backoff = Backoff::default();
    }

    /// Notes an error, and delays the next call of this kind. Returns the error if the worker should give up.
    pub(super) fn met<S: Store, R: Send + 'static>(&mut self, engine: &Engine<S, R>, error: Error) -> Result<()> {
        engine.met(&mut self.errors, self.what, &error);
        self.hold_until = Instant::now() + self.backoff.next();
        let patience = if error.is_transient() { OUTAGE_PATIENCE } else { LASTING_ERROR_PATIENCE };
        if engine.settings.until_idle && self.errors.lasted() > patience { Err(error) } else { Ok(()) }
    }

    /// Notes an error that concerns one stage alone, which is delayed separately.
    pub(super) fn met_by_few<S: Store, R: Send + 'static>(&mut self, engine: &Engine<S, R>, error: &Error) {
        engine.pulse.answered(Instant::now());
        engine.met(&mut self.errors, self.what, error);
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
    use crate::worker::engine::tests::engine_over;

    #[tokio::test]
    async fn the_successes_of_one_kind_do_not_hide_the_errors_of_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let engine = engine_over(folder.path()).await;
        let now = Instant::now();
        let (mut claims, mut counts) = (Calls::new("claim", now), Calls::new("counts", now));
        let broken = || Error::Schema { table: "items".to_owned(), problem: "gone".to_owned() };

        counts.met(&engine, broken()).expect("it is borne for a while");
        claims.passed(&engine);
        assert!(counts.is_held(now) && !claims.is_held(now));

        counts.errors = Errors::failing_for(LASTING_ERROR_PATIENCE * 2);
        claims.passed(&engine);
        counts.met(&engine, broken()).expect_err("it has lasted for too long");
    }
}
