//! Counts, lists, single items, explanations: verbs that read and never write.

use super::Harness;
use super::scene::{Scene, Value, at, claimed_keys, fetch_and_parse, keys, limits, retry};
use crate::limits::{COUNT_EXACT_MAX, PAGE_ITEMS_MAX};
use crate::pipeline::{Role, Status};
use crate::store::{ClaimParams, CountParams, ItemRow, ListParams, Store};
use crate::{Holder, Key};

fn item_keys<Row>(items: &[ItemRow<Row>]) -> Vec<&str> {
    items.iter().map(|item| item.key.as_str()).collect()
}

pub async fn a_preview_equals_the_claim_that_follows_and_writes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.insert_all(&["a", "b", "c", "d", "e", "f"]).await;
    scene.edit("b", &[(Role::RetryAfter, Value::Time(at(60)))]).await;
    scene.edit("c", &[(Role::RetryAfter, Value::Time(at(-900_000)))]).await;
    scene.edit("d", &[(Role::ResetCount, Value::Number(2))]).await;
    scene.put("g", Status::Ready(parse)).await;
    for limit in [0, 1, 3, 9, 9] {
        let claiming = ClaimParams { except: keys(&["f"]), ..scene.claiming(limit) };
        let before = scene.raw_all().await;

        let preview = scene.store.preview(&claiming).await.expect("preview");
        assert_eq!(scene.raw_all().await, before);
        let batch = scene.store.claim(&claiming).await.expect("claim");

        assert_eq!(item_keys(&preview), claimed_keys(&batch), "limit {limit}");
        assert!(preview.iter().all(|item| item.status.is_some_and(Status::is_ready)), "as it is before the claim");
    }
}

pub async fn a_preview_leaves_exhausted_items_as_they_are<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["exhausted", "b"]).await;
    scene.edit("exhausted", &[(Role::RetryCount, Value::Number(5))]).await;
    let before = scene.raw_all().await;

    let preview = scene.store.preview(&scene.claiming(9)).await.expect("preview");

    assert_eq!(item_keys(&preview), ["b"]);
    assert_eq!(scene.raw_all().await, before);
}

pub async fn get_returns_the_item_as_it_is<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;

    let item = scene.store.get(&Key::from("a")).await.expect("get").expect("an item");

    assert_eq!(item.key.as_str(), "a");
    assert_eq!(item.status, Some(Status::InProgress(fetch)));
    assert_eq!(item.word, "FETCH_IN_PROGRESS");
    assert_eq!(item.token, Some(lease.token.as_i64()));
    assert_eq!(harness.text(&item.row, "claimed_by").as_deref(), Some("worker-a"));
    assert!(scene.store.get(&Key::from("no such item")).await.expect("get").is_none());
}

pub async fn a_list_is_paged_in_the_order_of_the_keys<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["e", "b", "d", "a", "c"]).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let listing = ListParams { status: None, after, limit: 2 };
        let page = scene.store.list(&listing).await.expect("list");
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|item| item.key.as_str().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

pub async fn a_full_last_page_is_known_to_be_the_last<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let page = scene.store.list(&ListParams::new(2)).await.expect("list");
    assert_eq!(item_keys(&page.items), ["a", "b"]);
    assert_eq!(page.next, None);
}

pub async fn a_list_may_ask_for_one_state<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let statuses: Vec<Status> = scene.pipeline().statuses().collect();
    for (number, status) in statuses.iter().enumerate() {
        scene.put(&format!("{number}"), *status).await;
    }
    for (number, status) in statuses.iter().enumerate() {
        let listing = ListParams { status: Some(*status), after: None, limit: 10 };
        let page = scene.store.list(&listing).await.expect("list");
        assert_eq!(item_keys(&page.items), [format!("{number}")]);
        assert_eq!(page.items[0].status, Some(*status));
        assert_eq!(page.next, None);
    }
}

pub async fn a_page_has_a_limit<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..=PAGE_ITEMS_MAX).map(|n| Key::from(n.to_string())).collect();
    scene.store.add_many(&many).await.expect("add_many");

    let list = async |limit| scene.store.list(&ListParams::new(limit)).await;

    let page = list(usize::MAX).await.expect("list");
    assert_eq!(page.items.len(), PAGE_ITEMS_MAX);
    assert!(page.next.is_some());
}

