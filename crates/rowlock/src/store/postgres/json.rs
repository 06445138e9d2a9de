//! A PostgreSQL row as JSON.

use serde_json::{Map, Value};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgTypeInfo, PgTypeKind, PgValueFormat, PgValueRef};
use sqlx::{Column as _, Decode, FromRow, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::shown::shown;
use crate::JsonRecord;
use crate::json_record::{float, hex};

/// Prefix of the columns that the statements add for Rowlock's own use.
const OWN_COLUMNS: &str = "rowlock_";

impl<'r> FromRow<'r, PgRow> for JsonRecord {
    fn from_row(row: &'r PgRow) -> Result<JsonRecord, sqlx::Error> {
        let mut record = Map::new();
        for column in row.columns().iter().filter(|column| !column.name().starts_with(OWN_COLUMNS)) {
            let value = row.try_get_raw(column.ordinal())?;
            let value = if value.is_null() { Value::Null } else { value_of(value) };
            record.insert(column.name().to_owned(), value);
        }
        Ok(JsonRecord(record))
    }
}

fn value_of(value: PgValueRef<'_>) -> Value {
    let type_info = value.type_info().into_owned();
    let Ok(bytes) = value.as_bytes() else { return Value::Null };
    match value.format() {
        PgValueFormat::Binary => shown(&type_info, bytes),
        // A row of a query that was not prepared.
        PgValueFormat::Text => match std::str::from_utf8(bytes) {
            Ok(text) => {
                array_as_text(&type_info, &value).or_else(|| by_type(&type_info, text)).unwrap_or_else(|| text.into())
            }
            Err(_) => hex(bytes),
        },
    }
}

/// An array that the server wrote as text; `None` for any other value, and for more than one dimension.
fn array_as_text(type_info: &PgTypeInfo, value: &PgValueRef<'_>) -> Option<Value> {
    let PgTypeKind::Array(element) = type_info.kind() else { return None };
    let texts: Vec<Option<Text>> = Vec::decode(value.clone()).ok()?;
    let shown = |text: Text| by_type(element, &text.0).unwrap_or(Value::String(text.0));
    Some(texts.into_iter().map(|text| text.map_or(Value::Null, shown)).collect())
}

/// A value that the server wrote as text, by its type; `None` if the server's text is shown.
fn by_type(type_info: &PgTypeInfo, text: &str) -> Option<Value> {
    if let PgTypeKind::Domain(base) = type_info.kind() {
        return by_type(base, text);
    }
    match type_info.name() {
        "BOOL" => Some(Value::from(text == "t")),
        "INT2" | "INT4" | "INT8" => text.parse::<i64>().ok().map(Value::from),
        "FLOAT4" | "FLOAT8" => text.parse().ok().map(float),
        "JSON" | "JSONB" => serde_json::from_str(text).ok(),
        _ => None,
    }
}

/// An element of an array that came as text.
struct Text(String);

impl Type<Postgres> for Text {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl Decode<'_, Postgres> for Text {
    fn decode(value: PgValueRef<'_>) -> Result<Text, BoxDynError> {
        Ok(Text(value.as_str()?.to_owned()))
    }
}
