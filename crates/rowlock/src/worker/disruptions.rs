//! Outage and clock-step detector: when the database last answered, and what an outage, a step of its clock, or a
//! standstill of this process means for the sweep.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::clock::{Clocks, Reading};
use super::leases::Respite;

/// When the database last answered.
#[derive(Debug)]
pub(crate) struct DisruptionDetector {
    stale_after: Duration,
    heartbeat_interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    answered_at: Instant,
    /// Whether a call has failed since, with an error that will pass.
    failing: bool,
    /// Whether it takes no writes at the moment: its answers to reads then say nothing about renewals.
    takes_no_writes: bool,
    sweep_from: Instant,
    clocks: Clocks,
    /// When the database's clock and this one were last found to have gone apart, or this process to have stood still.
    parted_at: Option<Instant>,
    /// When this process was last seen running.
    ran_at: Option<Instant>,
    /// When it was last found to have stood still.
    woke_at: Option<Instant>,
}

impl DisruptionDetector {
    pub(crate) fn new(stale_after: Duration, heartbeat_interval: Duration, now: Instant) -> DisruptionDetector {
        let clocks = Clocks::new(heartbeat_interval);
        let state = State {
            answered_at: now,
            failing: false,
            takes_no_writes: false,
            sweep_from: now,
            clocks,
            parted_at: None,
            ran_at: None,
            woke_at: None,
        };
        DisruptionDetector { stale_after, heartbeat_interval, state: Mutex::new(state) }
    }

    /// A call that may only have read succeeded. After an outage in which others may have missed renewals, living
    /// workers get one heartbeat interval to renew their leases before this worker sweeps.
    pub(crate) fn answered(&self, now: Instant) {
        let mut state = self.locked();
        if state.takes_no_writes {
            return;
        }
        if self.is_cut_off(&state, now) {
            state.sweep_from = now + self.heartbeat_interval;
        }
        state.answered_at = state.answered_at.max(now);
        state.failing = false;
    }

    /// A call that writes succeeded.
    pub(crate) fn wrote(&self, now: Instant) {
        self.locked().takes_no_writes = false;
        self.answered(now);
    }

    /// The database told its time. If its clock and this one went apart by more than a heartbeat interval (the machine
    /// was suspended, or a clock was set), that counts as an outage: the leases of living workers look older than the
    /// time for which these have been silent. So all renew first, and this worker sweeps one interval later.
    pub(crate) fn told_time(&self, reading: Reading) {
        let now = reading.answered_at;
        self.answered(now);
        let mut state = self.locked();
        if let Some(surplus) = state.clocks.compare(reading) {
            state.parted_at = Some(now);
            state.sweep_from = now + self.heartbeat_interval;
            tracing::warn!(
                surplus_s = surplus.num_seconds(),
                "the database's clock and this machine's went apart: the machine was suspended, or a clock was set; \
                 leases are renewed before the next sweep"
            );
        }
    }

    /// Called with every tick: this process runs. Returns how long it stood still before, if that is so long that the
    /// next renewal may come too late: the process was stopped, or its machine was. Others may have been stopped as
    /// well, so all renew first, and this worker sweeps one interval later.
    pub(crate) fn runs(&self, now: Instant) -> Option<Duration> {
        let mut state = self.locked();
        let before = state.ran_at.replace(now)?;
        let stood_still = now.saturating_duration_since(before);
        if stood_still <= (self.stale_after - self.heartbeat_interval) / 2 {
            return None;
        }
        state.woke_at = Some(now);
        state.parted_at = Some(now);
        state.sweep_from = now + self.heartbeat_interval;
        Some(stood_still)
    }

    /// The respite of leases that are older than they may be because this process stood still.
    pub(crate) fn respite(&self) -> Option<Respite> {
        let since = self.locked().woke_at?;
        Some(Respite { since, until: since + self.heartbeat_interval })
    }

    /// Leases that were renewed before this time are to be renewed at once.
    pub(crate) fn parted_at(&self) -> Option<Instant> {
        self.locked().parted_at
    }

    /// A call met an error that will pass.
    pub(crate) fn failed(&self) {
        self.locked().failing = true;
    }

    /// A call that writes was refused because the database is read-only at the moment, as in a fail-over.
    pub(crate) fn refused_writes(&self) {
        let mut state = self.locked();
        (state.failing, state.takes_no_writes) = (true, true);
    }

    /// How long the sweep has to wait; `None` while the database has not answered for so long that another call must
    /// get through first.
    pub(crate) fn sweep_in(&self, now: Instant) -> Option<Duration> {
        let state = self.locked();
        if self.is_cut_off(&state, now) {
            return None;
        }
        Some(state.sweep_from.saturating_duration_since(now))
    }

