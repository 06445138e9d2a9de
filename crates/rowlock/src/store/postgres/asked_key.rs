//! Keys in the form in which the server would print them, from the form in which a caller gives them; or why no row can
//! have them.

use super::text;
use crate::Key;
use crate::pipeline::KeyType;

/// A key that a row may have, and the position of its answer.
pub(super) struct AskedKey {
    pub(super) text: String,
    pub(super) place: usize,
}

/// The key for a statement that casts it to the key's type; the cast cannot fail. The error says what the key is not.
pub(super) fn asked_key(key: &Key, key_type: KeyType) -> Result<String, String> {
    let given = key.as_str();
    match key_type {
        KeyType::Text if given.contains('\0') => Err("a text of PostgreSQL holds no NUL".to_owned()),
        KeyType::Text => Ok(given.to_owned()),
        KeyType::Int | KeyType::BigInt => integer(given)
            .map(|number| number.to_string())
            .ok_or_else(|| "the key column holds integers of 64 bits at most".to_owned()),
        KeyType::Uuid => {
            uuid(given).map(|bytes| text::uuid(&bytes)).ok_or_else(|| "the key column holds uuids".to_owned())
        }
    }
}

/// Reads it as the server does: blanks around it, a plus sign and leading zeros mean nothing.
fn integer(given: &str) -> Option<i64> {
    given.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}').parse().ok()
}

/// Reads it as the server does: in upper or lower case, with or without braces, with a hyphen after any four digits or
/// none.
fn uuid(given: &str) -> Option<[u8; 16]> {
    let inner = match given.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => given,
    };
    let mut digits = inner.as_bytes();
    let mut bytes = [0; 16];
    for at in 0..bytes.len() {
        let (pair, rest) = digits.split_at_checked(2)?;
        let digit = |of: u8| char::from(of).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes[at] = digit(pair[0])? * 16 + digit(pair[1])?;
        let may_have_hyphen = at % 2 == 1 && at + 1 < bytes.len();
        digits = match rest {
            [b'-', rest @ ..] if may_have_hyphen => rest,
            rest => rest,
        };
    }
    digits.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(given: &str, key_type: KeyType) -> Option<String> {
        asked_key(&Key::from(given), key_type).ok()
    }

    #[test]
    fn an_integer_is_asked_for_in_its_one_form() {
        for (given, expected) in [
            ("007", Some("7")),
            ("+7", Some("7")),
            (" \t-7\n", Some("-7")),
            ("-0", Some("0")),
            ("9223372036854775807", Some("9223372036854775807")),
            ("9223372036854775808", None),
            ("7.0", None),
            ("seven", None),
            ("", None),
            ("7\0", None),
            ("7\u{a0}", None),
        ] {
            assert_eq!(asked(given, KeyType::BigInt).as_deref(), expected, "{given:?}");
            assert_eq!(asked(given, KeyType::Int).as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn a_uuid_is_asked_for_in_its_one_form() {
        let printed = "0a1b2c3d-0000-4000-8000-00000000000f";
        for given in [
            printed.to_owned(),
            printed.to_uppercase(),
            printed.replace('-', ""),
            format!("{{{printed}}}"),
            "0a1b-2c3d-0000-4000-8000-0000-0000-000f".to_owned(),
        ] {
            assert_eq!(asked(&given, KeyType::Uuid).as_deref(), Some(printed), "{given}");
        }
        for given in [
            String::new(),
            format!(" {printed}"),
            format!("{{{printed}"),
            format!("{printed}}}"),
            format!("{printed}-"),
            format!("{printed}0"),
            printed.replace('a', "g"),
            printed.replace('a', "ä"),
            printed[1..].to_owned(),
        ] {
            assert_eq!(asked(&given, KeyType::Uuid), None, "{given}");
        }
    }

    #[test]
    fn a_text_is_asked_for_as_it_is_unless_it_holds_a_nul() {
        assert_eq!(asked("  7 ", KeyType::Text).as_deref(), Some("  7 "));
        assert_eq!(asked("a\0b", KeyType::Text), None);
    }
}
