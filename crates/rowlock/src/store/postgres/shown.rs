//! A value of any type as JSON, from the binary form in which the server sends it. No type is an error: a type of an
//! unknown extension, or bytes that do not fit their type, are shown as bytes.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use sqlx::TypeInfo as _;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};

use super::fields::Fields;
use super::{containers, shapes, text};
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
        PgTypeKind::Array(element) => containers::array(element, bytes),
        PgTypeKind::Range(bound) => containers::range(bound, bytes).map(Value::from),
        PgTypeKind::Composite(fields) => containers::composite(fields, bytes).map(Value::from),
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
        "tsvector" => containers::tsvector(bytes).map(Value::from),
        "hstore" => containers::hstore(bytes).map(Value::from),
        "vector" => containers::vector(bytes).map(Value::from),
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
