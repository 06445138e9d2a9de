//! How a holder ends its lease, and what that writes.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Harness;
use super::scene::{
    RawItem, Scene, Value, at, claimed_keys, every_outcome, fail, fetch_and_parse, limits, retry, two_stages,
};
use crate::limits::RETRY_DELAY_MAX;
use crate::pipeline::{Budget, Role, Status};
use crate::store::{Finish, FinishParams, Finished, Outcome, Store};
use crate::{FencingToken, Key, Lease};

/// An item with a history, held at noon.
async fn worn_lease<H: Harness>(scene: &Scene<'_, H>, key: &str) -> Lease {
    scene.insert(key).await;
    scene
        .edit(
            key,
            &[
                (Role::RetryCount, Value::Number(2)),
                (Role::ResetCount, Value::Number(1)),
                (Role::RetryAfter, Value::Time(at(-2000))),
                (Role::ErrorMessage, Value::Text("of before")),
            ],
        )
        .await;
    scene.lease(key).await
}

pub async fn complete_moves_to_the_next_stage_and_restarts_both_counts<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let lease = worn_lease(&scene, "a").await;
    let before = scene.raw("a").await;

    let finished = scene.finish(&lease, Outcome::Complete).await;

    assert_eq!(finished, Finished::Applied { to: Status::Ready(parse) });
    let expected = RawItem {
        status: Some(scene.ready(1)),
        retry_count: Some(0),
        reset_count: Some(0),
        retry_after: None,
        updated_at: Some(at(1)),
        ..before
    };
    assert_eq!(scene.raw("a").await, expected, "token, holder and heartbeat are kept");
}

pub async fn complete_of_the_last_stage_is_success<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, Outcome::Complete).await;
    let lease = scene.lease("a").await;

    let finished = scene.finish(&lease, Outcome::Complete).await;

    assert_eq!(finished, Finished::Applied { to: Status::Succeeded });
    let after = scene.raw("a").await;
    assert_eq!(after.status, Some(scene.word(Status::Succeeded)));
    assert_eq!(after.token, Some(lease.token.as_i64()));
}

pub async fn complete_keeps_both_counts_when_the_budget_is_per_item<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().budget(Budget::PerItem)).await;
    let lease = worn_lease(&scene, "a").await;

    scene.finish(&lease, Outcome::Complete).await;

    let after = scene.raw("a").await;
    assert_eq!((after.retry_count, after.reset_count), (Some(2), Some(1)));
    assert_eq!(after.retry_after, None);
}

pub async fn retry_counts_waits_and_keeps_the_error<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    let lease = worn_lease(&scene, "a").await;
    let before = scene.raw("a").await;

    let finished = scene.finish(&lease, retry("broken")).await;

    assert_eq!(finished, Finished::Applied { to: Status::Ready(fetch) });
    let after = scene.raw("a").await;
    // The third failure: 60 s · 2³, ± 25 %.
    super::scene::assert_between(after.retry_after, at(1 + 360), at(1 + 600));
    let expected = RawItem {
        status: Some(scene.ready(0)),
        retry_count: Some(3),
        retry_after: after.retry_after,
        error: Some("broken".to_owned()),
        updated_at: Some(at(1)),
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(scene.failures("a").await, [("retry".to_owned(), "broken".to_owned())]);
}

pub async fn retry_is_failed_when_the_budget_is_spent<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = worn_lease(&scene, "a").await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(4))]).await;
    let before = scene.raw("a").await;

    let finished = scene.finish(&lease, retry("broken")).await;

    assert_eq!(finished, Finished::Applied { to: Status::Failed });
    let expected = RawItem {
        status: Some(scene.word(Status::Failed)),
        retry_count: Some(5),
        retry_after: None,
        error: Some("Max retries (5) exceeded: broken".to_owned()),
        resume: Some(scene.ready(0)),
        updated_at: Some(at(1)),
        ..before
    };
    assert_eq!(scene.raw("a").await, expected);
}

pub async fn five_retries_mean_five_attempts<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    let mut attempts = 0;
    let mut now = 0;
    loop {
        now += 100_000;
        let batch = scene.claim_at(1, at(now)).await;
        let Some(item) = batch.claimed.first() else { break };
        attempts += 1;
        scene.finish_at(&item.lease, retry("broken"), at(now)).await;
    }
    assert_eq!(attempts, 5);
    assert_eq!(scene.raw("a").await.status, Some(scene.word(Status::Failed)));
}

pub async fn with_one_attempt_the_first_retry_is_failed<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().max_retries(1)).await;
    let lease = scene.insert_and_lease("a").await;

    assert_eq!(scene.finish(&lease, retry("broken")).await, Finished::Applied { to: Status::Failed });
    assert_eq!(scene.raw("a").await.error.as_deref(), Some("Max retries (1) exceeded: broken"));
}

