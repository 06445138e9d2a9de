//! Completions: items whose handlers are done with them, on their way to the database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::handler::RunEnd;
use super::leases::{ByHandler, Held};
use super::run::Stop;
use crate::pipeline::{StageId, Status};
use crate::{Failure, Handled, Outcome};

/// A completion: an item that no handler works on any more.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) held: Arc<Held>,
    pub(crate) verdict: Verdict,
}

impl Ended {
    /// The stage that the item leaves, and the outcome by which it does; `None` if nothing is to be written.
    pub(crate) fn moves(&self) -> Option<(StageId, &'static str)> {
        self.verdict.outcome().map(|outcome| (self.held.lease.stage, outcome.name()))
    }
}

/// The disposition of an ended item: what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// This outcome is to be written.
    Write(Outcome),
    /// As `Write`, after a finish by the handler whose answer was lost: a lease that is gone is explained by that
    /// finish.
    WriteAfterUnknown(Outcome),
    /// The run exceeded its timeout: a retry that says so.
    TimedOut(Outcome),
    /// The handler panicked: a retry that says so.
    Panicked(Outcome),
    /// What its handler needs is unavailable: the item is put off, and no attempt is counted.
    Outage { outcome: Outcome, error: String },
    /// The row does not decode: a retry that says so.
    Undecodable(Outcome),
    /// The handler has finished the item itself.
    Settled { to: Status, outcome: Option<&'static str>, error: Option<String> },
    /// The handler tried to finish the item, but the database refused the row; the item is `FAILED` now.
    Refused { reason: String },
    /// The lease was lost.
    Lost(LossReason),
}

/// How a lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossReason {
    /// Someone else ended it.
    Ended,
    /// An operator cancelled the item.
    Cancelled,
    /// No renewal succeeded within the life of a lease.
    NotRenewed,
}

/// The completions that are not yet written.
#[derive(Debug, Default)]
pub(crate) struct EndedItems {
    items: Mutex<Vec<Ended>>,
    some: Notify,
}

impl EndedItems {
    /// Ends the work under a lease with this disposition, unless it has ended already. True for the one caller that
    /// ended it.
    pub(crate) fn end(&self, held: &Arc<Held>, verdict: impl FnOnce() -> Verdict) -> bool {
        let first = held.end();
        if first {
            self.push(Ended { held: Arc::clone(held), verdict: verdict() });
        }
        first
    }

