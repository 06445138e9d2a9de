//! What a handler returns.

use std::fmt;
use std::time::Duration;

use crate::{Outcome, Settled};

/// How a handler dealt with its item. `()` stands for "complete".
#[derive(Debug, Clone, PartialEq)]
pub enum Handled {
    /// The worker writes this outcome.
    With(Outcome),
    /// The handler has written the outcome by itself, e.g. by `complete_in`.
    Settled(Settled),
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
/// Every error becomes a retryable failure by `?`; [`Failure::permanent`] says that it will never work.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    message: String,
    kind: FailureKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum FailureKind {
    Retryable { delay: Option<Duration> },
    Permanent,
}

impl Failure {
    /// Worth another attempt after the policy's delay.
    pub fn retryable(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Retryable { delay: None } }
    }

    /// Worth another attempt after this delay, which is used as it is.
    pub fn retry_after(message: impl fmt::Display, delay: Duration) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Retryable { delay: Some(delay) } }
    }

    /// Will never work: the item is `FAILED` at once.
    pub fn permanent(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), kind: FailureKind::Permanent }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt is not worth it.
    pub fn is_permanent(&self) -> bool {
        self.kind == FailureKind::Permanent
    }

    /// The outcome to write.
    pub fn into_outcome(self) -> Outcome {
        match self.kind {
            FailureKind::Retryable { delay } => Outcome::Retry { error: self.message, delay },
            FailureKind::Permanent => Outcome::Fail { error: self.message },
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    /// Retryable, with the error and its sources as the message.
    fn from(error: E) -> Failure {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Failure::retryable(message)
    }
}
