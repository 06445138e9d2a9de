//! The stored text of an error, and the failures that are kept for an item.

use super::Harness;
use super::scene::{Scene, Value, at, fail, keys, retry};
use crate::limits::{ERROR_MESSAGE_BYTES_MAX, FAILURES_KEPT_MAX};
use crate::pipeline::{Role, Status};
use crate::store::{Finish, FinishParams, Finished, Limits, Outcome, SetParams, Store};
use crate::{Key, Lease};

/// The least that is kept of a long error: a store may reserve some room for a prefix.
const KEPT_BYTES_MIN: usize = 4_000;

/// An error that is too long, with a character across the limit.
fn long_error() -> String {
    format!("x{}", "é".repeat(ERROR_MESSAGE_BYTES_MAX))
}

/// Asserts that an error was cut at a character boundary, and no earlier than it must be.
#[track_caller]
fn assert_cut(stored: Option<&str>, beginning: &str) {
    let stored = stored.expect("an error");
    assert!(stored.starts_with(beginning), "it begins with {:?}", stored.chars().take(40).collect::<String>());
    assert!(stored.len() <= ERROR_MESSAGE_BYTES_MAX, "{} bytes", stored.len());
    assert!(stored.len() > KEPT_BYTES_MIN, "only {} bytes were kept", stored.len());
    assert!(!stored.contains('\u{fffd}'), "a character was cut in two");
}

pub async fn an_error_is_cut_at_a_characters_boundary<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let outcomes = [("retry", retry(&long_error())), ("fail", fail(&long_error()))];
    for (key, outcome) in outcomes {
        let lease = scene.insert_and_lease(key).await;
        assert!(matches!(scene.finish(&lease, outcome).await, Finished::Applied { .. }));
        assert_cut(scene.raw(key).await.error.as_deref(), "xééé");
        assert_cut(scene.failures(key).await.first().map(|(_, error)| error.as_str()), "xééé");
    }
    scene.insert("set").await;
    let setting = SetParams { keys: keys(&["set"]), to: Status::Failed, error: Some(long_error()), now: Some(at(2)) };
    scene.store.set(&setting).await.expect("set");
    assert_cut(scene.raw("set").await.error.as_deref(), "xééé");
}

pub async fn an_error_that_grows_by_its_limit_is_cut_too<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let spent = scene.insert_and_lease("spent").await;
    scene.edit("spent", &[(Role::RetryCount, Value::Number(4))]).await;
    scene.finish(&spent, retry(&long_error())).await;
    assert_cut(scene.raw("spent").await.error.as_deref(), "Max retries (5) exceeded: xééé");

    scene.insert("exhausted").await;
    let stored: String = long_error().chars().take(ERROR_MESSAGE_BYTES_MAX / 2).collect();
    scene.edit("exhausted", &[(Role::RetryCount, Value::Number(5)), (Role::ErrorMessage, Value::Text(&stored))]).await;
    scene.claim(1).await;
    let error = scene.raw("exhausted").await.error.expect("an error");
    assert!(error.starts_with("Max retries (5) exceeded: xééé"));
    assert!(error.len() <= ERROR_MESSAGE_BYTES_MAX, "{} bytes", error.len());
}

pub async fn an_error_that_is_not_too_long_is_kept_whole<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let error = "e".repeat(KEPT_BYTES_MIN);
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, fail(&error)).await;
    assert_eq!(scene.raw("a").await.error, Some(error));
}

pub async fn an_odd_error_is_kept_and_harms_no_neighbour<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let odd = ["", "it's \"odd\"\n\t\\ {}; drop table pages; --", "🦀 ünïcode", "$1 ?1 :now %s"];
    for (number, error) in odd.into_iter().enumerate() {
        let key = format!("{number}");
        let lease = scene.insert_and_lease(&key).await;
        assert!(matches!(scene.finish(&lease, fail(error)).await, Finished::Applied { .. }));
        assert_eq!(scene.raw(&key).await.error.as_deref(), Some(error));
    }
}

pub async fn an_error_with_a_nul_does_not_keep_the_item_from_moving<H: Harness>(harness: &H) {
    // PostgreSQL's text cannot hold a NUL: a handler that quotes a broken file must not lose its batch because of it.
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;

    let finished = scene.finish(&lease, fail("before\0after")).await;

    assert_eq!(finished, Finished::Applied { to: Status::Failed });
    let error = scene.raw("a").await.error.expect("an error");
    assert!(error.starts_with("before") && error.ends_with("after") && !error.contains('\0'), "{error:?}");
}

pub async fn moves_without_an_error_keep_the_last_one<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    // The first of two stages is completed.
    for (number, outcome) in [Outcome::Complete, Outcome::Release, Outcome::SnoozeUntil(at(9))].into_iter().enumerate()
    {
        let key = format!("{number}");
        let lease = scene.insert_and_lease(&key).await;
        scene.edit(&key, &[(Role::ErrorMessage, Value::Text("of before"))]).await;
        scene.finish(&lease, outcome).await;
        assert_eq!(scene.raw(&key).await.error.as_deref(), Some("of before"));
        scene.delete(&key).await;
    }
}

/// Items in the last stage, each with the error of an earlier attempt.
async fn tried_before<H: Harness>(scene: &Scene<'_, H>, many: usize) -> Vec<Lease> {
    let names: Vec<String> = (0..many).map(|number| format!("{number:03}")).collect();
    scene.insert_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in &names {
        scene
            .edit(
                name,
                &[(Role::Status, Value::Text("FETCH_COMPLETE")), (Role::ErrorMessage, Value::Text("of before"))],
            )
            .await;
    }
    scene.claim(1000).await.leases().cloned().collect()
}

