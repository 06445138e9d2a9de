//! The verbs for people: set, cancel, requeue.

use super::Harness;
use super::scene::{RawItem, Scene, Value, at, fetch_and_parse, keys};
use crate::pipeline::{Role, Status};
use crate::store::{Finished, LeaseState, Moved, Outcome, RequeueParams, SetParams, Store};

/// An item in some state, with a history.
async fn put_worn<H: Harness>(scene: &Scene<'_, H>, key: &str, status: Status) -> RawItem {
    scene.put(key, status).await;
    let parse = scene.ready(1);
    let resume = if matches!(status, Status::Failed | Status::Cancelled) { Value::Text(&parse) } else { Value::Null };
    scene
        .edit(
            key,
            &[
                (Role::RetryCount, Value::Number(2)),
                (Role::ResetCount, Value::Number(1)),
                (Role::RetryAfter, Value::Time(at(500))),
                (Role::ErrorMessage, Value::Text("of before")),
                (Role::ClaimToken, Value::Number(77)),
                (Role::ClaimedBy, Value::Text("worker-b")),
                (Role::Heartbeat, Value::Time(at(-3))),
                (Role::ClaimedAt, Value::Time(at(-4))),
                (Role::ResumeStatus, resume),
            ],
        )
        .await;
    scene.raw(key).await
}

fn statuses<H: Harness>(scene: &Scene<'_, H>) -> Vec<Status> {
    scene.pipeline().statuses().collect()
}

pub async fn set_goes_from_any_state_to_a_ready_or_a_terminal_one<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for from in statuses(&scene) {
        for to in statuses(&scene).into_iter().filter(|to| !to.is_in_progress()) {
            let before = put_worn(&scene, "a", from).await;

            assert_eq!(scene.set("a", to).await, Moved::Applied { to }, "{from:?} to {to:?}");

            let requeued = from.is_terminal() && to.is_ready();
            let resume = match to {
                Status::Failed | Status::Cancelled => match from.stage() {
                    Some(stage) => Some(scene.word(Status::Ready(stage))),
                    None => before.resume.clone(),
                },
                Status::Ready(_) => None,
                Status::InProgress(_) | Status::Succeeded => scene.raw("a").await.resume,
            };
            let expected = RawItem {
                status: Some(scene.word(to)),
                retry_count: Some(if requeued { 0 } else { 2 }),
                reset_count: Some(if requeued { 0 } else { 1 }),
                retry_after: None,
                token: None,
                resume,
                error: before.error.clone().filter(|_| to != Status::Succeeded),
                updated_at: Some(at(2)),
                ..before
            };
            assert_eq!(scene.raw("a").await, expected, "{from:?} to {to:?}");
            scene.delete("a").await;
        }
    }
}

pub async fn set_never_leads_to_in_progress<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    for from in statuses(&scene) {
        put_worn(&scene, &format!("{from:?}"), from).await;
    }
    let before = scene.raw_all().await;

    for to in [Status::InProgress(fetch), Status::InProgress(parse)] {
        let all = before.iter().map(|item| item.key.as_str().into()).collect();
        let setting = SetParams { keys: all, to, error: None, now: Some(at(2)) };
        let moved = scene.store.set(&setting).await.expect("set");
        let from = before.iter().map(|item| Moved::Illegal { from: item.status.clone().unwrap_or_default() });
        assert_eq!(moved, from.collect::<Vec<_>>());
        let none = SetParams { keys: keys(&["no such item"]), to, error: None, now: None };
        assert_eq!(scene.store.set(&none).await.expect("set"), [Moved::NotFound]);
    }
    assert_eq!(scene.raw_all().await, before);
}

pub async fn set_replaces_the_error_only_if_one_is_given<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    put_worn(&scene, "a", Status::Ready(fetch_and_parse().0)).await;

    scene.set("a", Status::Failed).await;
    assert_eq!(scene.raw("a").await.error.as_deref(), Some("of before"));
    let setting =
        SetParams { keys: keys(&["a"]), to: Status::Failed, error: Some("by hand".to_owned()), now: Some(at(2)) };
    scene.store.set(&setting).await.expect("set");
    assert_eq!(scene.raw("a").await.error.as_deref(), Some("by hand"));
}

pub async fn set_ends_the_lease<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for to in statuses(&scene).into_iter().filter(|to| !to.is_in_progress()) {
        let lease = scene.insert_and_lease("a").await;
        scene.set("a", to).await;
        let before = scene.raw("a").await;
        assert_eq!(before.token, None);
        assert_eq!(scene.finish(&lease, Outcome::Complete).await, Finished::LeaseLost, "{to:?}");
        assert_ne!(scene.renew(&lease, at(3)).await, LeaseState::Held, "{to:?}");
        assert_eq!(scene.raw("a").await, before);
        scene.delete("a").await;
    }
}

pub async fn cancel_stops_what_is_not_terminal<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for from in statuses(&scene) {
        let before = put_worn(&scene, "a", from).await;

        let moved = scene.cancel("a").await;

        let after = scene.raw("a").await;
        match from.stage() {
            Some(stage) => {
                assert_eq!(moved, Moved::Applied { to: Status::Cancelled });
                let expected = RawItem {
                    status: Some(scene.word(Status::Cancelled)),
                    retry_after: None,
                    token: None,
                    resume: Some(scene.word(Status::Ready(stage))),
                    updated_at: Some(at(2)),
                    ..before
                };
                assert_eq!(after, expected, "{from:?}");
            }
            None => {
                assert_eq!(moved, Moved::Illegal { from: scene.word(from) });
                assert_eq!(after, before, "{from:?}");
            }
        }
        scene.delete("a").await;
    }
}

