//! How long a failed item waits.

use std::time::Duration;

use crate::limits::{RETRY_DELAY_MAX, RETRY_TABLE_ATTEMPTS_MAX};

/// How the delay grows with the retry count.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Backoff {
    /// The same delay each time.
    Constant(Duration),
    /// `min(base · 2^n, cap)`, where n is the retry count after the failure.
    Exponential {
        /// The delay that is doubled.
        base: Duration,
        /// The longest delay.
        cap: Duration,
    },
    /// One delay for each attempt; the last one is repeated.
    Listed(Vec<Duration>),
}

/// How long an item waits after a failure that is worth retrying.
///
/// `delay = backoff(n)`, then uniform jitter of ± `jitter` of it, then never below `floor`; n is the retry count after
/// this failure. The policy is tabulated once and bound to the statement as an array: the database picks the delay and
/// applies jitter and floor, in the same statement that counts the failure.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    pub(super) backoff: Backoff,
    pub(super) jitter: f64,
    pub(super) floor: Duration,
}

impl Default for RetryPolicy {
    /// Exponential from 60 s, at most an hour, ±25 %, at least 60 s.
    fn default() -> RetryPolicy {
        RetryPolicy::exponential(Duration::from_secs(60), Duration::from_secs(3600)).with_floor(Duration::from_secs(60))
    }
}

impl RetryPolicy {
    /// `min(base · 2^n, cap)`, ±25 %.
    pub fn exponential(base: Duration, cap: Duration) -> RetryPolicy {
        RetryPolicy::new(Backoff::Exponential { base, cap })
    }

    /// The same delay each time, ±25 %.
    pub fn constant(delay: Duration) -> RetryPolicy {
        RetryPolicy::new(Backoff::Constant(delay))
    }

    /// One delay for each attempt, ±25 %; the last one is repeated.
    pub fn listed(delays: impl Into<Vec<Duration>>) -> RetryPolicy {
        RetryPolicy::new(Backoff::Listed(delays.into()))
    }

    fn new(backoff: Backoff) -> RetryPolicy {
        RetryPolicy { backoff, jitter: 0.25, floor: Duration::ZERO }
    }

    /// The share of the delay by which it is lengthened or shortened at random, 0 to 1.
    pub fn with_jitter(mut self, share: f64) -> RetryPolicy {
        self.jitter = share;
        self
    }

    /// The shortest delay, applied after the jitter.
    pub fn with_floor(mut self, floor: Duration) -> RetryPolicy {
        self.floor = floor;
        self
    }

    /// How the delay grows.
    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// The share of the delay that jitter adds or subtracts.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The shortest delay.
    pub fn floor(&self) -> Duration {
        self.floor
    }

    /// The delay after the n-th failure, before jitter and floor. Saturates: it is right for any n.
    pub fn delay(&self, retry_count: u32) -> Duration {
        let delay = match &self.backoff {
            Backoff::Constant(delay) => *delay,
            Backoff::Exponential { base, cap } => match 1_u32.checked_shl(retry_count) {
                Some(factor) => base.saturating_mul(factor).min(*cap),
                None if base.is_zero() => Duration::ZERO,
                None => *cap,
            },
            Backoff::Listed(delays) => {
                let attempt = usize::try_from(retry_count.max(1) - 1).unwrap_or(usize::MAX);
                delays[attempt.min(delays.len() - 1)]
            }
        };
        delay.min(RETRY_DELAY_MAX)
    }

    /// The delays in seconds after the first, second, … failure, for each attempt in the table.
    pub fn table(&self) -> [f64; RETRY_TABLE_ATTEMPTS_MAX] {
        std::array::from_fn(|attempt| self.delay(u32::try_from(attempt).unwrap_or(u32::MAX) + 1).as_secs_f64())
    }
}
