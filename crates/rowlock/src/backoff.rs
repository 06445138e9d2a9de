//! The wait before another attempt: doubled each time, with jitter.

use std::time::Duration;

use rand::RngExt;

use crate::limits::{VERB_BACKOFF_MAX, VERB_BACKOFF_MIN};

/// Doubling waits, each with full jitter on its upper half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryWait {
    next: Duration,
    max: Duration,
}

impl Default for RetryWait {
    fn default() -> Self {
        RetryWait::between(VERB_BACKOFF_MIN, VERB_BACKOFF_MAX)
    }
}

impl RetryWait {
    /// Waits from the first duration up to the second.
    pub(crate) fn between(min: Duration, max: Duration) -> RetryWait {
        RetryWait { next: min, max }
    }

    /// The next wait; the one after it is twice as long, up to a limit.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = self.next.saturating_mul(2).min(self.max);
        wait
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_limit_and_stays_within_the_upper_half() {
        let mut backoff = RetryWait::default();
        let mut expected = VERB_BACKOFF_MIN;
        for _ in 0..20 {
            let wait = backoff.next();
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?} for {expected:?}");
            expected = (expected * 2).min(VERB_BACKOFF_MAX);
        }
    }
}
