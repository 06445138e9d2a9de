//! Verbs that lock many rows, one of which the database refuses: they lock in one order even while they look for it.

use rowlock::Key;
use rowlock::conformance::{Harness, run};
use rowlock::limits::LADDER_PROBES_MAX;
use rowlock::store::{Moved, RequeueParams, Store};
use sqlx::Executor;

use super::refusals::raise;
use super::{table_of, value};
use crate::postgres::PostgresHarness;

/// The second item that is tried alone, if the first of 400 is bad. There the search stops, after rows that have not
/// moved.
const GATE: usize = 399 / (LADDER_PROBES_MAX - 1);

/// Returns when this many statements in the test's database wait for a lock.
async fn until_wait(harness: &PostgresHarness, many: &str) {
    let sql = "select count(*)::text from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'";
    while value(harness, sql).await != many {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn operators_verbs_beside_each_other_meet_no_deadlock_while_a_bad_row_is_looked_for() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, names) = table_of(harness, 400).await;
        harness.execute("update pages set status = 'FAILED'").await.expect("update");
        let body = format!(
            "if new.page = 'page-000' then raise exception 'no'; end if; \
             if new.page = 'page-{GATE:03}' then perform pg_advisory_xact_lock(7); end if; return new"
        );
        raise(harness, "new.status = 'PENDING'", &body).await;
        let mut gate = harness.pool.begin().await.expect("begin");
        gate.execute("select pg_advisory_xact_lock(7)").await.expect("lock");
        let keys: Vec<Key> = names.iter().map(|name| Key::from(name.as_str())).collect();
        let other = store.fork().await.expect("fork");
        other.get(&keys[0]).await.expect("a connection");
        let without_it = RequeueParams { keys: keys[1..].to_vec(), stage: None, now: None };
        let with_it = RequeueParams { keys, stage: None, now: None };

        let (first, second, ()) = tokio::join!(
            store.requeue(&with_it),
            async {
                until_wait(harness, "1").await;
                other.requeue(&without_it).await
            },
            async {
                until_wait(harness, "2").await;
                gate.commit().await.expect("commit");
            }
        );

        let first = first.expect("the first");
        assert_eq!(first[0], Moved::Refused { reason: "no".to_owned() });
        // The one at the gate may have waited too long.
        let others = first[1..GATE].iter().chain(&first[GATE + 1..]);
        assert!(others.into_iter().all(|moved| matches!(moved, Moved::Applied { .. })), "{first:?}");
        assert_eq!(second.expect("the second").len(), 399);
    })
    .await;
}
