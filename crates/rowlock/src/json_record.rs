//! A row as JSON, for handlers that do not know the table's columns.

use std::ops::Deref;

use serde_json::{Map, Value};

/// Every column of an item's row as JSON, by name; a record for handlers that take any table.
///
/// | column | JSON |
/// |---|---|
/// | null | null |
/// | boolean, integers, floats | boolean, number; a float that is not finite is its text |
/// | text, uuid, enums, inet, macaddr | string |
/// | numeric | string: JSON's numbers would lose digits |
/// | money | string: a decimal, without the signs of a currency |
/// | interval | string: ISO 8601, e.g. `P1DT2H` |
/// | json, jsonb | as it is |
/// | date and time types | string: RFC 3339 with a zone, ISO 8601 without one; `infinity`, `-infinity` |
/// | bytea, blob | string: `\x` and hexadecimal digits |
/// | arrays of these | array; nested arrays if it has more than one dimension |
/// | domains | as the underlying type |
/// | ranges, rows (composite types) | string: the server's form, with its parts shown as above |
/// | geometric types, bits, tsvector, hstore, ltree, vector, geometry | string: the server's form |
///
/// No type is an error: a value of an unknown extension's type is a string of `\x` and the hexadecimal digits of its
/// binary form. On SQLite a value is shown by its own type, whatever its column was declared as; in a text that is not
/// UTF-8, U+FFFD replaces the invalid bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonRecord(pub Map<String, Value>);

impl Deref for JsonRecord {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// Bytes in PostgreSQL's text form.
pub(crate) fn hex(bytes: &[u8]) -> Value {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Value::String(text)
}

/// A float; JSON has no infinities.
pub(crate) fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}
