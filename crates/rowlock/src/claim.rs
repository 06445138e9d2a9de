//! A claimed item: its record and the right to finish it.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::pipeline::{StageId, Status};
use crate::store::{Finish, LeaseState, Outcome, Transaction};
use crate::{Error, Key, Lease, Result};

/// A claimed item: the record as it is after the claim, and the lease on it.
///
/// It derefs to the record. The finishing calls consume it, so that using a finished claim does not compile:
///
/// ```compile_fail,E0382
/// # async fn example(claim: rowlock::Claim<()>) -> Result<(), Box<dyn std::error::Error>> {
/// claim.complete().await?;
/// claim.fail("too late").await?; // use of moved value
/// # Ok(())
/// # }
/// ```
///
/// Dropping a claim does not finish it: the sweep takes its item back once the heartbeat is stale.
#[must_use = "a claimed item that is not finished stays in progress until the sweep takes it back"]
pub struct Claim<R> {
    record: R,
    details: ClaimDetails,
    finisher: Arc<dyn Finisher>,
}

/// What a claim knows besides the record.
#[derive(Debug, Clone)]
pub(crate) struct ClaimDetails {
    pub(crate) lease: Lease,
    pub(crate) retry_count: i32,
    pub(crate) reset_count: i32,
    pub(crate) suspect: bool,
}

/// The operations of a repository that the finishing calls need, for any store.
pub(crate) trait Finisher: Send + Sync {
    fn finish(&self, finish: Finish) -> BoxFuture<'_, Result<Settled>>;
    /// The transaction is the store's own; a claim does not know its type.
    fn finish_in(&self, transaction: Box<dyn Any + Send>, finish: Finish) -> BoxFuture<'_, Result<Settled>>;
    fn renew(&self, lease: Lease) -> BoxFuture<'_, Result<LeaseState>>;
}

/// The transaction, downcast to its store's own type.
pub(crate) fn own_transaction<T: Transaction>(transaction: Box<dyn Any + Send>) -> Result<T> {
    let own = transaction.downcast::<T>().map_err(|_| Error::InvalidArgument {
        argument: "transaction",
        value: "one of another kind of database".to_owned(),
        rule: "it must come from `begin` of the repository, or of the context, that the claim comes from".to_owned(),
    })?;
    Ok(*own)
}

/// Proof that a lease ended with a committed move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The state that the item is in now.
    pub to: Status,
}

impl<R> Claim<R> {
    pub(crate) fn new(record: R, details: ClaimDetails, finisher: Arc<dyn Finisher>) -> Claim<R> {
        Claim { record, details, finisher }
    }

    /// The record as it is after the claim.
    pub fn record(&self) -> &R {
        &self.record
    }

    /// The right to write to the item.
    pub fn lease(&self) -> &Lease {
        &self.details.lease
    }

    /// The item's key.
    pub fn key(&self) -> &Key {
        &self.details.lease.key
    }

    /// The stage for which the item was claimed.
    pub fn stage(&self) -> StageId {
        self.details.lease.stage
    }

    /// Failures that handlers reported before this attempt.
    pub fn retry_count(&self) -> i32 {
        self.details.retry_count
    }

    /// Times that the item was taken back from a worker that stopped.
    pub fn reset_count(&self) -> i32 {
        self.details.reset_count
    }

    /// Whether one more reset is the item's last, so that it should run alone.
    pub fn is_suspect(&self) -> bool {
        self.details.suspect
    }

    /// Completes the stage: the item is ready for the next one, or `SUCCEEDED`.
    ///
    /// # Errors
    /// As for all finishing calls: [`Error::LeaseLost`] if the lease had ended, and nothing was written;
    /// [`Error::OutcomeUnknown`] if the answer was lost and it cannot be proved whether the move was written;
    /// [`Error::Refused`] if the database refuses the row; the error says whether the item became `FAILED`. With any
    /// other error, and with a `Refused` that left the item in progress, [`FinishError::claim`] returns the claim.
    pub async fn complete(self) -> Result<Settled, FinishError<R>> {
        self.finish(Outcome::Complete).await
    }

    /// Counts a failure that is worth another attempt, after the policy's delay; `FAILED` if the budget is spent.
    ///
    /// # Errors
    /// As [`Claim::complete`].
    pub async fn retry(self, error: impl fmt::Display) -> Result<Settled, FinishError<R>> {
        self.finish(Outcome::Retry { error: error.to_string(), delay: None }).await
    }

    /// As [`Claim::retry`], after exactly this delay: the policy's is not used, and no jitter is added.
    ///
    /// # Errors
    /// As [`Claim::complete`].
    pub async fn retry_after(self, error: impl fmt::Display, delay: Duration) -> Result<Settled, FinishError<R>> {
        self.finish(Outcome::Retry { error: error.to_string(), delay: Some(delay) }).await
    }

    /// Fails the item for good: it is `FAILED`.
    ///
    /// # Errors
    /// As [`Claim::complete`].
    pub async fn fail(self, error: impl fmt::Display) -> Result<Settled, FinishError<R>> {
        self.finish(Outcome::Fail { error: error.to_string() }).await
    }

