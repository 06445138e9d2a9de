//! Whose turn it is to sweep: that of one worker of a fleet, and nobody's for ever.

use std::time::Duration;

use rowlock::conformance::{Harness, run};
use rowlock::store::Store;
use sqlx::{Postgres, Transaction};

use super::{pipeline, table};
use crate::postgres::PostgresHarness;

const EVERY: Duration = Duration::from_secs(60);

/// Moves the last turn this many seconds into the past.
async fn last_turn(harness: &PostgresHarness, seconds_ago: i64) {
    let sql = format!(
        "update rowlock_meta set value = (extract(epoch from now()) - {seconds_ago})::text where key like 'swept %'"
    );
    harness.execute(&sql).await.expect("update");
}

async fn lock_turn(harness: &PostgresHarness) -> Transaction<'static, Postgres> {
    let mut open = harness.pool.begin().await.expect("begin");
    sqlx::query("select from rowlock_meta for update").execute(&mut *open).await.expect("locked");
    open
}

#[tokio::test]
async fn of_a_fleet_one_worker_has_the_turn() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let one = table(harness, &[]).await;
        let other = harness.open(pipeline()).await;
        assert_eq!(one.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO, "nobody had one before");
        for store in [&one, &other] {
            let wait = store.sweep_turn(EVERY).await.expect("asked");
            assert!(wait > EVERY.mul_f64(0.9) && wait <= EVERY, "{wait:?}");
        }
        last_turn(harness, 61).await;
        assert_eq!(other.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO, "the next one is anybody's");
        assert!(one.sweep_turn(EVERY).await.expect("asked") > Duration::ZERO);
        other.close().await;
    })
    .await;
}

/// With the same name: another table, another version with one more stage, another time after which a lease is stale.
#[tokio::test]
async fn whoever_sweeps_otherwise_has_turns_of_its_own() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let one = table(harness, &[]).await;
        assert_eq!(one.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO);
        let others = [
            rowlock::Pipeline::builder("pages").table("other_pages").key("page").stage("FETCH"),
            super::stages().stage("PARSE"),
            super::stages().stale_after(Duration::from_secs(30)),
        ];
        for other in others {
            let store = harness.open(other.build().expect("valid")).await;
            assert_eq!(store.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO);
            assert!(store.sweep_turn(EVERY).await.expect("asked") > Duration::ZERO);
            store.close().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn asked_at_once_one_is_told_that_it_is_its_turn() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        // If there was no turn yet, and if there was one.
        for _ in 0..2 {
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move { store.sweep_turn(EVERY).await.expect("asked") })
                })
                .collect();
            let mut turns = 0;
            for asked in asking {
                turns += usize::from(asked.await.expect("no panic").is_zero());
            }
            assert_eq!(turns, 1);
            last_turn(harness, 61).await;
        }
    })
    .await;
}

/// Another transaction holds the row's lock: one that was left open, or a turn that is being taken.
#[tokio::test]
async fn nobody_waits_for_a_turn_and_nobody_keeps_it() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        store.sweep_turn(EVERY).await.expect("asked");
        last_turn(harness, 70).await;
        let open = lock_turn(harness).await;

        let wait = store.sweep_turn(EVERY).await.expect("asked");
        assert!(!wait.is_zero() && wait <= EVERY, "it may be somebody else's: {wait:?}");
        open.rollback().await.expect("rollback");

        last_turn(harness, 121).await;
        let open = lock_turn(harness).await;
        for _ in 0..2 {
            assert_eq!(store.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO, "overdue: each caller's");
        }
        open.rollback().await.expect("rollback");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_and_a_row_that_says_nothing_stop_no_sweep() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        store.sweep_turn(EVERY).await.expect("asked");
        last_turn(harness, -3_600).await;
        assert_eq!(store.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO);
        assert!(store.sweep_turn(EVERY).await.expect("asked") > Duration::ZERO, "and the turn counts from now on");
        for nonsense in ["", "nonsense", "NaN", "1e999", "99999999999999999999", "-1"] {
            let sql = format!("update rowlock_meta set value = '{nonsense}' where key like 'swept %'");
            harness.execute(&sql).await.expect("update");
            assert_eq!(store.sweep_turn(EVERY).await.expect("asked"), Duration::ZERO, "{nonsense:?}");
            assert!(store.sweep_turn(EVERY).await.expect("asked") > Duration::ZERO, "{nonsense:?}");
        }
    })
    .await;
}