pub async fn counts_name_every_status_in_order<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let statuses: Vec<Status> = scene.pipeline().statuses().collect();
    for (number, status) in statuses.iter().enumerate() {
        for copy in 0..number {
            scene.put(&format!("{number}-{copy}"), *status).await;
        }
    }

    let counts = scene.store.counts(&CountParams { now: Some(at(0)), ..CountParams::default() }).await.expect("counts");

    let found: Vec<_> = counts.statuses.iter().map(|entry| (entry.status, entry.count, entry.at_least)).collect();
    let expected: Vec<_> = statuses.iter().zip(0..).map(|(status, count)| (Some(*status), count, false)).collect();
    assert_eq!(found, expected);
    assert_eq!(counts.unfinished(), 1 + 2 + 3);
    assert_eq!(counts.unknown_words().count(), 0);
}

pub async fn counts_are_exact_up_to_a_limit_and_at_least_beyond<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    let counting = |up_to| CountParams { up_to, now: Some(at(0)), ..CountParams::default() };
    let most = i64::try_from(COUNT_EXACT_MAX).expect("a small number");
    let many: Vec<Key> = (0..most).map(Key::from).collect();
    for some in many.chunks(1000) {
        scene.store.add_many(some).await.expect("add_many");
    }
    let counts = scene.store.counts(&counting(COUNT_EXACT_MAX)).await.expect("counts");
    assert_eq!(counts.count(Status::Ready(fetch)), most);
    assert!(!counts.statuses[0].at_least, "it is exact up to the limit itself");

    scene.store.add_many(&keys(&["one", "two", "three"])).await.expect("add_many");
    let counts = scene.store.counts(&counting(COUNT_EXACT_MAX)).await.expect("counts");
    assert_eq!(counts.count(Status::Ready(fetch)), most);
    assert!(counts.statuses[0].at_least);
    let counts = scene.store.counts(&counting(usize::MAX)).await.expect("counts");
    assert_eq!(counts.count(Status::Ready(fetch)), most + 3);
    assert!(!counts.statuses[0].at_least);
}

pub async fn counts_say_what_is_ready_since_when_and_when_the_next_is_due<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.insert_created("oldest", at(-50)).await;
    scene.insert_created("younger", at(-40)).await;
    scene.insert_created("due next", at(-900)).await;
    scene.edit("due next", &[(Role::RetryAfter, Value::Time(at(30)))]).await;
    scene.insert_created("tomorrow's", at(86_400)).await;
    for (key, heartbeat) in [("held", Value::Time(at(-7))), ("held, fresher", Value::Time(at(-3)))] {
        scene.put(key, Status::InProgress(parse)).await;
        scene.edit(key, &[(Role::Heartbeat, heartbeat)]).await;
    }

    let counts = scene.store.counts(&CountParams { now: Some(at(0)), ..CountParams::default() }).await.expect("counts");

    assert_eq!(counts.at, at(0));
    let [to_fetch, to_parse] = &counts.stages[..] else { panic!("one entry for each stage") };
    assert_eq!(to_fetch.oldest_ready_since, Some(at(-50)));
    assert_eq!(to_fetch.next_due_at, Some(at(30)));
    assert_eq!(to_fetch.oldest_heartbeat_at, None);
    assert_eq!(to_parse.oldest_ready_since, None);
    assert_eq!(to_parse.next_due_at, None);
    assert_eq!(to_parse.oldest_heartbeat_at, Some(at(-7)));
}

pub async fn counts_of_what_is_unfinished_leave_out_what_has_ended<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let statuses: Vec<Status> = scene.pipeline().statuses().collect();
    for (number, status) in statuses.iter().enumerate() {
        for copy in 0..=number {
            scene.put(&format!("{number}-{copy}"), *status).await;
        }
    }
    let counting = |up_to| CountParams { up_to, unfinished_only: true, now: Some(at(0)) };

    let counts = scene.store.counts(&counting(COUNT_EXACT_MAX)).await.expect("counts");
    let capped = scene.store.counts(&counting(2)).await.expect("counts");

    for (status, number) in statuses.into_iter().zip(1..) {
        let is_unfinished = status.is_ready() || status.is_in_progress();
        assert_eq!(counts.count(status), if is_unfinished { number } else { 0 }, "{status:?}");
        let entry =
            capped.statuses.iter().find(|entry| entry.status == Some(status)).expect("each status has an entry");
        assert_eq!((entry.count, entry.at_least), if is_unfinished { (number.min(2), number > 2) } else { (0, false) });
    }
}

