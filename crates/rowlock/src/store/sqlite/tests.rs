//! What is SQLite's alone: its statements and plans. Behaviour is in the conformance suite.

use super::*;
use crate::pipeline::{Budget, KeyType};

fn pipeline() -> Pipeline {
    Pipeline::builder("videos").table("videos").key("id").stage("A").stage("B").build().expect("a valid pipeline")
}

/// A pipeline in which every name needs quotes.
fn awkward() -> Pipeline {
    use crate::pipeline::{Role, Stage};
    Pipeline::builder("it's \"mine\"")
        .table("my \"own\" table")
        .key("the key")
        .key_type(KeyType::BigInt)
        .add_stage(Stage::new("it's a stage").with_ready_word("isn't done").with_running_word("select"))
        .stage(":table")
        .column(Role::Status, "order")
        .column(Role::Heartbeat, "group")
        .column(Role::ClaimToken, "a'b")
        .budget(Budget::PerItem)
        .build()
        .expect("a valid pipeline")
}

async fn store(directory: &tempfile::TempDir, pipeline: Pipeline) -> SqliteStore {
    let store = SqliteStore::open(directory.path().join("queue.db"), pipeline).await.expect("opens");
    store.prepare().await.expect("prepares");
    store
}

#[tokio::test]
async fn every_statement_prepares() {
    use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};
    for pipeline in [pipeline(), awkward()] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(&directory, pipeline).await;
        let verb = store.verb("test");
        let mut session = store.take_writer(&verb).await.expect("a connection");
        for (name, sql) in store.statements.all() {
            // A column that exists cannot be prepared to be added, nor a table to be created.
            if name.starts_with("add_") && !["add_many", "add_failures"].contains(&name) || name == "create_table" {
                continue;
            }
            let sql = AssertSqlSafe(sql.as_str().to_owned()).into_sql_str();
            session.prepare(sql).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
