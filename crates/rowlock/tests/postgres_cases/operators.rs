//! Verbs that wait for a row while another transaction changes it.

use std::time::Duration;

use rowlock::conformance::{Harness, run};
use rowlock::store::{Moved, RequeueParams, SetParams, Store};
use rowlock::{Key, Status};
use sqlx::Executor;

use super::refusals::raise;
use super::{add, claiming, pipeline, stages, table, until_one_waits};
use crate::postgres::PostgresHarness;

/// Runs a verb on an item while another transaction changes it, and returns the verb's answer.
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

        let requeueing = RequeueParams { keys: keys.to_vec(), stage: None, now: None };
        let requeued = meanwhile(harness, "update pages set status = 'FAILED'", store.requeue(&requeueing)).await;
        assert_eq!(requeued, Moved::Applied { to: Status::Ready(first) });

        harness.execute("update pages set status = 'SUCCEEDED'").await.expect("update");
        let cancelled = meanwhile(harness, "update pages set status = 'PENDING'", store.cancel(&keys, None)).await;
        assert_eq!(cancelled, Moved::Applied { to: Status::Cancelled });

        harness.execute("update pages set status = 'UNKNOWN'").await.expect("update");
        let setting = SetParams { keys: keys.to_vec(), to: Status::Failed, error: None, now: None };
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

#[tokio::test]
async fn a_row_that_raises_what_passes_by_itself_has_an_answer_of_its_own() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in ["40001", "40P01", "55P03", "57014", "25006", "53100", "57P01", "08006"] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["a", "bad", "c", "d", "e", "f", "g"]).await;
            let keys = ["g", "bad", "a", "nobody"].map(Key::from);
            raise(harness, "new.page = 'bad'", &format!("raise exception 'no' using errcode = '{code}'")).await;
            let refused = Moved::Refused { reason: "no".to_owned() };
            let not_cancelled = Moved::Refused { reason: "the status would be \"CANCELLED\": no".to_owned() };

            let cancelled = store.cancel(&keys, None).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            let moved = Moved::Applied { to: Status::Cancelled };
            assert_eq!(cancelled, [moved.clone(), not_cancelled, moved, Moved::NotFound], "{code}");

            let setting = SetParams { keys: keys.to_vec(), to: Status::Failed, error: None, now: None };
            let set = store.set(&setting).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            let moved = Moved::Applied { to: Status::Failed };
            assert_eq!(set, [moved.clone(), refused.clone(), moved, Moved::NotFound], "{code}");

            harness
                .execute(
                    "alter table pages disable trigger user; update pages set status = 'FAILED'; \
                     alter table pages enable trigger user",
                )
                .await
                .expect("update");
            let requeueing = RequeueParams { keys: keys.to_vec(), stage: None, now: None };
            let requeued = store.requeue(&requeueing).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            let moved = Moved::Applied { to: Status::Ready(pipeline().stage_ids().next().expect("a stage")) };
            assert_eq!(requeued, [moved.clone(), refused, moved, Moved::NotFound], "{code}");
            // There is nothing to compare it with: the caller may ask again.
            let alone = store.requeue(&RequeueParams { keys: vec![Key::from("bad")], stage: None, now: None }).await;
            let is_told = matches!(&alone, Ok(moved) if matches!(moved[..], [Moved::Refused { .. }]));
            assert!(is_told || alone.as_ref().is_err_and(|error| error.to_string().contains("no")), "{alone:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_for_long_keeps_no_other_from_an_operator() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a", "b", "c"]).await;
        let store = harness.open(stages().stale_after(Duration::from_secs(6)).build().expect("a valid pipeline")).await;
        let mut other = harness.pool.begin().await.expect("begin");
        other.execute("select from pages where page = 'b' for update").await.expect("lock");
        let keys = ["a", "b", "c"].map(Key::from);
        let cancelled = store.cancel(&keys, None).await.expect("cancel");
        let moved = Moved::Applied { to: Status::Cancelled };
        assert_eq!((&cancelled[0], &cancelled[2]), (&moved, &moved));
        assert!(matches!(&cancelled[1], Moved::Refused { reason } if reason.contains("timeout")), "{cancelled:?}");
        other.rollback().await.expect("rollback");
    })
    .await;
}
