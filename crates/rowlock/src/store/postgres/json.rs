//! A PostgreSQL row as JSON.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::{PgRow, PgTypeKind, PgValueFormat};
use sqlx::{Column as _, Decode, FromRow, Postgres, Row as _, TypeInfo as _, ValueRef as _};

use crate::JsonRecord;
use crate::json_record::{float, hex};

/// Names of the columns that the statements add for themselves begin so.
const OWN_COLUMNS: &str = "rowlock_";

impl<'r> FromRow<'r, PgRow> for JsonRecord {
    fn from_row(row: &'r PgRow) -> Result<JsonRecord, sqlx::Error> {
        let mut record = Map::new();
        for column in row.columns().iter().filter(|column| !column.name().starts_with(OWN_COLUMNS)) {
            let value = value(row, column.ordinal())
                .map_err(|source| sqlx::Error::ColumnDecode { index: format!("{:?}", column.name()), source })?;
            record.insert(column.name().to_owned(), value);
        }
        Ok(JsonRecord(record))
    }
}

type DecodeResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn value(row: &PgRow, column: usize) -> DecodeResult<Value> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let mut type_info = raw.type_info().into_owned();
    while let PgTypeKind::Domain(base) = type_info.kind() {
        type_info = base.clone();
    }
    if matches!(type_info.kind(), PgTypeKind::Enum(_)) {
        return Ok(Value::from(get::<String>(row, column)?));
    }
    Ok(match type_info.name() {
        "BOOL" => Value::from(get::<bool>(row, column)?),
        "INT2" => Value::from(get::<i16>(row, column)?),
        "INT4" => Value::from(get::<i32>(row, column)?),
        "INT8" => Value::from(get::<i64>(row, column)?),
        "FLOAT4" => float(f64::from(get::<f32>(row, column)?)),
        "FLOAT8" => float(get(row, column)?),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "citext" => Value::from(get::<String>(row, column)?),
        "UUID" if raw.format() == PgValueFormat::Binary => Value::from(uuid(raw.as_bytes()?)),
        "JSON" | "JSONB" => get(row, column)?,
        "TIMESTAMPTZ" => Value::from(get::<DateTime<Utc>>(row, column)?.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        "TIMESTAMP" => Value::from(get::<NaiveDateTime>(row, column)?.format("%Y-%m-%dT%H:%M:%S%.f").to_string()),
        "DATE" => Value::from(get::<NaiveDate>(row, column)?.to_string()),
        "TIME" => Value::from(get::<NaiveTime>(row, column)?.to_string()),
        "BYTEA" => hex(get(row, column)?),
        "BOOL[]" => Value::from(get::<Vec<Option<bool>>>(row, column)?),
        "INT2[]" => Value::from(get::<Vec<Option<i16>>>(row, column)?),
        "INT4[]" => Value::from(get::<Vec<Option<i32>>>(row, column)?),
        "INT8[]" => Value::from(get::<Vec<Option<i64>>>(row, column)?),
        "FLOAT8[]" => floats(get(row, column)?),
        "TEXT[]" | "VARCHAR[]" => Value::from(get::<Vec<Option<String>>>(row, column)?),
        other => {
            return Err(
                format!("JsonRecord does not show the type {other}: read the column by a record of your own").into()
            );
        }
    })
}

/// A value whose type was looked at already.
fn get<'r, T: Decode<'r, Postgres>>(row: &'r PgRow, column: usize) -> DecodeResult<T> {
    T::decode(row.try_get_raw(column)?)
}

fn floats(numbers: Vec<Option<f64>>) -> Value {
    numbers.into_iter().map(|number| number.map_or(Value::Null, float)).collect()
}

/// The usual text of a uuid: 8-4-4-4-12 hexadecimal digits.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
