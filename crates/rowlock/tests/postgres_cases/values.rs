//! Values that PostgreSQL has but the driver does not.

use chrono::{DateTime, Utc};
use rowlock::conformance::{Harness, run};
use rowlock::store::{CountParams, Finished, Outcome, Store, Verdict};
use rowlock::{JsonRecord, Key, Repository};

use super::{finish_all, lease_all, table, value};
use crate::postgres::PostgresHarness;

#[tokio::test]
async fn times_without_end_are_explained_counted_and_listed() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b", "c"]).await;
        harness
            .execute(
                "update pages set retry_after = 'infinity' where page = 'a';
                 update pages set created_at = '-infinity' where page = 'b';
                 update pages set status = 'FETCH_IN_PROGRESS', heartbeat_at = 'infinity', claimed_at = '-infinity'
                 where page = 'c'",
            )
            .await
            .expect("update");

        let explained = store.explain(&Key::from("a"), None).await.expect("explain").expect("an item");
        assert_eq!(explained.retry_after.expect("a time").to_rfc3339(), "9999-12-31T23:59:59+00:00");
        let explained = store.explain(&Key::from("b"), None).await.expect("explain").expect("an item");
        assert_eq!(explained.created_at.expect("a time").to_rfc3339(), "0001-01-01T00:00:00+00:00");
        assert_eq!(store.held(9).await.expect("held").len(), 1);
        let counts = store.counts(&CountParams::default()).await.expect("counts");
        assert_eq!((counts.stages[0].next_due_at, counts.stages[0].never_due), (None, 1));
        let verdict = store.explain(&Key::from("a"), None).await.expect("explain").expect("an item");
        assert!(matches!(verdict.verdict(store.pipeline()), Verdict::NeverDue { created_later: false, .. }));

        let sweeping = super::sweeping();
        let swept = store.sweep(&sweeping).await.expect("sweep").items;
        assert_eq!(swept.len(), 1, "a heartbeat at infinity is never renewed");
        assert_eq!(swept[0].error, "worker (unknown) stopped: last heartbeat infinity, which is in the future");
        harness.execute("delete from pages where page = 'c'").await.expect("delete");

        let pages: Repository<_, JsonRecord> = Repository::new(store);
        let claims = pages.claim(9).await.expect("claim");
        assert!(claims.undecodable.is_empty(), "{:?}", claims.undecodable);
        assert_eq!(claims.items.len(), 1);
        assert_eq!(claims.items[0].record()["created_at"], "-infinity");
    })
    .await;
}

#[tokio::test]
async fn a_snooze_until_before_the_servers_calendar_is_due_at_once() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b"]).await;
        let leases = lease_all(&store).await;
        for until in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let finished = finish_all(&store, &leases, Outcome::SnoozeUntil(until)).await.expect("finish");
            assert!(matches!(finished[0], Finished::Applied { .. }), "{until}: {finished:?}");
            harness.execute("update pages set status = 'FETCH_IN_PROGRESS'").await.expect("update");
        }
        assert_eq!(value(harness, "select status from pages where page = 'a'").await, "FETCH_IN_PROGRESS");
    })
    .await;
}
