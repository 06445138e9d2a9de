//! Disruptions: when the database last answered, and what an outage, a step of its clock, or a standstill of this
//! process means for the sweep. Each makes the leases of living workers look stale.

use std::cell::{RefCell, RefMut};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::leases::Respite;

/// When the database last answered.
#[derive(Debug)]
pub(crate) struct DisruptionDetector {
    stale_after: Duration,
    heartbeat_interval: Duration,
    state: RefCell<DisruptionState>,
}

#[derive(Debug)]
struct DisruptionState {
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
        let state = DisruptionState {
            answered_at: now,
            failing: false,
            takes_no_writes: false,
            sweep_from: now,
            clocks,
            parted_at: None,
            ran_at: None,
            woke_at: None,
        };
        DisruptionDetector { stale_after, heartbeat_interval, state: RefCell::new(state) }
    }

    /// A call that may only have read succeeded. After an outage in which others may have missed renewals, living
    /// workers get one heartbeat interval to renew their leases before this worker sweeps.
    pub(crate) fn answered(&self, now: Instant) {
        let mut state = self.state_mut();
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
        self.state_mut().takes_no_writes = false;
        self.answered(now);
    }

    /// The database told its time. If its clock and this one went apart by more than a heartbeat interval (the machine
    /// was suspended, or a clock was set), that counts as an outage: the leases of living workers look older than the
    /// time for which these have been silent. So all renew first, and this worker sweeps one interval later.
    pub(crate) fn told_time(&self, reading: Reading) {
        let now = reading.answered_at;
        self.answered(now);
        let mut state = self.state_mut();
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
        let mut state = self.state_mut();
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
        let since = self.state_mut().woke_at?;
        Some(Respite { since, until: since + self.heartbeat_interval })
    }

    /// Leases that were renewed before this time are to be renewed at once.
    pub(crate) fn parted_at(&self) -> Option<Instant> {
        self.state_mut().parted_at
    }

    /// A call met an error that will pass.
    pub(crate) fn failed(&self) {
        self.state_mut().failing = true;
    }

    /// A call that writes was refused because the database is read-only at the moment, as in a fail-over.
    pub(crate) fn refused_writes(&self) {
        let mut state = self.state_mut();
        (state.failing, state.takes_no_writes) = (true, true);
    }

    /// How long the sweep has to wait; `None` while the database has not answered for so long that another call must
    /// get through first.
    pub(crate) fn sweep_in(&self, now: Instant) -> Option<Duration> {
        let state = self.state_mut();
        if self.is_cut_off(&state, now) {
            return None;
        }
        Some(state.sweep_from.saturating_duration_since(now))
    }

    /// Whether leases of living workers may expire although these tried to renew them. In an outage, that is after one
    /// interval: the next renewal was missed. Without errors this worker only asked for nothing, and whether there was
    /// an outage is unknown; then it is when a lease that was renewed just before would be about to expire.
    fn is_cut_off(&self, state: &DisruptionState, now: Instant) -> bool {
        let unanswered_for = now.saturating_duration_since(state.answered_at);
        let bearable = if state.failing { self.heartbeat_interval } else { self.stale_after - self.heartbeat_interval };
        unanswered_for > bearable
    }

    fn state_mut(&self) -> RefMut<'_, DisruptionState> {
        self.state.borrow_mut()
    }
}

/// The database's time, with this process's times of the question and of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) time: DateTime<Utc>,
    pub(crate) asked_at: Instant,
    pub(crate) answered_at: Instant,
}

/// Clock-step detector: compares how far the database's clock and this process's clock advanced over the last one to
/// two heartbeat intervals; small steps add up until the next renewal. Pure.
///
/// The clock of a machine stands still while the machine is suspended, so it does not show the suspend; nor does it
/// show that the database's clock was set. In both cases every heartbeat in the table looks older, or younger, than the
/// time for which its holder has been silent.
#[derive(Debug)]
struct Clocks {
    bearable: Duration,
    before: Option<Reading>,
    last: Option<Reading>,
}

impl Clocks {
    fn new(bearable: Duration) -> Clocks {
        Clocks { bearable, before: None, last: None }
    }

