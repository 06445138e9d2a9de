//! When the database answered last, and what an outage means for the sweep.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When the database answered last.
#[derive(Debug)]
pub(crate) struct Pulse {
    stale_after: Duration,
    heartbeat_interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    answered_at: Instant,
    sweep_from: Instant,
}

impl Pulse {
    pub(crate) fn new(stale_after: Duration, heartbeat_interval: Duration, now: Instant) -> Pulse {
        let state = State { answered_at: now, sweep_from: now };
        Pulse { stale_after, heartbeat_interval, state: Mutex::new(state) }
    }

    /// A call succeeded. After an outage of more than `stale_after` the living get one heartbeat interval to renew
    /// their leases before this worker sweeps.
    pub(crate) fn answered(&self, now: Instant) {
        let mut state = self.locked();
        if now.saturating_duration_since(state.answered_at) > self.stale_after {
            state.sweep_from = now + self.heartbeat_interval;
        }
        state.answered_at = state.answered_at.max(now);
    }

    /// How long the sweep has to wait; `None` while the database has not answered for so long that another call
    /// must get through first.
    pub(crate) fn sweep_in(&self, now: Instant) -> Option<Duration> {
        let state = self.locked();
        if now.saturating_duration_since(state.answered_at) > self.stale_after {
            return None;
        }
        Some(state.sweep_from.saturating_duration_since(now))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(30);
    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn after_an_outage_the_sweep_waits_one_heartbeat_interval() {
        let start = Instant::now();
        let pulse = Pulse::new(STALE, INTERVAL, start);
        assert_eq!(pulse.sweep_in(start), Some(Duration::ZERO));
        let after = start + Duration::from_secs(31);
        assert_eq!(pulse.sweep_in(after), None);
        pulse.answered(after);
        assert_eq!(pulse.sweep_in(after), Some(INTERVAL));
        assert_eq!(pulse.sweep_in(after + INTERVAL), Some(Duration::ZERO));
    }

    #[test]
    fn a_short_outage_does_not_delay_the_sweep() {
        let start = Instant::now();
        let pulse = Pulse::new(STALE, INTERVAL, start);
        pulse.answered(start + Duration::from_secs(29));
        assert_eq!(pulse.sweep_in(start + Duration::from_secs(29)), Some(Duration::ZERO));
    }
}
