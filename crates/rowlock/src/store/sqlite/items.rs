//! The parameters of a batch statement: items as JSON, keys as the key column holds them.

use serde::Serialize;

use super::session::Bind;
use crate::pipeline::KeyType;
use crate::{Error, Key, Result};

/// A key as the key column holds it. Text is taken as it is, and so is a uuid: SQLite has no type for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(super) enum KeyValue {
    Integer(i64),
    Text(String),
}

impl KeyValue {
    /// Reads a key that a caller gives. `007` is the integer 7; a key that is not an integer is refused here, because
    /// SQLite would cast it to 0. The error says what the key is not: no row can have it.
    pub(super) fn asked(key: &Key, key_type: KeyType) -> Result<KeyValue, String> {
        match key_type {
            KeyType::Text | KeyType::Uuid if key.as_str().contains('\0') => {
                Err("a key cannot contain a NUL".to_owned())
            }
            KeyType::Text | KeyType::Uuid => Ok(KeyValue::Text(key.as_str().to_owned())),
            KeyType::Int | KeyType::BigInt => match key.as_str().trim().parse() {
                Ok(number) => Ok(KeyValue::Integer(number)),
                Err(_) => Err("the key column holds integers of 64 bits at most".to_owned()),
            },
        }
    }

    /// As [`KeyValue::asked`], but a key that no row can have is an error.
    pub(super) fn new(key: &Key, key_type: KeyType) -> Result<KeyValue> {
        KeyValue::asked(key, key_type).map_err(|rule| Error::InvalidArgument {
            argument: "key",
            value: key.to_string(),
            rule,
        })
    }

    /// Reads a key that came from a row: a value that is not of its column's type is text.
    pub(super) fn of_row(key: &Key, key_type: KeyType) -> KeyValue {
        KeyValue::new(key, key_type).unwrap_or_else(|_| KeyValue::Text(key.as_str().to_owned()))
    }

    pub(super) fn all<'a>(keys: impl IntoIterator<Item = &'a Key>, key_type: KeyType) -> Result<Vec<KeyValue>> {
        keys.into_iter().map(|key| KeyValue::new(key, key_type)).collect()
    }

    /// The key in the form that the table's rows have.
    pub(super) fn to_key(&self) -> Key {
        match self {
            KeyValue::Integer(number) => Key::from(*number),
            KeyValue::Text(text) => Key::new(text.as_str()),
        }
    }
}

impl From<KeyValue> for Bind {
    fn from(key: KeyValue) -> Bind {
        match key {
            KeyValue::Integer(number) => Bind::Integer(number),
            KeyValue::Text(text) => Bind::Text(text),
        }
    }
}

/// One item of a batch; each statement reads the fields that it needs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BatchItem {
    pub(super) key: KeyValue,
    /// The word that the row must have.
    pub(super) word: String,
    /// The token that the row must have, if there is a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<i64>,
    #[serde(rename = "move", skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The error of an item whose budget this move spends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spent_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<String>,
    /// In a sweep, the heartbeat that the row must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heartbeat: Option<String>,
}

impl BatchItem {
    pub(super) fn new(key: KeyValue, word: impl Into<String>) -> BatchItem {
        BatchItem {
            key,
            word: word.into(),
            token: None,
            step: None,
            stage: None,
            error: None,
            spent_error: None,
            delay_ms: None,
            due: None,
            heartbeat: None,
        }
    }
}

/// A list for `json_each`.
pub(super) fn json<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).expect("texts and numbers can always be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_key_has_one_form_and_a_word_is_none() {
        let key = |text: &str| KeyValue::new(&Key::from(text), KeyType::Int);
        assert_eq!(key("007").expect("an integer").to_key(), Key::from("7"));
        assert!(matches!(key("seven"), Err(Error::InvalidArgument { argument: "key", .. })));
        assert!(matches!(key(""), Err(Error::InvalidArgument { .. })));
    }

    #[test]
    fn only_the_fields_that_are_there_are_written() {
        let item = BatchItem { token: Some(7), ..BatchItem::new(KeyValue::Text("a\"b".to_owned()), "A_IN_PROGRESS") };
        assert_eq!(json(&[item]), r#"[{"key":"a\"b","word":"A_IN_PROGRESS","token":7}]"#);
    }
}
