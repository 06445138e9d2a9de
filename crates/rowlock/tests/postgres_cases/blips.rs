//! Faults that are over while the parts of a batch are tried: no item pays for them. And rows that never end: the
//! others wait for them no longer than for a batch.

use std::time::Duration;

use rowlock::conformance::{Harness, run};
use rowlock::store::{Finished, LeaseState, Outcome, Store};
use rowlock::{Key, Status};

use super::refusals::raise;
use super::{claiming, finish_all, keys, lease_all, stages, table, table_of, value};
use crate::postgres::PostgresHarness;

/// The first writes, this many, meet a server that is away for a moment.
async fn away_for(harness: &PostgresHarness, writes: usize, when: &str) {
    harness.execute("create sequence tries").await.expect("create sequence");
    let body = format!(
        "if nextval('tries') <= {writes} then \
         raise exception 'could not connect to server' using errcode = '08001'; end if; return new"
    );
    raise(harness, when, &body).await;
}

#[tokio::test]
async fn a_fault_that_ends_while_a_claim_is_tried_in_parts_is_no_items() {
    for (items, limit) in [(1, 9), (2, 9), (8, 9), (8, 1), (40, 40)] {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let (store, _) = table_of(harness, items).await;
            away_for(harness, items.min(3), "new.status = 'FETCH_IN_PROGRESS'").await;
            let batch = store.claim(&claiming(limit)).await.expect("claim");
            assert_eq!(batch.refused, [], "{items} items, a claim of {limit}");
            assert_eq!(keys(&batch).len(), items.min(limit));
            assert_eq!(value(harness, "select count(*)::text from pages where status = 'FAILED'").await, "0");
            assert!(store.excluded().is_empty());
        })
        .await;
    }
}

#[tokio::test]
async fn a_fault_that_ends_while_a_finish_is_tried_in_parts_is_no_items() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b", "c", "d", "e", "f", "g", "h"]).await;
        let leases = lease_all(&store).await;
        away_for(harness, 3, "new.status = 'SUCCEEDED'").await;
        let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
        assert_eq!(finished, vec![Finished::Applied { to: Status::Succeeded }; 8]);
    })
    .await;
}

/// Twice the table is locked until the statement for the whole batch and those for some parts have given up.
#[tokio::test]
async fn a_lock_on_the_whole_table_makes_no_heartbeat_refused() {
    for items in [1, 3, 8] {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let pipeline = stages().stale_after(Duration::from_secs(6)).heartbeat_interval(Duration::from_secs(1));
            let store = harness.open(pipeline.build().expect("a valid pipeline")).await;
            store.prepare().await.expect("prepare");
            let all: Vec<Key> = (0..items).map(|number| Key::from(format!("page-{number}"))).collect();
            store.add_many(&all).await.expect("add_many");
            let leases = lease_all(&store).await;
            for _ in 0..2 {
                let mut lock = harness.pool.begin().await.expect("begin");
                sqlx::query("lock table pages in access exclusive mode").execute(&mut *lock).await.expect("lock");
                let unlock = async {
                    let waited = "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock' \
                                  and datname = current_database() \
                                  and xact_start < clock_timestamp() - interval '0.3 s' \
                                  and query_start > xact_start + interval '0.2 s'";
                    // Not the first part has to wait, or the lock would end with the verb.
                    for _ in 0..400 {
                        if value(harness, waited).await != "0" {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    lock.rollback().await.expect("rollback");
                };
                let (states, ()) = tokio::join!(store.renew(&leases, None), unlock);
                for state in states.unwrap_or_default() {
                    assert!(matches!(state, LeaseState::Held | LeaseState::Busy), "{items} leases: {state:?}");
                }
            }
            assert!(store.excluded().is_empty(), "{:?}", store.excluded());
        })
        .await;
    }
}
