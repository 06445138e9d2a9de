//! Every engine call goes through here: one span around each verb, retries of what will pass by itself, and the
//! settling of answers that were lost. The stores contain none of it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use tracing::{Instrument, Span, debug_span, field};

use crate::limits::{VERB_ATTEMPTS_MAX, VERB_BACKOFF_MAX, VERB_BACKOFF_MIN, VERB_DEADLINE};
use crate::pipeline::{Pipeline, Status};
use crate::store::{
    ClaimBatch, ClaimedRow, Claiming, Finish, Finished, Finishing, LeaseState, Limits, Outcome, Store, Sweeping, Swept,
};
use crate::{Error, Fault, FencingToken, Lease, Result};

/// A store, and what every call of it needs.
#[derive(Debug)]
pub(crate) struct Dispatch<S> {
    store: S,
    lost_claims: Arc<Mutex<Vec<LostClaim>>>,
}

impl<S: Clone> Clone for Dispatch<S> {
    fn clone(&self) -> Self {
        Dispatch { store: self.store.clone(), lost_claims: Arc::clone(&self.lost_claims) }
    }
}

/// A claim whose answer was lost. Its token is never used again; its rows are looked for until the statement can no
/// longer commit.
#[derive(Debug, Clone, Copy)]
struct LostClaim {
    token: FencingToken,
    until: Instant,
}

/// A finish under way: what is still to be written, whether an earlier sending may have been applied, and what was
/// answered so far.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) finishing: Finishing,
    uncertain: bool,
    answers: Vec<Option<Finished>>,
    /// For each item that is still to be written, its place in `answers`.
    open: Vec<usize>,
}

impl Settling {
    pub(crate) fn new(finishing: Finishing) -> Settling {
        let items = finishing.items.len();
        Settling { finishing, uncertain: false, answers: vec![None; items], open: (0..items).collect() }
    }

    /// Keeps the answers to what was sent; true if that is all. Items that were busy are still to be written.
    pub(crate) fn note(&mut self, answers: Vec<Finished>) -> bool {
        let items = std::mem::take(&mut self.finishing.items);
        let open = std::mem::take(&mut self.open);
        for ((item, index), answer) in items.into_iter().zip(open).zip(answers) {
            if answer == Finished::Busy {
                self.finishing.items.push(item);
                self.open.push(index);
            } else {
                self.answers[index] = Some(answer);
            }
        }
        self.open.is_empty()
    }

    /// One answer for each item, in order; this one for those that have none.
    pub(crate) fn into_answers(self, otherwise: Finished) -> Vec<Finished> {
        self.answers.into_iter().map(|answer| answer.unwrap_or_else(|| otherwise.clone())).collect()
    }

    fn has_answers(&self) -> bool {
        self.open.len() < self.answers.len()
    }

    /// Whether an earlier sending may have been applied.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.uncertain
    }
}

impl<S: Store> Dispatch<S> {
    pub(crate) fn new(store: S) -> Dispatch<S> {
        Dispatch { store, lost_claims: Arc::default() }
    }

