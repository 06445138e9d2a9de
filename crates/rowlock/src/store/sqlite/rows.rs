//! Reading rows. SQLite's columns hold values of any type, whatever type they declare, so values are read by the type
//! that they have; a value that does not fit its role counts as missing. A bad value must not hide its row, or its
//! batch.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::clock;
use crate::pipeline::{KeyType, Pipeline, Role, Status};
use crate::store::template::value_name;
use crate::store::{ClaimedRow, ItemRow, Limits};
use crate::{FencingToken, Key, Lease};

/// The text of a column, by position: numbers as they are written; blobs and invalid text as well as possible.
pub(super) fn text(row: &SqliteRow, column: usize) -> Option<String> {
    let value = row.try_get_raw(column).ok()?;
    if value.is_null() {
        return None;
    }
    let type_info = value.type_info().into_owned();
    match type_info.name() {
        "INTEGER" => row.try_get_unchecked::<i64, _>(column).ok().map(|number| number.to_string()),
        "REAL" => row.try_get_unchecked::<f64, _>(column).ok().map(|number| number.to_string()),
        _ => {
            let bytes = row.try_get_unchecked::<Vec<u8>, _>(column).ok()?;
            Some(
                String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            )
        }
    }
}

/// The number in a column, even if it is written as text.
pub(super) fn integer(row: &SqliteRow, column: usize) -> Option<i64> {
    text(row, column)?.trim().parse().ok()
}

/// A count; one that is null or not a number counts from zero, as in the statements.
pub(super) fn count(row: &SqliteRow, column: usize) -> i32 {
    let count = integer(row, column).unwrap_or(0);
    i32::try_from(count).unwrap_or(if count < 0 { i32::MIN } else { i32::MAX })
}

pub(super) fn time(row: &SqliteRow, column: usize) -> Option<DateTime<Utc>> {
    clock::parse(&text(row, column)?)
}

/// A row of the table, read by role. SQLite's names are case-insensitive.
pub(super) struct RoleReader<'a> {
    pipeline: &'a Pipeline,
    row: &'a SqliteRow,
}

impl<'a> RoleReader<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, row: &'a SqliteRow) -> RoleReader<'a> {
        RoleReader { pipeline, row }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.row.columns().iter().position(|column| column.name().eq_ignore_ascii_case(name))
    }

    fn role(&self, role: Role) -> Option<usize> {
        self.column(&value_name(self.pipeline, role))
    }

    pub(super) fn key(&self) -> Key {
        Key::new(self.column(key_name(self.pipeline)).and_then(|column| text(self.row, column)).unwrap_or_default())
    }

    /// Whether the key can be read as it is. SQLite does not check a text's bytes.
    pub(super) fn has_utf8_key(&self) -> bool {
        match self.pipeline.key_type() {
            KeyType::Int | KeyType::BigInt => true,
            KeyType::Text | KeyType::Uuid => self
                .column(key_name(self.pipeline))
                .is_some_and(|column| self.row.try_get_unchecked::<String, _>(column).is_ok()),
        }
    }

    pub(super) fn text(&self, role: Role) -> Option<String> {
        text(self.row, self.role(role)?)
    }

    pub(super) fn time(&self, role: Role) -> Option<DateTime<Utc>> {
        time(self.row, self.role(role)?)
    }

    pub(super) fn count(&self, role: Role) -> i32 {
        self.role(role).map_or(0, |column| count(self.row, column))
    }

    pub(super) fn token(&self) -> Option<i64> {
        integer(self.row, self.role(Role::ClaimToken)?)
    }

    /// The word in the table; empty for null.
    pub(super) fn word(&self) -> String {
        self.text(Role::Status).unwrap_or_default()
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.pipeline.status(&self.word())
    }
}

/// The name of the key's value in a row: that of the key's column, or of the text of several.
fn key_name(pipeline: &Pipeline) -> &str {
    match pipeline.key_columns() {
        [key] => key,
        _ => "rowlock_key",
    }
}

pub(super) fn item(pipeline: &Pipeline, row: SqliteRow) -> ItemRow<SqliteRow> {
    let reader = RoleReader::new(pipeline, &row);
    ItemRow { key: reader.key(), status: reader.status(), word: reader.word(), token: reader.token(), row }
}

/// A claimed item; `None` if the row is not in progress.
pub(super) fn claimed(
    pipeline: &Pipeline,
    row: SqliteRow,
    token: FencingToken,
    limits: Limits,
) -> Option<ClaimedRow<SqliteRow>> {
    let reader = RoleReader::new(pipeline, &row);
    let Some(Status::InProgress(stage)) = reader.status() else { return None };
    let (retry_count, reset_count) = (reader.count(Role::RetryCount), reader.count(Role::ResetCount));
    let lease = Lease { key: reader.key(), token, stage };
    Some(ClaimedRow { lease, retry_count, reset_count, suspect: limits.is_suspect(reset_count), row })
}