pub async fn a_running_handler_is_told_that_its_item_was_cancelled<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.cancel("a").await;

    let read = scene.store.read_leases(std::slice::from_ref(&lease)).await.expect("read_leases");
    assert_eq!(read, [LeaseState::Cancelled]);
    assert_eq!(scene.renew(&lease, at(3)).await, LeaseState::Cancelled);
    assert_eq!(scene.finish(&lease, Outcome::Complete).await, Finished::LeaseLost);
    assert_eq!(scene.raw("a").await.status, Some(scene.word(Status::Cancelled)));
}

pub async fn requeue_takes_terminal_items_up_where_they_stopped<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    for from in statuses(&scene) {
        let before = put_worn(&scene, "a", from).await;

        let moved = scene.requeue("a", None).await;

        let after = scene.raw("a").await;
        if from.is_terminal() {
            let to = Status::Ready(if from == Status::Succeeded { fetch } else { parse });
            assert_eq!(moved, Moved::Applied { to }, "{from:?}");
            let expected = RawItem {
                status: Some(scene.word(to)),
                retry_count: Some(0),
                reset_count: Some(0),
                retry_after: None,
                token: None,
                resume: None,
                updated_at: Some(at(2)),
                ..before
            };
            assert_eq!(after, expected, "{from:?}");
        } else {
            assert_eq!(moved, Moved::Illegal { from: scene.word(from) });
            assert_eq!(after, before, "{from:?}");
        }
        scene.delete("a").await;
    }
}

pub async fn requeue_may_name_the_stage<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    for from in [Status::Failed, Status::Cancelled, Status::Succeeded] {
        for stage in [fetch, parse] {
            put_worn(&scene, "a", from).await;
            let to = Status::Ready(stage);
            assert_eq!(scene.requeue("a", Some(stage)).await, Moved::Applied { to }, "{from:?}");
            assert_eq!(scene.raw("a").await.status, Some(scene.word(to)));
            scene.delete("a").await;
        }
    }
}

pub async fn requeue_without_a_usable_resume_status_starts_over<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    for resume in [Value::Null, Value::Text("NO SUCH WORD"), Value::Text("PARSE_IN_PROGRESS"), Value::Text("FAILED")] {
        scene.put("a", Status::Failed).await;
        scene.edit("a", &[(Role::ResumeStatus, resume)]).await;
        assert_eq!(scene.requeue("a", None).await, Moved::Applied { to: Status::Ready(fetch) }, "{resume:?}");
        scene.delete("a").await;
    }
    // A finished item starts over, whatever the column still holds.
    scene.put("a", Status::Succeeded).await;
    let word = scene.word(Status::Ready(parse));
    scene.edit("a", &[(Role::ResumeStatus, Value::Text(&word))]).await;
    assert_eq!(scene.requeue("a", None).await, Moved::Applied { to: Status::Ready(fetch) });
}

pub async fn operators_get_an_answer_for_each_key_in_order<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.put("z ready", Status::Ready(fetch)).await;
    scene.put("b failed", Status::Failed).await;
    scene.put("m unknown", Status::Failed).await;
    let unknown = scene.put_into_unknown_state("m unknown").await;
    scene.put("x", Status::Cancelled).await;
    let asked = keys(&["z ready", "no such item", "b failed", "m unknown"]);
    let illegal = |from: &str| Moved::Illegal { from: from.to_owned() };
    let failed = scene.word(Status::Failed);

    let cancelled = scene.store.cancel(&asked, Some(at(2))).await.expect("cancel");
    let applied = Moved::Applied { to: Status::Cancelled };
    assert_eq!(cancelled, [applied, Moved::NotFound, illegal(&failed), illegal(&unknown)]);

    let requeueing = RequeueParams { keys: asked.clone(), stage: None, now: Some(at(2)) };
    let requeued = scene.store.requeue(&requeueing).await.expect("requeue");
    let applied = Moved::Applied { to: Status::Ready(fetch) };
    assert_eq!(requeued, [applied.clone(), Moved::NotFound, applied, illegal(&unknown)]);

    let setting = SetParams { keys: asked, to: Status::Failed, error: None, now: Some(at(2)) };
    let set = scene.store.set(&setting).await.expect("set");
    let applied = Moved::Applied { to: Status::Failed };
    assert_eq!(set, [applied.clone(), Moved::NotFound, applied, illegal(&unknown)]);
    assert_eq!(scene.raw("x").await.status, Some(scene.word(Status::Cancelled)), "nobody asked for this one");
}

pub async fn operators_may_ask_for_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    put_worn(&scene, "a", Status::Failed).await;
    let before = scene.raw_all().await;

    assert_eq!(scene.store.cancel(&[], None).await.expect("cancel"), []);
    let requeueing = RequeueParams { keys: Vec::new(), stage: None, now: None };
    assert_eq!(scene.store.requeue(&requeueing).await.expect("requeue"), []);
    let setting = SetParams { keys: Vec::new(), to: Status::Failed, error: None, now: None };
    assert_eq!(scene.store.set(&setting).await.expect("set"), []);
    assert_eq!(scene.raw_all().await, before);
}

pub async fn an_item_set_to_failed_is_requeued_where_it_was<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, Outcome::Complete).await;
    scene.lease("a").await;

    scene.set("a", Status::Failed).await;

    assert_eq!(scene.raw("a").await.resume, Some(scene.ready(1)));
    assert_eq!(scene.requeue("a", None).await, Moved::Applied { to: Status::Ready(parse) });
}
