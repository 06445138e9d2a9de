//! Clock-step detector: compares how far the database's clock and this process's clock advanced between two answers.
//! Pure.
//!
//! The clock of a machine stands still while the machine is suspended, so it does not show the suspend; nor does it
//! show that the database's clock was set. In both cases every heartbeat in the table looks older, or younger, than the
//! time for which its holder has been silent.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The database's time, with this process's times of the question and of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) time: DateTime<Utc>,
    pub(crate) asked_at: Instant,
    pub(crate) answered_at: Instant,
}

/// Compares the two clocks over the last one to two heartbeat intervals: small steps add up until the next renewal.
#[derive(Debug)]
pub(crate) struct Clocks {
    bearable: Duration,
    before: Option<Reading>,
    last: Option<Reading>,
}

impl Clocks {
    pub(crate) fn new(bearable: Duration) -> Clocks {
        Clocks { bearable, before: None, last: None }
    }

    /// How much further the database's clock went than this one, if that is more than the tolerance; less than zero if
    /// it went less far. A result starts the comparison anew.
    pub(crate) fn compare(&mut self, now: Reading) -> Option<TimeDelta> {
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

    const INTERVAL: Duration = Duration::from_secs(100);

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
        (Machine { started_at: Instant::now() }, Clocks::new(INTERVAL))
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
