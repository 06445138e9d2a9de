//! Asks the database, read-only and within bounds: each query has a time-out, all of them together have another, and
//! what the whole table would cost too much is asked of a sample.
//!
//! Each query has a short transaction of its own. One for all would hold a snapshot for as long as the check takes,
//! which is one of the mistakes that the check reports.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column as _, PgConnection, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};

use super::finding::Count;
use super::template::render;

/// Rows that a sample holds, about. Enough to see a state that one row in a thousand has.
const SAMPLE_ROWS: i64 = 50_000;

/// The share that is read of a table whose size nothing tells, and the smallest that is asked for.
const SHARE_UNKNOWN: f64 = 0.001;
const SHARE_MIN: f64 = 0.000_001;

/// From how many rows on the whole table is not even tried: on a table of this size a sequential scan outlasts any
/// time-out that a linter may have, and evicts the server's cache until then.
const WHOLE_ROWS_MAX: i64 = 20_000_000;

/// Instructions of SQLite's machine between two looks at the clock: some tens of microseconds.
const PROGRESS_OPS: i32 = 10_000;

/// The connection on which is asked.
pub enum Connection<'c> {
    /// A PostgreSQL server.
    Postgres(&'c mut PgConnection),
    /// An SQLite file.
    Sqlite(&'c mut SqliteConnection),
}

/// How long may be asked.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest that one query may take.
    pub query: Duration,
    /// The longest that all of them may take. What is left then is reported as not checked.
    pub total: Duration,
}

impl Default for Limits {
    /// Two seconds for a query, a minute for all.
    fn default() -> Limits {
        Limits { query: Duration::from_secs(2), total: Duration::from_secs(60) }
    }
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The time-out ended it.
    TooCostly,
    /// The database refused it, with this message.
    Refused(String),
    /// The connection is gone, so that nothing else can be asked either.
    Lost(sqlx::Error),
}

/// The rows that a query read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Basis {
    /// All.
    Whole,
    /// About this share of them, chosen at random.
    Share(f64),
    /// As many as this, the first that the table has.
    First(i64),
}

/// An answer, and what it was derived from.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) value: T,
    pub(super) basis: Basis,
}

impl<T> Answer<T> {
    /// A number of rows in the sample, as a number of rows in the table.
    pub(super) fn count(&self, found: i64) -> Count {
        match self.basis {
            Basis::Whole => Count::exact(found),
            Basis::Share(share) => Count::estimate(scaled(found, share)),
            Basis::First(_) => Count::estimate(found),
        }
    }

