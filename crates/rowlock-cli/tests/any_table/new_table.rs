//! A table that `init --new` describes and `attach` makes has none of the mistakes.

use serde_json::Value;

use crate::database::Database;
use crate::expected::Dialect;
use crate::findings::findings;
use crate::program::{attach, check, drain, init_new};

#[tokio::test]
async fn check_finds_nothing_in_a_new_table_on_postgresql() {
    check_finds_nothing(Dialect::Postgres, "new_table").await;
}

#[tokio::test]
async fn check_finds_nothing_in_a_new_table_on_sqlite() {
    check_finds_nothing(Dialect::Sqlite, "new_table").await;
}

async fn check_finds_nothing(dialect: Dialect, label: &str) {
    let database = Database::create(dialect, label).await.expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let (url, file) = (database.url(), folder.path().join("rowlock.toml"));
    let described = init_new(&url, "videos", &file).await.expect("init --new");
    assert_eq!(described.status, 0, "{}", described.said());
    let attached = attach(&url, &file).await.expect("attach");
    assert_eq!(attached.status, 0, "{}", attached.said());
    for when in ["before the first item", "after a drain"] {
        let checked = check(&url, &file).await.expect("check");
        assert_eq!(findings(&checked).expect("findings"), Vec::<Value>::new(), "{when}");
        let drained = drain(&url, &file).await.expect("drain");
        assert_eq!(drained.status, 0, "{}", drained.said());
    }
    database.remove().await.expect("removed");
}
