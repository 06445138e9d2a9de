//! Stages for which claims are stopped.

use super::Harness;
use super::scene::{Scene, at, claimed_keys, fetch_and_parse, two_stages};
use crate::pipeline::Status;
use crate::store::{CountParams, Finished, LeaseState, Outcome, Store};
use crate::{Key, Pipeline};

pub async fn a_paused_stage_is_not_claimed_and_the_others_are<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    scene.put("to fetch", Status::Ready(fetch)).await;
    scene.put("to parse", Status::Ready(parse)).await;

    assert!(scene.store.pause(parse).await.expect("pause"));

    assert_eq!(scene.store.preview(&scene.claiming(9)).await.expect("preview").len(), 1);
    let batch = scene.claim(9).await;
    assert_eq!(claimed_keys(&batch), ["to fetch"]);
    assert!(!batch.may_have_more, "what is paused is not more");
    assert!(scene.store.resume(parse).await.expect("resume"));
    assert_eq!(claimed_keys(&scene.claim(9).await), ["to parse"]);
}

pub async fn items_in_progress_go_on_in_a_paused_stage<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;

    scene.store.pause(fetch).await.expect("pause");

    assert_eq!(scene.renew(&lease, at(1)).await, LeaseState::Held);
    let applied = Finished::Applied { to: Status::Ready(parse) };
    assert_eq!(scene.finish(&lease, Outcome::Complete).await, applied);
}

pub async fn a_paused_stage_is_swept_all_the_same<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.insert_and_lease("a").await;
    scene.store.pause(fetch).await.expect("pause");

    assert_eq!(scene.sweep(at(301)).await.items.len(), 1);
    assert!(scene.claim_at(9, at(302)).await.claimed.is_empty());
}

pub async fn pausing_twice_says_so<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    let paused = async || scene.store.paused().await.expect("paused");

    assert!(!scene.store.resume(parse).await.expect("resume"), "it was not paused");
    assert_eq!(paused().await, []);
    assert!(scene.store.pause(parse).await.expect("pause"));
    assert!(!scene.store.pause(parse).await.expect("pause"), "it was paused already");
    assert_eq!(paused().await, [parse]);
    assert!(scene.store.pause(fetch).await.expect("pause"));
    assert_eq!(paused().await, [fetch, parse]);
    assert!(scene.store.resume(parse).await.expect("resume"));
    assert!(!scene.store.resume(parse).await.expect("resume"));
    assert_eq!(paused().await, [fetch]);
}

pub async fn a_pause_is_one_pipelines_own_and_every_store_sees_it<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    let other = Pipeline::builder("others").table("others").key("other").stage("FETCH");
    let other = Scene::with(harness, other).await;
    let same = harness.open(two_stages().build().expect("a valid pipeline")).await;
    scene.insert("a").await;
    other.insert("b").await;

    scene.store.pause(fetch).await.expect("pause");

    assert_eq!(other.store.paused().await.expect("paused"), []);
    assert_eq!(claimed_keys(&other.claim(9).await), ["b"]);
    assert_eq!(same.paused().await.expect("paused"), [fetch]);
    assert!(same.claim(&scene.claiming(9)).await.expect("claim").claimed.is_empty());
}

pub async fn explain_and_counts_say_that_a_stage_is_paused<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.insert("a").await;
    let explain = async || scene.store.explain(&Key::from("a"), Some(at(0))).await.expect("explain").expect("an item");
    assert!(!explain().await.paused);

    scene.store.pause(fetch).await.expect("pause");

    assert!(explain().await.paused);
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.stages.iter().map(|stage| stage.paused).collect::<Vec<_>>(), [true, false]);
}
