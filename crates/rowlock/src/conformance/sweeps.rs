//! Taking back the items of stopped workers.

use super::Harness;
use super::scene::{RawItem, STALE_AFTER, Scene, Value, at, fetch_and_parse, two_stages};
use crate::pipeline::{Budget, Role, Status};
use crate::store::{Finished, LeaseState, Outcome, Store, SweepParams};

pub async fn a_stale_item_is_ready_again_at_once_and_counted<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.insert("a").await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(2)), (Role::ErrorMessage, Value::Text("of before"))]).await;
    let lease = scene.lease("a").await;
    let before = scene.raw("a").await;

    let swept = scene.sweep(at(301)).await;

    assert_eq!(swept.items.len(), 1);
    let item = &swept.items[0];
    assert_eq!((item.key.as_str(), item.to), ("a", Status::Ready(fetch)));
    assert_eq!(item.holder.as_deref(), Some("worker-a"));
    assert!(!swept.may_have_more);
    let after = scene.raw("a").await;
    let error = after.error.clone().expect("an error");
    assert_eq!(error, item.error);
    assert!(error.starts_with("worker worker-a stopped: last heartbeat 2040-01-01"), "{error}");
    assert!(error.contains("12:00:00"), "{error}");
    let expected = RawItem {
        status: Some(scene.ready(0)),
        reset_count: Some(1),
        retry_after: Some(at(301)),
        token: None,
        error: Some(error.clone()),
        updated_at: Some(at(301)),
        ..before
    };
    assert_eq!(after, expected, "who held it since when stays for people to read");
    assert_eq!(scene.failures("a").await, [("sweep".to_owned(), error)]);
    assert_eq!(scene.finish(&lease, Outcome::Complete).await, Finished::LeaseLost);
    scene.lease_at("a", at(301)).await;
}

pub async fn a_missing_heartbeat_is_a_stale_one<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for status in scene.pipeline().statuses().filter(|status| status.is_in_progress()).collect::<Vec<_>>() {
        // As another program might leave it: no holder, no token, no heartbeat.
        scene.put(&scene.word(status), status).await;
    }

    let swept = scene.sweep(at(0)).await;

    assert_eq!(swept.items.len(), 2);
    for item in &swept.items {
        assert_eq!(item.error, "worker (unknown) stopped: no heartbeat");
        assert_eq!(item.holder, None);
    }
    let (fetch, parse) = fetch_and_parse();
    for stage in [fetch, parse] {
        let row = scene.raw(&scene.word(Status::InProgress(stage))).await;
        assert_eq!(row.status, Some(scene.word(Status::Ready(stage))));
    }
}

pub async fn only_what_is_stale_is_taken_back<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let stale = scene.insert_and_lease("stale").await;
    scene.insert("fresh").await;
    let fresh = scene.lease_at("fresh", at(200)).await;
    scene.insert("from the future").await;
    let future = scene.lease_at("from the future", at(600)).await;
    let before = (scene.raw("fresh").await, scene.raw("from the future").await);

    let swept = scene.sweep(at(301)).await;

    assert_eq!(swept.keys().collect::<Vec<_>>(), [&stale.key]);
    assert_eq!((scene.raw("fresh").await, scene.raw("from the future").await), before);
    assert_eq!(scene.renew(&fresh, at(302)).await, LeaseState::Held);
    assert_eq!(scene.renew(&future, at(601)).await, LeaseState::Held);
}

pub async fn what_is_not_in_progress_is_never_taken_back<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for status in scene.pipeline().statuses().filter(|status| !status.is_in_progress()).collect::<Vec<_>>() {
        let key = scene.word(status);
        scene.put(&key, status).await;
        let old = [(Role::Heartbeat, Value::Time(at(-100_000))), (Role::ClaimToken, Value::Number(5))];
        scene.edit(&key, &old).await;
        scene.put(&format!("{key} without a heartbeat"), status).await;
    }
    let before = scene.raw_all().await;

    let swept = scene.sweep(at(100_000)).await;

    assert!(swept.items.is_empty() && swept.refused.is_empty());
    assert_eq!(scene.raw_all().await, before);
}

pub async fn the_last_reset_is_failed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.put("a", Status::Ready(parse)).await;
    scene.edit("a", &[(Role::ResetCount, Value::Number(2))]).await;
    scene.lease("a").await;
    let before = scene.raw("a").await;

    let swept = scene.sweep(at(301)).await;

    assert_eq!(swept.items[0].to, Status::Failed);
    let after = scene.raw("a").await;
    let error = after.error.clone().expect("an error");
    assert!(error.starts_with("Max resets (3) exceeded: worker worker-a stopped: last heartbeat 2040-"), "{error}");
    let expected = RawItem {
        status: Some(scene.word(Status::Failed)),
        reset_count: Some(3),
        resume: Some(scene.ready(1)),
        token: None,
        error: Some(error.clone()),
        retry_after: after.retry_after,
        updated_at: Some(at(301)),
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(scene.failures("a").await, [("sweep".to_owned(), error)]);
    assert!(scene.claim_at(9, at(100_000)).await.claimed.is_empty());
}

