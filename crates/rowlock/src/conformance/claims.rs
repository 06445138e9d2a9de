//! What a claim takes, in which order, and what it writes.

use std::collections::HashSet;

use super::Harness;
use super::scene::{RawItem, Scene, Value, at, claimed_keys, fetch_and_parse, keys};
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{Role, Status};
use crate::store::{ClaimParams, Outcome, Store};
use crate::{FencingToken, Holder, Key};

pub async fn a_claim_stamps_token_holder_heartbeat_and_claim_time<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    scene
        .edit(
            "a",
            &[
                (Role::RetryCount, Value::Number(2)),
                (Role::ResetCount, Value::Number(1)),
                (Role::RetryAfter, Value::Time(at(-5))),
                (Role::ErrorMessage, Value::Text("of before")),
            ],
        )
        .await;
    let before = scene.raw("a").await;
    let claiming = scene.claiming(1);

    let batch = scene.store.claim(&claiming).await.expect("claim");

    let (fetch, _) = fetch_and_parse();
    let item = &batch.claimed[0];
    assert_eq!(item.lease.key, Key::from("a"));
    assert_eq!(item.lease.token, claiming.token);
    assert_eq!(item.lease.stage, fetch);
    assert_eq!((item.retry_count, item.reset_count, item.suspect), (2, 1, false));
    let expected = RawItem {
        status: Some("FETCH_IN_PROGRESS".to_owned()),
        token: Some(claiming.token.as_i64()),
        holder: Some("worker-a".to_owned()),
        heartbeat: Some(at(0)),
        claimed_at: Some(at(0)),
        updated_at: Some(at(0)),
        ..before
    };
    assert_eq!(scene.raw("a").await, expected);
}

pub async fn a_claim_returns_the_whole_row_as_it_is_after_the_claim<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.execute("alter table pages add column url text").await;
    scene.insert("a").await;
    scene.execute("update pages set url = 'https://example.org/'").await;

    let batch = scene.claim(1).await;

    let row = &batch.claimed[0].row;
    assert_eq!(harness.text(row, "status").as_deref(), Some("FETCH_IN_PROGRESS"));
    assert_eq!(harness.text(row, "claimed_by").as_deref(), Some("worker-a"));
    assert_eq!(harness.text(row, "url").as_deref(), Some("https://example.org/"));
}

pub async fn later_stages_come_first_whatever_the_order_asked_in<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    scene.insert_created("older, first stage", at(-500)).await;
    scene.put("newer, last stage", Status::Ready(parse)).await;
    scene.edit("newer, last stage", &[(Role::CreatedAt, Value::Time(at(-1)))]).await;

    for stages in [vec![fetch, parse], vec![parse, fetch]] {
        let claiming = ClaimParams { stages, ..scene.claiming(2) };
        let preview = scene.store.preview(&claiming).await.expect("preview");
        let previewed: Vec<&str> = preview.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(previewed, ["newer, last stage", "older, first stage"]);
    }
    assert_eq!(claimed_keys(&scene.claim(2).await), ["newer, last stage", "older, first stage"]);
}

pub async fn items_go_by_age_and_retried_ones_by_their_due_time<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_created("third", at(-20)).await;
    scene.insert_created("first", at(-40)).await;
    scene.insert_created("second, retried", at(-900)).await;
    scene.edit("second, retried", &[(Role::RetryAfter, Value::Time(at(-30)))]).await;

    assert_eq!(claimed_keys(&scene.claim(9).await), ["first", "second, retried", "third"]);
}

pub async fn an_item_that_moved_on_a_stage_keeps_its_age<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["old", "young"]).await;
    let batch = scene.claim(2).await;
    // The young one completes first; the old one still goes first.
    for item in batch.claimed.iter().rev() {
        scene.finish(&item.lease, Outcome::Complete).await;
    }

    assert_eq!(claimed_keys(&scene.claim(2).await), ["old", "young"]);
}

pub async fn an_item_is_claimed_from_its_due_time_on<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    scene.edit("a", &[(Role::RetryAfter, Value::Time(at(60)))]).await;

    let early = scene.claim_at(1, at(59)).await;
    assert!(early.claimed.is_empty());
    assert!(!early.may_have_more, "what is not due is not more");
    assert_eq!(claimed_keys(&scene.claim_at(1, at(60)).await), ["a"]);
}

