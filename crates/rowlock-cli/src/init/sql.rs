//! SQL in a description: names, and the present time in the form that a column has.

use super::words::contains;
use crate::survey::{Database, quote_identifier};

/// Words that are no names unless they are quoted; those of either database that columns are called by.
const RESERVED: &str = "all and any array as asc between by case cast check column create default desc distinct do \
    else end except exists false fetch for from grant group having in index into is join limit not null offset on \
    only or order primary references select table then to true union unique update user using values when where \
    window with";

/// A name, quoted where it must be.
pub(super) fn identifier(name: &str) -> String {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_plain = begins && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain && !contains(RESERVED, name) { name.to_owned() } else { quote_identifier(name) }
}

/// The present time, as a column of this form holds it.
pub(super) fn now(database: Database, form: Option<&str>) -> &'static str {
    match (database, form) {
        (Database::Postgres, Some("timestamp_utc")) => "(now() at time zone 'utc')",
        (Database::Postgres, Some("epoch_s")) => "extract(epoch from now())::bigint",
        (Database::Postgres, Some("epoch_ms")) => "(extract(epoch from now()) * 1000)::bigint",
        (Database::Postgres, Some("iso_text")) => {
            "to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        }
        (Database::Postgres, _) => "now()",
        (Database::Sqlite, Some("epoch_s")) => "unixepoch()",
        (Database::Sqlite, Some("epoch_ms")) => "cast(unixepoch('subsec') * 1000 as integer)",
        (Database::Sqlite, Some("sqlite_datetime")) => "datetime('now')",
        (Database::Sqlite, _) => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_only_where_it_must_be() {
        assert_eq!(identifier("deleted_at"), "deleted_at");
        assert_eq!(identifier("createdAt"), "\"createdAt\"");
        assert_eq!(identifier("order"), "\"order\"");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