pub async fn fail_is_failed_at_once_and_counts_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = worn_lease(&scene, "a").await;
    let before = scene.raw("a").await;

    let finished = scene.finish(&lease, fail("hopeless")).await;

    assert_eq!(finished, Finished::Applied { to: Status::Failed });
    let expected = RawItem {
        status: Some(scene.word(Status::Failed)),
        retry_after: None,
        error: Some("hopeless".to_owned()),
        resume: Some(scene.ready(0)),
        updated_at: Some(at(1)),
        ..before
    };
    assert_eq!(scene.raw("a").await, expected);
    assert_eq!(scene.failures("a").await, [("fail".to_owned(), "hopeless".to_owned())]);
}

pub async fn release_gives_back_and_counts_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    let lease = worn_lease(&scene, "a").await;
    let before = scene.raw("a").await;

    let finished = scene.finish(&lease, Outcome::Release).await;

    assert_eq!(finished, Finished::Applied { to: Status::Ready(fetch) });
    let expected = RawItem { status: Some(scene.ready(0)), updated_at: Some(at(1)), ..before };
    assert_eq!(scene.raw("a").await, expected);
    assert!(scene.failures("a").await.is_empty());
    assert_eq!(claimed_keys(&scene.claim_at(1, at(1)).await), ["a"]);
}

pub async fn snooze_gives_back_until_a_given_time<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    for (key, outcome, due) in [
        ("until", Outcome::SnoozeUntil(at(90)), at(90)),
        ("for", Outcome::SnoozeFor(Duration::from_millis(90_500)), at(91) + chrono::TimeDelta::milliseconds(500)),
    ] {
        let lease = worn_lease(&scene, key).await;
        let before = scene.raw(key).await;

        let finished = scene.finish(&lease, outcome).await;

        assert_eq!(finished, Finished::Applied { to: Status::Ready(fetch) });
        let expected =
            RawItem { status: Some(scene.ready(0)), retry_after: Some(due), updated_at: Some(at(1)), ..before };
        assert_eq!(scene.raw(key).await, expected);
        assert!(scene.failures(key).await.is_empty());
    }
}

pub async fn delays_and_times_of_any_length_are_taken<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for (key, outcome) in [
        ("retry", Outcome::Retry { error: "broken".to_owned(), delay: Some(Duration::MAX) }),
        ("snooze", Outcome::SnoozeFor(Duration::MAX)),
        ("until", Outcome::SnoozeUntil(DateTime::<Utc>::MAX_UTC)),
    ] {
        let lease = scene.insert_and_lease(key).await;
        let (fetch, _) = fetch_and_parse();
        assert_eq!(scene.finish(&lease, outcome).await, Finished::Applied { to: Status::Ready(fetch) }, "{key}");
        assert!(scene.claim_at(1, at(86_400 * 300)).await.claimed.is_empty(), "{key} came back early");
    }
    // No delay is longer than a year; a given time may be further away.
    let later = at(1) + RETRY_DELAY_MAX;
    assert_eq!(claimed_keys(&scene.claim_at(1, later).await).len(), 1);
}

pub async fn a_time_in_the_past_is_due_at_once<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;

    scene.finish(&lease, Outcome::SnoozeUntil(at(-5))).await;

    assert_eq!(scene.raw("a").await.retry_after, Some(at(-5)));
    assert_eq!(claimed_keys(&scene.claim(1).await), ["a"]);
}

pub async fn every_outcome_needs_the_token<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;

    for outcome in every_outcome() {
        let forged = Lease { token: FencingToken::draw(), ..lease.clone() };
        assert_eq!(scene.finish(&forged, outcome.clone()).await, Finished::LeaseLost, "{outcome:?}");
        assert_eq!(scene.raw("a").await, before, "{outcome:?}");
    }
    assert!(scene.failures("a").await.is_empty());
}

pub async fn every_outcome_needs_the_stage<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;

    for outcome in every_outcome() {
        let other = Lease { stage: parse, ..lease.clone() };
        assert_eq!(scene.finish(&other, outcome.clone()).await, Finished::LeaseLost, "{outcome:?}");
        assert_eq!(scene.raw("a").await, before, "{outcome:?}");
    }
}

pub async fn every_outcome_needs_the_item_to_be_in_progress<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for status in scene.pipeline().statuses().filter(|status| !status.is_in_progress()).collect::<Vec<_>>() {
        let key = scene.word(status);
        let lease = scene.insert_and_lease(&key).await;
        // Even with the token still there, as after the holder's own finish.
        scene.edit(&key, &[(Role::Status, Value::Text(&key))]).await;
        let before = scene.raw(&key).await;
        for outcome in every_outcome() {
            assert_eq!(scene.finish(&lease, outcome.clone()).await, Finished::LeaseLost, "{key} {outcome:?}");
            assert_eq!(scene.raw(&key).await, before, "{key} {outcome:?}");
        }
        scene.delete(&key).await;
    }
}