pub async fn the_last_reset_may_be_the_first<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().max_resets(1)).await;
    scene.insert_and_lease("a").await;

    assert_eq!(scene.sweep(at(301)).await.items[0].to, Status::Failed);
}

pub async fn resets_are_counted_per_stage_or_per_item<H: Harness>(harness: &H) {
    for (table, budget, expected) in [("per_stage", Budget::PerStage, 0), ("per_item", Budget::PerItem, 1)] {
        let scene = Scene::with(harness, two_stages().table(table).budget(budget)).await;
        scene.insert_and_lease("a").await;
        scene.sweep(at(301)).await;
        let lease = scene.lease_at("a", at(302)).await;
        scene.finish_at(&lease, Outcome::Complete, at(303)).await;
        assert_eq!(scene.raw("a").await.reset_count, Some(expected), "{table}");
    }
}

pub async fn a_sweep_takes_no_more_than_asked_for<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b", "c", "d", "e"]).await;
    scene.claim(9).await;
    let limited = |limit| SweepParams { limit, ..scene.sweeping(at(301)) };

    assert!(scene.store.sweep(&limited(0)).await.expect("sweep").items.is_empty());
    let first = scene.store.sweep(&limited(3)).await.expect("sweep");
    assert_eq!(first.items.len(), 3);
    assert!(first.may_have_more);
    let second = scene.store.sweep(&limited(3)).await.expect("sweep");
    assert_eq!(second.items.len(), 2);
    assert!(!second.may_have_more);
    assert!(scene.raw_all().await.iter().all(|item| item.reset_count == Some(1)));
}

pub async fn a_sweep_goes_by_the_age_that_it_is_given<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_and_lease("a").await;
    let sweeping = |factor: u32| SweepParams { stale_after: STALE_AFTER * factor, ..scene.sweeping(at(301)) };

    assert!(scene.store.sweep(&sweeping(2)).await.expect("sweep").items.is_empty());
    assert_eq!(scene.store.sweep(&sweeping(1)).await.expect("sweep").items.len(), 1);
}

pub async fn sweeps_at_once_count_each_item_once<H: Harness>(harness: &H) {
    const SWEEPERS: usize = 8;
    let scene = Scene::new(harness).await;
    let names: Vec<String> = (0..60).map(|number| format!("{number}")).collect();
    scene.insert_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    scene.claim(100).await;
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(SWEEPERS));

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..SWEEPERS {
        let store = scene.store.fork().await.expect("fork");
        let sweeping = SweepParams { limit: 25, ..scene.sweeping(at(301)) };
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            let mut swept = 0;
            loop {
                match store.sweep(&sweeping).await {
                    Ok(batch) if batch.items.is_empty() => break,
                    Ok(batch) => swept += batch.items.len(),
                    Err(error) if error.is_transient() && !error.may_have_been_applied() => {}
                    Err(error) => panic!("sweep: {error}"),
                }
            }
            store.close().await;
            swept
        });
    }
    let swept: usize = tasks.join_all().await.into_iter().sum();

    let rest = scene.sweep(at(301)).await.items.len();
    assert_eq!(swept + rest, names.len());
    assert!(scene.raw_all().await.iter().all(|item| item.reset_count == Some(1)));
}

pub async fn a_reset_count_that_cannot_grow_harms_only_its_own_item<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["full", "b"]).await;
    scene.claim(2).await;
    scene.edit("full", &[(Role::ResetCount, Value::Number(i64::from(i32::MAX)))]).await;

    scene.sweep(at(301)).await;

    assert_eq!(scene.raw("b").await.status, Some(scene.ready(0)));
    assert_eq!(scene.raw("full").await.status, Some(scene.word(Status::Failed)));
}

pub async fn without_a_given_time_the_database_says_what_is_stale<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let now = scene.store.now().await.expect("now");
    scene.insert_created("stale", now - chrono::TimeDelta::days(1)).await;
    scene.lease_at("stale", now - chrono::TimeDelta::seconds(400)).await;
    scene.insert_created("fresh", now - chrono::TimeDelta::days(1)).await;
    scene.lease_at("fresh", now - chrono::TimeDelta::seconds(100)).await;

    let swept = scene.store.sweep(&SweepParams { now: None, ..scene.sweeping(at(0)) }).await.expect("sweep");

    assert_eq!(swept.keys().map(crate::Key::as_str).collect::<Vec<_>>(), ["stale"]);
}
