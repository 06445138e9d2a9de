//! Keys that are not of the pipeline's type: SQLite keeps a value of any type in a column of any type.

use super::*;
use crate::pipeline::Status;

/// What a worker sees of a file: what it can claim, what it would take back, what it counts, what it holds.
async fn assert_only_good_is_an_item(scene: &Scene, good: &str) {
    let preview = scene.store.preview(&claiming(&scene.store, 10)).await.expect("preview");
    assert_eq!(preview.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), [good]);
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.statuses[0].count, 1, "one is ready");
    // The strange ones come first in the queue: they must not take the places of others.
    let batch = scene.store.claim(&claiming(&scene.store, 1)).await.expect("claim");
    assert_eq!(batch.leases().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), [good]);
    assert!(batch.refused.is_empty(), "{:?}", batch.refused);
    let again = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert!(again.claimed.is_empty() && !again.may_have_more, "{again:?}");
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.stages[0].oldest_ready_since, None, "a worker that is to stop when idle would go on for ever");
    assert_eq!(counts.unfinished(), 1, "the one that is in progress");
    let sweeping = SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: None };
    let swept = scene.store.sweep(&sweeping).await.expect("sweep");
    assert!(swept.items.is_empty() && swept.refused.is_empty(), "{swept:?}");
    let leases: Vec<Lease> = batch.leases().cloned().collect();
    assert_eq!(scene.store.renew(&leases, None).await.expect("renew"), [LeaseState::Held]);
    let held = scene.store.held(10).await.expect("held");
    assert_eq!(held.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), [good]);
    let listed = scene.store.list(&ListParams::new(10)).await.expect("list");
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

/// Bytes of keys, and whether they are UTF-8.
const BYTES: [(&str, bool); 30] = [
    ("61", true),
    ("c3a9", true),
    ("e282ac", true),
    ("f09f9880", true),
    ("efbfbd", true),
    ("efbfbe", true),
    ("efbfbf", true),
    ("f48fbfbf", true),
    ("01", true),
    ("7f", true),
    ("c280", true),
    ("e9", false),
    ("636166e92e6d7034", false),
    ("80", false),
    ("6180", false),
    ("c080", false),
    ("c181", false),
    ("e08280", false),
    ("eda080", false),
    ("f0808080", false),
    ("f4908080", false),
    ("f7bfbfbf", false),
    ("f8888080", false),
    ("fe", false),
    ("e282", false),
    ("e282acbf", false),
    ("c3a9e9", false),
    ("efbfbdbf", false),
    ("610062", false),
    ("00", false),
];

/// SQLite does not check the bytes of a text. Such a key would come back as another one, and its item could not be
/// finished.
#[tokio::test]
async fn a_key_that_is_no_utf8_or_holds_nul_is_no_item_and_is_reported() {
    for (bytes, is_item) in BYTES {
        let scene = Scene::new().await;
        scene.execute(&format!("insert into videos (id) values (cast(x'{bytes}' as text))")).await;
        let before = scene.store.counts(&CountParams::default()).await.expect("counts");
        let reported = strange_keys(&scene).await;
        let batch = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
        assert!(batch.refused.is_empty(), "{bytes}: {batch:?}");
        // One or the other.
        assert_eq!(batch.claimed.len(), usize::from(is_item), "{bytes}");
        assert_eq!(reported.len(), usize::from(!is_item), "{bytes}: {reported:?}");
        assert_eq!(before.unfinished(), i64::from(is_item), "{bytes}");
        assert_eq!(before.unknown_words().map(|word| word.count).sum::<i64>(), i64::from(!is_item), "{bytes}");
    }
}

/// However many there are, and wherever the rows are found by: at the head of the queue they take nobody's place.
#[tokio::test]
async fn keys_that_are_no_utf8_take_nobodys_place() {
    for options in ["", "without rowid"] {
        let scene = Scene::new().await;
        scene
            .execute(&format!(
                "drop table videos;
                 create table videos (id text primary key not null, status text not null default 'PENDING') {options}"
            ))
            .await;
        scene.store.prepare().await.expect("prepares");
        scene
            .execute(
                "with recursive n (n) as (select 1 union all select n + 1 from n where n < 12)
                 insert into videos (id) select cast(x'e9' || cast(n as blob) as text) from n;
                 insert into videos (id, status, heartbeat_at) values (cast(x'ff' as text), 'A_IN_PROGRESS', null)",
            )
            .await;
        scene.add(&["good"]).await;
        assert_only_good_is_an_item(&scene, "good").await;
        let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
        assert_eq!(counts.unknown_words().map(|word| word.count).collect::<Vec<_>>(), [12, 1]);
        // What was met is remembered: the others are claimed at once, and the good one for its second stage.
        scene.add(&["better", "b\u{e4}st"]).await;
        assert_eq!(claim(&scene.store, 10).await.len(), 3);
    }
}

