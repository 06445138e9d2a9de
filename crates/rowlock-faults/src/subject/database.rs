//! The database under attack, seen from both sides: what the handlers write, and how the suite reads it.

use std::time::Duration;

use anyhow::Result;
use rowlock::store::postgres::{PostgresStore, PostgresTransaction};
use rowlock::store::sqlite::{SqliteStore, SqliteTransaction};
use rowlock::{Lease, Pipeline, Store};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool, SqlitePool};

/// A store in whose transactions effects can be written.
pub trait Effects: Store {
    /// Writes the effect of a stage, and lets the commit take this long if the database can do that.
    fn write_effect(
        transaction: &mut Self::Transaction,
        lease: &Lease,
        worker: &str,
        commit: Duration,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

const INSERT_EFFECT: &str = "insert into effects (item, stage, token, worker, commit_ms) values ($1, $2, $3, $4, $5)";

macro_rules! insert_effect {
    ($connection:expr, $lease:expr, $worker:expr, $commit:expr) => {
        sqlx::query(INSERT_EFFECT)
            .persistent(false)
            .bind($lease.key.as_str())
            .bind(super::STAGES[$lease.stage.index()])
            .bind($lease.token.as_i64())
            .bind($worker)
            .bind(i32::try_from($commit.as_millis()).unwrap_or(i32::MAX))
            .execute($connection)
            .await
            .map(drop)
    };
}

impl Effects for PostgresStore {
    async fn write_effect(
        transaction: &mut PostgresTransaction,
        lease: &Lease,
        worker: &str,
        commit: Duration,
    ) -> sqlx::Result<()> {
        insert_effect!(&mut **transaction, lease, worker, commit)
    }
}

impl Effects for SqliteStore {
    async fn write_effect(
        transaction: &mut SqliteTransaction,
        lease: &Lease,
        worker: &str,
        commit: Duration,
    ) -> sqlx::Result<()> {
        insert_effect!(&mut **transaction, lease, worker, commit)
    }
}

/// The suite's own connections.
#[derive(Debug, Clone)]
pub enum Database {
    /// A server.
    Postgres(PgPool),
    /// A file.
    Sqlite(SqlitePool),
}

/// Does the same on either database.
#[macro_export]
macro_rules! on_either {
    ($database:expr, $pool:ident => $work:expr) => {
        match $database {
            $crate::subject::Database::Postgres($pool) => $work,
            $crate::subject::Database::Sqlite($pool) => $work,
        }
    };
}

/// How long to wait for a connection: servers crash and start here.
const ACQUIRE: Duration = Duration::from_secs(30);

impl Database {
    /// Connections to the database of this URL, opened when they are needed.
    ///
    /// # Errors
    /// A URL that cannot be read.
    pub fn lazy(url: &str) -> Result<Database> {
        if url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = url.parse()?;
            let options = options.busy_timeout(ACQUIRE).create_if_missing(true);
            let pool = SqlitePoolOptions::new().max_connections(2).acquire_timeout(ACQUIRE).connect_lazy_with(options);
            return Ok(Database::Sqlite(pool));
        }
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new().max_connections(3).acquire_timeout(ACQUIRE).connect_lazy_with(options);
        Ok(Database::Postgres(pool))
    }

    /// Runs statements without parameters.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&self, sql: impl Into<String>) -> sqlx::Result<()> {
        let sql = AssertSqlSafe(sql.into());
        on_either!(self, pool => pool.execute(sql).await.map(drop))
    }

    /// One number.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn number(&self, sql: impl Into<String>) -> sqlx::Result<i64> {
        let sql = AssertSqlSafe(sql.into());
        on_either!(self, pool => sqlx::query_scalar(sql).persistent(false).fetch_one(pool).await)
    }

    /// Creates the tables under attack.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prepare(&self, url: &str, pipeline: Pipeline) -> Result<()> {
        match self {
            Database::Postgres(pool) => {
                let store = PostgresStore::from_pool(pool, pipeline);
                store.prepare().await?;
                store.close().await;
                self.execute(include_str!("sql/postgres.sql")).await?;
            }
            Database::Sqlite(_) => {
                let store = SqliteStore::connect(&format!("{url}?mode=rwc"), pipeline).await?;
                store.prepare().await?;
                store.close().await;
                self.execute(include_str!("sql/sqlite.sql")).await?;
            }
        }
        Ok(())
    }

    /// A number that changes when anything is created or added.
    pub async fn extent(&self) -> sqlx::Result<i64> {
        match self {
            Database::Postgres(_) => {
                let columns = "select count(*) from pg_attribute where attrelid >= 16384 and not attisdropped";
                self.number(columns).await
            }
            Database::Sqlite(_) => self.number("select coalesce(sum(length(sql)), 0) from sqlite_master").await,
        }
    }

    /// Closes the connections.
    pub async fn close(&self) {
        on_either!(self, pool => pool.close().await);
    }
}
