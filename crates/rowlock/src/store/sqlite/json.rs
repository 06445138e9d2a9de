//! An SQLite row as JSON.

use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, FromRow, Row as _, TypeInfo as _, ValueRef as _};

use super::rows::text;
use crate::JsonRecord;
use crate::json_record::{float, hex};

impl<'r> FromRow<'r, SqliteRow> for JsonRecord {
    fn from_row(row: &'r SqliteRow) -> Result<JsonRecord, sqlx::Error> {
        let mut record = Map::new();
        for column in row.columns().iter().filter(|column| !column.name().starts_with("rowlock_")) {
            record.insert(column.name().to_owned(), value(row, column.ordinal())?);
        }
        Ok(JsonRecord(record))
    }
}

fn value(row: &SqliteRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let type_info = raw.type_info().into_owned();
    Ok(match type_info.name() {
        "INTEGER" => Value::from(row.try_get_unchecked::<i64, _>(column)?),
        "REAL" => float(row.try_get_unchecked(column)?),
        "BLOB" => hex(row.try_get_unchecked(column)?),
        _ => text(row, column).map_or(Value::Null, Value::String),
    })
}
