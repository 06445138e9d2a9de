//! Keys of any text and of any type, and adding keys in bulk.

use super::Harness;
use super::scene::{Scene, Value, at, claimed_keys, keys, two_stages};
use crate::pipeline::{KeyType, Role, Status};
use crate::store::{ClaimParams, CountParams, LeaseState, ListParams, Moved, Outcome, RequeueParams, Store};
use crate::{Error, Key};

/// Keys that a text column may hold.
fn odd_keys() -> Vec<Key> {
    let odd = [
        "",
        " ",
        "it's \"quoted\"",
        "line\nbreak\r\n\ttab",
        "back\\slash\\n",
        "'; drop table pages; --",
        "$1 ?1 :now {} %s",
        "ünïcode 🦀 \u{202e}rtl",
        "NULL",
        "\\N",
        "\\.",
        "a,b;c|d",
        "{\"json\": [1, null]}",
        "{a,b}",
    ];
    let mut keys: Vec<Key> = odd.into_iter().map(Key::from).collect();
    keys.push(Key::from("k".repeat(1024)));
    keys
}

pub async fn odd_keys_go_through_every_verb<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let all = odd_keys();
    assert_eq!(scene.store.add_many(&all).await.expect("add_many").added, u64::try_from(all.len()).expect("few"));

    let batch = scene.claim(99).await;
    assert_eq!(batch.claimed.len(), all.len());
    let leases: Vec<_> = batch.leases().cloned().collect();
    let renewed = scene.store.renew(&leases, Some(at(1))).await.expect("renew");
    assert!(renewed.iter().all(|state| *state == LeaseState::Held), "{renewed:?}");
    assert_eq!(scene.store.read_leases(&leases).await.expect("read_leases"), renewed);
    for lease in &leases {
        scene.finish(lease, super::scene::retry("broken")).await;
        let item = scene.store.get(&lease.key).await.expect("get").expect("an item");
        assert_eq!(item.key, lease.key);
        assert_eq!(scene.failures(lease.key.as_str()).await.len(), 1, "{}", lease.key);
        assert!(scene.store.explain(&lease.key, None).await.expect("explain").is_some());
    }
    let cancelled = scene.store.cancel(&all, Some(at(2))).await.expect("cancel");
    assert!(cancelled.iter().all(|moved| *moved == Moved::Applied { to: Status::Cancelled }), "{cancelled:?}");
    let requeueing = RequeueParams { keys: all.clone(), stage: None, now: Some(at(3)) };
    let requeued = scene.store.requeue(&requeueing).await.expect("requeue");
    assert!(requeued.iter().all(|moved| matches!(moved, Moved::Applied { .. })), "{requeued:?}");
    let except = ClaimParams { except: all.clone(), ..scene.claiming(99) };
    assert!(scene.store.claim(&except).await.expect("claim").claimed.is_empty());
    assert_eq!(scene.claim_at(99, at(4)).await.claimed.len(), all.len());
    assert_eq!(scene.sweep(at(1000)).await.items.len(), all.len());
}

pub async fn odd_keys_are_listed_page_by_page<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let all = odd_keys();
    scene.store.add_many(&all).await.expect("add_many");
    let mut seen: Vec<Key> = Vec::new();
    let mut after = None;
    for _ in 0..=all.len() {
        let page = scene.store.list(&ListParams { status: None, after, limit: 2 }).await.expect("list");
        seen.extend(page.items.into_iter().map(|item| item.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), all.len(), "each once, whatever order the database sorts them in");
    assert!(all.iter().all(|key| seen.contains(key)));
}

/// Three keys of a type, in order, each in the form that the database writes.
async fn keys_of_type<H: Harness>(harness: &H, key_type: KeyType, ordered: [&str; 3]) {
    let scene = Scene::with(harness, two_stages().key_type(key_type)).await;
    let all = keys(&ordered);
    assert_eq!(scene.store.add_many(&all).await.expect("add_many").added, 3);
    assert_eq!(scene.store.add_many(&all).await.expect("add_many").added, 0);
    let listed = scene.store.list(&ListParams::new(9)).await.expect("list");
    assert_eq!(listed.items.iter().map(|item| item.key.clone()).collect::<Vec<_>>(), all);
    let after = ListParams { after: Some(all[0].clone()), limit: 9, status: None };
    assert_eq!(scene.store.list(&after).await.expect("list").items.len(), 2);

    let except = ClaimParams { except: vec![all[0].clone()], ..scene.claiming(9) };
    let batch = scene.store.claim(&except).await.expect("claim");
    assert_eq!(batch.claimed.len(), 2);
    let lease = &batch.claimed[0].lease;
    assert!(all.contains(&lease.key));
    assert_eq!(scene.renew(lease, at(1)).await, LeaseState::Held);
    scene.finish(lease, super::scene::retry("broken")).await;
    assert_eq!(scene.failures(lease.key.as_str()).await.len(), 1);
    scene.finish(&batch.claimed[1].lease, Outcome::Complete).await;
    assert!(matches!(scene.cancel(all[0].as_str()).await, Moved::Applied { .. }));
    assert!(scene.store.explain(&all[0], None).await.expect("explain").is_some());
    scene.requeue(all[0].as_str(), None).await;
    let others = all.iter().filter(|key| **key != lease.key).cloned().collect();
    let except = ClaimParams { except: others, now: Some(at(100_000)), ..scene.claiming(9) };
    assert_eq!(scene.store.claim(&except).await.expect("claim").claimed.len(), 1);
    let swept = scene.sweep(at(200_000)).await;
    assert_eq!(swept.keys().collect::<Vec<_>>(), [&lease.key]);
}

