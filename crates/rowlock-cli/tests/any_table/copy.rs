//! The proof: a full copy of every row before and after, compared column by column with what was intended.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};

/// A row's key, column by column.
pub(crate) type Key = Vec<Option<String>>;

/// Every row of a table: each value as its database shows it, `None` for null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullCopy {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: BTreeMap<Key, Vec<Option<String>>>,
}

/// What must be in a column afterwards. A column without an intent must be as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// This value.
    Is(Option<String>),
    /// A time between the two.
    IsNow,
    /// Another value than before, and not null.
    IsAnother,
}

/// What is intended for each row: its columns that may differ.
pub(crate) type Intents = BTreeMap<Key, BTreeMap<String, Intent>>;

/// The time during which the drain ran, by the database's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

/// Each difference from what was intended, in words; none if all is as intended.
pub(crate) fn differences(before: &FullCopy, after: &FullCopy, intents: &Intents, during: Span) -> Vec<String> {
    let mut found = Vec::new();
    for column in before.columns.iter().filter(|column| !after.columns.contains(column)) {
        found.push(format!("column {column} is gone"));
    }
    for key in after.rows.keys().filter(|key| !before.rows.contains_key(*key)) {
        found.push(format!("row {} is new", shown_key(key)));
    }
    for (key, row) in &before.rows {
        let Some(row_after) = after.rows.get(key) else {
            found.push(format!("row {} is gone", shown_key(key)));
            continue;
        };
        let Some(intended) = intents.get(key) else {
            found.push(format!("nobody said what becomes of row {}", shown_key(key)));
            continue;
        };
        for (column, was) in before.columns.iter().zip(row) {
            let Some(at) = after.columns.iter().position(|name| name == column) else { continue };
            let is = &row_after[at];
            if let Some(wrong) = difference(was, is, intended.get(column), during) {
                found.push(format!("row {}, column {column}: {wrong}", shown_key(key)));
            }
        }
    }
    found
}

/// How one value differs from what was intended.
fn difference(was: &Option<String>, is: &Option<String>, intended: Option<&Intent>, during: Span) -> Option<String> {
    let (is_right, wanted) = match intended {
        None => (is == was, format!("{} as before", shown(was))),
        Some(Intent::Is(value)) => (is == value, shown(value)),
        Some(Intent::IsNow) => {
            let time = is.as_deref().and_then(time);
            let is_within = time.is_some_and(|time| during.from <= time && time <= during.until);
            (is_within, format!("a time from {} to {}", during.from, during.until))
        }
        Some(Intent::IsAnother) => (is.is_some() && is != was, format!("another value than {}", shown(was))),
    };
    (!is_right).then(|| format!("{} instead of {wanted}", shown(is)))
}

/// A time in any of the forms in which tables have it: timestamps of PostgreSQL (in UTC), ISO 8601 in UTC, SQLite's
/// `datetime()`, and seconds or milliseconds since 1970.
pub(crate) fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim_matches('\'');
    if let Ok(number) = text.parse::<i64>() {
        let ms = if number < 100_000_000_000 { number * 1000 } else { number };
        return DateTime::from_timestamp_millis(ms);
    }
    let text = text.trim_end_matches("+00").trim_end_matches('Z').replace('T', " ");
    NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}

fn shown(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| "null".to_owned())
}

fn shown_key(key: &Key) -> String {
    key.iter().map(shown).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(rows: &[(&str, &str, Option<&str>)]) -> FullCopy {
        let row = |(key, state, at): &(&str, &str, Option<&str>)| {
            let value = |text: &str| Some(text.to_owned());
            (vec![value(key)], vec![value(key), value(state), at.and_then(value)])
        };
        FullCopy { columns: ["id", "state", "at"].map(str::to_owned).to_vec(), rows: rows.iter().map(row).collect() }
    }

    fn during() -> Span {
        let at = |text| time(text).expect("a time");
        Span { from: at("2026-01-01 10:00:00"), until: at("2026-01-01 10:00:09") }
    }

    /// Row 1 is to be done now; of row 2 nothing may change.
    fn intents() -> Intents {
        let done = Intent::Is(Some("done".to_owned()));
        let first = BTreeMap::from([("state".to_owned(), done), ("at".to_owned(), Intent::IsNow)]);
        Intents::from([(vec![Some("1".to_owned())], first), (vec![Some("2".to_owned())], BTreeMap::new())])
    }

    fn against(after: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        differences(&copy(&[("1", "new", None), ("2", "new", None)]), &copy(after), &intents(), during())
    }

    #[test]
    fn what_was_intended_is_no_difference() {
        let now = Some("2026-01-01T10:00:05.123Z");
        assert_eq!(against(&[("1", "done", now), ("2", "new", None)]), Vec::<String>::new());
    }

    #[test]
    fn each_other_outcome_is_a_difference() {
        let now = Some("2026-01-01 10:00:05+00");
        type Row<'a> = (&'a str, &'a str, Option<&'a str>);
        let others: [(&str, &[Row<'_>]); 7] = [
            ("left as it was", &[("1", "new", None), ("2", "new", None)]),
            ("another word", &[("1", "failed", now), ("2", "new", None)]),
            ("no time", &[("1", "done", None), ("2", "new", None)]),
            ("a time of before", &[("1", "done", Some("2026-01-01 09:59:59")), ("2", "new", None)]),
            ("a neighbour", &[("1", "done", now), ("2", "done", None)]),
            ("a row too few", &[("1", "done", now)]),
            ("a row too many", &[("1", "done", now), ("2", "new", None), ("3", "new", None)]),
        ];
        for (what, after) in others {
            assert_ne!(against(after), Vec::<String>::new(), "{what}");
        }
    }

    #[test]
    fn times_are_read_in_every_form() {
        for text in
            ["2026-01-01 10:00:05.5+00", "'2026-01-01T10:00:05.500Z'", "2026-01-01 10:00:05.500000", "1767261605500"]
        {
            assert_eq!(time(text).map(|time| time.timestamp_millis()), Some(1_767_261_605_500), "{text}");
        }
        assert_eq!(time("1767261605").map(|time| time.timestamp()), Some(1_767_261_605));
        assert_eq!(time("28.11.2026"), None);
    }
}
