//! Times as the table holds them: text in one format, compared only with itself.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

/// The latest time that sorts as text.
const LATEST: &str = "9999-12-31T23:59:59.999Z";

/// What SQLite writes as `strftime('%Y-%m-%dT%H:%M:%fZ')`: milliseconds, cut off.
pub(super) fn format(time: DateTime<Utc>) -> String {
    use chrono::Datelike as _;
    match time.year() {
        ..0 => "0000-01-01T00:00:00.000Z".to_owned(),
        0..=9999 => time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        _ => LATEST.to_owned(),
    }
}

/// The time that a text of the table stands for. Also the forms that SQLite's own functions write, since
/// `created_at` may be the user's; `None` for anything else: a bad time must not hide its row.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|time| time.and_utc())
}

/// A time this long before another, or the earliest there is.
pub(super) fn before(time: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    time.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// A time this long after another, or the latest there is. Never too early: a part of a millisecond counts as one.
pub(super) fn after(time: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = TimeDelta::try_milliseconds(milliseconds(wait)).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Rounded up, so that nothing is due before its time.
pub(super) fn milliseconds(wait: Duration) -> i64 {
    /// Longer than all the time there is, and far from overflowing anything.
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