/// In another column than the key they harm only what reads them.
#[tokio::test]
async fn bytes_that_are_no_utf8_elsewhere_keep_nobody_from_being_worked_on() {
    let scene = Scene::new().await;
    scene
        .execute(
            "alter table videos add column title text;
             insert into videos (id, title, error_message, claimed_by, resume_status) values
             ('a', cast(x'e9' as text), cast(x'e9' as text), cast(x'e9' as text), cast(x'e9' as text)),
             ('b', 'fine', null, null, null)",
        )
        .await;
    assert_eq!(scene.store.preview(&claiming(&scene.store, 10)).await.expect("preview").len(), 2);
    let leases = claim(&scene.store, 10).await;
    assert_eq!(leases.len(), 2);
    scene.execute("update videos set claimed_by = cast(x'e9' as text) where id = 'a'").await;
    assert_eq!(scene.store.held(10).await.expect("held").len(), 2);
    let listed = scene.store.list(&ListParams::new(10)).await.expect("list");
    let titles: Vec<bool> = listed.items.iter().map(|item| item.row.try_get::<String, _>("title").is_ok()).collect();
    assert_eq!(titles, [false, true], "that row alone does not decode");
    let retry = Outcome::Retry { error: "not yet".to_owned(), delay: Some(Duration::ZERO) };
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &retry)).await.expect("finish");
    assert!(finished.iter().all(|finished| matches!(finished, Finished::Applied { .. })), "{finished:?}");
}

#[tokio::test]
async fn keys_whose_comparison_ignores_blanks_at_their_end_are_answered_by_their_place() {
    let scene = Scene::new().await;
    scene.execute("drop table videos; create table videos (id text collate rtrim not null primary key)").await;
    scene.store.prepare().await.expect("prepares");
    scene.execute("insert into videos (id, created_at) values ('a', '2026-01-01'), ('b  ', '2026-01-02')").await;
    let keys = |keys: &[&str]| keys.iter().map(|key| Key::from(*key)).collect::<Vec<_>>();
    let asked = keys(&["a   ", "missing", "b", "a"]);

    let cancelled = scene.store.cancel(&asked, None).await.expect("cancel");
    let applied = |to| Moved::Applied { to };
    let (ready, stopped) = (scene.store.pipeline().status("PENDING").expect("a word"), Status::Cancelled);
    assert_eq!(cancelled, [applied(stopped), Moved::NotFound, applied(stopped), applied(stopped)]);
    let requeueing = RequeueParams { keys: asked.clone(), stage: None, now: None };
    let requeued = scene.store.requeue(&requeueing).await.expect("requeue");
    assert_eq!(requeued, [applied(ready), Moved::NotFound, applied(ready), applied(ready)]);
    assert_eq!(scene.store.add_many(&asked).await.expect("add_many").added, 1, "only one is new");
    scene.execute("delete from videos where id = 'missing'").await;
    scene.store.explain(&asked[0], None).await.expect("explain").expect("an item");

    let leases = claim(&scene.store, 10).await;
    assert_eq!(leases.iter().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), ["a", "b  "]);
    let respelled = [Lease { key: asked[0].clone(), ..leases[0].clone() }, leases[1].clone()];
    assert_eq!(scene.store.renew(&respelled, None).await.expect("renew"), [LeaseState::Held, LeaseState::Held]);
    let fail = Outcome::Fail { error: "no".to_owned() };
    let finished = scene.store.finish(&finishing(&scene.store, &respelled, &fail)).await.expect("finish");
    assert_eq!(finished, [Finished::Applied { to: Status::Failed }, Finished::Applied { to: Status::Failed }]);
    assert_eq!(scene.store.failures(&asked[0]).await.expect("failures").len(), 1);
}

#[tokio::test]
async fn an_integer_key_beyond_32_bits_is_an_item_like_any() {
    let scene = Scene::with(builder().key_type(KeyType::Int)).await;
    scene
        .execute(
            "insert into videos (id, created_at) values
             (7, '2026-01-02'), (9223372036854775807, '2026-01-01'), (-9223372036854775808, '2026-01-03')",
        )
        .await;
    let leases = claim(&scene.store, 10).await;
    let claimed: Vec<_> = leases.iter().map(|lease| lease.key.as_str()).collect();
    assert_eq!(claimed, ["9223372036854775807", "7", "-9223372036854775808"]);
    assert_eq!(scene.store.renew(&leases, None).await.expect("renew"), vec![LeaseState::Held; 3]);
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    assert!(finished.iter().all(|one| matches!(one, Finished::Applied { .. })), "{finished:?}");
}