pub async fn a_key_may_be_an_int<H: Harness>(harness: &H) {
    keys_of_type(harness, KeyType::Int, ["-5", "9", "10"]).await;
}

pub async fn a_key_may_be_a_bigint<H: Harness>(harness: &H) {
    keys_of_type(harness, KeyType::BigInt, ["9", "10", "9223372036854775807"]).await;
}

pub async fn a_key_may_be_a_uuid<H: Harness>(harness: &H) {
    let ordered = [
        "0b8e0000-0000-4000-8000-000000000001",
        "a3bb189e-8bf9-3888-9912-ace4e6543002",
        "f3bb189e-8bf9-3888-9912-ace4e6543002",
    ];
    keys_of_type(harness, KeyType::Uuid, ordered).await;
}

pub async fn a_row_without_a_key_is_no_item<H: Harness>(harness: &H) {
    harness.execute("create table pages (page text unique, note text)").await.expect("create table");
    let scene = Scene::new(harness).await;
    scene.execute("insert into pages (page, note) values (null, 'first'), (null, 'second')").await;
    scene.insert_all(&["a", "b"]).await;
    let oldest = format!("update pages set created_at = {} where page is null", harness.time(at(-2000)));
    scene.execute(&oldest).await;

    assert_eq!(scene.store.preview(&scene.claiming(9)).await.expect("preview").len(), 2);
    let batch = scene.claim(9).await;
    assert_eq!(claimed_keys(&batch), ["a", "b"]);
    assert!(batch.refused.is_empty() && !batch.may_have_more, "{:?}", batch.refused);
    // A worker that stops when idle would wait for it for ever.
    for unfinished_only in [false, true] {
        let counts =
            scene.store.counts(&CountParams { unfinished_only, ..CountParams::default() }).await.expect("counts");
        assert_eq!((counts.unfinished(), counts.stages[0].oldest_ready_since), (2, None));
    }
    for status in [None, scene.pipeline().status("PENDING"), scene.pipeline().status("FETCH_IN_PROGRESS")] {
        let page = scene.store.list(&ListParams { status, after: None, limit: 9 }).await.expect("list");
        assert!(page.items.len() <= 2, "{status:?}");
    }
    scene.execute("update pages set status = 'FETCH_IN_PROGRESS', heartbeat_at = null where page is null").await;
    assert_eq!(scene.store.held(9).await.expect("held").len(), 2);
    assert_eq!(scene.sweep(at(1000)).await.items.len(), 2);
}

pub async fn a_key_that_is_not_of_its_type_is_an_error_and_no_panic<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().key_type(KeyType::Int)).await;
    let asked = Key::from("not a number");
    match scene.store.get(&asked).await {
        // On SQLite no cast fails.
        Ok(None) | Err(Error::InvalidArgument { .. } | Error::Database { .. }) => {}
        Ok(Some(item)) => panic!("{} was found", item.key),
        Err(other) => panic!("{other}"),
    }
}

pub async fn adding_skips_what_exists_and_counts_the_rest<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;

    assert_eq!(scene.store.add_many(&keys(&["a", "b", "c"])).await.expect("add_many").added, 2);
    assert_eq!(scene.store.add_many(&keys(&["c", "b", "d", "d"])).await.expect("add_many").added, 1, "d is one item");
    assert_eq!(scene.store.add_many(&[]).await.expect("add_many").added, 0);

    assert_eq!(scene.raw("a").await, before);
    assert_eq!(scene.raw_all().await.len(), 4);
}

pub async fn adding_many_is_one_call<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..5000).map(|number| Key::from(format!("{number}"))).collect();
    assert_eq!(scene.store.add_many(&many).await.expect("add_many").added, 5000);
    assert_eq!(scene.store.add_many(&many).await.expect("add_many").added, 0);
}

pub async fn a_key_that_was_added_is_claimable_at_once<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.store.add_many(&keys(&["a"])).await.expect("add_many");
    let claiming = ClaimParams { now: None, ..scene.claiming(1) };
    let batch = scene.store.claim(&claiming).await.expect("claim");
    assert_eq!(claimed_keys(&batch), ["a"]);
    scene.edit("a", &[(Role::Heartbeat, Value::Null)]).await;
}