pub async fn a_created_at_in_the_future_delays_the_item<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_created("tomorrow's", at(86_400)).await;
    scene.insert_created("today's", at(-1)).await;

    assert_eq!(claimed_keys(&scene.claim(9).await), ["today's"]);
    let explanation = scene.store.explain(&Key::from("tomorrow's"), Some(at(0))).await.expect("explain");
    assert_eq!(explanation.expect("an item").created_at, Some(at(86_400)));
    assert_eq!(claimed_keys(&scene.claim_at(9, at(86_400)).await), ["tomorrow's"]);
}

pub async fn a_due_time_outweighs_a_created_at_in_the_future<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_created("a", at(86_400)).await;
    scene.edit("a", &[(Role::RetryAfter, Value::Time(at(-1)))]).await;

    assert_eq!(claimed_keys(&scene.claim(1).await), ["a"]);
}

pub async fn only_the_stages_asked_for_are_claimed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    scene.put("to parse", Status::Ready(parse)).await;
    scene.put("to fetch", Status::Ready(fetch)).await;

    let none = scene.store.claim(&ClaimParams { stages: Vec::new(), ..scene.claiming(9) }).await.expect("claim");
    assert!(none.claimed.is_empty());
    let some = scene.store.claim(&ClaimParams { stages: vec![fetch], ..scene.claiming(9) }).await.expect("claim");
    assert_eq!(claimed_keys(&some), ["to fetch"]);
    assert_eq!(scene.raw("to parse").await.status.as_deref(), Some("FETCH_COMPLETE"));
}

pub async fn a_limit_of_zero_takes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    let before = scene.raw_all().await;

    let batch = scene.claim(0).await;

    assert!(batch.claimed.is_empty() && batch.exhausted.is_empty() && batch.refused.is_empty());
    assert_eq!(scene.raw_all().await, before);
}

pub async fn a_claim_is_never_larger_than_a_batch_may_be<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..BATCH_ITEMS_MAX + 5).map(|number| Key::from(format!("{number}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");

    let batch = scene.claim(usize::MAX).await;

    assert_eq!(batch.claimed.len(), BATCH_ITEMS_MAX);
    assert!(batch.may_have_more);
    let rest = scene.claim(usize::MAX).await;
    assert_eq!(rest.claimed.len(), 5);
    if rest.may_have_more {
        // A store need not read all of a queue that had been full, but then it must say so, and read the rest later.
        let end = scene.claim(usize::MAX).await;
        assert!(end.claimed.is_empty() && !end.may_have_more);
    }
}

pub async fn a_full_batch_says_that_there_may_be_more<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b", "c"]).await;

    let full = scene.claim(2).await;
    assert_eq!(claimed_keys(&full), ["a", "b"]);
    assert!(full.may_have_more);
    let short = scene.claim(2).await;
    assert_eq!(claimed_keys(&short), ["c"]);
    assert!(!short.may_have_more);
    let empty = scene.claim(2).await;
    assert!(empty.claimed.is_empty());
    assert!(!empty.may_have_more);
}

pub async fn keys_to_leave_out_are_left_out<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b", "c"]).await;

    let claiming = ClaimParams { except: keys(&["a", "c", "no such item"]), ..scene.claiming(9) };
    assert_eq!(claimed_keys(&scene.store.claim(&claiming).await.expect("claim")), ["b"]);
    assert_eq!(claimed_keys(&scene.claim(9).await), ["a", "c"]);
}

pub async fn only_ready_items_are_claimed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for status in scene.pipeline().statuses() {
        scene.put(&scene.word(status), status).await;
    }

    assert_eq!(claimed_keys(&scene.claim(99).await), ["FETCH_COMPLETE", "PENDING"]);
    assert!(scene.claim(99).await.claimed.is_empty(), "a claimed item is not claimed again");
}

