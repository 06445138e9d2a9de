//! Times as the table holds them: text that sorts as the times do. `read_time.sql` reads times that others wrote.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

/// The latest time that sorts as text.
const LATEST: &str = "9999-12-31T23:59:59.999Z";

/// The result of `read_time.sql` for an unreadable time.
pub(super) const NEVER: &str = "never";

/// A time as `read_time.sql` read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Missing,
    Unreadable,
    At(DateTime<Utc>),
}

impl Reading {
    pub(super) fn of(read: Option<&str>) -> Reading {
        match read {
            None => Reading::Missing,
            Some(NEVER) => Reading::Unreadable,
            // Before the first year: an offset can lead there.
            Some(read) if read.starts_with('-') => Reading::At(DateTime::<Utc>::MIN_UTC),
            Some(read) => parse(read).map_or(Reading::Unreadable, Reading::At),
        }
    }

    pub(super) fn at(self) -> Option<DateTime<Utc>> {
        match self {
            Reading::At(at) => Some(at),
            Reading::Missing | Reading::Unreadable => None,
        }
    }
}

/// The form that SQLite's `strftime('%Y-%m-%dT%H:%M:%fZ')` writes: milliseconds, truncated.
pub(super) fn format(time: DateTime<Utc>) -> String {
    use chrono::Datelike as _;
    match time.year() {
        ..0 => "0000-01-01T00:00:00.000Z".to_owned(),
        0..=9999 => time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        _ => LATEST.to_owned(),
    }
}

/// The time that a text of the table stands for. It also reads the forms that SQLite's own functions write, because
/// `created_at` may be the user's; `None` for anything else: a bad time must not hide its row.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    // SQLite has an hour 24.
    if let Some(next_day) = text.get(10..13).filter(|hour| *hour == "T24") {
        return parse(&text.replacen(next_day, "T00", 1))?.checked_add_signed(TimeDelta::days(1));
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|time| time.and_utc())
}

/// The time this long before another, or the earliest time.
pub(super) fn before(time: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    time.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// The time this long after another, or the latest time. Never too early: a part of a millisecond counts as a whole
/// one.
pub(super) fn after(time: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = TimeDelta::try_milliseconds(milliseconds(wait)).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Rounded up, so that nothing is due before its time.
pub(super) fn milliseconds(wait: Duration) -> i64 {
    /// Longer than all representable time, and far from any overflow.
    const LONGEST: u128 = 1_000_000_000_000_000;
    i64::try_from(wait.as_nanos().div_ceil(1_000_000).min(LONGEST)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_sqlite_writes_it_and_read_back() {
        let time = DateTime::from_timestamp_millis(1_790_000_000_123).expect("a time");
        assert_eq!(format(time), "2026-09-21T14:13:20.123Z");
        assert_eq!(parse(&format(time)), Some(time));
        assert_eq!(parse("2026-09-21 14:13:20"), DateTime::from_timestamp(1_790_000_000, 0));
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn times_beyond_the_format_are_its_ends() {
        assert_eq!(format(DateTime::<Utc>::MAX_UTC), LATEST);
        assert!(format(DateTime::<Utc>::MIN_UTC) < format(DateTime::UNIX_EPOCH));
        assert_eq!(format(after(DateTime::UNIX_EPOCH, Duration::MAX)), LATEST);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
    }
}
