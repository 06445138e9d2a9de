//! How long a failed item waits.

use std::time::Duration;

use super::Harness;
use super::scene::{Scene, Value, at, fail, fetch_and_parse, limits, retry, two_stages};
use crate::pipeline::{RetryPolicy, Role, Stage, Status};
use crate::store::{Finish, FinishParams, Finished, Limits, Outcome, Store};
use crate::{Key, Lease};

/// The delays, in seconds, of this many items that fail for the n-th time at once.
async fn delays_of<H: Harness>(scene: &Scene<'_, H>, items: usize, failure: i64, outcome: &Outcome) -> Vec<f64> {
    let many: Vec<Key> = (0..items).map(|number| Key::from(format!("{failure}-{number}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");
    let batch = scene.claim(1000).await;
    assert_eq!(batch.claimed.len(), items);
    scene.edit_all(&[(Role::RetryCount, Value::Number(failure - 1))]).await;
    let items = batch.leases().map(|lease| Finish { lease: lease.clone(), outcome: outcome.clone() }).collect();
    let finishing = FinishParams { items, limits: Limits { max_retries: u32::MAX, max_resets: 3 }, now: Some(at(0)) };
    let finished = scene.store.finish(&finishing).await.expect("finish");
    assert!(finished.iter().all(|one| matches!(one, Finished::Applied { to: Status::Ready(_) })), "{finished:?}");
    let delays = scene
        .raw_all()
        .await
        .into_iter()
        .filter(|item| many.iter().any(|key| key.as_str() == item.key))
        .map(|item| (item.retry_after.expect("a due time") - at(0)).as_seconds_f64())
        .collect();
    scene.execute(&format!("delete from {}", scene.table())).await;
    delays
}

pub async fn jitter_is_uniform_on_both_sides_of_the_delay<H: Harness>(harness: &H) {
    const ITEMS: usize = 800;
    const DELAY: f64 = 1000.0;
    let policy = RetryPolicy::constant(Duration::from_secs(1000));
    let scene = Scene::with(harness, two_stages().retry(policy)).await;

    let mut delays = delays_of(&scene, ITEMS, 1, &retry("broken")).await;

    delays.sort_by(f64::total_cmp);
    assert!(delays[0] >= DELAY * 0.75 - 0.001, "the shortest is {}", delays[0]);
    assert!(delays[ITEMS - 1] <= DELAY * 1.25 + 0.001, "the longest is {}", delays[ITEMS - 1]);
    // The standard error of the mean is 14.4 % / √800 = 0.5 % of the delay; each bound here is five of its standard
    // errors away, so that a correct store fails once in some million runs.
    let mean = delays.iter().sum::<f64>() / 800.0;
    assert!((mean / DELAY - 1.0).abs() < 0.026, "the mean is {mean}");
    for (quarter, (from, to)) in [(0.75, 0.875), (0.875, 1.0), (1.0, 1.125), (1.125, 1.25)].into_iter().enumerate() {
        let share = delays.iter().filter(|delay| (DELAY * from..DELAY * to).contains(*delay)).count();
        assert!((139..=261).contains(&share), "{share} of {ITEMS} delays are in quarter {quarter} of the range");
    }
}

pub async fn delays_double_up_to_the_cap<H: Harness>(harness: &H) {
    let policy = RetryPolicy::exponential(Duration::from_secs(10), Duration::from_secs(3600)).with_jitter(0.0);
    let scene = Scene::with(harness, two_stages().retry(policy)).await;
    // base · 2^n, where n is the count after the failure.
    for (failure, expected) in [(1, 20.0), (2, 40.0), (3, 80.0), (8, 2560.0), (9, 3600.0), (30, 3600.0)] {
        assert_eq!(delays_of(&scene, 2, failure, &retry("broken")).await, [expected; 2], "failure {failure}");
    }
}

pub async fn the_default_delays_are_a_minute_doubled_within_a_quarter<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for (failure, delay) in [(1, 120.0), (2, 240.0), (5, 1920.0), (6, 3600.0), (7, 3600.0)] {
        for found in delays_of(&scene, 20, failure, &retry("broken")).await {
            assert!((delay * 0.749..=delay * 1.251).contains(&found), "failure {failure}: {found}");
        }
    }
}

pub async fn a_delay_is_never_below_the_floor<H: Harness>(harness: &H) {
    let policy = RetryPolicy::constant(Duration::from_secs(100)).with_floor(Duration::from_secs(100));
    let scene = Scene::with(harness, two_stages().retry(policy)).await;

    let delays = delays_of(&scene, 200, 1, &retry("broken")).await;

    assert!(delays.iter().all(|delay| (100.0..=125.001).contains(delay)), "{delays:?}");
    let at_the_floor = delays.iter().filter(|delay| **delay == 100.0).count();
    assert!((60..=140).contains(&at_the_floor), "the floor comes after the jitter: {at_the_floor} of 200 are on it");
}

pub async fn a_delay_saturates_at_any_count<H: Harness>(harness: &H) {
    let policy = RetryPolicy::exponential(Duration::from_secs(60), Duration::from_secs(3600)).with_jitter(0.0);
    let scene = Scene::with(harness, two_stages().retry(policy)).await;
    for failure in [31, 32, 33, 63, 64, 65, 66, 1000, i64::from(i32::MAX) - 1] {
        assert_eq!(delays_of(&scene, 1, failure, &retry("broken")).await, [3600.0], "failure {failure}");
    }
}

pub async fn a_count_that_cannot_grow_harms_only_its_own_item<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["full", "b"]).await;
    let batch = scene.claim(2).await;
    scene.edit("full", &[(Role::RetryCount, Value::Number(i64::from(i32::MAX)))]).await;
    let items = batch.leases().map(|lease| Finish { lease: lease.clone(), outcome: retry("broken") }).collect();

    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: Some(at(1)) };
    let finished = scene.store.finish(&finishing).await.expect("finish");

    let (fetch, _) = fetch_and_parse();
    assert_eq!(finished[1], Finished::Applied { to: Status::Ready(fetch) });
    assert_eq!(scene.raw("full").await.status, Some(scene.word(Status::Failed)), "{:?}", finished[0]);
}