    /// How much further the database's clock went than this one, if that is more than the tolerance; less than zero if
    /// it went less far. A result starts the comparison anew.
    fn compare(&mut self, now: Reading) -> Option<TimeDelta> {
        let bearable = TimeDelta::from_std(self.bearable).unwrap_or(TimeDelta::MAX);
        let parted = |since: &Reading| Some(since.surplus(&now)).filter(|surplus| surplus.abs() > bearable);
        let surplus = self.before.as_ref().and_then(parted).or_else(|| self.last.as_ref().and_then(parted));
        if surplus.is_some() {
            self.before = None;
            self.last = Some(now);
        } else if self.last.is_none_or(|last| now.asked_at.saturating_duration_since(last.answered_at) > self.bearable)
        {
            self.before = self.last;
            self.last = Some(now);
        }
        surplus
    }
}

impl Reading {
    /// How much more time passed for the database than can have passed here, less than zero if it was less; zero if
    /// both may have passed equally.
    fn surplus(&self, later: &Reading) -> TimeDelta {
        let passed = later.time - self.time;
        let delta = |duration| TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
        let least = delta(later.asked_at.saturating_duration_since(self.answered_at));
        let most = delta(later.answered_at.saturating_duration_since(self.asked_at));
        if passed > most {
            passed - most
        } else if passed < least {
            passed - least
        } else {
            TimeDelta::zero()
        }
    }
}

#[cfg(test)]
mod tests {
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

    const BEARABLE: Duration = Duration::from_secs(100);

    struct Machine {
        started_at: Instant,
    }

    impl Machine {
        /// A reading this many seconds after the start, by this clock and by the database's.
        fn read(&self, here_secs: u64, there_secs: i64) -> Reading {
            let at = self.started_at + Duration::from_secs(here_secs);
            let time = DateTime::from_timestamp(1_800_000_000 + there_secs, 0).expect("a time");
            Reading { time, asked_at: at, answered_at: at }
        }
    }

    fn machine() -> (Machine, Clocks) {
        (Machine { started_at: Instant::now() }, Clocks::new(BEARABLE))
    }

    #[test]
    fn clocks_that_go_alike_never_part() {
        let (machine, mut clocks) = machine();
        for secs in 0..5_000_u32 {
            // A clock that is off by a tenth of a second per minute, which is worse than any real one.
            let there_secs = i64::from(secs) + i64::from(secs) / 600;
            assert_eq!(clocks.compare(machine.read(secs.into(), there_secs)), None);
        }
    }

    #[test]
    fn a_step_beyond_an_interval_is_told_once_in_both_directions() {
        for step_secs in [101, 3_600, -101, -3_600_000] {
            let (machine, mut clocks) = machine();
            assert_eq!(clocks.compare(machine.read(0, 0)), None);
            assert_eq!(clocks.compare(machine.read(30, 30)), None);
            let stepped = clocks.compare(machine.read(60, 60 + step_secs));
            assert_eq!(stepped, Some(TimeDelta::seconds(step_secs)));
            assert_eq!(clocks.compare(machine.read(90, 90 + step_secs)), None);
        }
        let (machine, mut clocks) = machine();
        assert_eq!(clocks.compare(machine.read(0, 0)), None);
        assert_eq!(clocks.compare(machine.read(30, 130)), None, "a lease outlives that");
    }

    #[test]
    fn several_short_suspends_between_two_renewals_are_one() {
        let (machine, mut clocks) = machine();
        let (mut here_secs, mut there_secs) = (0, 0);
        let mut parted = false;
        for _ in 0..4 {
            parted |= clocks.compare(machine.read(here_secs, there_secs)).is_some();
            here_secs += 30;
            there_secs += 30 + 60;
        }
        assert!(parted, "a lease would have got {there_secs} s old, and its holder {here_secs} s");
    }

    #[test]
    fn an_answer_that_was_long_under_way_proves_nothing() {
        let (machine, mut clocks) = machine();
        assert_eq!(clocks.compare(machine.read(0, 0)), None);
        let slow = Reading { answered_at: machine.started_at + Duration::from_secs(700), ..machine.read(10, 700) };
        assert_eq!(clocks.compare(slow), None);
    }

    #[test]
    fn the_ends_of_all_time_are_compared_without_an_overflow() {
        let (machine, mut clocks) = machine();
        let at = |time| Reading { time, ..machine.read(0, 0) };
        assert_eq!(clocks.compare(at(DateTime::<Utc>::MIN_UTC)), None);
        assert!(clocks.compare(at(DateTime::<Utc>::MAX_UTC)).is_some());
    }
}
