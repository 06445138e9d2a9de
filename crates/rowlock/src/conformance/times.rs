//! Times in the future: of heartbeats, and of when items are due.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Harness;
use super::scene::{STALE_AFTER, Scene, Value, at, fetch_and_parse};
use crate::limits::NEVER_DUE_FROM;
use crate::pipeline::{Role, Status};
use crate::store::{CountParams, LeaseState, ListParams, Outcome, Store, Verdict};

/// A wrong clock wrote it; the item would be in progress until that time has come.
pub async fn a_heartbeat_that_is_far_ahead_is_stale<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for key in ["ahead", "far ahead", "at the end of all time"] {
        scene.insert_and_lease(key).await;
    }
    let stale_after = TimeDelta::from_std(STALE_AFTER).expect("a short time");
    for (key, heartbeat) in
        [("ahead", at(0) + stale_after), ("far ahead", at(1) + stale_after), ("at the end of all time", NEVER_DUE_FROM)]
    {
        scene.edit(key, &[(Role::Heartbeat, Value::Time(heartbeat))]).await;
    }

    let mut swept: Vec<_> =
        scene.sweep(at(0)).await.items.into_iter().map(|item| (item.key.as_str().to_owned(), item.error)).collect();
    swept.sort();

    let keys: Vec<_> = swept.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["at the end of all time", "far ahead"]);
    for (_, error) in &swept {
        assert!(error.ends_with("in the future"), "{error}");
    }
    assert!(scene.sweep(at(0)).await.items.is_empty());
}

pub async fn a_renewal_brings_a_heartbeat_back_that_is_ahead<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.edit("a", &[(Role::Heartbeat, Value::Time(at(86_400)))]).await;

    assert_eq!(scene.renew(&lease, at(10)).await, LeaseState::Held);

    assert_eq!(scene.raw("a").await.heartbeat, Some(at(10)), "its clock was set back, and it lives");
    assert!(scene.sweep(at(20)).await.items.is_empty());
}

pub async fn explain_and_held_say_that_a_heartbeat_is_ahead<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (ahead, far_ahead) = (Duration::from_secs(200), Duration::from_secs(7_200));
    let now = scene.store.now().await.expect("now");
    for (key, by) in [("ahead", ahead), ("far ahead", far_ahead)] {
        scene.insert_and_lease(key).await;
        let time = Value::Time(now + by);
        scene.edit(key, &[(Role::Heartbeat, time), (Role::ClaimedAt, time)]).await;
    }

    for (key, by, expected) in [("ahead", ahead, false), ("far ahead", far_ahead, true)] {
        let facts = scene.store.explain(&key.into(), Some(now)).await.expect("explain").expect("an item");
        let verdict = facts.verdict(scene.pipeline());
        let Verdict::Held { heartbeat_ahead_by, claimed_ahead_by, silent_for, held_for, stale, .. } = &verdict else {
            panic!("{verdict}")
        };
        assert_eq!((silent_for, held_for, *stale), (&None, &None, expected), "{verdict}");
        for ahead_by in [heartbeat_ahead_by, claimed_ahead_by] {
            let off = ahead_by.expect("it is ahead").abs_diff(by);
            assert!(off < Duration::from_millis(2), "{verdict}");
        }
        assert!(verdict.to_string().contains("; its heartbeat lies "), "{verdict}");
    }
    let held = scene.store.held(9).await.expect("held");
    let stale: Vec<_> = held.iter().filter(|item| item.stale).map(|item| item.key.as_str()).collect();
    assert_eq!((held.len(), stale), (2, vec!["far ahead"]));
}

pub async fn what_is_never_due_is_named_by_every_verb_and_claimed_by_none<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.insert_created("due", at(-10)).await;
    scene.insert_created("made never", NEVER_DUE_FROM).await;
    scene.insert("delayed for ever").await;
    let end = DateTime::<Utc>::from_timestamp(253_402_300_799, 999_000_000).expect("the end of the year 9999");
    scene.edit("delayed for ever", &[(Role::RetryAfter, Value::Time(end))]).await;
    scene.insert_created("due later", at(60)).await;

    for unfinished_only in [false, true] {
        let counting = CountParams { unfinished_only, now: Some(at(0)), ..CountParams::default() };
        let counts = scene.store.counts(&counting).await.expect("counts");
        assert_eq!((counts.stages[0].never_due, counts.stages[0].next_due_at), (2, Some(at(60))));
        assert_eq!(counts.stages[1].never_due, 0);
        let limited = CountParams { up_to: 1, ..counting };
        assert_eq!(scene.store.counts(&limited).await.expect("counts").stages[0].never_due, 1);
    }
    for (key, of_its_making) in [("made never", true), ("delayed for ever", false)] {
        let facts = scene.store.explain(&key.into(), Some(at(0))).await.expect("explain").expect("an item");
        let expected =
            Verdict::NeverDue { stage: scene.pipeline().stage(fetch).name().to_owned(), created_later: of_its_making };
        assert_eq!(facts.verdict(scene.pipeline()), expected);
        assert!(scene.store.get(&key.into()).await.expect("get").is_some());
    }
    let listing = ListParams { status: Some(Status::Ready(fetch)), after: None, limit: 9 };
    assert_eq!(scene.store.list(&listing).await.expect("list").items.len(), 4);
    let preview = scene.store.preview(&scene.claiming(9)).await.expect("preview");
    assert_eq!(preview.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["due"]);
    assert_eq!(super::scene::claimed_keys(&scene.claim_at(9, at(70)).await), ["due", "due later"]);

    scene.delete("due later").await;
    let counting = CountParams { unfinished_only: true, now: Some(at(0)), ..CountParams::default() };
    assert_eq!(scene.store.counts(&counting).await.expect("counts").stages[0].next_due_at, None);
}

/// A clock that was never set shows 1970, and in a zone to the east a time before it.
pub async fn a_database_whose_clock_stands_before_1970_works_as_any_other<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let then = |secs: i64| DateTime::<Utc>::UNIX_EPOCH - TimeDelta::hours(5) + TimeDelta::seconds(secs);
    for (key, created_at) in [("first", -20), ("second", -10), ("later", 60)] {
        scene.insert_created(key, then(created_at)).await;
    }
    let claimed = scene.claim_at(9, then(0)).await;
    assert_eq!(super::scene::claimed_keys(&claimed), ["first", "second"]);
    let leases: Vec<_> = claimed.claimed.into_iter().map(|row| row.lease).collect();
    assert_eq!(scene.raw("first").await.heartbeat, Some(then(0)));

    assert_eq!(scene.renew(&leases[0], then(200)).await, LeaseState::Held);
    let delay = Duration::from_secs(90);
    let retried = Outcome::Retry { error: "once more".to_owned(), delay: Some(delay) };
    scene.finish_at(&leases[1], retried, then(200)).await;
    assert_eq!(scene.raw("second").await.retry_after, Some(then(200) + delay));
    let counting = CountParams { now: Some(then(201)), ..CountParams::default() };
    let counts = scene.store.counts(&counting).await.expect("counts");
    assert_eq!((counts.stages[0].never_due, counts.stages[0].oldest_ready_since), (0, Some(then(60))));
    assert_eq!(counts.stages[0].next_due_at, Some(then(290)));

    assert!(scene.sweep(then(499)).await.items.is_empty(), "it was renewed at 200");
    let swept: Vec<_> = scene.sweep(then(501)).await.items.into_iter().map(|item| item.key).collect();
    assert_eq!(swept, ["first".into()]);
    assert_eq!(super::scene::claimed_keys(&scene.claim_at(9, then(502)).await).len(), 3);
}