pub async fn a_negative_count_harms_only_its_own_item<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["edited", "b"]).await;
    scene.edit("edited", &[(Role::RetryCount, Value::Number(-7))]).await;
    let batch = scene.claim(2).await;
    assert_eq!(batch.claimed.len(), 2);
    let items = batch.leases().map(|lease| Finish { lease: lease.clone(), outcome: retry("broken") }).collect();

    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: Some(at(1)) };
    scene.store.finish(&finishing).await.expect("finish");

    // It waits for some delay of the policy, and not for ever.
    let edited = scene.raw("edited").await;
    assert_eq!(edited.status, Some(scene.ready(0)));
    super::scene::assert_between(edited.retry_after, at(1 + 60), at(1 + 4500));
    assert_eq!(scene.raw("b").await.status, Some(scene.ready(0)));
}

pub async fn a_listed_policy_repeats_its_last_delay<H: Harness>(harness: &H) {
    let delays = [5, 50, 500].map(Duration::from_secs);
    let policy = RetryPolicy::listed(delays).with_jitter(0.0);
    let scene = Scene::with(harness, two_stages().retry(policy)).await;
    for (failure, expected) in [(1, 5.0), (2, 50.0), (3, 500.0), (4, 500.0), (200, 500.0)] {
        assert_eq!(delays_of(&scene, 1, failure, &retry("broken")).await, [expected], "failure {failure}");
    }
}

pub async fn a_stage_may_have_a_policy_of_its_own<H: Harness>(harness: &H) {
    let constant = |secs| RetryPolicy::constant(Duration::from_secs(secs)).with_jitter(0.0);
    let pipeline = crate::Pipeline::builder("pages")
        .table("pages")
        .key("page")
        .stage("FETCH")
        .add_stage(Stage::new("PARSE").with_retry(constant(7)))
        .retry(constant(70));
    let scene = Scene::with(harness, pipeline).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, Outcome::Complete).await;
    let in_parse = scene.lease_at("a", at(1)).await;
    let in_fetch = scene.insert_and_lease("b").await;
    let item = |lease: &Lease| Finish { lease: lease.clone(), outcome: retry("broken") };
    let items = vec![item(&in_fetch), item(&in_parse)];

    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: Some(at(10)) };
    scene.store.finish(&finishing).await.expect("finish");

    assert_eq!(scene.raw("a").await.retry_after, Some(at(17)));
    assert_eq!(scene.raw("b").await.retry_after, Some(at(80)));
}

pub async fn a_delay_of_the_handlers_own_is_used_as_it_is<H: Harness>(harness: &H) {
    let policy = RetryPolicy::constant(Duration::from_secs(100)).with_floor(Duration::from_secs(100));
    let scene = Scene::with(harness, two_stages().retry(policy)).await;
    for millis in [0, 1, 2500, 7_200_000] {
        let own = Outcome::Retry { error: "busy".to_owned(), delay: Some(Duration::from_millis(millis)) };
        let expected = Duration::from_millis(millis).as_secs_f64();
        assert_eq!(delays_of(&scene, 3, 2, &own).await, [expected; 3]);
    }
}

pub async fn a_delay_of_the_handlers_own_counts_like_any_other<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().max_retries(2)).await;
    let own = || Outcome::Retry { error: "busy".to_owned(), delay: Some(Duration::ZERO) };
    let lease = scene.insert_and_lease("a").await;
    scene.finish_at(&lease, own(), at(0)).await;
    let lease = scene.lease_at("a", at(0)).await;
    assert_eq!(scene.finish_at(&lease, own(), at(0)).await, Finished::Applied { to: Status::Failed });
    assert_eq!(scene.raw("a").await.retry_count, Some(2));
}

pub async fn a_permanent_failure_has_no_due_time<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, fail("hopeless")).await;
    assert_eq!(scene.raw("a").await.retry_after, None);
    assert!(scene.claim_at(9, at(1_000_000)).await.claimed.is_empty());
}
