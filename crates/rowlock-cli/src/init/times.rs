//! In which form a column holds times.

use chrono::{DateTime, NaiveDateTime};

use super::proposal::Confidence;
use crate::survey::{Database, Histogram, SurveyColumn, TypeKind};

/// How a column holds times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeForm {
    /// As the file names it; `None` for Rowlock's own.
    pub(super) form: Option<&'static str>,
    pub(super) confidence: Confidence,
    pub(super) evidence: Option<String>,
    pub(super) todo: Option<String>,
}

impl TimeForm {
    fn new(form: Option<&'static str>, evidence: impl Into<String>) -> TimeForm {
        TimeForm { form, confidence: Confidence::Likely, evidence: Some(evidence.into()), todo: None }
    }

    fn unknown(todo: impl Into<String>) -> TimeForm {
        TimeForm { form: None, confidence: Confidence::Guess, evidence: None, todo: Some(todo.into()) }
    }
}

/// Seconds between these are times from 1973 to 2286, and so are milliseconds between their thousandfolds.
const SECONDS: std::ops::Range<i64> = 100_000_000..10_000_000_000;

/// The form of a column of times; `None` if its type holds none.
pub(super) fn time_form(database: Database, column: &SurveyColumn) -> Option<TimeForm> {
    match (database, column.kind) {
        (Database::Postgres, TypeKind::Timestamptz) => {
            Some(TimeForm { form: None, confidence: Confidence::Certain, evidence: None, todo: None })
        }
        (Database::Postgres, TypeKind::Timestamp) => Some(TimeForm {
            form: Some("timestamp_utc"),
            confidence: Confidence::Likely,
            evidence: Some("the type has no time zone".to_owned()),
            todo: Some("confirm that it holds times in UTC: others would be off by hours".to_owned()),
        }),
        (_, TypeKind::SmallInt) => None,
        (_, kind) if kind.is_integer() => Some(numbers(column)),
        (Database::Sqlite, TypeKind::Timestamptz | TypeKind::Timestamp | TypeKind::Other) => Some(texts(column)),
        (Database::Sqlite, kind) if kind.is_text() => Some(texts(column)),
        (Database::Postgres, kind) if kind.is_text() => Some(TimeForm::unknown(
            "it holds times as text, which Rowlock does not write on PostgreSQL: a column of its own is added",
        )),
        _ => None,
    }
}

/// Whether integers are seconds or milliseconds, by their size.
fn numbers(column: &SurveyColumn) -> TimeForm {
    let nothing = Histogram::default();
    let values = column.values.as_ref().unwrap_or(&nothing);
    let mut numbers: Vec<i64> = values.texts().filter_map(|(text, _)| text.parse().ok()).filter(|n| *n > 0).collect();
    numbers.sort_unstable();
    let default = column.default.as_deref().unwrap_or_default().to_lowercase();
    let milliseconds = SECONDS.start * 1000..SECONDS.end * 1000;
    match numbers.get(numbers.len() / 2) {
        Some(number) if SECONDS.contains(number) => {
            TimeForm::new(Some("epoch_s"), format!("its values are seconds since 1970, as {number}"))
        }
        Some(number) if milliseconds.contains(number) => {
            TimeForm::new(Some("epoch_ms"), format!("its values are milliseconds since 1970, as {number}"))
        }
        Some(number) => TimeForm::unknown(format!(
            "{number} is neither seconds nor milliseconds since 1970: if it is a time, as = \"epoch_s\" or \"epoch_ms\""
        )),
        None if default.contains("'%s'") || default.contains("unixepoch()") => {
            TimeForm::new(Some("epoch_s"), "its default is in seconds since 1970")
        }
        None => TimeForm::unknown("no row has a value: seconds (as = \"epoch_s\") or milliseconds (\"epoch_ms\")?"),
    }
}