pub async fn claims_at_once_share_nothing_and_take_no_more_than_asked<H: Harness>(harness: &H) {
    const CLAIMERS: usize = 8;
    const ITEMS: usize = 400;
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..ITEMS).map(|number| Key::from(format!("{number}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(CLAIMERS));

    let mut tasks = tokio::task::JoinSet::new();
    for claimer in 0..CLAIMERS {
        let store = scene.store.fork().await.expect("fork");
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            let mut taken = Vec::new();
            loop {
                let limit = 1 + (claimer + taken.len()) % 13;
                let claiming = ClaimParams {
                    holder: Holder::named(format!("worker-{claimer}")),
                    ..super::scene::claiming(store.pipeline(), limit)
                };
                let batch = match store.claim(&claiming).await {
                    Ok(batch) => batch,
                    Err(error) if error.is_transient() && !error.may_have_been_applied() => continue,
                    Err(error) => panic!("claim: {error}"),
                };
                assert!(batch.claimed.len() <= limit, "more than asked for");
                assert!(batch.claimed.iter().all(|item| item.lease.token == claiming.token));
                let done = batch.claimed.is_empty() && !batch.may_have_more;
                taken.extend(batch.claimed.into_iter().map(|item| item.lease.key));
                if done {
                    store.close().await;
                    return taken;
                }
            }
        });
    }
    let taken: Vec<Key> = tasks.join_all().await.into_iter().flatten().collect();

    // Rows that another claim had locked are not due for this one: the last claim may have left some.
    let distinct: HashSet<&Key> = taken.iter().collect();
    assert_eq!(distinct.len(), taken.len(), "an item was claimed twice");
    let rest = scene.claim(1000).await;
    assert_eq!(taken.len() + rest.claimed.len(), ITEMS);
}

pub async fn a_claim_whose_answer_was_lost_is_found_by_its_token<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b", "c"]).await;
    let claiming = scene.claiming(2);
    let batch = scene.store.claim(&claiming).await.expect("claim");

    let found = scene.store.find_claimed(claiming.token).await.expect("find_claimed");

    let mut leases: Vec<_> = found.iter().map(|item| item.lease.clone()).collect();
    leases.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(leases, batch.leases().cloned().collect::<Vec<_>>());
    assert_eq!(harness.text(&found[0].row, "status").as_deref(), Some("FETCH_IN_PROGRESS"));
    // The age of the claim is not known: the found items are renewed, by the database's own clock.
    assert_ne!(scene.raw("a").await.heartbeat, Some(at(0)));
    assert_eq!(scene.raw("c").await.heartbeat, None);
    assert!(scene.store.find_claimed(FencingToken::draw()).await.expect("find_claimed").is_empty());

    // A finished item keeps its token, but is no longer held under it.
    scene.finish(&batch.claimed[0].lease, Outcome::Complete).await;
    let found = scene.store.find_claimed(claiming.token).await.expect("find_claimed");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].lease, batch.claimed[1].lease);
}

pub async fn counts_that_are_null_are_zero<H: Harness>(harness: &H) {
    let sql = "create table pages (page text primary key, status text default 'PENDING', retry_count integer, \
               reset_count integer)";
    harness.execute(sql).await.expect("create table");
    let scene = Scene::new(harness).await;
    scene.execute("insert into pages (page, status) values ('a', 'PENDING')").await;
    let mut before = scene.raw("a").await;
    if before.retry_count.is_some() {
        scene.execute("update pages set retry_count = null, reset_count = null").await;
        before = scene.raw("a").await;
    }
    assert_eq!((before.retry_count, before.reset_count), (None, None));

    let lease = scene.lease("a").await;
    scene.finish(&lease, super::scene::retry("broken")).await;
    assert_eq!(scene.raw("a").await.retry_count, Some(1));
    scene.lease_at("a", at(100_000)).await;
    scene.sweep(at(200_000)).await;
    assert_eq!(scene.raw("a").await.reset_count, Some(1));
}

pub async fn an_item_without_a_created_at_is_the_oldest<H: Harness>(harness: &H) {
    let sql = format!(
        "create table pages (page text primary key, status text default 'PENDING', created_at {})",
        harness.time_type()
    );
    harness.execute(&sql).await.expect("create table");
    let scene = Scene::new(harness).await;
    scene.insert_created("old", at(-1_000_000)).await;
    scene.insert_created("ageless", at(0)).await;
    scene.execute("update pages set status = 'PENDING'").await;
    scene.edit("ageless", &[(Role::CreatedAt, Value::Null)]).await;

    assert_eq!(claimed_keys(&scene.claim(2).await), ["ageless", "old"]);
}

pub async fn without_a_given_time_the_database_says_what_is_due<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let now = scene.store.now().await.expect("now");
    scene.insert_created("due", now - chrono::TimeDelta::seconds(10)).await;
    scene.insert_created("not due", now + chrono::TimeDelta::seconds(1000)).await;

    let batch = scene.store.claim(&ClaimParams { now: None, ..scene.claiming(9) }).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["due"]);
    let heartbeat = scene.raw("due").await.heartbeat;
    super::scene::assert_between(heartbeat, now, scene.store.now().await.expect("now"));
}
