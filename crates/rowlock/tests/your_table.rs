//! docs/your-table.md: the statements to run by hand are all that a pipeline needs.

use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Pipeline, Record, Repository};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};

#[derive(sqlx::FromRow)]
struct Video {
    video_id: String,
}

const TABLE: &str = "create table videos (video_id text primary key, path text)";

fn pipeline() -> Pipeline {
    let builder = Pipeline::builder("videos").table("videos").key("video_id").stage("EXTRACTION").stage("EMBEDDING");
    builder.build().expect("a valid pipeline")
}

/// The statements of the first block under a heading.
fn statements(heading: &str) -> Vec<&'static str> {
    let text = include_str!("../../../docs/your-table.md");
    let (_, section) = text.split_once(&format!("\n### {heading}\n")).expect("the heading is there");
    let (_, block) = section.split_once("```sql\n").expect("a block begins");
    let (block, _) = block.split_once("```").expect("the block ends");
    block.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

/// `inspect` reports nothing, and the queue works. (`prepare` has nothing to add either: see the tests.)
async fn assert_complete<S: Store>(store: S)
where
    Video: Record<S>,
{
    assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
    let videos = Repository::<_, Video>::new(store);
    videos.add_many(["a.mp4"]).await.expect("adds");
    let claims = videos.claim(10).await.expect("claims");
    for claim in claims.items {
        assert_eq!(claim.video_id, "a.mp4");
        claim.fail("not today").await.expect("fails");
    }
    assert_eq!(videos.failures("a.mp4").await.expect("failures").len(), 1);
}

#[tokio::test]
async fn by_hand_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("videos.sqlite");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("opens");
    connection.execute(TABLE).await.expect("creates");
    for statement in statements("SQLite") {
        connection.execute(AssertSqlSafe(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let store = SqliteStore::open(file, pipeline()).await.expect("opens");
    assert_complete(store.clone()).await;
    let names = "select name from sqlite_schema order by name";
    let before = connection.fetch_all(names).await.expect("names");
    store.prepare().await.expect("prepares");
    let after = connection.fetch_all(names).await.expect("names");
    let text = |row: &sqlx::sqlite::SqliteRow| row.get::<String, _>(0);
    assert_eq!(before.iter().map(text).collect::<Vec<_>>(), after.iter().map(text).collect::<Vec<_>>());
}

/// Every column and every index, as the server writes them.
async fn definitions(connection: &mut PgConnection) -> Vec<String> {
    let query = "
        select concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, is_identity) \
        as definition
        from information_schema.columns where table_schema = 'public'
        union all
        select indexdef from pg_indexes where schemaname = 'public'
        order by 1";
    let rows = connection.fetch_all(query).await.expect("definitions");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn by_hand_on_postgresql() {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names no server: run the tests by `make test`");
    let mut admin = PgConnection::connect(&url).await.expect("the server of DATABASE_URL answers");
    let name = format!("rowlock_by_hand_{}", std::process::id());
    admin.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await.expect("dropped");
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("created");
    let options = url.parse::<sqlx::postgres::PgConnectOptions>().expect("a valid URL").database(&name);
    let mut connection = PgConnection::connect_with(&options).await.expect("the new database answers");
    connection.execute(TABLE).await.expect("creates");
    for statement in statements("PostgreSQL") {
        connection.execute(AssertSqlSafe(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let store = PostgresStore::with_options(options, pipeline());
    assert_complete(store.clone()).await;
    let by_hand = definitions(&mut connection).await;
    store.prepare().await.expect("prepares");
    assert_eq!(definitions(&mut connection).await, by_hand, "nothing is left to prepare");
    let drop = "drop table videos, rowlock_meta, rowlock_stages, rowlock_failures";
    connection.execute(drop).await.expect("dropped");
    connection.execute(TABLE).await.expect("creates");
    store.prepare().await.expect("prepares");
    assert_eq!(definitions(&mut connection).await, by_hand, "and `prepare` makes the very same");
    store.close().await;
    connection.close().await.expect("closes");
    admin.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await.expect("dropped");
}
