//! Databases whose encoding lacks some characters, and columns with a limited length.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Moved, RequeueParams, SetParams, Store};
use rowlock::{Key, Status};

use super::{pipeline, table};
use crate::postgres::PostgresHarness;

#[tokio::test]
async fn keys_that_the_servers_encoding_does_not_have_get_an_answer_of_their_own() {
    run(PostgresHarness::with_encoding("LATIN1").await, async |harness: &PostgresHarness| {
        let store = table(harness, &["ä", "b"]).await;
        let keys = ["ä", "crab 🦀", "b", "日本"].map(Key::from);

        let cancelled = store.cancel(&keys, None).await.expect("cancel");
        let requeueing = RequeueParams { keys: keys.to_vec(), stage: None, now: None };
        let requeued = store.requeue(&requeueing).await.expect("requeue");
        let setting = SetParams { keys: keys.to_vec(), to: Status::Succeeded, error: None, now: None };
        let set = store.set(&setting).await.expect("set");
        for answers in [cancelled, requeued, set] {
            let is_invalid = |at: usize| matches!(&answers[at], Moved::Invalid { reason } if reason.contains("LATIN1"));
            assert!(is_invalid(1) && is_invalid(3), "{answers:?}");
            let is_applied = |at: usize| matches!(answers[at], Moved::Applied { .. });
            assert!(is_applied(0) && is_applied(2), "{answers:?}");
        }
        let alone = store.cancel(&keys[1..2], None).await.expect("cancel");
        assert!(matches!(alone.as_slice(), [Moved::Invalid { .. }]), "{alone:?}");
        for key in [&keys[1], &keys[3]] {
            assert!(store.get(key).await.expect("get").is_none());
            assert!(store.explain(key, None).await.expect("explain").is_none());
            assert!(store.failures(key).await.expect("failures").is_empty());
        }
        let added = store.add_many(&["c", "crab 🦀", "é", "日本", "b"].map(Key::from)).await.expect("add_many");
        assert_eq!(added.added, 2);
        let refused: Vec<&str> = added.refused.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(refused, ["crab 🦀", "日本"]);
    })
    .await;
}

#[tokio::test]
async fn keys_that_are_longer_than_their_column_are_named_and_the_others_added() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute("create table pages (page varchar(4) primary key)").await.expect("create table");
        let store = harness.open(pipeline()).await;
        store.prepare().await.expect("prepare");

        let first = store.add_many(&["a", "far too long", "bcde", "too long"].map(Key::from)).await.expect("add_many");
        let second = store.add_many(&["too long"].map(Key::from)).await.expect("add_many");

        let refused: Vec<&str> = first.refused.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!((first.added, refused), (2, vec!["far too long", "too long"]));
        assert_eq!((second.added, second.refused.len()), (0, 1));
        let moved = store.cancel(&["a", "too long", "bcde"].map(Key::from), None).await.expect("cancel");
        assert_eq!(moved[1], Moved::NotFound);
        assert!(matches!((&moved[0], &moved[2]), (Moved::Applied { .. }, Moved::Applied { .. })), "{moved:?}");
    })
    .await;
}
