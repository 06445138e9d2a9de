//! Claims of one stage, which have their own statement as long as they meet only plain items; and claims of a full
//! queue, which leave out rows that other claims are taking.

use std::collections::HashSet;

use rowlock::conformance::{Harness, run};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{ClaimParams, Outcome, Store};

use super::{claiming, finish_all, keys, names, pipeline, table, table_of, value};
use crate::postgres::PostgresHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_of_one_stage_at_once_take_each_item_once() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, names) = table_of(harness, 2_000).await;
        let claimers: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    loop {
                        let batch = store.claim(&claiming(7)).await.expect("claim");
                        if batch.claimed.is_empty() {
                            return taken;
                        }
                        taken.extend(batch.claimed.into_iter().map(|item| (item.lease.key, item.lease.token)));
                    }
                })
            })
            .collect();
        let mut taken = Vec::new();
        for claimer in claimers {
            taken.extend(claimer.await.expect("no panic"));
        }
        let once: HashSet<_> = taken.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!((taken.len(), once.len()), (names.len(), names.len()));
        for (key, token) in taken {
            let holder = format!("select claim_token::text from pages where page = '{}'", key.as_str());
            assert_eq!(value(harness, &holder).await, token.as_i64().to_string(), "who was told of {key} holds it");
        }
    })
    .await;
}

/// A claim that meets a row which another claim took meanwhile would lock the row's new version, and its holder could
/// not finish it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_of_a_full_queue_lock_nothing_that_others_hold() {
    const ITEMS: usize = 20_000;
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let names = names(ITEMS);
        for pipeline in [pipeline(), super::stages().stage("PARSE").build().expect("valid")] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = harness.open(pipeline.clone()).await;
            store.prepare().await.expect("prepare");
            super::add(&store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
            // The first claim finds out that the queue is full.
            let stages: Vec<_> = pipeline.stage_ids().collect();
            store.claim(&ClaimParams { stages, ..claiming(200) }).await.expect("claim");
            let claimers: Vec<_> = (0..8)
                .map(|_| {
                    let store = store.clone();
                    let stages: Vec<_> = pipeline.stage_ids().collect();
                    tokio::spawn(async move {
                        let claiming = || ClaimParams { stages: stages.clone(), ..claiming(200) };
                        while !store.claim(&claiming()).await.expect("claim").claimed.is_empty() {}
                    })
                })
                .collect();
            for claimer in claimers {
                claimer.await.expect("no panic");
            }
            // A claim locks only rows that it then writes: any other lock is another claimer's. Without the rule a
            // fifth of all rows would be locked; a few always are, those that are taken between the look and the lock.
            let locked = "select count(*)::text from pages where xmax <> xmin and xmax <> '0'::xid";
            let locked: usize = value(harness, locked).await.parse().expect("a number");
            assert!(locked < ITEMS / 20, "{locked} rows were locked by somebody who did not get them");
            assert_eq!(value(harness, "select count(*)::text from pages where claim_token is null").await, "0");
            store.close().await;
        }
    })
    .await;
}

/// A row that refers to an item locks it for a moment, and leaves a permanent mark in its row.
#[tokio::test]
async fn a_row_that_was_locked_once_keeps_its_place_in_a_full_queue() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, names) = table_of(harness, 300).await;
        // By one, by two at once, and by one that still holds the lock.
        let mut one = harness.pool.begin().await.expect("begin");
        let mut two = harness.pool.begin().await.expect("begin");
        let mut open = harness.pool.begin().await.expect("begin");
        for (transaction, last) in [(&mut one, 120), (&mut two, 90)] {
            let lock = format!("select from pages where page < 'page-{last:03}' for key share");
            sqlx::query(sqlx::AssertSqlSafe(lock)).execute(&mut **transaction).await.expect("locked");
        }
        one.commit().await.expect("commit");
        two.commit().await.expect("commit");
        sqlx::query("select from pages where page = 'page-080' for update").execute(&mut *open).await.expect("locked");

        let mut taken = Vec::new();
        for _ in 0..3 {
            let batch = store.claim(&claiming(70)).await.expect("claim");
            assert_eq!(batch.claimed.len(), 70);
            taken.extend(keys(&batch).into_iter().map(str::to_owned));
        }
        let mut expected = names[..211].to_vec();
        expected.remove(80);
        assert_eq!(taken, expected, "the oldest first");
        open.rollback().await.expect("rollback");
        assert_eq!(keys(&store.claim(&claiming(70)).await.expect("claim"))[0], "page-080");
    })
    .await;
}

