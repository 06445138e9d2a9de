//! Keys that are not of the pipeline's type: SQLite keeps a value of any type in a column of any type.

use super::*;

/// What a worker sees of a file: what it can claim, what it would take back, what it counts, what it holds.
async fn assert_only_good_is_an_item(scene: &Scene, good: &str) {
    let preview = scene.store.preview(&claiming(&scene.store, 10)).await.expect("preview");
    assert_eq!(preview.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), [good]);
    let counts = scene.store.counts(&Counting::default()).await.expect("counts");
    assert_eq!(counts.statuses[0].count, 1, "one is ready");
    // The strange ones come first in the queue: they must not take the places of others.
    let batch = scene.store.claim(&claiming(&scene.store, 1)).await.expect("claim");
    assert_eq!(batch.leases().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), [good]);
    assert!(batch.refused.is_empty(), "{:?}", batch.refused);
    let again = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert!(again.claimed.is_empty() && !again.may_have_more, "{again:?}");
    let counts = scene.store.counts(&Counting::default()).await.expect("counts");
    assert_eq!(counts.stages[0].oldest_ready_since, None, "a worker that is to stop when idle would go on for ever");
    assert_eq!(counts.unfinished(), 1, "the one that is in progress");
    let sweeping = Sweeping { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: None };
    let swept = scene.store.sweep(&sweeping).await.expect("sweep");
    assert!(swept.items.is_empty() && swept.refused.is_empty(), "{swept:?}");
    let leases: Vec<Lease> = batch.leases().cloned().collect();
    assert_eq!(scene.store.renew(&leases, None).await.expect("renew"), [LeaseState::Held]);
    let held = scene.store.held(10).await.expect("held");
    assert_eq!(held.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), [good]);
    let listed = scene.store.list(&Listing { limit: 10, ..Listing::default() }).await.expect("list");
    assert_eq!(listed.items.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), [good]);
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    assert!(matches!(finished[..], [Finished::Applied { .. }]), "{finished:?}");
}

/// What is said of keys. (Rows in progress under no lease are reported as well.)
async fn strange_keys(scene: &Scene) -> Vec<String> {
    let reported = scene.store.inspect().await.expect("inspect");
    reported.into_iter().filter(|sentence| sentence.contains("key")).collect()
}

#[tokio::test]
async fn a_key_that_is_no_text_is_no_item_and_is_reported() {
    let scene = Scene::new().await;
    scene
        .execute(
            "insert into videos (id, status, created_at) values
             ('good', 'PENDING', '2026-01-01T00:00:00.000Z'),
             (x'6162', 'PENDING', null),
             (x'6163', 'A_IN_PROGRESS', null),
             (cast(x'610062' as text), 'PENDING', null)",
        )
        .await;
    let reported = strange_keys(&scene).await;
    assert!(matches!(&reported[..], [one] if one.contains("blob") && one.contains("Text")), "{reported:?}");
    assert_only_good_is_an_item(&scene, "good").await;
}

#[tokio::test]
async fn a_key_that_is_null_is_no_item_and_is_reported() {
    let scene = Scene::new().await;
    scene
        .execute(
            "drop table videos;
             create table videos (id text primary key, status text not null default 'PENDING')",
        )
        .await;
    scene.store.prepare().await.expect("prepares");
    scene
        .execute("insert into videos (id, created_at) values (null, null), ('good', '2026-01-01T00:00:00.000Z')")
        .await;
    let reported = strange_keys(&scene).await;
    assert!(matches!(&reported[..], [one] if one.contains("null")), "{reported:?}");
    assert_only_good_is_an_item(&scene, "good").await;
}

#[tokio::test]
async fn a_key_that_is_no_integer_is_no_item_and_is_reported() {
    let scene = Scene::with(builder().key_type(KeyType::BigInt)).await;
    scene
        .execute(
            "drop table videos;
             create table videos (id bigint not null unique, status text not null default 'PENDING')",
        )
        .await;
    scene.store.prepare().await.expect("prepares");
    scene
        .execute(
            "insert into videos (id, status, created_at) values
             (7, 'PENDING', '2026-01-01T00:00:00.000Z'),
             ('abc', 'PENDING', null),
             (1.5, 'PENDING', null),
             (x'07', 'A_IN_PROGRESS', null)",
        )
        .await;
    let reported = strange_keys(&scene).await;
    assert!(matches!(&reported[..], [one] if one.contains("BigInt")), "{reported:?}");
    assert_only_good_is_an_item(&scene, "7").await;
}

#[tokio::test]
async fn a_key_column_that_would_turn_keys_into_another_type_is_refused() {
    for (declared, key_type) in [
        ("integer primary key", KeyType::Text),
        ("blob primary key", KeyType::Uuid),
        ("text primary key", KeyType::BigInt),
        ("real primary key", KeyType::Int),
    ] {
        let scene = Scene::with(builder().key_type(key_type)).await;
        scene.execute(&format!("drop table videos; create table videos (id {declared})")).await;
        let error = scene.store.prepare().await.expect_err("refuses");
        assert!(matches!(&error, Error::Schema { problem, .. } if problem.contains("key column")), "{error}");
        assert!(!strange_keys(&scene).await.is_empty());
    }
}

#[tokio::test]
async fn a_lost_lease_is_lost_beside_a_newer_one_of_the_same_item() {
    let scene = Scene::new().await;
    scene.add(&["a"]).await;
    let old = claim(&scene.store, 1).await;
    scene.store.finish(&finishing(&scene.store, &old, &Outcome::Release)).await.expect("finish");
    let new = claim(&scene.store, 1).await;
    let both = [old[0].clone(), new[0].clone()];
    let expected = [LeaseState::Lost, LeaseState::Held];
    assert_eq!(scene.store.renew(&both, None).await.expect("renew"), expected);
    assert_eq!(scene.store.read_leases(&both).await.expect("read_leases"), expected);
    let finished = scene.store.finish(&finishing(&scene.store, &both, &Outcome::Complete)).await.expect("finish");
    assert!(matches!(finished[..], [Finished::LeaseLost, Finished::Applied { .. }]), "{finished:?}");
}

/// SQLite does not look at a text's bytes. Such a key would come back as another one, and its item could not be finished.
#[tokio::test]
async fn a_key_that_is_no_utf8_is_left_alone_and_reported() {
    let scene = Scene::new().await;
    scene.add(&["good"]).await;
    scene.execute("insert into videos (id, status) values (cast(x'61ff' as text), 'PENDING')").await;
    let batch = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert_eq!(batch.leases().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(batch.refused.len(), 1, "{batch:?}");
    let count = "select count(*) from videos where status = 'PENDING'";
    let verb = scene.store.verb("test");
    let mut session = scene.store.take_writer(&verb).await.expect("a connection");
    let left: i64 = (*session).fetch_one(count).await.expect("counted").get(0);
    session.keep();
    assert_eq!(left, 1, "it is as it was");
}