    /// The same over connections of its own, made on the present runtime; lost claims are looked for by both.
    pub(crate) async fn fork(&self) -> Result<Dispatch<S>> {
        Ok(Dispatch { store: self.store.fork().await?, lost_claims: Arc::clone(&self.lost_claims) })
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn pipeline(&self) -> &Arc<Pipeline> {
        self.store.pipeline()
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { max_retries: self.pipeline().max_retries(), max_resets: self.pipeline().max_resets() }
    }

    /// Claims once. The token must have been drawn for this call.
    ///
    /// If the answer is lost the rows are looked for by the token at once and adopted; what may still be committed
    /// later is remembered for [`Dispatch::recover_lost_claims`]. A dropped future is a lost answer too.
    pub(crate) async fn claim(&self, claiming: &Claiming) -> Result<ClaimBatch<S::Row>> {
        let span = self.span(debug_span!(
            "claim",
            pipeline = field::Empty,
            limit_items = claiming.limit,
            claimed_items = field::Empty,
            exhausted_items = field::Empty,
            duration_ms = field::Empty
        ));
        let work = async {
            let guard = LostClaimGuard { dispatch: self, token: Some(claiming.token) };
            match self.store.claim(claiming).await {
                Ok(batch) => {
                    guard.disarm();
                    Ok(batch)
                }
                Err(error) if error.may_have_been_applied() => {
                    let claimed = self.store.find_claimed(claiming.token).await.unwrap_or_default();
                    if claimed.is_empty() {
                        return Err(error); // the guard remembers the token
                    }
                    guard.disarm();
                    Ok(ClaimBatch { claimed, may_have_more: true, ..ClaimBatch::default() })
                }
                Err(error) => {
                    guard.disarm();
                    Err(error)
                }
            }
        };
        let batch = timed(work).instrument(span.clone()).await?;
        span.record("claimed_items", batch.claimed.len());
        span.record("exhausted_items", batch.exhausted.len());
        Ok(batch)
    }

    /// The rows of claims whose answers were lost, if their statements took effect after all. The caller adopts or
    /// releases them.
    pub(crate) async fn recover_lost_claims(&self) -> Result<Vec<ClaimedRow<S::Row>>> {
        let tokens: Vec<LostClaim> = self.lost_claims_locked().clone();
        let mut found = Vec::new();
        for lost in tokens {
            let rows = self.retrying(true, || self.store.find_claimed(lost.token)).await?;
            if !rows.is_empty() || Instant::now() > lost.until {
                self.lost_claims_locked().retain(|other| other.token != lost.token);
            }
            found.extend(rows);
        }
        Ok(found)
    }

    pub(crate) fn has_lost_claims(&self) -> bool {
        !self.lost_claims_locked().is_empty()
    }

    /// Sends what is still to be written once, and settles what earlier sendings left open. With an error nothing is
    /// settled yet, and the same `Settling` may be sent again. The answers are for [`Settling::note`].
    pub(crate) async fn finish_once(&self, settling: &mut Settling) -> Result<Vec<Finished>> {
        let span = self.span(debug_span!(
            "finish",
            pipeline = field::Empty,
            items = settling.finishing.items.len(),
            applied_items = field::Empty,
            duration_ms = field::Empty
        ));
        let work = async {
            // Until the answer is here, a dropped future would leave the outcome open.
            let was_uncertain = std::mem::replace(&mut settling.uncertain, true);
            let answers = self.store.finish(&settling.finishing).await;
            settling.uncertain = was_uncertain || answers.as_ref().is_err_and(|error| error.may_have_been_applied());
            let mut answers = answers?;
            for (item, answer) in settling.finishing.items.iter().zip(&mut answers) {
                if *answer == Finished::Unknown || (was_uncertain && *answer == Finished::LeaseLost) {
                    *answer = self.settle(item).await?;
                }
            }
            Ok(answers)
        };
        let answers = timed(work).instrument(span.clone()).await?;
        span.record(
            "applied_items",
            answers.iter().filter(|answer| matches!(answer, Finished::Applied { .. })).count(),
        );
        Ok(answers)
    }

    /// Finishes, sending again what is busy or meets a transient error, a limited number of times. What cannot be
    /// proved after that is [`Finished::Unknown`]; what is still locked is [`Finished::Busy`].
    pub(crate) async fn finish(&self, finishing: Finishing) -> Result<Vec<Finished>> {
        let mut settling = Settling::new(finishing);
        let mut backoff = Backoff::new();
        loop {
            match self.finish_once(&mut settling).await {
                Ok(answers) => {
                    if settling.note(answers) || !backoff.wait().await {
                        let open = if settling.is_uncertain() { Finished::Unknown } else { Finished::Busy };
                        return Ok(settling.into_answers(open));
                    }
                }
                Err(error) if error.is_transient() && backoff.wait().await => {}
                Err(_) if settling.is_uncertain() => return Ok(settling.into_answers(Finished::Unknown)),
                // What was answered before must not be lost with the error of the rest.
                Err(_) if settling.has_answers() => return Ok(settling.into_answers(Finished::Busy)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the move in the user's transaction and commits. If the answer to the commit is lost the row is read:
    /// the statement cannot be sent again without the user's own writes.
    pub(crate) async fn finish_in(&self, transaction: S::Transaction, finish: &Finish) -> Result<Finished> {
        let span = self.span(debug_span!(
            "finish_in",
            pipeline = field::Empty,
            outcome = finish.outcome.name(),
            duration_ms = field::Empty
        ));
        let work = async {
            let error = match self.store.finish_in(transaction, finish, self.limits()).await {
                Err(error) if error.may_have_been_applied() => error,
                answer => return answer,
            };
            let mut backoff = Backoff::new();
            loop {
                let state = self.store.renew(std::slice::from_ref(&finish.lease), None).await;
                match state.as_deref() {
                    // Renewed: no other transaction has the row, and it is still ours: ours was rolled back.
                    Ok([LeaseState::Held]) => return Err(not_applied(error)),
                    Ok([LeaseState::Cancelled | LeaseState::Lost]) => return self.settle(finish).await,
                    _ => {}
                }
                if !backoff.wait().await {
                    return Ok(Finished::Unknown);
                }
            }
        };
        timed(work).instrument(span.clone()).await
    }

    /// Reads whether a finish whose answer was lost was applied: the row has our token and a state that the outcome
    /// leads to. Everybody else who ends a lease clears the token, so nobody else can have written that.
    async fn settle(&self, finish: &Finish) -> Result<Finished> {
        let row = self.retrying(true, || self.store.get(&finish.lease.key)).await?;
        let Some(row) = row else { return Ok(Finished::Unknown) };
        let ours = row.token == Some(finish.lease.token.as_i64());
        Ok(match row.status {
            Some(to) if ours && self.leads_to(finish, to) => Finished::Applied { to },
            _ => Finished::Unknown,
        })
    }

    fn leads_to(&self, finish: &Finish, to: Status) -> bool {
        let stage = finish.lease.stage;
        match &finish.outcome {
            Outcome::Complete => to == self.pipeline().completed(stage),
            Outcome::Retry { .. } => to == Status::Ready(stage) || to == Status::Failed,
            Outcome::Fail { .. } => to == Status::Failed,
            Outcome::Release | Outcome::SnoozeUntil(_) | Outcome::SnoozeFor(_) => to == Status::Ready(stage),
        }
    }

    pub(crate) async fn renew(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let span =
            self.span(debug_span!("renew", pipeline = field::Empty, leases = leases.len(), duration_ms = field::Empty));
        timed(self.retrying(true, || self.store.renew(leases, None))).instrument(span).await
    }

    pub(crate) async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let span = self.span(debug_span!(
            "read_leases",
            pipeline = field::Empty,
            leases = leases.len(),
            duration_ms = field::Empty
        ));
        timed(self.store.read_leases(leases)).instrument(span).await
    }

    pub(crate) async fn sweep(&self, sweeping: &Sweeping) -> Result<Swept> {
        let span = self.span(debug_span!(
            "sweep",
            pipeline = field::Empty,
            swept_items = field::Empty,
            duration_ms = field::Empty
        ));
        let swept = timed(self.retrying(true, || self.store.sweep(sweeping))).instrument(span.clone()).await?;
        span.record("swept_items", swept.items.len());
        Ok(swept)
    }

    /// Runs an operator's verb: sent again only if it surely was not applied.
    pub(crate) async fn operate<T, F>(&self, verb: &'static str, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let span = self.span(debug_span!("operate", pipeline = field::Empty, verb, duration_ms = field::Empty));
        timed(self.retrying(false, call)).instrument(span).await
    }

    /// Runs a reading verb: sent again after any transient error.
    pub(crate) async fn read<T, F>(&self, verb: &'static str, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let span = self.span(debug_span!("read", pipeline = field::Empty, verb, duration_ms = field::Empty));
        timed(self.retrying(true, call)).instrument(span).await
    }

    async fn retrying<T, F>(&self, even_if_applied: bool, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new();
        loop {
            match call().await {
                Err(error)
                    if error.is_transient()
                        && (even_if_applied || !error.may_have_been_applied())
                        && backoff.wait().await => {}
                answer => return answer,
            }
        }
    }

    fn span(&self, span: Span) -> Span {
        span.record("pipeline", self.pipeline().name());
        span
    }

    fn lost_claims_locked(&self) -> std::sync::MutexGuard<'_, Vec<LostClaim>> {
        self.lost_claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a write that turned out not to have been applied.
fn not_applied(error: Error) -> Error {
    match error {
        Error::Database { verb, source, .. } => Error::Database { verb, fault: Fault::NotApplied, source },
        other => other,
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = work.await;
    Span::current().record("duration_ms", started.elapsed().as_secs_f64() * 1e3);
    answer
}

/// Remembers a claim's token if the claim ends in any way but with its answer.
struct LostClaimGuard<'a, S: Store> {
    dispatch: &'a Dispatch<S>,
    token: Option<FencingToken>,
}

impl<S: Store> LostClaimGuard<'_, S> {
    fn disarm(mut self) {
        self.token = None;
    }
}

impl<S: Store> Drop for LostClaimGuard<'_, S> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            // The server ends the statement after the deadline; as much again for what was under way before it.
            let until = Instant::now() + 2 * VERB_DEADLINE;
            self.dispatch.lost_claims_locked().push(LostClaim { token, until });
        }
    }
}

/// Doubling waits with full jitter on the upper half, a limited number of times.
pub(crate) struct Backoff {
    attempts: u32,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff { attempts: 1, next: VERB_BACKOFF_MIN }
    }

    /// Waits before the next attempt; false at once if there is none.
    pub(crate) async fn wait(&mut self) -> bool {
        if self.attempts >= VERB_ATTEMPTS_MAX {
            return false;
        }
        self.attempts += 1;
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = (self.next * 2).min(VERB_BACKOFF_MAX);
        tokio::time::sleep(wait).await;
        true
    }
}