    /// What is said after the evidence; nothing if all rows were read.
    pub(super) fn basis_text(&self) -> String {
        match self.basis {
            Basis::Whole => String::new(),
            Basis::Share(share) => format!(" (estimated from a sample of {:.3} % of the table)", share * 100.0),
            Basis::First(rows) => format!(" (among {rows} rows of the table: a lower bound)"),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an estimate of a number of rows")]
fn scaled(found: i64, share: f64) -> i64 {
    (found as f64 / share).round() as i64
}

/// Asks on one connection, about one table.
pub(super) struct Asker<'c> {
    connection: Connection<'c>,
    limits: Limits,
    end: Instant,
    /// The table, quoted.
    table: String,
    rows_estimate: i64,
    sampled: bool,
}

impl<'c> Asker<'c> {
    pub(super) fn new(connection: Connection<'c>, limits: Limits, table: String, rows_estimate: i64) -> Asker<'c> {
        Asker { connection, limits, end: Instant::now() + limits.total, table, rows_estimate, sampled: false }
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// Picks the text for this database.
    pub(super) fn dialect(&self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        if self.is_postgres() { postgres } else { sqlite }
    }

    /// Whether an answer since the last call of this function came from a sample.
    pub(super) fn take_sampled(&mut self) -> bool {
        std::mem::take(&mut self.sampled)
    }

    /// Asks about the rows of the table: `{rows}` in the text is the whole table or, if that costs too much, a sample.
    pub(super) async fn about_rows<T: DeserializeOwned>(
        &mut self,
        sql: &str,
        names: &[(&str, &str)],
    ) -> Result<Answer<Vec<T>>, Unanswered> {
        let whole = self.table.clone();
        if self.rows_estimate <= WHOLE_ROWS_MAX {
            match self.rows(&with_rows(sql, names, &whole)).await {
                Err(Unanswered::TooCostly) => {}
                Err(other) => return Err(other),
                Ok(value) => return Ok(Answer { value, basis: Basis::Whole }),
            }
        }
        let (source, basis) = self.sample();
        let value = self.rows(&with_rows(sql, names, &source)).await?;
        self.sampled = true;
        Ok(Answer { value, basis })
    }

    /// As `about_rows`, for a query that answers with one row.
    pub(super) async fn about_rows_one<T: DeserializeOwned + Default>(
        &mut self,
        sql: &str,
        names: &[(&str, &str)],
    ) -> Result<Answer<T>, Unanswered> {
        let answer = self.about_rows::<T>(sql, names).await?;
        Ok(Answer { value: answer.value.into_iter().next().unwrap_or_default(), basis: answer.basis })
    }

    /// Asks for rows, each read as `T` by the names of its columns.
    pub(super) async fn rows<T: DeserializeOwned>(&mut self, sql: &str) -> Result<Vec<T>, Unanswered> {
        let left = self.end.saturating_duration_since(Instant::now()).min(self.limits.query);
        if left.is_zero() {
            return Err(Unanswered::TooCostly);
        }
        let rows = match &mut self.connection {
            Connection::Postgres(connection) => ask_postgres(connection, left, sql).await,
            Connection::Sqlite(connection) => ask_sqlite(connection, left, sql).await,
        };
        rows.map_err(unanswered)?
            .into_iter()
            .map(|row| serde_json::from_value(row).map_err(|error| Unanswered::Refused(error.to_string())))
            .collect()
    }

    fn sample(&self) -> (String, Basis) {
        if !self.is_postgres() {
            // A random sample would read the table: SQLite has none.
            return (format!("(select * from {} limit {SAMPLE_ROWS})", self.table), Basis::First(SAMPLE_ROWS));
        }
        let share = share_of(self.rows_estimate);
        // The same pages each time: a finding does not come and go between two runs.
        let source = format!("{} tablesample system ({:.6}) repeatable (7)", self.table, share * 100.0);
        (source, Basis::Share(share))
    }
}

/// The share of the table that makes a sample. It is asked for only where the whole table was too much: then a table
/// that is said to be small is not.
fn share_of(rows_estimate: i64) -> f64 {
    if rows_estimate <= SAMPLE_ROWS {
        return SHARE_UNKNOWN;
    }
    (SAMPLE_ROWS as f64 / rows_estimate as f64).max(SHARE_MIN)
}

fn with_rows(sql: &str, names: &[(&str, &str)], rows: &str) -> String {
    let mut all = vec![("rows", rows)];
    all.extend_from_slice(names);
    render(sql, &all)
}

async fn ask_postgres(connection: &mut PgConnection, left: Duration, sql: &str) -> Result<Vec<Value>, sqlx::Error> {
    let begin = format!(
        "begin transaction isolation level read committed read only;
         set local statement_timeout = {};
         set local lock_timeout = 500;
         set local max_parallel_workers_per_gather = 0;
         set local jit = off",
        left.as_millis().max(1)
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
    let wrapped = format!("select to_jsonb(answer)::text as answer from (\n{sql}\n) as answer");
    let rows = sqlx::query(AssertSqlSafe(wrapped)).persistent(false).fetch_all(&mut *connection).await;
    sqlx::raw_sql("rollback").execute(&mut *connection).await?;
    rows?
        .iter()
        .map(|row| {
            let text: String = row.try_get("answer")?;
            serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
        })
        .collect()
}

async fn ask_sqlite(connection: &mut SqliteConnection, left: Duration, sql: &str) -> Result<Vec<Value>, sqlx::Error> {
    sqlx::raw_sql("pragma query_only = on").execute(&mut *connection).await?;
    let end = Instant::now() + left;
    connection.lock_handle().await?.set_progress_handler(PROGRESS_OPS, move || Instant::now() < end);
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false).fetch_all(&mut *connection).await;
    connection.lock_handle().await?.remove_progress_handler();
    rows?.iter().map(row_as_json).collect()
}

fn row_as_json(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    let mut object = Map::new();
    for column in row.columns() {
        let index = column.ordinal();
        let raw = row.try_get_raw(index)?;
        let type_info = raw.type_info();
        let value = match type_info.name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" => Value::from(row.try_get::<i64, _>(index)?),
            "REAL" => Value::from(row.try_get::<f64, _>(index)?),
            "TEXT" => Value::from(row.try_get::<String, _>(index)?),
            _ => Value::Null,
        };
        object.insert(column.name().to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// `57014` is a cancelled query and `55P03` a lock that was not given in time; `9` is an interrupted query of SQLite's.
fn unanswered(error: sqlx::Error) -> Unanswered {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Unanswered::Refused(error.to_string()),
            _ => Unanswered::Lost(error),
        };
    };
    let (code, message) = (database.code().map(Cow::into_owned), database.message().to_owned());
    match code.as_deref() {
        Some("57014" | "55P03" | "9") => Unanswered::TooCostly,
        // The server ended the session, or goes down.
        Some("57P01" | "57P02" | "57P03" | "57P05") => Unanswered::Lost(error),
        _ => Unanswered::Refused(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_a_sample_is_said_to_be_an_estimate_of_the_table() {
        let answer = Answer { value: (), basis: Basis::Share(0.01) };
        assert_eq!(answer.count(37), Count::estimate(3_700));
        assert!(answer.basis_text().contains("1.000 %"));
        let whole = Answer { value: (), basis: Basis::Whole };
        assert_eq!((whole.count(37), whole.basis_text()), (Count::exact(37), String::new()));
    }

    #[test]
    fn a_sample_of_a_large_table_stays_small() {
        assert!(share_of(100_000_000) * 100_000_000.0 <= 50_001.0);
        assert!(share_of(-1) < 0.01, "a table of unknown size was too large to be read");
    }
}
