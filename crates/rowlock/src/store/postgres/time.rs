//! Times as the server has them: including infinite ones, and those that chrono cannot represent.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Type};

/// The first second of year 1. An earlier time is read, and sent, as this.
pub(super) const TIME_MIN: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).expect("a time of chrono's");

/// The last second of year 9999. A later time is read as this: it is never due.
pub(super) const TIME_MAX: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("a time of chrono's");

/// The server's epoch: the first second of year 2000.
const EPOCH: DateTime<Utc> = DateTime::from_timestamp(946_684_800, 0).expect("a time of chrono's");

/// A time between [`TIME_MIN`] and [`TIME_MAX`]. The driver panics for times that chrono cannot represent, `infinity`
/// above all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) DateTime<Utc>);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }

    fn compatible(other: &PgTypeInfo) -> bool {
        <DateTime<Utc> as Type<Postgres>>::compatible(other) || <NaiveDateTime as Type<Postgres>>::compatible(other)
    }
}

impl Decode<'_, Postgres> for Time {
    fn decode(value: PgValueRef<'_>) -> Result<Time, BoxDynError> {
        let time = match value.format() {
            PgValueFormat::Binary => after_epoch(i64::from_be_bytes(value.as_bytes()?.try_into()?)),
            PgValueFormat::Text => match value.as_str()? {
                "infinity" => TIME_MAX,
                "-infinity" => TIME_MIN,
                _ => <DateTime<Utc> as Decode<Postgres>>::decode(value)?,
            },
        };
        Ok(Time(time.clamp(TIME_MIN, TIME_MAX)))
    }
}

fn after_epoch(micros: i64) -> DateTime<Utc> {
    let limit = if micros < 0 { TIME_MIN } else { TIME_MAX };
    EPOCH.checked_add_signed(TimeDelta::microseconds(micros)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chrono_does_not_reach_is_at_a_limit() {
        assert_eq!(after_epoch(0).to_rfc3339(), "2000-01-01T00:00:00+00:00");
        assert_eq!(after_epoch(-1).to_rfc3339(), "1999-12-31T23:59:59.999999+00:00");
        assert_eq!(after_epoch(i64::MAX), TIME_MAX);
        assert_eq!(after_epoch(i64::MIN), TIME_MIN);
        assert_eq!(TIME_MIN.to_rfc3339(), "0001-01-01T00:00:00+00:00");
        assert_eq!(TIME_MAX.to_rfc3339(), "9999-12-31T23:59:59+00:00");
    }
}
