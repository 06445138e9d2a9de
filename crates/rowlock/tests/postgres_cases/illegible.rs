//! Errors that the encoding of the database cannot hold, and bytes that it cannot send: they harm only their own row.

use rowlock::conformance::{Harness, run};
use rowlock::store::{CountParams, Finished, ListParams, Outcome, Store};
use rowlock::{Key, Status};
use sqlx::Row;

use super::refusals::raise;
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

const EXECUTED: &str = "insert into pages (page, note) values ('a', 'fine'), \
                        ('c', convert_from('\\xc3a9', 'SQL_ASCII')), \
                        ('bad note', convert_from('\\xff', 'SQL_ASCII')), \
                        (convert_from('\\x6bff', 'SQL_ASCII'), 'bad key')";

#[tokio::test]
async fn bytes_that_are_no_text_harm_only_their_own_row() {
    run(PostgresHarness::with_encoding("SQL_ASCII").await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        harness.execute("alter table pages add column note text").await.expect("alter");
        harness.execute(EXECUTED).await.expect("insert");

        let listing = ListParams::new(10);
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

#[tokio::test]
async fn what_is_no_text_is_shown_by_its_bytes_and_fails_no_verb_for_people() {
    run(PostgresHarness::with_encoding("SQL_ASCII").await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b", "c"]).await;
        let leases = lease_all(&store).await;
        finish_all(&store, &leases[2..], Outcome::Fail { error: "broken".to_owned() }).await.expect("finish");
        let spoil = "alter table pages add column note text, add column \"a:b\" text;
                     update pages set note = convert_from('\\xff', 'SQL_ASCII'), \
                     error_message = convert_from('\\xfe', 'SQL_ASCII'),
                                      claimed_by = convert_from('\\xfd', 'SQL_ASCII') where page = 'a';
                     update pages set page = convert_from('\\x6bff', 'SQL_ASCII') where page = 'b';
                     update pages set status = convert_from('\\xfc', 'SQL_ASCII') where page = 'c';
                     update rowlock_failures set error = convert_from('\\xfb', 'SQL_ASCII')";
        harness.execute(spoil).await.expect("update");

        let held = store.held(10).await.expect("held");
        let mut shown: Vec<_> = held.iter().map(|item| (item.key.as_str(), item.holder.as_deref())).collect();
        shown.sort_unstable();
        assert_eq!(shown, [("\\x6bff", Some("worker-a")), ("a", Some("\\xfd"))]);

        let explained = store.explain(&Key::from("a"), None).await.expect("explain").expect("an item");
        assert_eq!((explained.error.as_deref(), explained.holder.as_deref()), (Some("\\xfe"), Some("\\xfd")));
        assert_eq!(store.failures(&Key::from("c")).await.expect("failures")[0].error, "\\xfb");
        let counts = store.counts(&CountParams { up_to: 10, unfinished_only: false, now: None }).await.expect("counts");
        assert!(counts.statuses.iter().any(|count| count.status.is_none() && count.word == "\\xfc"), "{counts:?}");

        let spoiled = store.get(&Key::from("a")).await.expect("get").expect("an item");
        assert_eq!(spoiled.row.get::<&str, _>("note"), "\\xff");
        assert_eq!(spoiled.row.get::<i32, _>("retry_count"), 0);
        let other = store.get(&Key::from("\\x6bff")).await.expect("get").expect("an item");
        assert_eq!((other.key.as_str(), other.word.as_str()), ("\\x6bff", "FETCH_IN_PROGRESS"));
        assert!(store.get(&Key::from("\\x6b")).await.expect("get").is_none());
        assert_eq!(store.get(&Key::from("c")).await.expect("get").expect("an item").word, "\\xfc");
    })
    .await;
}

#[tokio::test]
async fn rows_whose_keys_are_no_text_and_that_refuse_every_write_are_left_out() {
    run(PostgresHarness::with_encoding("SQL_ASCII").await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        // More of them than a claim of one reads, and ahead of the others.
        let fill = "insert into pages (page, created_at) select \
                    convert_from(decode('ff' || lpad(n::text, 2, '0'), 'hex'), 'SQL_ASCII'), '2000-01-01'
                    from generate_series(1, 9) n; insert into pages (page) values ('a'), ('b')";
        harness.execute(fill).await.expect("insert");
        raise(harness, "new.page not in ('a', 'b')", "raise exception 'no'").await;
        let mut claimed = Vec::new();
        for _ in 0..4 {
            let batch = store.claim(&claiming(1)).await.expect("claim");
            claimed.extend(batch.leases().map(|lease| lease.key.as_str().to_owned()));
        }
        claimed.sort_unstable();
        assert_eq!(claimed, ["a", "b"]);
        assert!(store.excluded().iter().any(|exclusion| exclusion.key.as_str() == "\\xff01"), "{:?}", store.excluded());
        let stuck = store.get(&Key::from("\\xff01")).await.expect("get").expect("an item");
        assert!(stuck.status.is_some_and(Status::is_ready));
    })
    .await;
}
