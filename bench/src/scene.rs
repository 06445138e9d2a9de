//! A database of its own for each round, and the check of its final state.

use anyhow::{Context, Result, ensure};
use rowlock::store::postgres::PostgresStore;
use rowlock::{Pipeline, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// A fresh database with a prepared table of ready items.
pub(crate) struct Scene {
    admin: PgConnection,
    name: String,
    pub(crate) options: PgConnectOptions,
}

pub(crate) const TABLE: &str = "items";

pub(crate) fn one_stage() -> Result<Pipeline> {
    Ok(Pipeline::builder("bench").table(TABLE).key("id").stage("WORK").build()?)
}

impl Scene {
    pub(crate) async fn new(database: &str, items: i64) -> Result<Scene> {
        let options: PgConnectOptions = database.parse().context("the database URL")?;
        let mut admin = PgConnection::connect_with(&options).await.context("connecting to the server")?;
        let name = format!("rowlock_bench_{}_{:08x}", std::process::id(), rand::random::<u32>());
        admin.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        let options = options.database(&name);
        let store = PostgresStore::with_options(options.clone(), one_stage()?);
        store.prepare().await?;
        store.close().await;
        let mut connection = PgConnection::connect_with(&options).await?;
        let fill = format!(
            "insert into {TABLE} (id, created_at)
             select md5(n::text), now() - ({items} - n) * interval '1 ms' from generate_series(1, {items}) n"
        );
        connection.execute(AssertSqlSafe(fill)).await?;
        connection.execute(AssertSqlSafe(format!("vacuum analyze {TABLE}"))).await?;
        connection.execute("checkpoint").await?;
        connection.close().await?;
        Ok(Scene { admin, name, options })
    }

    /// Every item succeeded, once, and nothing failed on the way; then the database goes away.
    pub(crate) async fn verify_and_drop(mut self, items: i64) -> Result<()> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let query =
            format!("select count(*) from {TABLE} where status = 'SUCCEEDED' and retry_count + reset_count = 0");
        let succeeded: i64 = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
        connection.close().await?;
        self.admin.execute(AssertSqlSafe(format!("drop database {} with (force)", self.name))).await?;
        ensure!(succeeded == items, "{succeeded} of {items} items succeeded: this run is no result");
        Ok(())
    }
}
