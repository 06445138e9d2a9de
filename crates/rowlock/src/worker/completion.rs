//! Completions: items whose handlers are done with them, on their way to the database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::execution::{RunEnd, Stop};
use super::leases::{ByHandler, Held};
use crate::pipeline::{StageId, Status};
use crate::{Failure, Handled, Outcome};

/// A completion: an item that no handler works on any more.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) held: Arc<Held>,
    pub(crate) disposition: Disposition,
}

impl Completion {
    /// The stage that the item leaves, and the outcome by which it does; `None` if nothing is to be written.
    pub(crate) fn moves(&self) -> Option<(StageId, &'static str)> {
        self.disposition.outcome().map(|outcome| (self.held.lease.stage, outcome.name()))
    }
}

/// The disposition of an ended item: what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Disposition {
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
pub(crate) struct Completions {
    items: Mutex<Vec<Completion>>,
    some: Notify,
}

impl Completions {
    /// Ends the work under a lease with this disposition, unless it has ended already. True for the one caller that
    /// ended it.
    pub(crate) fn end(&self, held: &Arc<Held>, disposition: impl FnOnce() -> Disposition) -> bool {
        let first = held.end();
        if first {
            self.push(Completion { held: Arc::clone(held), disposition: disposition() });
        }
        first
    }