pub async fn a_second_finish_changes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for (number, outcome) in every_outcome().into_iter().enumerate() {
        let key = format!("{number}");
        let lease = scene.insert_and_lease(&key).await;
        assert!(matches!(scene.finish(&lease, outcome.clone()).await, Finished::Applied { .. }));
        let before = scene.raw(&key).await;
        for second in every_outcome() {
            assert_eq!(scene.finish(&lease, second).await, Finished::LeaseLost, "after {outcome:?}");
            assert_eq!(scene.raw(&key).await, before, "after {outcome:?}");
        }
        scene.delete(&key).await;
    }
}

pub async fn a_row_that_was_deleted_and_inserted_again_knows_no_old_lease<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let old = scene.insert_and_lease("a").await;
    scene.delete("a").await;
    assert_eq!(scene.finish(&old, Outcome::Complete).await, Finished::LeaseLost);
    let new = scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;

    assert_eq!(scene.finish(&old, Outcome::Complete).await, Finished::LeaseLost);
    assert_eq!(scene.raw("a").await, before);
    assert!(matches!(scene.finish(&new, Outcome::Complete).await, Finished::Applied { .. }));
}

pub async fn a_batch_takes_any_mixture_and_answers_in_order<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    let names = ["complete", "lost", "retry", "fail", "gone", "release", "snooze", "spent"];
    scene.insert_all(&names).await;
    scene.edit("spent", &[(Role::RetryCount, Value::Number(4))]).await;
    let batch = scene.claim(99).await;
    scene.set("lost", Status::Cancelled).await;
    scene.delete("gone").await;
    let outcomes = [
        Outcome::Complete,
        Outcome::Complete,
        retry("broken"),
        fail("hopeless"),
        Outcome::Complete,
        Outcome::Release,
        Outcome::SnoozeUntil(at(90)),
        retry("broken again"),
    ];
    let mut items: Vec<Finish> =
        batch.leases().cloned().zip(outcomes).map(|(lease, outcome)| Finish { lease, outcome }).collect();
    // Neither in the order of the keys nor in that of the claim.
    items.reverse();

    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: Some(at(1)) };
    let mut finished = scene.store.finish(&finishing).await.expect("finish");

    finished.reverse();
    let applied = |to| Finished::Applied { to };
    assert_eq!(
        finished,
        [
            applied(Status::Ready(parse)),
            Finished::LeaseLost,
            applied(Status::Ready(fetch)),
            applied(Status::Failed),
            Finished::LeaseLost,
            applied(Status::Ready(fetch)),
            applied(Status::Ready(fetch)),
            applied(Status::Failed),
        ]
    );
    assert_eq!(scene.raw("retry").await.error.as_deref(), Some("broken"));
    assert_eq!(scene.raw("fail").await.error.as_deref(), Some("hopeless"));
    assert_eq!(scene.raw("spent").await.error.as_deref(), Some("Max retries (5) exceeded: broken again"));
    assert_eq!(scene.raw("snooze").await.retry_after, Some(at(90)));
    assert_eq!(scene.raw("lost").await.status, Some(scene.word(Status::Cancelled)));
}

pub async fn a_batch_may_mix_stages_and_tokens<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let first = scene.insert_and_lease("in parse").await;
    scene.finish(&first, Outcome::Complete).await;
    let in_parse = scene.lease("in parse").await;
    let in_fetch = scene.insert_and_lease("in fetch").await;
    let items = [
        Finish { lease: in_fetch.clone(), outcome: Outcome::Complete },
        Finish { lease: in_parse.clone(), outcome: Outcome::Complete },
        Finish { lease: Lease { key: Key::from("in fetch"), ..in_parse }, outcome: Outcome::Complete },
    ];

    // A key appears once in a batch: the third lease goes by itself.
    let (batch, forged) = items.split_at(2);
    let finishing =
        |items: &[Finish]| FinishParams { items: items.to_vec(), limits: limits(scene.pipeline()), now: Some(at(1)) };
    let lost = scene.store.finish(&finishing(forged)).await.expect("finish");
    assert_eq!(lost, [Finished::LeaseLost]);
    let finished = scene.store.finish(&finishing(batch)).await.expect("finish");

    let (_, parse) = fetch_and_parse();
    let expected = [Finished::Applied { to: Status::Ready(parse) }, Finished::Applied { to: Status::Succeeded }];
    assert_eq!(finished, expected);
}

pub async fn finishing_nothing_is_not_an_error<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let finishing = FinishParams { items: Vec::new(), limits: limits(scene.pipeline()), now: None };
    assert_eq!(scene.store.finish(&finishing).await.expect("finish"), []);
}

pub async fn without_a_given_time_the_database_says_when_it_finished<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let before = scene.store.now().await.expect("now");
    let items = vec![Finish { lease, outcome: Outcome::SnoozeFor(Duration::from_secs(60)) }];

    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: None };
    scene.store.finish(&finishing).await.expect("finish");

    let after = scene.store.now().await.expect("now");
    let item = scene.raw("a").await;
    super::scene::assert_between(item.updated_at, before, after);
    let minute = chrono::TimeDelta::seconds(60);
    // A column of milliseconds rounds up.
    let rounded = chrono::TimeDelta::milliseconds(1);
    super::scene::assert_between(item.retry_after, before + minute, after + minute + rounded);
}
