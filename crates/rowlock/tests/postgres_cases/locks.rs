//! Which rows a batch of finishes locks, and what it does with rows that others have locked.

use rowlock::Key;
use rowlock::conformance::{Harness, run};
use rowlock::store::{Finished, Outcome, Store};
use rowlock::{Lease, Status};
use sqlx::Executor;

use super::{add, finish_all, lease_all, names, table, table_of};
use crate::postgres::PostgresHarness;

/// Sizes of a batch: each has its own statement. ITEMS_A_TOKEN_MIN in complete_batch.rs is more than the first, and
/// less than half of the second.
const SIZES: [usize; 2] = [40, BY_TOKEN];

/// Completed by `complete_batch`, which takes no locks.
const BY_TOKEN: usize = 160;

async fn claimed(harness: &PostgresHarness, many: usize) -> (rowlock::store::postgres::PostgresStore, Vec<Lease>) {
    let (store, _) = table_of(harness, many).await;
    let leases = lease_all(&store).await;
    assert_eq!(leases.len(), many);
    (store, leases)
}

fn all_done(finished: &[Finished]) -> bool {
    finished.iter().all(|finished| *finished == Finished::Applied { to: Status::Succeeded })
}

/// How many rows were locked by the transaction that wrote them: the server keeps its number in `xmax`.
async fn locked_first(harness: &PostgresHarness) -> i64 {
    let count = "select count(*) from pages where status = 'SUCCEEDED' and xmax = xmin";
    sqlx::query_scalar(count).fetch_one(&harness.pool).await.expect("a count")
}

#[tokio::test]
async fn a_batch_of_completions_from_one_claim_writes_without_a_lock_before() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, leases) = claimed(harness, BY_TOKEN).await;
        store.renew(&leases[..10], None).await.expect("renew");
        let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
        assert!(all_done(&finished), "{finished:?}");
        assert_eq!(locked_first(harness).await, 0, "claimed and renewed rows were locked once more");
    })
    .await;
}

/// A row that refers to the item takes a weak lock on it; the trace of that lock stays in the item's row.
#[tokio::test]
async fn rows_that_somebody_had_locked_are_finished_with_a_lock() {
    for many in SIZES {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let (store, leases) = claimed(harness, many).await;
            harness.execute("create table pictures (page text references pages)").await.expect("create");
            harness
                .execute("insert into pictures select page from pages where page < 'page-005'")
                .await
                .expect("insert");
            let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
            assert!(all_done(&finished), "{finished:?}");
            let locked = if many == BY_TOKEN { 5 } else { 40 };
            assert_eq!(locked_first(harness).await, locked);
        })
        .await;
    }
}

/// If all of a batch was written as intended, the answer is a count; otherwise each item has its own answer.
#[tokio::test]
async fn each_item_of_a_batch_is_told_what_became_of_it() {
    for many in SIZES {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let (store, leases) = claimed(harness, many).await;
            let odd = "create function odd() returns trigger language plpgsql as
                         $$begin if new.status = 'SUCCEEDED' then new.status := 'ODD'; end if; return new; end$$;
                       create trigger odd before update on pages for each row when (new.page = 'page-003')
                         execute function odd()";
            harness.execute(odd).await.expect("create trigger");
            store.cancel(&[Key::from("page-005")], None).await.expect("cancel");
            let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
            assert!(matches!(finished[3], Finished::Refused { failed: false, .. }), "{:?}", finished[3]);
            assert_eq!(finished[5], Finished::LeaseLost);
            let others: Vec<Finished> = finished
                .into_iter()
                .enumerate()
                .filter(|(at, _)| ![3, 5].contains(at))
                .map(|(_, answer)| answer)
                .collect();
            assert!(all_done(&others), "{others:?}");
        })
        .await;
    }
}

/// The same with one item that the table refuses: it becomes `FAILED` by itself, and no answer of the others is lost.
#[tokio::test]
async fn a_refused_row_among_those_that_were_left_out_harms_only_itself() {
    for many in SIZES {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let (store, leases) = claimed(harness, many).await;
            harness.execute("create table pictures (page text references pages)").await.expect("create");
            harness
                .execute("insert into pictures select page from pages where page < 'page-010'")
                .await
                .expect("insert");
            let check = "alter table pages add check (page <> 'page-003' or status <> 'SUCCEEDED')";
            harness.execute(check).await.expect("alter");
            let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
            assert!(matches!(finished[3], Finished::Refused { failed: true, .. }), "{:?}", finished[3]);
            assert!(all_done(&finished[..3]) && all_done(&finished[4..]), "{finished:?}");
        })
        .await;
    }
}

/// A transaction that has a row locked keeps the batch from that item alone, and only for a moment.
#[tokio::test]
async fn a_row_that_somebody_has_locked_is_busy_and_the_others_are_finished() {
    for many in SIZES {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let (store, leases) = claimed(harness, many).await;
            for lock in ["for update", "for no key update", "for share"] {
                let mut other = harness.pool.begin().await.expect("begin");
                let sql = format!("select from pages where page = 'page-007' and status like 'FETCH%' {lock}");
                other.execute(sqlx::AssertSqlSafe(sql)).await.expect("locked");
                let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
                let busy: Vec<&Key> = finished
                    .iter()
                    .zip(&leases)
                    .filter(|(finished, _)| **finished == Finished::Busy)
                    .map(|(_, lease)| &lease.key)
                    .collect();
                assert_eq!(busy, [&Key::from("page-007")], "{lock}: {finished:?}");
                other.rollback().await.expect("rollback");
            }
            let finished = finish_all(&store, &leases[7..8], Outcome::Complete).await.expect("finish");
            assert!(all_done(&finished), "{finished:?}");
        })
        .await;
    }
}

/// The parts of a partitioned table have rows at the same places.
#[tokio::test]
async fn a_batch_in_a_partitioned_table_finishes_only_its_own_items() {
    for many in SIZES {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let store = table(harness, &[]).await;
            harness
                .execute(
                    "alter table pages rename to pages_0; \
                 create table pages (like pages_0 including all) partition by hash (page); \
                 alter table pages attach partition pages_0 for values with (modulus 2, remainder 0); \
                 create table pages_1 partition of pages for values with (modulus 2, remainder 1)",
                )
                .await
                .expect("partitioned");
            add(&store, &names(many).iter().map(String::as_str).collect::<Vec<_>>()).await;
            let leases = lease_all(&store).await;
            assert_eq!(leases.len(), many);
            for half in [&leases[..many / 2], &leases[many / 2..]] {
                let finished = finish_all(&store, half, Outcome::Complete).await.expect("finish");
                assert!(all_done(&finished), "{finished:?}");
                let done: i64 = sqlx::query_scalar("select count(*) from pages where status = 'SUCCEEDED'")
                    .fetch_one(&harness.pool)
                    .await
                    .expect("a count");
                assert_eq!(usize::try_from(done).expect("a count"), if half[0] == leases[0] { many / 2 } else { many });
            }
            let locked = if many == BY_TOKEN { 0 } else { 40 };
            assert_eq!(locked_first(harness).await, locked);
        })
        .await;
    }
}
