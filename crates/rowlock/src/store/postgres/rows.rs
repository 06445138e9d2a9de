//! Reading rows. The columns that Rowlock adds to a user's row begin with `rowlock_`.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Type};

use super::errors::translate;
use super::time::Time;
use crate::pipeline::Role;
use crate::store::{ClaimedRow, ItemRow};
use crate::{FencingToken, Key, Lease, Pipeline, Result, Status};

/// A column of a row; an error that names the column if it is not what the verb expects.
pub(super) fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    verb: &'static str,
    row: &'r PgRow,
    name: &str,
) -> Result<T> {
    row.try_get(name).map_err(|error| translate(verb, error))
}

/// A claimed row, read by the columns that the pipeline names; the error is the key of one that is not in progress.
pub(super) fn claimed_row(
    verb: &'static str,
    pipeline: &Pipeline,
    token: FencingToken,
    max_resets: i32,
    row: PgRow,
) -> Result<Result<ClaimedRow<PgRow>, Key>> {
    let columns = pipeline.columns();
    let key = key(verb, &row, "rowlock_key")?;
    let word = column::<Option<&str>>(verb, &row, columns.name(Role::Status))?.unwrap_or_default();
    let Some(Status::InProgress(stage)) = pipeline.status(word) else { return Ok(Err(key)) };
    let retry_count = count(verb, &row, columns.name(Role::RetryCount))?;
    let reset_count = count(verb, &row, columns.name(Role::ResetCount))?;
    Ok(Ok(ClaimedRow {
        lease: Lease { key, token, stage },
        retry_count,
        reset_count,
        suspect: reset_count >= 1 && reset_count == max_resets - 1,
        row,
    }))
}

/// A row as it is.
pub(super) fn item_row(verb: &'static str, pipeline: &Pipeline, row: PgRow) -> Result<ItemRow<PgRow>> {
    let word: Option<String> = column(verb, &row, "rowlock_word")?;
    let word = word.unwrap_or_default();
    Ok(ItemRow {
        key: key(verb, &row, "rowlock_key")?,
        status: pipeline.status(&word),
        word,
        token: column(verb, &row, "rowlock_token")?,
        row,
    })
}

/// A time that a column of the user's may hold, also an infinite one.
pub(super) fn time(verb: &'static str, row: &PgRow, name: &str) -> Result<Option<DateTime<Utc>>> {
    Ok(column::<Option<Time>>(verb, row, name)?.map(|time| time.0))
}

pub(super) fn key(verb: &'static str, row: &PgRow, name: &str) -> Result<Key> {
    column::<&str>(verb, row, name).map(Key::from)
}

/// A count, from a column of any integer type; NULL, which a column of the user's may hold, is 0. Beyond 32 bits it is
/// over every limit anyway.
fn count(verb: &'static str, row: &PgRow, name: &str) -> Result<i32> {
    if let Ok(count) = row.try_get::<Option<i32>, _>(name) {
        return Ok(count.unwrap_or_default());
    }
    if let Ok(count) = row.try_get::<Option<i16>, _>(name) {
        return Ok(i32::from(count.unwrap_or_default()));
    }
    column::<Option<i64>>(verb, row, name)
        .map(|count| count.map_or(0, |count| i32::try_from(count).unwrap_or(i32::MAX)))
}
