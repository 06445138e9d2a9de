//! Composite values: arrays as JSON arrays; ranges, rows, search vectors and the like as the text that the server
//! shows.

use serde_json::Value;
use sqlx::postgres::PgTypeInfo;

use super::fields::Fields;
use super::shown::shown;

/// Arrays of any number of dimensions.
pub(super) fn array(element: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    let mut fields = Fields(bytes);
    let dimensions = fields.length()?;
    let (_flags, _element_oid) = (fields.i32()?, fields.u32()?);
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(fields.length()?);
        let _lower_bound = fields.i32()?;
    }
    if lengths.is_empty() {
        return Some(Value::Array(Vec::new()));
    }
    nested(element, &lengths, &mut fields)
}

fn nested(element: &PgTypeInfo, lengths: &[usize], fields: &mut Fields<'_>) -> Option<Value> {
    let (length, inner) = lengths.split_first()?;
    let mut values = Vec::new();
    for _ in 0..*length {
        values.push(if inner.is_empty() {
            fields.value()?.map_or(Value::Null, |bytes| shown(element, bytes))
        } else {
            nested(element, inner, fields)?
        });
    }
    Some(Value::Array(values))
}

/// As in the server's `range_send`: flags for which bounds exist and which are inclusive, then the bounds.
pub(super) fn range(bound: &PgTypeInfo, bytes: &[u8]) -> Option<String> {
    const EMPTY: u8 = 0x01;
    const INCLUDES_LOWER: u8 = 0x02;
    const INCLUDES_UPPER: u8 = 0x04;
    const NO_LOWER: u8 = 0x08;
    const NO_UPPER: u8 = 0x10;
    let mut fields = Fields(bytes);
    let flags = fields.u8()?;
    if flags & EMPTY != 0 {
        return Some("empty".to_owned());
    }
    let mut next = |none: u8| {
        if flags & none != 0 {
            return Some(String::new());
        }
        fields.value()?.map(|bytes| quoted(&as_text(&shown(bound, bytes))))
    };
    let (lower, upper) = (next(NO_LOWER)?, next(NO_UPPER)?);
    let open = if flags & INCLUDES_LOWER != 0 { '[' } else { '(' };
    let close = if flags & INCLUDES_UPPER != 0 { ']' } else { ')' };
    Some(format!("{open}{lower},{upper}{close}"))
}

/// A row: the number of columns, then the type and the value of each.
pub(super) fn composite(columns: &[(String, PgTypeInfo)], bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let count = fields.length()?;
    if count != columns.len() {
        return None;
    }
    let mut texts = Vec::with_capacity(count);
    for (_, type_info) in columns {
        let _oid = fields.u32()?;
        texts.push(fields.value()?.map_or_else(String::new, |bytes| quoted(&as_text(&shown(type_info, bytes)))));
    }
    Some(format!("({})", texts.join(",")))
}

/// An element of a range or a row, as text.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "t" } else { "f" }.to_owned(),
        other => other.to_string(),
    }
}

/// In double quotes if it would otherwise be taken for something else.
fn quoted(text: &str) -> String {
    let is_special = |c: char| c.is_ascii_whitespace() || "\"\\()[],".contains(c);
    if !text.is_empty() && !text.contains(is_special) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

/// Words, each with its positions and their weights.
pub(super) fn tsvector(bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let count = fields.length()?;
    let mut words = Vec::new();
    for _ in 0..count {
        let word = fields.text()?.replace('\\', "\\\\").replace('\'', "''");
        let places = fields.u16()?;
        let mut shown = Vec::new();
        for _ in 0..places {
            let place = fields.u16()?;
            let weight = ["", "C", "B", "A"][usize::from(place >> 14)];
            shown.push(format!("{}{weight}", place & 0x3fff));
        }
        let colon = if shown.is_empty() { "" } else { ":" };
        words.push(format!("'{word}'{colon}{}", shown.join(",")));
    }
    Some(words.join(" "))
}

/// Keys and values, both text.
pub(super) fn hstore(bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let count = fields.length()?;
    let quoted = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
    };
    let mut pairs = Vec::new();
    for _ in 0..count {
        let key = quoted(fields.value()??)?;
        let value = match fields.value()? {
            Some(value) => quoted(value)?,
            None => "NULL".to_owned(),
        };
        pairs.push(format!("{key}=>{value}"));
    }
    Some(pairs.join(", "))
}

/// pgvector's: the number of elements, an unused field, the elements.
pub(super) fn vector(bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let (count, _unused) = (fields.u16()?, fields.u16()?);
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(fields.f32()?.to_string());
    }
    fields.is_at_end().then(|| format!("[{}]", numbers.join(",")))
}
