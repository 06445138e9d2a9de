//! Errors that the encoding of the database cannot hold, and bytes that it cannot send: they harm only their own row.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Finished, Listing, Outcome, Store};
use rowlock::{Key, Status};

use super::{LIMITS, claiming, finish_all, keys, lease_all, sweeping, table, value};
use crate::postgres::PostgresHarness;

#[tokio::test]
async fn an_error_that_the_encoding_cannot_hold_is_kept_as_far_as_it_can() {
    run(PostgresHarness::with_encoding("LATIN1").await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b"]).await;
        let leases = lease_all(&store).await;
        let retry = Outcome::Retry { error: "naïve 🙂 λ".to_owned(), delay: None };

        let finished = finish_all(&store, &leases[..1], retry.clone()).await.expect("finish");
        assert!(matches!(finished[0], Finished::Applied { to: Status::Ready(_) }), "{finished:?}");
        let stored = "select error_message || ' ' || retry_count from pages where page = ";
        assert_eq!(value(harness, &format!("{stored}'a'")).await, "naïve ? ? 1");

        let transaction = store.begin().await.expect("begin");
        let finish = rowlock::store::Finish { lease: leases[1].clone(), outcome: retry };
        let finished = store.finish_in(transaction, &finish, LIMITS).await.expect("finish_in");
        assert!(matches!(finished, Finished::Applied { to: Status::Ready(_) }), "{finished:?}");
        assert_eq!(value(harness, &format!("{stored}'b'")).await, "naïve ? ? 1");
        assert_eq!(store.failures(&Key::from("b")).await.expect("failures").len(), 1);
    })
    .await;
}

const EXECUTED: &str = "insert into pages (page, note) values ('a', 'fine'), ('c', convert_from('\\xc3a9', 'SQL_ASCII')), \
                        ('bad note', convert_from('\\xff', 'SQL_ASCII')), (convert_from('\\x6bff', 'SQL_ASCII'), 'bad key')";

#[tokio::test]
async fn bytes_that_are_no_text_harm_only_their_own_row() {
    run(PostgresHarness::with_encoding("SQL_ASCII").await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        harness.execute("alter table pages add column note text").await.expect("alter");
        harness.execute(EXECUTED).await.expect("insert");

        let listing = Listing { status: None, after: None, limit: 10 };
        let page = store.list(&listing).await.expect("list");
        assert_eq!(page.items.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(store.preview(&claiming(9)).await.expect("preview").len(), 2);

        let batch = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!(keys(&batch), ["a", "c"]);
        let mut refused: Vec<&str> = batch.refused.iter().map(|(key, _)| key.as_str()).collect();
        refused.sort_unstable();
        assert_eq!(refused, ["\\x6bff", "bad note"]);
        assert_eq!(value(harness, "select count(*)::text from pages where status = 'FAILED'").await, "2");

        harness.execute("update pages set status = 'FETCH_IN_PROGRESS', heartbeat_at = null").await.expect("update");
        let swept = store.sweep(&sweeping()).await.expect("sweep");
        assert_eq!((swept.items.len(), swept.refused.len()), (3, 1), "{swept:?}");
    })
    .await;
}
