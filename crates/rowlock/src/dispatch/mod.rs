//! Every store call goes through this layer: one span for each verb, retries of transient errors, and the resolution of
//! lost answers. The stores do none of this.

/// The span of a verb, named after the verb. The names of its fields contain their units.
macro_rules! verb_span {
    ($dispatch:expr, $verb:literal $(, $field:ident = $value:expr)*) => {
        tracing::debug_span!(
            $verb,
            pipeline = $dispatch.pipeline().name(),
            $($field = $value,)*
            duration_ms = tracing::field::Empty
        )
    };
}

mod clock;
mod lost_claims;
mod settling;
mod verbs;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument, Span, field};

use crate::backoff::RetryWait;
use crate::limits::VERB_ATTEMPTS_MAX;
use crate::pipeline::Pipeline;
use crate::store::{ClaimBatch, ClaimParams, LeaseState, Limits, Store, SweepParams, Swept};
use crate::{Error, FencingToken, Lease, Result};
use clock::Clock;
use lost_claims::{LostClaimGuard, LostClaims};

#[cfg(feature = "testing")]
pub use clock::TestClock;
pub(crate) use lost_claims::Recovered;
pub(crate) use settling::Settling;

/// An instrumented store: the store, and what every call of it needs.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch<S> {
    store: S,
    lost_claims: LostClaims,
    clock: Clock,
}

impl<S: Store> Dispatch<S> {
    pub(crate) fn new(store: S) -> Dispatch<S> {
        Dispatch { store, lost_claims: LostClaims::default(), clock: Clock::default() }
    }

    /// The same dispatch over separate connections, made on the current runtime. Both share the list of lost claims.
    pub(crate) async fn fork(&self) -> Result<Dispatch<S>> {
        let (lost_claims, clock) = (self.lost_claims.clone(), self.clock.clone());
        Ok(Dispatch { store: self.store.fork().await?, lost_claims, clock })
    }

    #[cfg(feature = "testing")]
    pub(crate) fn set_clock(&mut self, clock: TestClock) {
        self.clock.set(clock);
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
    /// If the answer is lost, the rows are looked up by the token at once and adopted. Rows that may be committed later
    /// are left to [`Dispatch::recover_lost_claims`]. A dropped future counts as a lost answer too.
    pub(crate) async fn claim_once(&self, claiming: &ClaimParams) -> Result<ClaimBatch<S::Row>> {
        claiming.holder.check()?;
        let claiming = &*self.clock.timed(claiming);
        let span = verb_span!(
            self,
            "claim",
            limit_items = claiming.limit,
            claimed_items = field::Empty,
            exhausted_items = field::Empty
        );
        let work = async {
            let guard = LostClaimGuard::new(&self.lost_claims, claiming.token, self.pipeline());
            match self.store.claim(claiming).await {
                Err(error) if error.may_have_been_applied() => {
                    let claimed = self.adopt(guard, claiming.token, error).await?;
                    Ok(ClaimBatch { claimed, may_have_more: true, ..ClaimBatch::default() })
                }
                answer => {
                    guard.disarm();
                    answer
                }
            }
        };
        let batch = within(span.clone(), work).await?;
        span.record("claimed_items", batch.claimed.len());
        span.record("exhausted_items", batch.exhausted.len());
        Ok(batch)
    }

    /// Claims, and tries again after a transient error that surely took nothing. Each attempt draws a new token.
    pub(crate) async fn claim(&self, mut claiming: ClaimParams) -> Result<ClaimBatch<S::Row>> {
        let mut attempts = Attempts::default();
        loop {
            match self.claim_once(&claiming).await {
                Err(error)
                    if passes_soon(&error) && !error.may_have_been_applied() && attempts.wait_for_another().await =>
                {
                    claiming.token = FencingToken::draw();
                }
                answer => return answer,
            }
        }
    }

    pub(crate) async fn renew(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let span = verb_span!(self, "renew", lease_items = leases.len());
        within(span, retrying(Resend::Always, || self.store.renew(leases, self.clock.now()))).await
    }

    pub(crate) async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let span = verb_span!(self, "read_leases", lease_items = leases.len());
        within(span, retrying(Resend::Always, || self.store.read_leases(leases))).await
    }

    /// Sweeps, and tries again after any transient error.
    pub(crate) async fn sweep(&self, sweeping: &SweepParams) -> Result<Swept> {
        retrying(Resend::Always, || self.sweep_once(sweeping)).await
    }

    /// Asks once for the turn to sweep.
    pub(crate) async fn sweep_turn_once(&self, every: Duration) -> Result<Duration> {
        within(verb_span!(self, "sweep_turn"), self.store.sweep_turn(every)).await
    }

    /// Sweeps once: a caller that may have been cut off has to check before each attempt whether it may sweep at all.
    pub(crate) async fn sweep_once(&self, sweeping: &SweepParams) -> Result<Swept> {
        let span = verb_span!(self, "sweep", limit_items = sweeping.limit, swept_items = field::Empty);
        let sweeping = &*self.clock.timed(sweeping);
        let swept = within(span.clone(), self.store.sweep(sweeping)).await?;
        span.record("swept_items", swept.items.len());
        Ok(swept)
    }
}

/// The transient errors after which a call is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resend {
    /// All: the call is idempotent.
    Always,
    /// Only those after which the call surely had no effect.
    IfNotApplied,
}

/// Whether another attempt within seconds may succeed. A server that has run out of connections stays so for longer,
/// and the caller should learn that at once.
fn passes_soon(error: &Error) -> bool {
    error.is_transient() && !matches!(error, Error::TooManyConnections { .. })
}

async fn retrying<T, F>(resend: Resend, call: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let may_be_sent_again =
        |error: &Error| passes_soon(error) && (resend == Resend::Always || !error.may_have_been_applied());
    let mut attempts = Attempts::default();
    loop {
        match call().await {
            Err(error) if may_be_sent_again(&error) && attempts.wait_for_another().await => {}
            answer => return answer,
        }
    }
}

/// The attempts of one call.
#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    backoff: RetryWait,
}

impl Attempts {
    /// Waits before the next attempt; returns false at once if none is left.
    async fn wait_for_another(&mut self) -> bool {
        self.failed += 1;
        if self.failed >= VERB_ATTEMPTS_MAX {
            return false;
        }
        self.backoff.wait().await;
        true
    }
}

/// Runs the work within the span, and records its duration.
async fn within<T>(span: Span, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = work.instrument(span.clone()).await;
    span.record("duration_ms", started.elapsed().as_secs_f64() * 1e3);
    answer
}