    pub(crate) fn push(&self, completion: Completion) {
        let mut items = self.locked();
        items.push(completion);
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
    pub(crate) fn take(&self, limit: usize) -> Vec<Completion> {
        let mut items = self.locked();
        if items.len() <= limit {
            return std::mem::take(&mut *items);
        }
        let rest = items.split_off(limit);
        std::mem::replace(&mut *items, rest)
    }

    pub(crate) fn push_all(&self, mut more: Vec<Completion>) {
        let mut items = self.locked();
        let was_empty = items.is_empty();
        items.append(&mut more);
        if was_empty && !items.is_empty() {
            self.some.notify_one();
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Completion>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disposition {
    /// The outcome to write, if there is one.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Disposition::Write(outcome)
            | Disposition::WriteAfterUnknown(outcome)
            | Disposition::TimedOut(outcome)
            | Disposition::Panicked(outcome)
            | Disposition::Outage { outcome, .. }
            | Disposition::Undecodable(outcome) => Some(outcome),
            Disposition::Settled { .. } | Disposition::Refused { .. } | Disposition::Lost(_) => None,
        }
    }
}

/// A failed attempt with this error.
pub(crate) fn retry(error: impl Into<String>) -> Outcome {
    Outcome::Retry { error: error.into(), delay: None }
}

/// The disposition of an item after its run: a finish by the handler takes precedence over its result, and its result
/// over the reason why it was stopped.
pub(crate) fn disposition_of(
    by_handler: ByHandler,
    result: Result<Option<Result<Handled, Failure>>, &RunEnd>,
    stop: Option<Stop>,
    timeout: Option<Duration>,
) -> Disposition {
    let after_unknown = match by_handler {
        ByHandler::Settled { to, outcome, error } => return Disposition::Settled { to, outcome: Some(outcome), error },
        ByHandler::Lost => return Disposition::Lost(LossReason::Ended),
        ByHandler::Refused { reason } => return Disposition::Refused { reason },
        ByHandler::Unknown | ByHandler::Settling { .. } => true,
        ByHandler::Nothing => false,
    };
    let disposition = match (result, stop) {
        (Ok(Some(Ok(Handled::Settled(settled)))), _) => {
            return Disposition::Settled { to: settled.to, outcome: None, error: None };
        }
        (Ok(Some(Ok(Handled::With(outcome)))), _) => Disposition::Write(outcome),
        (Ok(Some(Err(failure))), _) if failure.is_outage() => {
            let error = failure.message().to_owned();
            Disposition::Outage { outcome: failure.into_outcome(), error }
        }
        (Ok(Some(Err(failure))), _) => Disposition::Write(failure.into_outcome()),
        (Err(RunEnd::Panicked(message)), _) => Disposition::Panicked(retry(message.clone())),
        (_, Some(Stop::TimedOut(_))) => Disposition::TimedOut(retry(timeout_error(timeout))),
        (_, Some(Stop::HeldTransaction(_))) => Disposition::TimedOut(retry(HELD_TRANSACTION)),
        (_, Some(Stop::Shutdown) | None) => Disposition::Write(Outcome::Release),
    };
    match disposition.outcome() {
        Some(outcome) if after_unknown => Disposition::WriteAfterUnknown(outcome.clone()),
        _ => disposition,
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
        let disposition = disposition_of(settled(), Ok(Some(Err(failure.clone()))), None, TIMEOUT);
        assert!(matches!(disposition, Disposition::Settled { to: Status::Succeeded, .. }));
        let disposition = disposition_of(ByHandler::Lost, Ok(Some(Err(failure.clone()))), None, TIMEOUT);
        assert_eq!(disposition, Disposition::Lost(LossReason::Ended));
        let disposition = disposition_of(ByHandler::Unknown, Ok(Some(Err(failure.clone()))), None, TIMEOUT);
        assert_eq!(disposition, Disposition::WriteAfterUnknown(retry("afterwards")));
        let refused = ByHandler::Refused { reason: "a check".to_owned() };
        let disposition = disposition_of(refused, Ok(Some(Err(failure))), None, TIMEOUT);
        assert_eq!(disposition, Disposition::Refused { reason: "a check".to_owned() });
    }

    #[test]
    fn what_the_handler_returned_goes_before_why_it_was_stopped() {
        let stop = Some(Stop::Shutdown);
        let disposition = disposition_of(ByHandler::Nothing, Ok(Some(Ok(().into()))), stop, TIMEOUT);
        assert_eq!(disposition, Disposition::Write(Outcome::Complete));
        let answer = Handled::Settled(Settled { to: Status::Failed });
        let disposition = disposition_of(ByHandler::Nothing, Ok(Some(Ok(answer))), stop, TIMEOUT);
        assert!(matches!(disposition, Disposition::Settled { to: Status::Failed, outcome: None, .. }));
    }

    #[test]
    fn a_stopped_handler_is_retried_after_its_timeout_and_released_at_shutdown() {
        let stopped = RunEnd::Stopped;
        let disposition = disposition_of(ByHandler::Nothing, Err(&stopped), Some(Stop::Shutdown), TIMEOUT);
        assert_eq!(disposition, Disposition::Write(Outcome::Release));
        let timed_out = Some(Stop::TimedOut(std::time::Instant::now()));
        let disposition = disposition_of(ByHandler::Nothing, Err(&stopped), timed_out, TIMEOUT);
        assert_eq!(
            disposition,
            Disposition::TimedOut(retry("the handler ran for longer than the stage's timeout of 1s"))
        );
    }

    #[test]
    fn what_the_handler_did_is_not_forgotten_when_it_is_stopped() {
        let timed_out = Some(Stop::TimedOut(std::time::Instant::now()));
        for stop in [None, Some(Stop::Shutdown), timed_out] {
            let disposition = disposition_of(settled(), Err(&RunEnd::Stopped), stop, TIMEOUT);
            assert!(matches!(disposition, Disposition::Settled { to: Status::Succeeded, .. }), "{stop:?}");
            let disposition = disposition_of(
                ByHandler::Settling { since: std::time::Instant::now() },
                Err(&RunEnd::Stopped),
                stop,
                TIMEOUT,
            );
            assert!(matches!(disposition, Disposition::WriteAfterUnknown(_)), "{stop:?}");
        }
    }

    #[test]
    fn a_panic_is_a_retry_that_says_so() {
        let panicked = RunEnd::Panicked("boom".to_owned());
        let disposition = disposition_of(ByHandler::Nothing, Err(&panicked), None, TIMEOUT);
        assert_eq!(disposition, Disposition::Panicked(retry("boom")));
    }
}
