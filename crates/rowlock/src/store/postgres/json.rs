//! A PostgreSQL row as JSON.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgTypeInfo, PgTypeKind, PgValueFormat, PgValueRef};
use sqlx::{Column as _, Decode, FromRow, Postgres, Row as _, Type, TypeInfo as _, ValueRef as _};

use super::text;
use crate::JsonRecord;
use crate::json_record::{float, hex};

/// Names of the columns that the statements add for themselves begin so.
const OWN_COLUMNS: &str = "rowlock_";

impl<'r> FromRow<'r, PgRow> for JsonRecord {
    fn from_row(row: &'r PgRow) -> Result<JsonRecord, sqlx::Error> {
        let mut record = Map::new();
        for column in row.columns().iter().filter(|column| !column.name().starts_with(OWN_COLUMNS)) {
            let value = row.try_get_raw(column.ordinal())?;
            let shown = if value.is_null() { Ok(Value::Null) } else { Shown::decode(value).map(|shown| shown.0) };
            let value =
                shown.map_err(|source| sqlx::Error::ColumnDecode { index: format!("{:?}", column.name()), source })?;
            record.insert(column.name().to_owned(), value);
        }
        Ok(JsonRecord(record))
    }
}

/// A value of any type that is shown, by its own type; also as an element of an array.
struct Shown(Value);

impl Type<Postgres> for Shown {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl Decode<'_, Postgres> for Shown {
    fn decode(value: PgValueRef<'_>) -> Result<Shown, BoxDynError> {
        let mut type_info = value.type_info().into_owned();
        while let PgTypeKind::Domain(base) = type_info.kind() {
            type_info = base.clone();
        }
        show(&type_info, value).map(Shown)
    }
}

fn show(type_info: &PgTypeInfo, value: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    match type_info.kind() {
        PgTypeKind::Enum(_) => return Ok(Value::from(get::<String>(value)?)),
        PgTypeKind::Array(_) => {
            let elements: Vec<Option<Shown>> = Vec::decode(value)?;
            return Ok(elements.into_iter().map(|element| element.map_or(Value::Null, |shown| shown.0)).collect());
        }
        _ => {}
    }
    let is_binary = value.format() == PgValueFormat::Binary;
    Ok(match type_info.name() {
        "BOOL" => Value::from(get::<bool>(value)?),
        "INT2" => Value::from(get::<i16>(value)?),
        "INT4" => Value::from(get::<i32>(value)?),
        "INT8" => Value::from(get::<i64>(value)?),
        "FLOAT4" => float(f64::from(get::<f32>(value)?)),
        "FLOAT8" => float(get(value)?),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "citext" => Value::from(get::<String>(value)?),
        "JSON" | "JSONB" => get(value)?,
        "BYTEA" => hex(get(value)?),
        // What the server wrote as text is its own words already.
        _ if !is_binary => Value::from(value.as_str()?),
        "UUID" => Value::from(text::uuid(value.as_bytes()?)),
        "NUMERIC" => Value::from(text::numeric(value.as_bytes()?)?),
        "INTERVAL" => Value::from(text::interval(value.as_bytes()?)?),
        "INET" | "CIDR" => Value::from(text::inet(value.as_bytes()?)?),
        "TIME" => Value::from(get::<NaiveTime>(value)?.to_string()),
        "TIMESTAMPTZ" => match text::unbounded(value.as_bytes()?)? {
            Some(word) => Value::from(word),
            None => Value::from(get::<DateTime<Utc>>(value)?.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        },
        "TIMESTAMP" => match text::unbounded(value.as_bytes()?)? {
            Some(word) => Value::from(word),
            None => Value::from(get::<NaiveDateTime>(value)?.format("%Y-%m-%dT%H:%M:%S%.f").to_string()),
        },
        "DATE" => match text::unbounded(value.as_bytes()?)? {
            Some(word) => Value::from(word),
            None => Value::from(get::<NaiveDate>(value)?.to_string()),
        },
        other => {
            return Err(
                format!("JsonRecord does not show the type {other}: read the column by a record of your own").into()
            );
        }
    })
}

/// A value whose type was looked at already.
fn get<'r, T: Decode<'r, Postgres>>(value: PgValueRef<'r>) -> Result<T, BoxDynError> {
    T::decode(value)
}
