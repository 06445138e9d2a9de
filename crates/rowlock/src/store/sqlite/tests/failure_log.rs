//! The log of failures stops no move.

use super::*;

/// Ways in which a line cannot be written.
const WAYS: [&str; 7] = [
    "drop table rowlock_failures",
    "create trigger l before insert on rowlock_failures begin select raise(abort, 'no'); end",
    "create trigger l before insert on rowlock_failures begin select raise(fail, 'no'); end",
    // It undoes the transaction in which the move is.
    "create trigger l before insert on rowlock_failures begin select raise(rollback, 'no'); end",
    "create trigger l before delete on rowlock_failures begin select raise(abort, 'no'); end",
    // The last number that an automatic key has.
    "insert into rowlock_failures values (9223372036854775807, 'videos', 'x', '', '', '', null, '')",
    "create unique index l on rowlock_failures (pipeline)",
];

#[tokio::test]
async fn a_retry_a_failure_and_a_sweep_move_their_items_though_nothing_can_be_logged() {
    for way in WAYS {
        let scene = Scene::new().await;
        scene.add(&["a", "b", "c", "d"]).await;
        let leases = claim(&scene.store, 10).await;
        scene.execute(way).await;
        let mut finishing = finishing(&scene.store, &leases[..3], &Outcome::Fail { error: "broken".to_owned() });
        finishing.items[1].outcome =
            Outcome::Retry { error: "not yet".to_owned(), delay: Some(Duration::from_secs(60)) };
        finishing.items[2].outcome = Outcome::Complete;
        let finished = scene.store.finish(&finishing).await.unwrap_or_else(|why| panic!("{way}: {why}"));
        assert!(finished.iter().all(|finished| matches!(finished, Finished::Applied { .. })), "{way}: {finished:?}");
        assert_eq!(
            [scene.word("a").await, scene.word("b").await, scene.word("c").await],
            ["FAILED", "PENDING", "A_COMPLETE"],
            "{way}"
        );
        scene.execute("update videos set heartbeat_at = null").await;
        let sweeping = SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: None };
        let swept = scene.store.sweep(&sweeping).await.unwrap_or_else(|why| panic!("{way}: {why}"));
        assert_eq!(swept.keys().map(Key::as_str).collect::<Vec<_>>(), ["d"], "{way}: {swept:?}");
        assert!(scene.store.excluded().is_empty(), "{way}");
    }
}

#[tokio::test]
async fn a_refused_row_is_failed_with_its_reason_though_nothing_can_be_logged() {
    for way in WAYS {
        let scene = Scene::new().await;
        scene.add(&["a", "b"]).await;
        scene.execute(way).await;
        scene
            .execute(
                "create trigger r before update on videos when new.id = 'b' and new.status = 'A_IN_PROGRESS'
                 begin select raise(abort, 'this one'); end",
            )
            .await;
        let batch = scene.store.claim(&claiming(&scene.store, 10)).await.unwrap_or_else(|why| panic!("{way}: {why}"));
        assert_eq!((batch.claimed.len(), batch.refused.len()), (1, 1), "{way}");
        assert_eq!(scene.word("b").await, "FAILED", "{way}");
    }
}

#[tokio::test]
async fn a_retry_beside_a_refused_row_moves_though_nothing_can_be_logged() {
    for way in WAYS {
        let scene = Scene::new().await;
        scene.add(&["a", "b", "c"]).await;
        let leases = claim(&scene.store, 10).await;
        scene.execute(way).await;
        scene
            .execute(
                "create trigger r before update on videos when new.id = 'b' and new.status = 'PENDING'
                 begin select raise(abort, 'this one'); end",
            )
            .await;
        let retry = Outcome::Retry { error: "not yet".to_owned(), delay: None };
        let finished = scene.store.finish(&finishing(&scene.store, &leases, &retry)).await;
        let finished = finished.unwrap_or_else(|why| panic!("{way}: {why}"));
        assert!(
            matches!(
                &finished[..],
                [Finished::Applied { .. }, Finished::Refused { failed: true, .. }, Finished::Applied { .. }]
            ),
            "{way}: {finished:?}"
        );
    }
}

#[tokio::test]
async fn a_failure_in_a_transaction_of_the_users_is_committed_though_it_cannot_be_logged() {
    for way in WAYS.into_iter().filter(|way| !way.contains("rollback")) {
        let scene = Scene::new().await;
        scene.add(&["a"]).await;
        let leases = claim(&scene.store, 1).await;
        scene.execute(way).await;
        let transaction = scene.store.begin().await.expect("begins");
        let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Fail { error: "broken".to_owned() } };
        let limits = limits(&scene.store);
        let finished = scene.store.finish_in(transaction, &finish, limits).await;
        assert!(matches!(finished, Ok(Finished::Applied { .. })), "{way}: {finished:?}");
        assert_eq!(scene.word("a").await, "FAILED", "{way}");
    }
}