/// The format of texts, by their sample, else by the default.
fn texts(column: &SurveyColumn) -> TimeForm {
    let nothing = Histogram::default();
    let values: Vec<&str> = column.values.as_ref().unwrap_or(&nothing).texts().map(|(text, _)| text).collect();
    let values: Vec<&str> = values.into_iter().filter(|text| !text.is_empty()).collect();
    let Some(first) = values.first() else { return by_default(column) };
    if values.iter().all(|text| text.parse::<i64>().is_ok()) {
        return numbers(column);
    }
    let is_own = |text: &&&str| text.len() == 24 && text.ends_with('Z') && DateTime::parse_from_rfc3339(text).is_ok();
    let is_iso = |text: &&&str| {
        text.contains('T')
            && (DateTime::parse_from_rfc3339(text).is_ok()
                || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok())
    };
    let is_datetime = |text: &&&str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").is_ok();
    let count = values.len();
    if values.iter().filter(is_own).count() == count {
        TimeForm::new(None, format!("its values are written as Rowlock writes times: {first}"))
    } else if values.iter().filter(is_datetime).count() == count {
        TimeForm::new(Some("sqlite_datetime"), format!("its values are written as datetime() does: {first}"))
    } else if values.iter().filter(is_iso).count() == count {
        let form = TimeForm::new(Some("iso_text"), format!("its values are in ISO 8601: {first}"));
        let is_zoned = values.iter().all(|text| text.ends_with('Z') || text.ends_with("+00:00"));
        TimeForm { todo: (!is_zoned).then(|| "confirm that they are times in UTC".to_owned()), ..form }
    } else {
        TimeForm::unknown(format!(
            "its values, as {first}, are not all in one format: texts of two formats do not compare as times do"
        ))
    }
}

fn by_default(column: &SurveyColumn) -> TimeForm {
    let default = column.default.as_deref().unwrap_or_default().to_lowercase();
    if default.contains("current_timestamp") || default.contains("datetime(") {
        TimeForm::new(Some("sqlite_datetime"), "its default is written so")
    } else if default.contains("%y-%m-%dt%h:%m:%fz") {
        TimeForm::new(None, "its default is written as Rowlock writes times")
    } else {
        TimeForm::unknown("no row has a value: as = \"iso_text\" (2026-01-31T12:00:00Z) or \"sqlite_datetime\"?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: TypeKind, values: &[&str]) -> SurveyColumn {
        let values = values.iter().map(|value| (Some((*value).to_owned()), 1)).collect();
        let histogram = Histogram { sampled: 10, values, ..Histogram::default() };
        SurveyColumn { values: Some(histogram), ..SurveyColumn::new("c", "", kind) }
    }

    fn form_of(database: Database, kind: TypeKind, values: &[&str]) -> (Option<&'static str>, bool) {
        let form = time_form(database, &column(kind, values)).unwrap();
        (form.form, form.confidence >= Confidence::Likely)
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart_by_their_size() {
        let of = |values: &[&str]| form_of(Database::Postgres, TypeKind::BigInt, values);
        assert_eq!(of(&["0", "1700000000", "4000000000"]), (Some("epoch_s"), true));
        assert_eq!(of(&["1700000000123"]), (Some("epoch_ms"), true));
        assert_eq!(of(&["17"]), (None, false));
        assert_eq!(of(&["0"]), (None, false));
    }

    #[test]
    fn texts_are_told_apart_by_their_format() {
        let of = |values: &[&str]| form_of(Database::Sqlite, TypeKind::Text, values);
        assert_eq!(of(&["2026-01-31 12:00:00"]), (Some("sqlite_datetime"), true));
        assert_eq!(of(&["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+00:00"]), (Some("iso_text"), true));
        assert_eq!(of(&["2026-01-31T12:00:00.123Z"]), (None, true));
        assert_eq!(of(&["2026-01-31T12:00:00Z", "2026-01-31 12:00:00"]), (None, false));
        assert_eq!(of(&["1700000000"]), (Some("epoch_s"), true));
    }

    #[test]
    fn a_timestamp_without_zone_is_taken_for_utc_and_asked_about() {
        let form = time_form(Database::Postgres, &column(TypeKind::Timestamp, &[])).unwrap();
        assert_eq!(form.form, Some("timestamp_utc"));
        assert!(form.todo.is_some());
    }
}
