//! Preparing a table, and inspecting what it lacks.

use super::Harness;
use super::scene::{Scene, at, claimed_keys, keys, two_stages};
use crate::pipeline::Role;
use crate::store::{Outcome, Store};
use crate::{Error, Pipeline};

async fn unprepared<H: Harness>(harness: &H) -> H::Store {
    harness.open(two_stages().build().expect("a valid pipeline")).await
}

pub async fn prepare_makes_a_table_that_lacks_nothing<H: Harness>(harness: &H) {
    let store = unprepared(harness).await;
    assert!(!store.inspect().await.expect("inspect").is_empty(), "the table itself is lacking");

    store.prepare().await.expect("prepare");

    assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
    store.add_many(&keys(&["a"])).await.expect("add_many");
    let scene = Scene { harness, store };
    let item = scene.raw("a").await;
    assert_eq!(item.status.as_deref(), Some("PENDING"));
    assert_eq!((item.retry_count, item.reset_count), (Some(0), Some(0)));
    assert!(item.created_at.is_some());
    assert_eq!((item.retry_after, item.heartbeat, item.claimed_at), (None, None, None));
    assert_eq!((item.error, item.token, item.holder, item.resume), (None, None, None, None));
}

pub async fn prepare_may_be_repeated<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, super::scene::retry("broken")).await;
    let (fetch, _) = super::scene::fetch_and_parse();
    scene.store.pause(fetch).await.expect("pause");
    let before = scene.raw_all().await;

    for _ in 0..3 {
        scene.store.prepare().await.expect("prepare");
    }

    assert_eq!(scene.raw_all().await, before);
    assert_eq!(scene.failures("a").await.len(), 1);
    assert_eq!(scene.store.paused().await.expect("paused"), [fetch]);
    assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new());
}

pub async fn prepare_may_run_many_times_at_once<H: Harness>(harness: &H) {
    const CALLERS: usize = 6;
    let mut tasks = tokio::task::JoinSet::new();
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(CALLERS));
    for _ in 0..CALLERS {
        let store = unprepared(harness).await;
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            let prepared = store.prepare().await;
            store.close().await;
            prepared
        });
    }
    for prepared in tasks.join_all().await {
        prepared.expect("prepare");
    }
    assert_eq!(unprepared(harness).await.inspect().await.expect("inspect"), Vec::<String>::new());
}

pub async fn prepare_completes_a_table_of_the_users_and_keeps_its_data<H: Harness>(harness: &H) {
    let sql = "create table pages (page text primary key, url text not null, status text not null default 'PENDING')";
    harness.execute(sql).await.expect("create table");
    harness.execute("insert into pages (page, url) values ('a', 'https://example.org/')").await.expect("insert");
    harness
        .execute("insert into pages (page, url, status) values ('b', 'https://example.com/', 'SUCCEEDED')")
        .await
        .expect("insert");
    let store = unprepared(harness).await;
    let lacks = store.inspect().await.expect("inspect");
    for column in Role::ALL.map(Role::default_column).into_iter().filter(|column| *column != "status") {
        assert!(lacks.iter().any(|sentence| sentence.contains(column)), "{column} is not in {lacks:?}");
    }

    store.prepare().await.expect("prepare");

    assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
    let scene = Scene { harness, store };
    assert_eq!(scene.raw("b").await.status.as_deref(), Some("SUCCEEDED"));
    let before = scene.raw("a").await;
    assert_eq!((before.retry_count, before.reset_count), (Some(0), Some(0)), "columns come with their defaults");
    let batch = scene.claim(9).await;
    assert_eq!(claimed_keys(&batch), ["a"]);
    assert_eq!(harness.text(&batch.claimed[0].row, "url").as_deref(), Some("https://example.org/"));
    scene.finish(&batch.claimed[0].lease, Outcome::Complete).await;
}

pub async fn an_item_may_be_inserted_with_its_key_alone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.execute("insert into pages (page) values ('a')").await;
    let now = scene.store.now().await.expect("now");
    let claiming = crate::store::ClaimParams { now: None, ..scene.claiming(1) };

    let batch = scene.store.claim(&claiming).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["a"]);
    let created_at = scene.raw("a").await.created_at;
    super::scene::assert_between(created_at, now - chrono::TimeDelta::minutes(1), now);
}

pub async fn two_pipelines_share_a_database<H: Harness>(harness: &H) {
    let first = Scene::new(harness).await;
    let other = Pipeline::builder("others").table("others").key("other").stage("ONLY");
    let other = Scene::with(harness, other).await;
    let lease = first.insert_and_lease("a").await;
    first.finish(&lease, super::scene::fail("of the first pipeline")).await;
    other.insert_and_lease("a").await;
    other.sweep(at(301)).await;

    assert_eq!(first.failures("a").await, [("fail".to_owned(), "of the first pipeline".to_owned())]);
    assert_eq!(other.failures("a").await.len(), 1);
    assert_eq!(other.failures("a").await[0].0, "sweep");
}

pub async fn a_schema_of_a_newer_rowlock_is_refused<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let other = unprepared(harness).await;
    scene.execute("update rowlock_meta set value = '1000' where key = 'schema_version'").await;

    match other.prepare().await {
        Err(Error::SchemaTooNew { found: 1000, known }) => assert!(known < 1000),
        other => panic!("{other:?}"),
    }
    // A worker, which opens its own connections, does not start either.
    assert!(matches!(other.fork().await.map(drop), Err(Error::SchemaTooNew { found: 1000, .. })));
    assert!(matches!(other.inspect().await, Err(Error::SchemaTooNew { found: 1000, .. })));
}

pub async fn a_missing_table_is_a_lasting_error_and_not_an_empty_queue<H: Harness>(harness: &H) {
    let store = unprepared(harness).await;
    let error =
        store.claim(&super::scene::claiming(store.pipeline(), 1)).await.map(drop).expect_err("there is no table");
    assert!(!error.is_transient(), "{error}");
}

pub async fn a_column_that_moves_must_be_able_to_clear_is_refused_if_it_cannot_be_null<H: Harness>(harness: &H) {
    let time = harness.time_type();
    let sql = format!("create table pages (page text primary key, retry_after {time} not null)");
    harness.execute(&sql).await.expect("create table");
    let store = unprepared(harness).await;

    let refused = store.prepare().await.expect_err("each completion would be refused by the constraint");

    assert!(matches!(&refused, Error::Schema { problem, .. } if problem.contains("\"retry_after\"")), "{refused}");
    assert!(!store.inspect().await.expect("inspect").is_empty());
}

pub async fn a_key_that_is_not_unique_is_refused<H: Harness>(harness: &H) {
    for key in ["", ", primary key (page, site)", ", unique (site, page)"] {
        let sql = format!("create table pages (page text not null, site text not null{key})");
        harness.execute(&sql).await.expect("create table");
        let store = unprepared(harness).await;

        let refused = store.prepare().await.expect_err("two rows could be one item");

        assert!(matches!(&refused, Error::Schema { problem, .. } if problem.contains("unique")), "{key}: {refused}");
        store.close().await;
        harness.execute("drop table pages").await.expect("drop table");
    }
}
