//! A value of any type as JSON, from the binary form in which the server sends it. Arrays are JSON arrays; ranges,
//! rows, search vectors and the like are the text that the server shows. No type is an error: a type of an unknown
//! extension, or bytes that do not fit their type, are shown as bytes.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use sqlx::TypeInfo as _;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};

use super::fields::Fields;
use super::{shapes, text};
use crate::json_record::{float, hex};

/// Seconds from 1970 to 2000, the server's epoch.
const EPOCH_SECS: i64 = 946_684_800;

pub(super) fn shown(type_info: &PgTypeInfo, bytes: &[u8]) -> Value {
    known(type_info, bytes).unwrap_or_else(|| hex(bytes))
}

/// The value; `None` for an unknown type, and for bytes that do not fit the type.
fn known(type_info: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    match type_info.kind() {
        PgTypeKind::Domain(base) => Some(shown(base, bytes)),
        PgTypeKind::Enum(_) => plain_text(bytes),
        PgTypeKind::Array(element) => array(element, bytes),
        PgTypeKind::Range(bound) => range(bound, bytes).map(Value::from),
        PgTypeKind::Composite(fields) => composite(fields, bytes).map(Value::from),
        PgTypeKind::Simple | PgTypeKind::Pseudo => simple(type_info.name(), bytes),
    }
}

fn simple(name: &str, bytes: &[u8]) -> Option<Value> {
    // A type of an extension carries its schema if that is not on the search path.
    let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_ascii_lowercase();
    match name.as_str() {
        "text" | "varchar" | "char" | "name" | "unknown" | "citext" | "xml" | "refcursor" => plain_text(bytes),
        // A version, then the text.
        "jsonpath" | "ltree" | "lquery" | "ltxtquery" => plain_text(bytes.get(1..)?),
        "json" => serde_json::from_slice(bytes).ok(),
        "jsonb" => serde_json::from_slice(bytes.get(1..)?).ok(),
        "bytea" => Some(hex(bytes)),
        "uuid" if bytes.len() == 16 => Some(Value::from(text::uuid(bytes))),
        "numeric" => text::numeric(bytes).ok().map(Value::from),
        "interval" => text::interval(bytes).ok().map(Value::from),
        "inet" | "cidr" => text::inet(bytes).ok().map(Value::from),
        "void" => Some(Value::from("")),
        // As PostGIS itself shows it.
        "geometry" | "geography" => hex(bytes).as_str().map(|shown| Value::from(shown[2..].to_ascii_uppercase())),
        "tsvector" => tsvector(bytes).map(Value::from),
        "hstore" => hstore(bytes).map(Value::from),
        "vector" => vector(bytes).map(Value::from),
        _ => {
            number(&name, bytes).or_else(|| time(&name, bytes)).or_else(|| shapes::shape(&name, bytes).map(Value::from))
        }
    }
}

fn plain_text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(Value::from)
}

fn number(name: &str, bytes: &[u8]) -> Option<Value> {
    let mut fields = Fields(bytes);
    let value = match name {
        "bool" => Value::from(fields.u8()? != 0),
        "int2" => Value::from(fields.i16()?),
        "int4" => Value::from(fields.i32()?),
        "int8" => Value::from(fields.i64()?),
        "float4" => float(f64::from(fields.f32()?)),
        "float8" => float(fields.f64()?),
        "oid" | "xid" | "cid" | "regclass" | "regtype" | "regproc" | "regprocedure" | "regrole" | "regnamespace" => {
            Value::from(fields.u32()?)
        }
        "xid8" => Value::from(fields.u64()?),
        "money" => Value::from(text::money(fields.i64()?)),
        _ => return None,
    };
    fields.is_at_end().then_some(value)
}

fn time(name: &str, bytes: &[u8]) -> Option<Value> {
    let unbounded = |bytes| text::unbounded(bytes).ok();
    let mut fields = Fields(bytes);
    Some(Value::from(match name {
        "time" => time_of_day(fields.i64()?)?,
        "timetz" => {
            let time = time_of_day(fields.i64()?)?;
            format!("{time}{}", text::zone(fields.i32()?))
        }
        "timestamptz" | "timestamp" => match unbounded(bytes)? {
            Some(word) => word.to_owned(),
            None => moment(name, fields.i64()?)?,
        },
        "date" => match unbounded(bytes)? {
            Some(word) => word.to_owned(),
            None => {
                let epoch = NaiveDate::from_ymd_opt(2000, 1, 1)?;
                epoch.checked_add_signed(TimeDelta::try_days(fields.i32()?.into())?)?.to_string()
            }
        },
        _ => return None,
    }))
}

/// Microseconds since midnight; the server also has a 24:00.
fn time_of_day(micros: i64) -> Option<String> {
    const DAY_MICROS: i64 = 86_400_000_000;
    if micros == DAY_MICROS {
        return Some("24:00:00".to_owned());
    }
    let secs = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
    let nanos = u32::try_from(micros.rem_euclid(1_000_000)).ok()? * 1_000;
    NaiveTime::from_num_seconds_from_midnight_opt(secs, nanos).map(|time| time.to_string())
}

/// Microseconds since the first second of 2000.
fn moment(name: &str, micros: i64) -> Option<String> {
    let epoch = DateTime::<Utc>::from_timestamp(EPOCH_SECS, 0)?;
    let at = epoch.checked_add_signed(TimeDelta::microseconds(micros))?;
    Some(if name == "timestamptz" {
        at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    } else {
        at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string()
    })
}

/// Arrays of any number of dimensions.
fn array(element: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
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
fn range(bound: &PgTypeInfo, bytes: &[u8]) -> Option<String> {
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
fn composite(columns: &[(String, PgTypeInfo)], bytes: &[u8]) -> Option<String> {
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
fn tsvector(bytes: &[u8]) -> Option<String> {
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
fn hstore(bytes: &[u8]) -> Option<String> {
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
fn vector(bytes: &[u8]) -> Option<String> {
    let mut fields = Fields(bytes);
    let (count, _unused) = (fields.u16()?, fields.u16()?);
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(fields.f32()?.to_string());
    }
    fields.is_at_end().then(|| format!("[{}]", numbers.join(",")))
}