/// Completes them with one statement, and asserts that each was applied.
async fn complete_all<H: Harness>(scene: &Scene<'_, H>, leases: &[Lease]) {
    let items = leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete }).collect();
    let finished = scene.store.finish(&FinishParams { items, limits: LIMITS, now: Some(at(1)) }).await.expect("finish");
    assert!(finished.iter().all(|finished| matches!(finished, Finished::Applied { .. })), "{finished:?}");
}

const LIMITS: Limits = Limits { max_retries: 5, max_resets: 3 };

/// A reader of the column would take an error for a failure.
pub async fn after_success_no_error_stays_in_the_row<H: Harness>(harness: &H) {
    // One item, a few, and enough to be found by their token.
    for many in [1, 5, 100] {
        let scene = Scene::new(harness).await;
        let leases = tried_before(&scene, many).await;
        complete_all(&scene, &leases).await;
        for item in scene.raw_all().await {
            assert_eq!((item.status.as_deref(), item.error), (Some("SUCCEEDED"), None));
        }
        scene.execute("drop table pages").await;
    }
    // Beside others that do not succeed, in the user's transaction, and by an operator.
    let scene = Scene::new(harness).await;
    let leases = tried_before(&scene, 4).await;
    let items = vec![
        Finish { lease: leases[0].clone(), outcome: Outcome::Complete },
        Finish { lease: leases[1].clone(), outcome: fail("hopeless") },
    ];
    scene.store.finish(&FinishParams { items, limits: LIMITS, now: Some(at(1)) }).await.expect("finish");
    let transaction = scene.store.begin().await.expect("begin");
    let own = Finish { lease: leases[2].clone(), outcome: Outcome::Complete };
    scene.store.finish_in(transaction, &own, LIMITS).await.expect("finish_in");
    let setting = SetParams { keys: keys(&["003"]), to: Status::Succeeded, error: None, now: Some(at(2)) };
    scene.store.set(&setting).await.expect("set");
    for (key, error) in [("000", None), ("001", Some("hopeless")), ("002", None), ("003", None)] {
        assert_eq!(scene.raw(key).await.error.as_deref(), error, "{key}");
    }
}

pub async fn an_error_stays_after_success_where_it_is_asked_for<H: Harness>(harness: &H) {
    for many in [1, 100] {
        let scene = Scene::with(harness, super::scene::two_stages().keep_error_after_success()).await;
        let leases = tried_before(&scene, many).await;
        complete_all(&scene, &leases).await;
        for item in scene.raw_all().await {
            assert_eq!((item.status.as_deref(), item.error.as_deref()), (Some("SUCCEEDED"), Some("of before")));
        }
        scene.execute("drop table pages").await;
    }
}

pub async fn an_error_column_that_takes_no_null_is_cleared_to_nothing<H: Harness>(harness: &H) {
    let create = "create table pages (page text primary key, status text default 'PENDING', \
                  error_message text not null default '')";
    for many in [1, 100] {
        harness.execute(create).await.expect("create table");
        let scene = Scene::new(harness).await;
        let leases = tried_before(&scene, many).await;
        complete_all(&scene, &leases).await;
        for item in scene.raw_all().await {
            assert_eq!((item.status.as_deref(), item.error.as_deref()), (Some("SUCCEEDED"), Some("")));
        }
        scene.execute("drop table pages").await;
    }
}

pub async fn the_failures_of_an_item_are_kept_latest_first<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish_at(&lease, retry("first"), at(10)).await;
    let lease = scene.lease_at("a", at(1000)).await;
    scene.finish_at(&lease, Outcome::Complete, at(1001)).await;
    let lease = scene.lease_at("a", at(2000)).await;
    scene.finish_at(&lease, fail("second"), at(2001)).await;

    let failures = scene.store.failures(&Key::from("a")).await.expect("failures");

    assert_eq!(failures.len(), 2, "success writes nothing");
    let second = &failures[0];
    assert_eq!((second.cause.as_str(), second.error.as_str()), ("fail", "second"));
    assert_eq!((second.at, second.word.as_str()), (at(2001), "PARSE_IN_PROGRESS"));
    assert_eq!(second.holder.as_deref(), Some("worker-a"));
    let first = &failures[1];
    assert_eq!((first.cause.as_str(), first.error.as_str()), ("retry", "first"));
    assert_eq!((first.at, first.word.as_str()), (at(10), "FETCH_IN_PROGRESS"));
}

pub async fn only_the_last_failures_of_an_item_are_kept<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, super::scene::two_stages().max_retries(1000)).await;
    let other = scene.insert_and_lease("other").await;
    scene.finish(&other, fail("of another item")).await;
    scene.insert("a").await;
    let attempts = FAILURES_KEPT_MAX + 5;
    for attempt in 0..attempts {
        let now = at(i64::try_from(attempt).expect("few") * 100_000);
        let lease: Lease = scene.lease_at("a", now).await;
        scene.finish_at(&lease, retry(&format!("failure {attempt}")), now).await;
    }

    let failures = scene.failures("a").await;

    assert_eq!(failures.len(), FAILURES_KEPT_MAX);
    assert_eq!(failures[0].1, format!("failure {}", attempts - 1));
    assert_eq!(failures[FAILURES_KEPT_MAX - 1].1, "failure 5");
    assert_eq!(scene.failures("other").await.len(), 1);
    let rows = harness.rows("select cast(count(*) as text) from rowlock_failures").await.expect("count");
    assert_eq!(rows[0][0].as_deref(), Some("21"), "older ones are pruned, not only left out");
}

pub async fn an_item_without_failures_has_none<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, Outcome::Complete).await;
    assert!(scene.failures("a").await.is_empty());
    assert!(scene.failures("no such item").await.is_empty());
}
