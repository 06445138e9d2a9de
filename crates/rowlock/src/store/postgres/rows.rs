//! Reading rows. The columns that Rowlock adds to a user's row begin with `rowlock_`.

use std::fmt;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Column, ColumnIndex, Decode, Postgres, Row, Type};

use super::errors::translate;
use super::time::Time;
use crate::pipeline::{KeyType, Role, StageId};
use crate::store::template::value_name;
use crate::store::{ClaimedRow, ItemRow, Limits};
use crate::{FencingToken, Key, Lease, Pipeline, Result, Status};

/// A column of a row, by its name or its position. If it is not what the verb expects, the error names it.
pub(super) fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    verb: &'static str,
    row: &'r PgRow,
    column: impl ColumnIndex<PgRow>,
) -> Result<T> {
    row.try_get(column).map_err(|error| translate(verb, error))
}

/// The position of a column in this row, and in all rows of the same answer.
pub(super) fn place(verb: &'static str, row: &PgRow, name: &str) -> Result<usize> {
    row.try_column(name).map(Column::ordinal).map_err(|error| translate(verb, error))
}

/// The positions of the columns of claimed rows. Looked up once per answer: looking up a name costs more than reading
/// its value.
pub(super) struct ClaimedColumns {
    verb: &'static str,
    key: usize,
    status: usize,
    retry_count: usize,
    reset_count: usize,
}

impl ClaimedColumns {
    /// The columns that the pipeline names, in answers like that of this row.
    pub(super) fn of(verb: &'static str, pipeline: &Pipeline, row: &PgRow) -> Result<ClaimedColumns> {
        let of_role = |role| place(verb, row, &value_name(pipeline, role));
        Ok(ClaimedColumns {
            verb,
            key: place(verb, row, "rowlock_key")?,
            status: of_role(Role::Status)?,
            retry_count: of_role(Role::RetryCount)?,
            reset_count: of_role(Role::ResetCount)?,
        })
    }

    /// Whether the row carries no item.
    pub(super) fn is_none(&self, row: &PgRow) -> Result<bool> {
        Ok(column::<Option<&str>>(self.verb, row, self.key)?.is_none())
    }

    /// A claimed row; the error is a row that no worker can hold, with the lease that it would be under.
    pub(super) fn claimed_row(
        &self,
        pipeline: &Pipeline,
        token: FencingToken,
        limits: Limits,
        row: PgRow,
    ) -> Result<Result<ClaimedRow<PgRow>, (Lease, Unclaimed)>> {
        let key = key(self.verb, &row, self.key)?;
        let word = column::<Option<&str>>(self.verb, &row, self.status)?.unwrap_or_default();
        let retry_count = count(self.verb, &row, self.retry_count)?;
        let reset_count = count(self.verb, &row, self.reset_count)?;
        let status = pipeline.status(word);
        let Some(Status::InProgress(stage)) = status else {
            let why = match status {
                Some(Status::Failed) if limits.reached(retry_count, reset_count).is_some() => Unclaimed::Exhausted,
                _ => Unclaimed::Rewritten(word.to_owned()),
            };
            return Ok(Err((Lease { key, token, stage: StageId::FIRST }, why)));
        };
        let lease = Lease { key, token, stage };
        if !fits(pipeline.key_type(), lease.key.as_str()) {
            return Ok(Err((lease, Unclaimed::UnfitKey(pipeline.key_type()))));
        }
        let suspect = limits.is_suspect(reset_count);
        Ok(Ok(ClaimedRow { lease, retry_count, reset_count, suspect, row }))
    }
}

/// Why no worker holds a row that a claim wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unclaimed {
    /// It was at a limit.
    Exhausted,
    /// A trigger wrote this word in place of the one in progress.
    Rewritten(String),
    /// The column holds keys outside the pipeline's key type, and this is one.
    UnfitKey(KeyType),
}

impl fmt::Display for Unclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unclaimed::Exhausted => f.write_str("it was at a limit"),
            Unclaimed::Rewritten(word) => write!(f, "a trigger changed the status to {word:?}"),
            Unclaimed::UnfitKey(key_type) => {
                write!(f, "its key is no {}, the key type of the pipeline", super::variables::key_type(*key_type))
            }
        }
    }
}

/// Whether a key, as the server shows it, is of the pipeline's key type: by any other key the item cannot be looked up.
fn fits(key_type: KeyType, key: &str) -> bool {
    match key_type {
        KeyType::Text => true,
        KeyType::Int => key.parse::<i32>().is_ok(),
        KeyType::BigInt => key.parse::<i64>().is_ok(),
        KeyType::Uuid => key.len() == 36,
    }
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

/// A time in a column of the user's, which may be infinite.
pub(super) fn time(verb: &'static str, row: &PgRow, name: &str) -> Result<Option<DateTime<Utc>>> {
    Ok(column::<Option<Time>>(verb, row, name)?.map(|time| time.0))
}

pub(super) fn key(verb: &'static str, row: &PgRow, at: impl ColumnIndex<PgRow>) -> Result<Key> {
    column::<&str>(verb, row, at).map(Key::from)
}

/// A count, from a column of any integer type; NULL, which a column of the user's may hold, is 0. A count beyond 32
/// bits is over every limit anyway.
fn count(verb: &'static str, row: &PgRow, at: usize) -> Result<i32> {
    if let Ok(count) = row.try_get::<Option<i32>, _>(at) {
        return Ok(count.unwrap_or_default());
    }
    if let Ok(count) = row.try_get::<Option<i16>, _>(at) {
        return Ok(i32::from(count.unwrap_or_default()));
    }
    column::<Option<i64>>(verb, row, at).map(|count| count.map_or(0, |count| i32::try_from(count).unwrap_or(i32::MAX)))
}