/// Each claim of a full queue begins where the last one ended, and an item before that place returns to the queue.
#[tokio::test]
async fn what_is_given_back_to_a_full_queue_is_found_again() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, names) = table_of(harness, 300).await;
        let ages = "update pages set created_at = now() - (1000 - right(page, 3)::int) * interval '1 s'";
        harness.execute(ages).await.expect("update");
        let batch = store.claim(&claiming(70)).await.expect("claim");
        assert_eq!(batch.claimed[0].lease.key.as_str(), "page-000");
        finish_all(&store, &[batch.claimed[0].lease.clone()], Outcome::Release).await.expect("given back");
        let mut taken: Vec<String> = keys(&batch)[1..].iter().map(|key| (*key).to_owned()).collect();
        loop {
            let batch = store.claim(&claiming(70)).await.expect("claim");
            if batch.claimed.is_empty() {
                break;
            }
            taken.extend(keys(&batch).into_iter().map(str::to_owned));
        }
        taken.sort_unstable();
        assert_eq!(taken, names);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_plain_is_left_to_the_other_statement() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "exhausted", "suspect", "b"]).await;
        harness
            .execute(
                "update pages set retry_count = 5 where page = 'exhausted'; \
                 update pages set reset_count = 2 where page = 'suspect'",
            )
            .await
            .expect("update");
        let note = "create function note() returns trigger language plpgsql as $$begin
                      new.error_message := case when current_query() like '%rowlock_chosen%' \
                      then 'other' else 'plain' end;
                      return new;
                    end$$;
                    create trigger noting before update on pages for each row execute function note()";
        harness.execute(note).await.expect("create trigger");

        let batch = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!(keys(&batch), ["a", "b"]);
        assert_eq!(batch.exhausted.iter().map(rowlock::Key::as_str).collect::<Vec<_>>(), ["exhausted"]);
        assert!(batch.may_have_more, "a suspect waits");
        let batch = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!(keys(&batch), ["suspect"]);
        assert!(batch.claimed[0].suspect);

        // Afterwards there are plain ones again.
        super::add(&store, &["c", "d"]).await;
        for _ in 0..2 {
            assert_eq!(store.claim(&claiming(1)).await.expect("claim").claimed.len(), 1);
        }
        assert!(store.claim(&claiming(9)).await.expect("claim").claimed.is_empty());
        let by = "select string_agg(error_message, ',' order by error_message) from pages where page in ('c', 'd')";
        assert_eq!(
            value(harness, by).await,
            "other,plain",
            "once more by the other one, until it has met plain ones alone"
        );
    })
    .await;
}

/// The statement for a full queue then returns nothing, and the two others follow.
#[tokio::test]
async fn of_a_full_queue_too_what_is_not_plain_is_left_to_the_other_statement() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, names) = table_of(harness, 300).await;
        assert_eq!(keys(&store.claim(&claiming(70)).await.expect("claim")), names[..70]);
        harness
            .execute(
                "update pages set retry_count = 5 where page = 'page-080';
                 update pages set reset_count = 2 where page = 'page-090'",
            )
            .await
            .expect("update");

        let batch = store.claim(&claiming(70)).await.expect("claim");

        assert_eq!(batch.exhausted.iter().map(rowlock::Key::as_str).collect::<Vec<_>>(), ["page-080"]);
        let plain: Vec<&String> =
            names[70..140].iter().filter(|name| !["page-080", "page-090"].contains(&&***name)).collect();
        assert_eq!(keys(&batch), plain);
        assert!(batch.may_have_more);
    })
    .await;
}

#[tokio::test]
async fn rows_that_were_there_before_count_as_never_tried() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute("create table pages (page text primary key)").await.expect("create table");
        let store = harness.open(pipeline()).await;
        store.prepare().await.expect("prepare");
        let nulls = "alter table pages alter retry_count drop not null, alter reset_count drop not null, \
                     alter created_at drop not null;
                     insert into pages (page, status, retry_count, reset_count, created_at) \
                     values ('a', 'PENDING', null, null, null)";
        harness.execute(nulls).await.expect("nulls");

        let batch = store.claim(&claiming(9)).await.expect("claim");

        assert_eq!(keys(&batch), ["a"]);
        assert_eq!((batch.claimed[0].retry_count, batch.claimed[0].reset_count), (0, 0));
        assert!(!batch.claimed[0].suspect);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_as_it_is_is_left_out_and_the_others_are_claimed() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "kept", "c"]).await;
        let trigger = "create function keep() returns trigger language plpgsql as $$begin return null; end$$;
                       create trigger keeping before update on pages for each row when (new.page = 'kept')
                       execute function keep()";
        harness.execute(trigger).await.expect("create trigger");

        let batch = store.claim(&claiming(9)).await.expect("claim");

        assert_eq!(keys(&batch), ["a", "c"]);
        assert_eq!(value(harness, "select status from pages where page = 'kept'").await, "PENDING");
    })
    .await;
}

#[tokio::test]
async fn a_paused_stage_gives_nothing() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        let stage = pipeline().stage_ids().next().expect("a stage");
        store.pause(stage).await.expect("pause");
        assert!(store.claim(&claiming(9)).await.expect("claim").claimed.is_empty());
        store.resume(stage).await.expect("resume");
        assert_eq!(keys(&store.claim(&claiming(9)).await.expect("claim")), ["a"]);
    })
    .await;
}

#[tokio::test]
async fn through_a_pooler_the_same_is_claimed() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["suspect", "a", "b"]).await;
        harness.execute("update pages set reset_count = 2 where page = 'suspect'").await.expect("update");
        let options = harness.server.clone().database(&harness.database);
        let store = PostgresStore::through_pooler(options, pipeline());

        assert_eq!(keys(&store.claim(&claiming(9)).await.expect("claim")), ["suspect"]);
        assert_eq!(keys(&store.claim(&claiming(9)).await.expect("claim")), ["a", "b"]);
        store.close().await;
    })
    .await;
}
