//! The only door for dynamic SQL: only here do a pipeline's names and words become SQL text.
//!
//! Values never pass through here; they are bound.

use std::fmt::Write as _;

/// A name, quoted so that it can mean nothing but itself. Both dialects quote names alike.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A status word or a pipeline's name as a string literal. Only these become literals, and only because a query must
/// repeat the text of an index predicate to match it.
///
/// A backslash is written so that PostgreSQL reads it alike under either setting of `standard_conforming_strings`.
pub(super) fn quote_literal(word: &str, dialect: Dialect) -> String {
    let quoted = word.replace('\'', "''");
    match dialect {
        Dialect::Postgres if word.contains('\\') => format!("E'{}'", quoted.replace('\\', "\\\\")),
        Dialect::Postgres | Dialect::Sqlite => format!("'{quoted}'"),
    }
}

/// Several words, as a list of literals.
pub(super) fn quote_literals<'a>(words: impl IntoIterator<Item = &'a str>, dialect: Dialect) -> String {
    let mut list = String::new();
    for word in words {
        let separator = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{separator}{}", quote_literal(word, dialect));
    }
    list
}

/// The database for which the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_own_quotes() {
        assert_eq!(quote_identifier(r#"a" or "b"#), r#""a"" or ""b""#);
    }

    #[test]
    fn a_word_cannot_end_its_own_quotes() {
        assert_eq!(quote_literal("it's", Dialect::Sqlite), "'it''s'");
        assert_eq!(quote_literal(r"back\'slash", Dialect::Postgres), r"E'back\\''slash'");
        assert_eq!(quote_literal(r"back\slash", Dialect::Sqlite), r"'back\slash'");
    }
}