    /// Whether leases of living workers may expire although these tried to renew them. In an outage, that is after one
    /// interval: the next renewal was missed. Without errors this worker only asked for nothing, and whether there was
    /// an outage is unknown; then it is when a lease that was renewed just before would be about to expire.
    fn is_cut_off(&self, state: &State, now: Instant) -> bool {
        let unanswered_for = now.saturating_duration_since(state.answered_at);
        let bearable = if state.failing { self.heartbeat_interval } else { self.stale_after - self.heartbeat_interval };
        unanswered_for > bearable
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    const STALE: Duration = Duration::from_secs(30);
    const INTERVAL: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn after_an_outage_of_more_than_a_heartbeat_interval_the_sweep_waits_for_one() {
        let start = Instant::now();
        let disruptions = DisruptionDetector::new(STALE, INTERVAL, start);
        assert_eq!(disruptions.sweep_in(start), Some(Duration::ZERO));
        disruptions.failed();
        let after = start + INTERVAL + SECOND;
        assert_eq!(disruptions.sweep_in(after), None);
        disruptions.answered(after);
        assert_eq!(disruptions.sweep_in(after), Some(INTERVAL));
        assert_eq!(disruptions.sweep_in(after + INTERVAL), Some(Duration::ZERO));
    }

    #[test]
    fn after_a_step_of_the_databases_clock_leases_are_renewed_and_the_sweep_waits() {
        for step_secs in [11, -3_600] {
            let start = Instant::now();
            let disruptions = DisruptionDetector::new(STALE, INTERVAL, start);
            let time = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
            disruptions.told_time(Reading { time, asked_at: start, answered_at: start });
            assert_eq!((disruptions.sweep_in(start), disruptions.parted_at()), (Some(Duration::ZERO), None));
            let after = start + SECOND;
            let stepped = time + TimeDelta::seconds(step_secs + 1);
            disruptions.told_time(Reading { time: stepped, asked_at: after, answered_at: after });
            assert_eq!((disruptions.sweep_in(after), disruptions.parted_at()), (Some(INTERVAL), Some(after)));
            assert_eq!(disruptions.sweep_in(after + INTERVAL), Some(Duration::ZERO));
        }
    }

    #[test]
    fn after_this_process_stood_still_leases_are_renewed_and_the_sweep_waits() {
        let start = Instant::now();
        let disruptions = DisruptionDetector::new(STALE, INTERVAL, start);
        assert_eq!(disruptions.runs(start + 2 * STALE), None, "it had not begun to tick");
        let start = start + 2 * STALE;
        disruptions.answered(start);
        assert_eq!(disruptions.runs(start + INTERVAL), None, "a renewal comes in time");
        assert_eq!((disruptions.parted_at(), disruptions.respite().is_none()), (None, true));
        let after = start + 2 * INTERVAL + SECOND;
        assert_eq!(disruptions.runs(after), Some(INTERVAL + SECOND));
        disruptions.answered(after);
        assert_eq!((disruptions.sweep_in(after), disruptions.parted_at()), (Some(INTERVAL), Some(after)));
        let respite = disruptions.respite().expect("it stood still");
        assert_eq!((respite.since, respite.until), (after, after + INTERVAL));
        assert_eq!(disruptions.runs(after + SECOND), None, "it is told once");
    }

    #[test]
    fn while_the_database_may_only_be_read_its_answers_end_no_outage() {
        let start = Instant::now();
        let disruptions = DisruptionDetector::new(STALE, INTERVAL, start);
        disruptions.refused_writes();
        let after = start + INTERVAL + SECOND;
        disruptions.answered(after);
        let time = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        disruptions.told_time(Reading { time, asked_at: after, answered_at: after });
        assert_eq!(disruptions.sweep_in(after), None);
        disruptions.wrote(after + SECOND);
        assert_eq!(disruptions.sweep_in(after + SECOND), Some(INTERVAL));
        disruptions.answered(after + SECOND + INTERVAL);
        assert_eq!(disruptions.sweep_in(after + SECOND + INTERVAL), Some(Duration::ZERO));
    }

    #[test]
    fn a_short_outage_does_not_delay_the_sweep() {
        let start = Instant::now();
        let disruptions = DisruptionDetector::new(STALE, INTERVAL, start);
        disruptions.failed();
        disruptions.answered(start + INTERVAL);
        assert_eq!(disruptions.sweep_in(start + INTERVAL), Some(Duration::ZERO));
    }

    #[test]
    fn a_worker_that_asked_for_nothing_was_not_cut_off_until_leases_could_have_run_out() {
        let start = Instant::now();
        let disruptions = DisruptionDetector::new(STALE, INTERVAL, start);
        assert_eq!(disruptions.sweep_in(start + 2 * INTERVAL), Some(Duration::ZERO));
        let later = start + 2 * INTERVAL + SECOND;
        assert_eq!(disruptions.sweep_in(later), None);
        disruptions.answered(later);
        assert_eq!(disruptions.sweep_in(later), Some(INTERVAL));
    }
}
