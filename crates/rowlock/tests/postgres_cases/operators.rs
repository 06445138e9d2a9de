//! Verbs that wait for a row which another transaction changes meanwhile.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Moved, Requeueing, Setting, Store};
use rowlock::{Key, Status};
use sqlx::Executor;

use super::{add, claiming, pipeline, stages, table, until_one_waits};
use crate::postgres::PostgresHarness;

/// Runs a verb on an item while another transaction changes it, and gives the verb's answer.
async fn meanwhile(
    harness: &PostgresHarness,
    change: &'static str,
    verb: impl Future<Output = rowlock::Result<Vec<Moved>>>,
) -> Moved {
    let mut other = harness.pool.begin().await.expect("begin");
    other.execute(change).await.expect("update");
    let (moved, ()) = tokio::join!(verb, async {
        until_one_waits(harness).await;
        other.commit().await.expect("commit");
    });
    moved.expect("the verb").remove(0)
}

#[tokio::test]
async fn a_row_that_becomes_movable_while_it_is_waited_for_is_moved() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        store.claim(&claiming(1)).await.expect("claim");
        let keys = [Key::from("a")];
        let first = pipeline().stage_ids().next().expect("a stage");

        let requeueing = Requeueing { keys: keys.to_vec(), stage: None, now: None };
        let requeued = meanwhile(harness, "update pages set status = 'FAILED'", store.requeue(&requeueing)).await;
        assert_eq!(requeued, Moved::Applied { to: Status::Ready(first) });

        harness.execute("update pages set status = 'SUCCEEDED'").await.expect("update");
        let cancelled = meanwhile(harness, "update pages set status = 'PENDING'", store.cancel(&keys, None)).await;
        assert_eq!(cancelled, Moved::Applied { to: Status::Cancelled });

        harness.execute("update pages set status = 'UNKNOWN'").await.expect("update");
        let setting = Setting { keys: keys.to_vec(), to: Status::Failed, error: None, now: None };
        let set = meanwhile(harness, "update pages set status = 'PENDING'", store.set(&setting)).await;
        assert_eq!(set, Moved::Applied { to: Status::Failed });
    })
    .await;
}

#[tokio::test]
async fn a_row_that_ceases_to_be_movable_while_it_is_waited_for_is_left() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        let keys = [Key::from("a")];
        let cancelled = meanwhile(harness, "update pages set status = 'SUCCEEDED'", store.cancel(&keys, None)).await;
        assert_eq!(cancelled, Moved::Illegal { from: "SUCCEEDED".to_owned() });
    })
    .await;
}

#[tokio::test]
async fn keys_are_locked_in_the_order_of_the_table_and_not_of_their_bytes() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let sql = r#"create table pages (page text collate "und-x-icu" primary key)"#;
        harness.execute(sql).await.expect("create table");
        let store = harness.open(stages().build().expect("valid")).await;
        store.prepare().await.expect("prepare");
        add(&store, &["a", "B", "c"]).await;
        let sql = store.sql("canonical_keys").expect("a statement").to_owned();

        let rows: Vec<(i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(["c", "missing", "B", "a", "c"].map(str::to_owned).to_vec())
            .fetch_all(&harness.pool)
            .await
            .expect("select");

        let expected = [(4, "a"), (3, "B"), (1, "c"), (5, "c"), (2, "missing")];
        assert_eq!(rows.iter().map(|(position, key)| (*position, key.as_str())).collect::<Vec<_>>(), expected);
    })
    .await;
}