    pub(crate) fn push(&self, ended: Ended) {
        let mut items = self.locked();
        items.push(ended);
        if items.len() == 1 {
            self.some.notify_one();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.locked().len()
    }

    /// Returns when there is at least one.
    pub(crate) async fn some(&self) {
        loop {
            let some = self.some.notified();
            if self.len() > 0 {
                return;
            }
            some.await;
        }
    }

    /// Takes up to `limit`, oldest first.
    pub(crate) fn take(&self, limit: usize) -> Vec<Ended> {
        let mut items = self.locked();
        if items.len() <= limit {
            return std::mem::take(&mut *items);
        }
        let rest = items.split_off(limit);
        std::mem::replace(&mut *items, rest)
    }

    pub(crate) fn push_all(&self, mut more: Vec<Ended>) {
        let mut items = self.locked();
        let was_empty = items.is_empty();
        items.append(&mut more);
        if was_empty && !items.is_empty() {
            self.some.notify_one();
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Ended>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// The outcome to write, if there is one.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Verdict::Write(outcome)
            | Verdict::WriteAfterUnknown(outcome)
            | Verdict::TimedOut(outcome)
            | Verdict::Panicked(outcome)
            | Verdict::Outage { outcome, .. }
            | Verdict::Undecodable(outcome) => Some(outcome),
            Verdict::Settled { .. } | Verdict::Refused { .. } | Verdict::Lost(_) => None,
        }
    }
}

/// A failed attempt with this error.
pub(crate) fn retry(error: impl Into<String>) -> Outcome {
    Outcome::Retry { error: error.into(), delay: None }
}

/// The disposition of an item after its run: a finish by the handler takes precedence over its result, and its result
/// over the reason why it was stopped.
pub(crate) fn verdict_of(
    by_handler: ByHandler,
    result: Result<Option<Result<Handled, Failure>>, &RunEnd>,
    stop: Option<Stop>,
    timeout: Option<Duration>,
) -> Verdict {
    let after_unknown = match by_handler {
        ByHandler::Settled { to, outcome, error } => return Verdict::Settled { to, outcome: Some(outcome), error },
        ByHandler::Lost => return Verdict::Lost(LossReason::Ended),
        ByHandler::Refused { reason } => return Verdict::Refused { reason },
        ByHandler::Unknown | ByHandler::Settling { .. } => true,
        ByHandler::Nothing => false,
    };
    let verdict = match (result, stop) {
        (Ok(Some(Ok(Handled::Settled(settled)))), _) => {
            return Verdict::Settled { to: settled.to, outcome: None, error: None };
        }
        (Ok(Some(Ok(Handled::With(outcome)))), _) => Verdict::Write(outcome),
        (Ok(Some(Err(failure))), _) if failure.is_outage() => {
            let error = failure.message().to_owned();
            Verdict::Outage { outcome: failure.into_outcome(), error }
        }
        (Ok(Some(Err(failure))), _) => Verdict::Write(failure.into_outcome()),
        (Err(RunEnd::Panicked(message)), _) => Verdict::Panicked(retry(message.clone())),
        (_, Some(Stop::TimedOut(_))) => Verdict::TimedOut(retry(timeout_error(timeout))),
        (_, Some(Stop::HeldTransaction(_))) => Verdict::TimedOut(retry(HELD_TRANSACTION)),
        (_, Some(Stop::Shutdown) | None) => Verdict::Write(Outcome::Release),
    };
    match verdict.outcome() {
        Some(outcome) if after_unknown => Verdict::WriteAfterUnknown(outcome.clone()),
        _ => verdict,
    }
}

/// The stored error of an item whose handler kept others from writing.
pub(super) const HELD_TRANSACTION: &str = "the handler kept its transaction open for longer than a third of \
                                           stale_after: let it begin one after the computing";

/// The stored error of an item whose handler ran for too long.
pub(crate) fn timeout_error(timeout: Option<Duration>) -> String {
    match timeout {
        Some(timeout) => format!("the handler ran for longer than the stage's timeout of {timeout:?}"),
        None => "the handler was stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settled;

    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(1));

    fn settled() -> ByHandler {
        ByHandler::Settled { to: Status::Succeeded, outcome: "complete", error: None }
    }

    #[test]
    fn what_the_handler_did_goes_before_what_it_returned() {
        let failure = Failure::retryable("afterwards");
        let verdict = verdict_of(settled(), Ok(Some(Err(failure.clone()))), None, TIMEOUT);
        assert!(matches!(verdict, Verdict::Settled { to: Status::Succeeded, .. }));
        let verdict = verdict_of(ByHandler::Lost, Ok(Some(Err(failure.clone()))), None, TIMEOUT);
        assert_eq!(verdict, Verdict::Lost(LossReason::Ended));
        let verdict = verdict_of(ByHandler::Unknown, Ok(Some(Err(failure.clone()))), None, TIMEOUT);
        assert_eq!(verdict, Verdict::WriteAfterUnknown(retry("afterwards")));
        let refused = ByHandler::Refused { reason: "a check".to_owned() };
        let verdict = verdict_of(refused, Ok(Some(Err(failure))), None, TIMEOUT);
        assert_eq!(verdict, Verdict::Refused { reason: "a check".to_owned() });
    }

    #[test]
    fn what_the_handler_returned_goes_before_why_it_was_stopped() {
        let stop = Some(Stop::Shutdown);
        let verdict = verdict_of(ByHandler::Nothing, Ok(Some(Ok(().into()))), stop, TIMEOUT);
        assert_eq!(verdict, Verdict::Write(Outcome::Complete));
        let answer = Handled::Settled(Settled { to: Status::Failed });
        let verdict = verdict_of(ByHandler::Nothing, Ok(Some(Ok(answer))), stop, TIMEOUT);
        assert!(matches!(verdict, Verdict::Settled { to: Status::Failed, outcome: None, .. }));
    }

    #[test]
    fn a_stopped_handler_is_retried_after_its_timeout_and_released_at_shutdown() {
        let stopped = RunEnd::Stopped;
        let verdict = verdict_of(ByHandler::Nothing, Err(&stopped), Some(Stop::Shutdown), TIMEOUT);
        assert_eq!(verdict, Verdict::Write(Outcome::Release));
        let timed_out = Some(Stop::TimedOut(std::time::Instant::now()));
        let verdict = verdict_of(ByHandler::Nothing, Err(&stopped), timed_out, TIMEOUT);
        assert_eq!(verdict, Verdict::TimedOut(retry("the handler ran for longer than the stage's timeout of 1s")));
    }

    #[test]
    fn what_the_handler_did_is_not_forgotten_when_it_is_stopped() {
        let timed_out = Some(Stop::TimedOut(std::time::Instant::now()));
        for stop in [None, Some(Stop::Shutdown), timed_out] {
            let verdict = verdict_of(settled(), Err(&RunEnd::Stopped), stop, TIMEOUT);
            assert!(matches!(verdict, Verdict::Settled { to: Status::Succeeded, .. }), "{stop:?}");
            let verdict = verdict_of(
                ByHandler::Settling { since: std::time::Instant::now() },
                Err(&RunEnd::Stopped),
                stop,
                TIMEOUT,
            );
            assert!(matches!(verdict, Verdict::WriteAfterUnknown(_)), "{stop:?}");
        }
    }

    #[test]
    fn a_panic_is_a_retry_that_says_so() {
        let panicked = RunEnd::Panicked("boom".to_owned());
        let verdict = verdict_of(ByHandler::Nothing, Err(&panicked), None, TIMEOUT);
        assert_eq!(verdict, Verdict::Panicked(retry("boom")));
    }
}
