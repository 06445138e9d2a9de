//! A PostgreSQL database for one test.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A separate database on the server that `DATABASE_URL` names; dropped with this value.
pub(crate) struct TestDatabase {
    server_url: String,
    name: String,
    pub(crate) url: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl TestDatabase {
    pub(crate) async fn create() -> TestDatabase {
        let server_url = std::env::var("DATABASE_URL").unwrap_or_default();
        assert!(
            server_url.starts_with("postgres"),
            "DATABASE_URL must name a PostgreSQL server: run `make test`, or `scripts/with-postgres cargo test`"
        );
        let name = format!("rowlock_test_video_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        run(&server_url, &format!("drop database if exists {name} with (force)")).await;
        run(&server_url, &format!("create database {name}")).await;
        let (address, parameters) = server_url.split_once('?').unwrap_or((&server_url, ""));
        let (server, _) = address.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}?{parameters}").trim_end_matches('?').to_owned();
        TestDatabase { server_url, name, url }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A test's own runtime cannot be blocked on from within.
        let sql = format!("drop database if exists {} with (force)", self.name);
        let server_url = self.server_url.clone();
        let dropping = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(run(&server_url, &sql));
        });
        let _ = dropping.join();
    }
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
