//! What a handler returns.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::outage::is_outage;
use crate::{Outcome, Settled};

/// How a handler dealt with its item. `()` means "complete".
#[derive(Debug, Clone, PartialEq)]
pub enum Handled {
    /// The worker writes this outcome.
    With(Outcome),
    /// The handler has written the outcome itself, for instance by `complete_in`.
    Settled(Settled),
}

/// What a handler may return in `Ok`: whatever converts into [`Handled`], such as `()`, an [`Outcome`] or a
/// [`Settled`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `Ok` with a `{Self}`",
    label = "expected `()`, an `Outcome`, a `Settled` or a `Handled`",
    note = "`Ok(())` completes the stage, and an `Outcome` says how else the lease ends",
    note = "a `Settled` says that the handler has ended the lease itself: `Ok(claim.complete_in(transaction).await?)`"
)]
pub trait IntoHandled {
    /// How the handler dealt with its item.
    fn into_handled(self) -> Handled;
}

// Otherwise the compiler would ask for an `impl From<…> for Handled`.
#[diagnostic::do_not_recommend]
impl<T: Into<Handled>> IntoHandled for T {
    fn into_handled(self) -> Handled {
        self.into()
    }
}

impl From<()> for Handled {
    fn from((): ()) -> Handled {
        Handled::With(Outcome::Complete)
    }
}

impl From<Outcome> for Handled {
    fn from(outcome: Outcome) -> Handled {
        Handled::With(outcome)
    }
}

impl From<Settled> for Handled {
    fn from(settled: Settled) -> Handled {
        Handled::Settled(settled)
    }
}

/// Why a handler failed, and whether another attempt is worth it.
///
/// With `?` every error becomes a retryable failure, unless it concerns the database as a whole (no connection,
/// read-only, shutting down, no connection left, this connection lost): that is an outage, as from [`Failure::outage`].
/// [`Failure::permanent`] says that the item will never succeed.
///
/// In an [`anyhow`](https://docs.rs/anyhow) error the search for an outage begins at the first source: a driver's error
/// that it holds directly, without a context, may be taken for an ordinary error.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    message: String,
    kind: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum FailureKind {
    Retryable { delay: Option<Duration> },
    Permanent,
    Outage(Outage),
}

/// Something that a handler could not reach, through no item's fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outage {
    /// When it is expected to be back, if that is known.
    pub(crate) until: Option<Until>,
    /// The handler said so; otherwise the outage was found in the error, or is suspected.
    pub(crate) is_declared: bool,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Until {
    In(Duration),
    At(DateTime<Utc>),
}

