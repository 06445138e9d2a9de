//! The key of an item.

use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

/// The key of an item, in the text form of its type. The database casts it to the key column's type, so that a uuid may
/// be written in any form and `007` finds the integer 7. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// A key from its text form.
    pub fn new(text: impl Into<String>) -> Key {
        Key::from(text.into())
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Rejects a key that cannot be a text on PostgreSQL.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.contains('\0') {
            return Err(Error::InvalidArgument {
                argument: "key",
                value: format!("{self}"),
                rule: "a key cannot contain a NUL".to_owned(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for Key {
    /// Quoted, escaped, and cut after 100 characters: a key may hold anything, a log line may not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS_MAX: usize = 100;
        match self.0.char_indices().nth(SHOWN_CHARS_MAX) {
            None => write!(f, "{:?}", self.0),
            Some((cut, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..cut], self.0.len()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key(Arc::from(text))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        Key(Arc::from(text))
    }
}

impl From<&&str> for Key {
    fn from(text: &&str) -> Key {
        Key::from(*text)
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Key {
        Key::from(text.as_str())
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Key {
        key.clone()
    }
}

impl From<i32> for Key {
    fn from(number: i32) -> Key {
        Key::from(number.to_string())
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Key {
        Key::from(number.to_string())
    }
}