    /// Returns the item to the queue as it was; nothing is counted.
    ///
    /// # Errors
    /// As [`Claim::complete`].
    pub async fn release(self) -> Result<Settled, FinishError<R>> {
        self.finish(Outcome::Release).await
    }

    /// Returns the item to the queue, not to be claimed before this time; nothing is counted.
    ///
    /// # Errors
    /// As [`Claim::complete`].
    pub async fn snooze_until(self, due: DateTime<Utc>) -> Result<Settled, FinishError<R>> {
        self.finish(Outcome::SnoozeUntil(due)).await
    }

    /// Completes the stage as the last statement of this transaction, and commits: your writes in it are committed
    /// exactly once, together with the move. Take the transaction from [`Context::begin`](crate::Context::begin) or
    /// [`Repository::begin`](crate::Repository::begin). In a dry run the transaction is rolled back, and the answer
    /// says what would have happened.
    ///
    /// # Errors
    /// As [`Claim::complete`]. After any error but `OutcomeUnknown` the transaction has been rolled back.
    pub async fn complete_in(self, transaction: impl Transaction) -> Result<Settled, FinishError<R>> {
        self.finish_in(transaction, Outcome::Complete).await
    }

    /// Counts a failure as the last statement of this transaction, and commits.
    ///
    /// # Errors
    /// As [`Claim::complete_in`].
    pub async fn retry_in(
        self,
        transaction: impl Transaction,
        error: impl fmt::Display,
    ) -> Result<Settled, FinishError<R>> {
        self.finish_in(transaction, Outcome::Retry { error: error.to_string(), delay: None }).await
    }

    /// Fails the item for good as the last statement of this transaction, and commits.
    ///
    /// # Errors
    /// As [`Claim::complete_in`].
    pub async fn fail_in(
        self,
        transaction: impl Transaction,
        error: impl fmt::Display,
    ) -> Result<Settled, FinishError<R>> {
        self.finish_in(transaction, Outcome::Fail { error: error.to_string() }).await
    }

    /// Ends the lease with this outcome as the last statement of this transaction, and commits.
    ///
    /// # Errors
    /// As [`Claim::complete_in`].
    pub async fn finish_in(self, transaction: impl Transaction, outcome: Outcome) -> Result<Settled, FinishError<R>> {
        let finish = Finish { lease: self.details.lease.clone(), outcome };
        match self.finisher.finish_in(Box::new(transaction), finish).await {
            Ok(settled) => Ok(settled),
            Err(error) => Err(FinishError::new(error, self)),
        }
    }

    /// Renews the lease with a new heartbeat. Workers do this by themselves.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew(&self) -> Result<LeaseState> {
        self.finisher.renew(self.details.lease.clone()).await
    }

    /// Ends the lease with this outcome.
    ///
    /// # Errors
    /// As [`Claim::complete`].
    pub async fn finish(self, outcome: Outcome) -> Result<Settled, FinishError<R>> {
        let finish = Finish { lease: self.details.lease.clone(), outcome };
        match self.finisher.finish(finish).await {
            Ok(settled) => Ok(settled),
            Err(error) => Err(FinishError::new(error, self)),
        }
    }
}

impl<R> Deref for Claim<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.record
    }
}

impl<R: fmt::Debug> fmt::Debug for Claim<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("lease", &self.details.lease).field("record", &self.record).finish()
    }
}

/// Why a claim could not be finished, with the claim itself if its lease may still hold.
pub struct FinishError<R> {
    /// The lock makes the error `Sync` for any record: `anyhow` and `Box<dyn Error + Send + Sync>` require it.
    inner: Box<(Error, Mutex<Option<Claim<R>>>)>,
}

impl<R> FinishError<R> {
    pub(crate) fn new(error: Error, claim: Claim<R>) -> FinishError<R> {
        let ended = matches!(
            error,
            Error::LeaseLost { .. } | Error::OutcomeUnknown { .. } | Error::Refused { failed: true, .. }
        );
        FinishError { inner: Box::new((error, Mutex::new((!ended).then_some(claim)))) }
    }

    /// What went wrong.
    pub fn error(&self) -> &Error {
        &self.inner.0
    }

    /// The error, and the claim if its lease may still hold: that is so for any error but `LeaseLost`, `OutcomeUnknown`
    /// and a `Refused` that made the item `FAILED`.
    pub fn into_parts(self) -> (Error, Option<Claim<R>>) {
        let (error, claim) = *self.inner;
        (error, claim.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// The claim, to try again with, if its lease may still hold. See [`FinishError::into_parts`].
    pub fn claim(self) -> Option<Claim<R>> {
        self.into_parts().1
    }
}

impl<R> fmt::Debug for FinishError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

impl<R> fmt::Display for FinishError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl<R> std::error::Error for FinishError<R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // An error without a source counts as its own source, so that a search for its kind finds it.
        std::error::Error::source(self.error()).or(Some(self.error()))
    }
}