impl Failure {
    /// A failure that is worth another attempt, after the policy's delay.
    pub fn retryable(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Retryable { delay: None } }
    }

    /// A failure that is worth another attempt, after exactly this delay.
    pub fn retry_after(message: impl fmt::Display, delay: Duration) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Retryable { delay: Some(delay) } }
    }

    /// A failure that no other attempt can mend: the item is `FAILED` at once.
    pub fn permanent(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Permanent }
    }

    /// An outage of something that every item of the stage needs; this item is not at fault. It returns to the queue,
    /// and no attempt is counted. The worker holds the stage: it tries one item now and then, and resumes at the first
    /// success. See [`Worker::hold_between`](crate::Worker::hold_between).
    ///
    /// If one item alone reports outages while others succeed, it does not hold up the stage: the item is put off, each
    /// time for longer, up to an hour.
    pub fn outage(message: impl fmt::Display) -> Failure {
        Failure::of_outage(message, None)
    }

    /// As [`Failure::outage`], if this item may be at fault after all: for instance, a disk cannot be read, or only one
    /// file on it. An item that alone reports this while others succeed is put off a few times; after that it counts an
    /// attempt, as for any other error.
    pub fn suspected_outage(message: impl fmt::Display) -> Failure {
        let kind = FailureKind::Outage(Outage { until: None, is_declared: false });
        Failure { message: message.to_string(), kind }
    }

    /// As [`Failure::outage`], if it is known when the outage ends. The item is put off until then, by the database's
    /// clock; meanwhile other items are tried now and then.
    pub fn outage_until(message: impl fmt::Display, over_at: DateTime<Utc>) -> Failure {
        Failure::of_outage(message, Some(Until::At(over_at)))
    }

    /// As [`Failure::outage`], if it is known how long it will last. The item is put off for this long, and the stage
    /// is held for this long with only one try an hour.
    pub fn outage_for(message: impl fmt::Display, duration: Duration) -> Failure {
        Failure::of_outage(message, Some(Until::In(duration)))
    }

    fn of_outage(message: impl fmt::Display, until: Option<Until>) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Outage(Outage { until, is_declared: true }) }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt is pointless.
    pub fn is_permanent(&self) -> bool {
        self.kind == FailureKind::Permanent
    }

    /// Whether it is an outage, so that no attempt is counted.
    pub fn is_outage(&self) -> bool {
        self.as_outage().is_some()
    }

    pub(crate) fn as_outage(&self) -> Option<Outage> {
        match self.kind {
            FailureKind::Outage(outage) => Some(outage),
            FailureKind::Retryable { .. } | FailureKind::Permanent => None,
        }
    }

    /// The failure as it is written in the end. An outage puts the item off for this long, unless it says itself until
    /// when; with `None` it becomes a failed attempt after all.
    pub(crate) fn settled_by(mut self, put_off: Option<Duration>) -> Failure {
        if let FailureKind::Outage(outage) = &mut self.kind {
            match put_off {
                Some(pause) => outage.until = outage.until.or(Some(Until::In(pause))),
                None => self.kind = FailureKind::Retryable { delay: None },
            }
        }
        self
    }

    /// The outcome to write.
    pub fn into_outcome(self) -> Outcome {
        match self.kind {
            FailureKind::Retryable { delay } => Outcome::Retry { error: self.message, delay },
            FailureKind::Permanent => Outcome::Fail { error: self.message },
            FailureKind::Outage(Outage { until: None, .. }) => Outcome::Release,
            FailureKind::Outage(Outage { until: Some(Until::In(pause)), .. }) => Outcome::SnoozeFor(pause),
            FailureKind::Outage(Outage { until: Some(Until::At(over_at)), .. }) => Outcome::SnoozeUntil(over_at),
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    /// A retryable failure or an outage; the message has the error and its sources.
    fn from(error: E) -> Failure {
        let error: Box<dyn Error + Send + Sync> = error.into();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        let kind = if is_outage(&*error) {
            FailureKind::Outage(Outage { until: None, is_declared: false })
        } else {
            FailureKind::Retryable { delay: None }
        };
        Failure { message, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed_back<T>(result: Result<T, impl Into<Box<dyn Error + Send + Sync>>>) -> Failure {
        let by_question_mark = || -> Result<T, Failure> { Ok(result?) };
        by_question_mark().err().expect("an error")
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the page could not be stored")]
    struct Wrapped(#[source] sqlx::Error);

    #[test]
    fn an_outage_is_found_however_deep_the_error_is_wrapped() {
        let failure = handed_back::<()>(Err(Wrapped(sqlx::Error::PoolTimedOut)));
        assert!(failure.is_outage());
        assert_eq!(
            failure.message(),
            "the page could not be stored: pool timed out while waiting for an open connection"
        );
        assert_eq!(failure.into_outcome(), Outcome::Release);
        let boxed: Box<dyn Error + Send + Sync> = Box::new(Wrapped(sqlx::Error::WorkerCrashed));
        assert!(handed_back::<()>(Err(boxed)).is_outage());
        assert!(!handed_back::<()>(Err(Wrapped(sqlx::Error::RowNotFound))).is_outage());
    }

    #[test]
    fn words_become_a_retryable_failure() {
        let retry = Outcome::Retry { error: "no such page".to_owned(), delay: None };
        assert_eq!(handed_back::<()>(Err("no such page")).into_outcome(), retry);
        assert_eq!(handed_back::<()>(Err("no such page".to_owned())).into_outcome(), retry);
    }

    #[test]
    fn an_outage_is_settled_by_a_pause_unless_it_says_until_when() {
        let pause = Some(Duration::from_secs(2));
        let settled = |failure: Failure| failure.settled_by(pause).into_outcome();
        assert_eq!(settled(Failure::outage("away")), Outcome::SnoozeFor(Duration::from_secs(2)));
        assert_eq!(settled(Failure::outage_for("away", Duration::MAX)), Outcome::SnoozeFor(Duration::MAX));
        let retry = Outcome::Retry { error: "away".to_owned(), delay: None };
        assert_eq!(Failure::outage("away").settled_by(None).into_outcome(), retry);
        assert_eq!(settled(Failure::permanent("no")), Outcome::Fail { error: "no".to_owned() });
    }
}
