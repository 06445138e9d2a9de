//! A database of its own for one table: made, filled, read in full, and dropped.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row, raw_sql};
use tempfile::TempDir;

use crate::copy::{self, FullCopy, Key};
use crate::expected::Dialect;

/// The file in a test's folder.
const SQLITE_FILE: &str = "queue.sqlite";

/// One text per column, `None` for null.
type Texts = Vec<Option<String>>;

pub(crate) enum Database {
    Postgres { server: Box<PgConnectOptions>, name: String, connection: PgConnection },
    Sqlite { folder: TempDir, connection: SqliteConnection },
}

impl Database {
    /// An empty database. The label tells it from those of other tests.
    pub(crate) async fn create(dialect: Dialect, label: &str) -> Result<Database> {
        match dialect {
            Dialect::Postgres => Database::create_postgres(label).await,
            Dialect::Sqlite => Database::create_sqlite().await,
        }
    }

    async fn create_postgres(label: &str) -> Result<Database> {
        let url =
            std::env::var("DATABASE_URL").context("DATABASE_URL names no server: run the tests by `make test`")?;
        let server: PgConnectOptions = url.parse().context("DATABASE_URL is no URL")?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).context("it is before 1970")?;
        let name = format!("rowlock_any_{}_{}_{label}", since.as_secs(), std::process::id());
        let mut admin = server.connect().await.context("the server of DATABASE_URL does not answer")?;
        admin.execute(AssertSqlSafe(format!("create database {name} template template0"))).await?;
        admin.close().await?;
        let mut connection = server.clone().database(&name).connect().await?;
        // Times are read in UTC.
        connection.execute("set time zone 'UTC'").await?;
        Ok(Database::Postgres { server: Box::new(server), name, connection })
    }

    async fn create_sqlite() -> Result<Database> {
        let folder = tempfile::tempdir()?;
        let options = SqliteConnectOptions::new().filename(folder.path().join(SQLITE_FILE)).create_if_missing(true);
        let connection = options.connect().await?;
        Ok(Database::Sqlite { folder, connection })
    }

    /// The URL under which the program finds it.
    pub(crate) fn url(&self) -> String {
        match self {
            Database::Postgres { server, name, .. } => server.clone().database(name).to_url_lossy().to_string(),
            Database::Sqlite { folder, .. } => format!("sqlite://{}", folder.path().join(SQLITE_FILE).display()),
        }
    }

    /// The same, for a session that acts as another role (PostgreSQL).
    pub(crate) fn url_as(&self, role: &str) -> String {
        let url = self.url();
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}options[role]={role}")
    }

    /// Runs any number of statements.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        let sql = raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Database::Postgres { connection, .. } => sql.execute(connection).await.map(drop)?,
            Database::Sqlite { connection, .. } => sql.execute(connection).await.map(drop)?,
        }
        Ok(())
    }

    /// Rows of a query all of whose columns are text.
    async fn query(&mut self, sql: &str) -> Result<Vec<Texts>> {
        let safe = AssertSqlSafe(sql.to_owned());
        let rows: sqlx::Result<Vec<Texts>> = match self {
            Database::Postgres { connection, .. } => {
                let rows = connection.fetch_all(safe).await?;
                rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
            }
            Database::Sqlite { connection, .. } => {
                let rows = connection.fetch_all(safe).await?;
                rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
            }
        };
        rows.with_context(|| sql.to_owned())
    }

    /// The time by the database's clock.
    pub(crate) async fn now(&mut self) -> Result<DateTime<Utc>> {
        let sql = match self {
            Database::Postgres { .. } => "select clock_timestamp()::text",
            Database::Sqlite { .. } => "select strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        };
        let rows = self.query(sql).await?;
        let text = rows.first().and_then(|row| row.first()).and_then(|text| text.as_deref());
        text.and_then(copy::time).context("the database tells no time")
    }

    /// The bounds of a time that is stored between the two: a column may count whole seconds, or round to milliseconds.
    pub(crate) fn rounded(from: DateTime<Utc>, until: DateTime<Utc>) -> copy::Span {
        let from = DateTime::from_timestamp(from.timestamp(), 0).unwrap_or(from);
        copy::Span { from, until: until + TimeDelta::milliseconds(2) }
    }

    /// Every row of the table, in full.
    pub(crate) async fn copy(&mut self, table: &str, key: &[String]) -> Result<FullCopy> {
        let columns = self.columns(table).await?;
        let shown: Vec<String> = key.iter().chain(&columns).map(|column| self.shown(&quoted(column))).collect();
        let rows = self.query(&format!("select {} from {table}", shown.join(", "))).await?;
        let many = rows.len();
        let rows: BTreeMap<Key, Texts> = rows.into_iter().map(|row| split(row, key.len())).collect();
        anyhow::ensure!(rows.len() == many, "{table} has two rows with the same key");
        Ok(FullCopy { columns, rows })
    }

    /// The keys of the rows that a predicate is true for, each with the values of these expressions.
    pub(crate) async fn rows_where(
        &mut self,
        table: &str,
        key: &[String],
        expressions: &[&String],
        predicate: &str,
    ) -> Result<Vec<(Key, Texts)>> {
        let key_columns = key.iter().map(|column| self.shown(&quoted(column)));
        let values = expressions.iter().map(|expression| self.shown(expression));
        let shown: Vec<String> = key_columns.chain(values).collect();
        let sql = format!("select {} from {table} where {predicate}", shown.join(", "));
        let rows = self.query(&sql).await?;
        Ok(rows.into_iter().map(|row| split(row, key.len())).collect())
    }

    async fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        let sql = match self {
            Database::Postgres { .. } => format!(
                "select attname::text from pg_attribute where attrelid = {}::regclass and attnum > 0 \
                 and not attisdropped order by attnum",
                literal(table)
            ),
            Database::Sqlite { .. } => {
                format!("select name from pragma_table_xinfo({}) order by cid", literal(table.trim_matches('"')))
            }
        };
        let rows = self.query(&sql).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Everything that the owner defined in the database, a line for each.
    pub(crate) async fn definitions(&mut self) -> Result<Vec<String>> {
        let sql = match self {
            Database::Postgres { .. } => include_str!("sql/postgres_definitions.sql"),
            Database::Sqlite { .. } => include_str!("sql/sqlite_definitions.sql"),
        };
        let rows = self.query(sql).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// An expression as text that tells any two values apart: in SQLite the integer 1 is not the text '1'.
    fn shown(&self, expression: &str) -> String {
        match self {
            Database::Postgres { .. } => format!("({expression})::text"),
            Database::Sqlite { .. } => format!("nullif(quote({expression}), 'NULL')"),
        }
    }

    /// A value of expected.toml, as `shown` would show it.
    pub(crate) fn shown_value(&self, value: &serde_json::Value) -> String {
        match (self, value) {
            (Database::Postgres { .. }, serde_json::Value::String(text)) => text.clone(),
            (Database::Sqlite { .. }, serde_json::Value::String(text)) => literal(text),
            (Database::Sqlite { .. }, serde_json::Value::Bool(truth)) => u8::from(*truth).to_string(),
            (_, other) => other.to_string(),
        }
    }

    /// Drops it. A test that fails before leaves it behind, to be looked at.
    pub(crate) async fn remove(self) -> Result<()> {
        match self {
            Database::Postgres { server, name, connection } => {
                connection.close().await?;
                let mut admin = server.connect().await?;
                admin.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await?;
                admin.close().await?;
            }
            Database::Sqlite { folder, connection } => {
                connection.close().await?;
                folder.close()?;
            }
        }
        Ok(())
    }
}

/// The key, and what follows it.
fn split(mut row: Texts, key_len: usize) -> (Key, Texts) {
    let values = row.split_off(key_len);
    (row, values)
}

fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
