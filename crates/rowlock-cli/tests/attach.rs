//! `rowlock attach` and `rowlock detach` by the program itself, on an SQLite file.

use std::path::Path;
use std::process::{Command, Output};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;

const DESCRIPTION: &str = r#"
pipeline = "videos"
table = "videos"
key = "id"
succeeded = "done"
failed = "failed"
cancelled = "off"

[[stage]]
name = "thumbnail"
ready = "queued"
running = "processing"
"#;

const TABLE: &str = "create table videos (id text primary key not null, status text not null default 'queued');
    insert into videos values ('a', 'queued'), ('b', 'processing'), ('c', 'done')";

/// A folder with a file that has this table, and a description.
async fn folder(table: &str, description: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rowlock.toml"), description).expect("written");
    execute(folder.path(), table).await;
    folder
}

async fn execute(folder: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(folder.join("queue.sqlite")).create_if_missing(true);
    let mut connection = options.connect().await.expect("the file opens");
    connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
    connection.close().await.expect("closed");
}

async fn schema(folder: &Path) -> Vec<(String, String)> {
    let options = SqliteConnectOptions::new().filename(folder.join("queue.sqlite"));
    let mut connection = options.connect().await.expect("the file opens");
    let sql = "select name, coalesce(sql, '') from sqlite_schema where name not glob 'sqlite_*' order by name";
    let rows = sqlx::query_as::<_, (String, String)>(sql).fetch_all(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("closed");
    rows
}

fn rowlock(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlock"));
    command.current_dir(folder).args(arguments).env("DATABASE_URL", "sqlite://queue.sqlite");
    command.output().expect("the command runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_plan_is_printed_and_run_and_then_there_is_none() {
    let folder = folder(TABLE, DESCRIPTION).await;
    let before = schema(folder.path()).await;

    let plan = rowlock(folder.path(), &["attach"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
    let text = said(&plan);
    for part in ["add column", "create index", "1 row is in progress under no lease", "Nothing has changed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(schema(folder.path()).await, before);

    let applied = rowlock(folder.path(), &["attach", "--apply"]);
    assert!(said(&applied).contains("is attached"), "{}", said(&applied));
    let again = rowlock(folder.path(), &["attach", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&json["steps"], &json["attached"]), (&serde_json::json!([]), &serde_json::json!(true)), "{json}");

    let detached = rowlock(folder.path(), &["detach", "--apply"]);
    assert_eq!(detached.status.code(), Some(0), "{}", said(&detached));
    let names = |schema: &[(String, String)]| schema.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&schema(folder.path()).await), names(&before));
}

#[tokio::test]
async fn rows_without_a_status_are_asked_about_and_nothing_changes() {
    let table = "create table videos (id text primary key not null); insert into videos values ('a')";
    let folder = folder(table, DESCRIPTION).await;
    let before = schema(folder.path()).await;

    let refused = rowlock(folder.path(), &["attach", "--apply"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("--existing"), "{}", said(&refused));
    assert_eq!(schema(folder.path()).await, before);

    let applied = rowlock(folder.path(), &["attach", "--apply", "--existing", "succeeded"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
}

#[tokio::test]
async fn a_description_that_puts_rows_into_two_states_is_refused_with_an_example() {
    let described = DESCRIPTION.replace(
        "succeeded = \"done\"",
        "succeeded = { is = \"done_at is not null\", set = { done_at = \"datetime('now')\" } }",
    );
    let table = "create table videos (id text primary key not null, status text default 'queued', done_at text);
                 insert into videos values ('both', 'queued', 'today')";
    let folder = folder(table, &described).await;
    let before = schema(folder.path()).await;

    let refused = rowlock(folder.path(), &["attach", "--apply"]);

    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let text = said(&refused);
    assert!(text.contains("ready for thumbnail, succeeded") && text.contains("\"both\""), "{text}");
    assert_eq!(schema(folder.path()).await, before);
}
