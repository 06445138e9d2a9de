//! Ready items at a limit: the claim that meets them makes them `FAILED`.

use super::Harness;
use super::scene::{RawItem, Scene, Value, at, claimed_keys, fetch_and_parse, keys};
use crate::pipeline::{Role, Status};
use crate::store::{ClaimParams, Limits, Store};

pub async fn a_ready_item_at_max_retries_is_failed_by_the_claim_that_meets_it<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.put("a", Status::Ready(parse)).await;
    scene
        .edit(
            "a",
            &[
                (Role::RetryCount, Value::Number(5)),
                (Role::ErrorMessage, Value::Text("broken")),
                (Role::ClaimToken, Value::Number(77)),
            ],
        )
        .await;
    let before = scene.raw("a").await;

    let batch = scene.claim(9).await;

    assert!(batch.claimed.is_empty());
    assert_eq!(batch.exhausted, keys(&["a"]));
    let after = scene.raw("a").await;
    let expected = RawItem {
        status: Some(scene.word(Status::Failed)),
        error: Some("Max retries (5) exceeded: broken".to_owned()),
        resume: Some(scene.ready(1)),
        token: None,
        retry_after: after.retry_after,
        updated_at: Some(at(0)),
        ..before
    };
    assert_eq!(after, expected);
    let expected = ("exhaust".to_owned(), "Max retries (5) exceeded: broken".to_owned());
    assert_eq!(scene.failures("a").await, [expected]);
}

pub async fn a_ready_item_at_max_resets_is_failed_by_the_claim_that_meets_it<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    scene.edit("a", &[(Role::ResetCount, Value::Number(3)), (Role::ErrorMessage, Value::Text("gone"))]).await;

    let batch = scene.claim(9).await;

    assert_eq!(batch.exhausted, keys(&["a"]));
    let after = scene.raw("a").await;
    assert_eq!(after.status, Some(scene.word(Status::Failed)));
    assert_eq!(after.error.as_deref(), Some("Max resets (3) exceeded: gone"));
    assert_eq!(after.resume, Some(scene.ready(0)));
    assert_eq!(after.reset_count, Some(3));
}

pub async fn an_exhausted_item_without_an_error_names_the_limit_alone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["retries", "resets"]).await;
    scene.edit("retries", &[(Role::RetryCount, Value::Number(50))]).await;
    scene.edit("resets", &[(Role::ResetCount, Value::Number(50))]).await;

    scene.claim(9).await;

    assert_eq!(scene.raw("retries").await.error.as_deref(), Some("Max retries (5) exceeded"));
    assert_eq!(scene.raw("resets").await.error.as_deref(), Some("Max resets (3) exceeded"));
}

pub async fn exhausted_items_count_towards_the_limit_of_the_claim<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b", "c", "d"]).await;
    for key in ["a", "b"] {
        scene.edit(key, &[(Role::RetryCount, Value::Number(5))]).await;
    }

    let batch = scene.claim(3).await;

    assert_eq!(batch.exhausted, keys(&["a", "b"]));
    assert_eq!(claimed_keys(&batch), ["c"]);
    assert!(batch.may_have_more);
}

pub async fn an_item_that_is_not_due_is_not_exhausted_yet<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(5)), (Role::RetryAfter, Value::Time(at(60)))]).await;

    assert!(scene.claim(9).await.exhausted.is_empty());
    assert_eq!(scene.claim_at(9, at(60)).await.exhausted, keys(&["a"]));
}

pub async fn a_claim_may_bring_limits_of_its_own<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(2))]).await;

    let low = ClaimParams { limits: Limits { max_retries: 2, max_resets: 3 }, ..scene.claiming(9) };
    let batch = scene.store.claim(&low).await.expect("claim");

    assert_eq!(batch.exhausted, keys(&["a"]));
    assert_eq!(claimed_keys(&batch), ["b"]);
    assert_eq!(scene.raw("a").await.error.as_deref(), Some("Max retries (2) exceeded"));
}

pub async fn a_claim_may_leave_exhausted_items_alone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b", "c"]).await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(5))]).await;
    scene.edit("b", &[(Role::ResetCount, Value::Number(3))]).await;
    let before = (scene.raw("a").await, scene.raw("b").await);

    let leave = ClaimParams { leave_exhausted: true, ..scene.claiming(1) };
    let batch = scene.store.claim(&leave).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["c"], "they do not count towards the limit either");
    assert!(batch.exhausted.is_empty());
    assert_eq!((scene.raw("a").await, scene.raw("b").await), before);
}

pub async fn an_exhausted_item_that_is_requeued_is_claimable_again<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(9)), (Role::ResetCount, Value::Number(9))]).await;
    scene.claim(1).await;

    scene.requeue("a", None).await;

    assert_eq!(claimed_keys(&scene.claim_at(1, at(3)).await), ["a"]);
}