/// A waiting worker must learn of items that become due, because nothing else would wake it.
pub async fn counts_of_what_is_unfinished_say_what_there_is_to_wait_for<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let counting = CountParams { unfinished_only: true, now: Some(at(0)), ..CountParams::default() };
    let counts = async || scene.store.counts(&counting).await.expect("counts").stages;

    scene.insert_created("due", at(-10)).await;
    let stages = counts().await;
    assert_eq!((stages[0].oldest_ready_since, stages[0].next_due_at), (Some(at(-10)), None));

    scene.insert_created("due next", at(30)).await;
    let stages = counts().await;
    assert!([None, Some(at(-10))].contains(&stages[0].oldest_ready_since), "it need not be told");
    assert_eq!((stages[0].next_due_at, stages[0].oldest_heartbeat_at), (Some(at(30)), None));

    scene.put("held", Status::InProgress(parse)).await;
    scene.edit("held", &[(Role::Heartbeat, Value::Time(at(-7)))]).await;
    scene.store.pause(parse).await.expect("pause");
    let stages = counts().await;
    assert_eq!((stages[1].oldest_heartbeat_at, stages[1].paused, stages[0].paused), (Some(at(-7)), true, false));
}

pub async fn explain_gives_every_fact_that_decides<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    let explain = async |now| scene.store.explain(&Key::from("a"), Some(now)).await.expect("explain").expect("an item");

    let held = explain(at(5)).await;
    assert_eq!((held.at, held.status), (at(5), Some(Status::InProgress(fetch))));
    assert_eq!(held.holder.as_deref(), Some("worker-a"));
    assert_eq!((held.claimed_at, held.heartbeat_at), (Some(at(0)), Some(at(0))));
    assert_eq!(held.limits, limits(scene.pipeline()));
    assert_eq!(held.stale_after, scene.pipeline().stale_after());
    assert!(!held.paused && !held.locked && !held.excluded);

    scene.finish(&lease, retry("broken")).await;
    let waiting = explain(at(5)).await;
    assert_eq!((waiting.status, waiting.word.as_str()), (Some(Status::Ready(fetch)), "PENDING"));
    assert_eq!((waiting.retry_count, waiting.reset_count), (1, 0));
    assert!(waiting.retry_after > Some(at(5)));
    assert_eq!(waiting.error.as_deref(), Some("broken"));
    assert_eq!(waiting.created_at, Some(at(-1000)));

    scene.cancel("a").await;
    let stopped = explain(at(5)).await;
    assert_eq!((stopped.status, stopped.resume), (Some(Status::Cancelled), Some(Status::Ready(fetch))));
    assert!(scene.store.explain(&Key::from("no such item"), None).await.expect("explain").is_none());
}

pub async fn held_says_who_holds_what_since_when<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.insert_all(&["a", "b", "c"]).await;
    let lease = scene.lease("a").await;
    let claiming = ClaimParams { holder: Holder::named("worker-b"), now: Some(at(10)), ..scene.claiming(1) };
    scene.store.claim(&claiming).await.expect("claim");
    scene.renew(&lease, at(20)).await;

    let mut held = scene.store.held(10).await.expect("held");

    held.sort_by(|a, b| a.key.cmp(&b.key));
    let found: Vec<_> = held.iter().map(|item| (item.key.as_str(), item.holder.as_deref(), item.claimed_at)).collect();
    assert_eq!(found, [("a", Some("worker-a"), Some(at(0))), ("b", Some("worker-b"), Some(at(10)))]);
    assert!(held.iter().all(|item| item.stage == fetch));
    assert_eq!(held[0].heartbeat_at, Some(at(20)));
    assert_eq!(scene.store.held(1).await.expect("held").len(), 1);
}

pub async fn what_is_held_is_limited_as_a_page_is<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..=PAGE_ITEMS_MAX).map(|n| Key::from(n.to_string())).collect();
    scene.store.add_many(&many).await.expect("add_many");
    for _ in 0..2 {
        scene.claim(usize::MAX).await;
    }

    let held = scene.store.held(usize::MAX).await.expect("held");

    assert_eq!(held.len(), PAGE_ITEMS_MAX);
    assert!(scene.store.held(0).await.expect("held").is_empty());
}

pub async fn reading_writes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let lease = scene.lease("a").await;
    let before = scene.raw_all().await;

    for (verb, result) in scene.try_every_read(&scene.store, &lease).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
        assert_eq!(scene.raw_all().await, before, "{verb}");
    }
}

pub async fn the_database_has_a_clock<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let first = scene.store.now().await.expect("now");
    let second = scene.store.now().await.expect("now");
    assert!(first <= second && second - first < chrono::TimeDelta::minutes(1), "{first} {second}");
}
