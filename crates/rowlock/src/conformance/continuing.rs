//! Items whose stage is done, and that their holder takes on to the next one.

use super::scene::{Scene, Value, at, claimed_keys, fetch_and_parse, keys, limits, two_stages};
use super::{Harness, Refusal, Refusing};
use crate::pipeline::{Budget, Pipeline, Role, Status};
use crate::store::{ContinueParams, Finished, LeaseState, Limits, Outcome, Store};
use crate::{FencingToken, Key, Lease};

/// Enough of one claim that they are written by the index on the token, in either database.
const MANY: usize = 400;

/// The keys that continued, sorted.
async fn continue_with<H: Harness>(scene: &Scene<'_, H>, leases: &[Lease]) -> Vec<String> {
    continued(scene, &scene.continuing(leases)).await
}

async fn continued<H: Harness>(scene: &Scene<'_, H>, continuing: &ContinueParams) -> Vec<String> {
    let claimed = scene.store.continue_items(continuing).await.expect("continue");
    let mut keys: Vec<String> = claimed.iter().map(|item| item.lease.key.as_str().to_owned()).collect();
    keys.sort();
    keys
}

async fn insert_many<H: Harness>(scene: &Scene<'_, H>, from: usize) -> Vec<Lease> {
    let names: Vec<String> = (from..from + MANY).map(|n| format!("{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.store.add_many(&keys(&names)).await.expect("add_many");
    let batch = scene.claim(MANY).await;
    assert_eq!(batch.claimed.len(), MANY);
    batch.leases().cloned().collect()
}

pub async fn an_item_continues_in_the_next_stage_under_a_new_lease<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    let counts = [(Role::RetryCount, Value::Number(2)), (Role::ResetCount, Value::Number(2))];
    scene.edit("a", &counts).await;
    scene.edit("a", &[(Role::RetryAfter, Value::Time(at(-5))), (Role::ErrorMessage, Value::Text("once"))]).await;

    let continuing = scene.continuing(std::slice::from_ref(&lease));
    let mut claimed = scene.store.continue_items(&continuing).await.expect("continue");

    let item = claimed.pop().expect("one");
    assert_eq!(item.lease, Lease { key: Key::from("a"), token: continuing.token, stage: parse });
    assert_eq!((item.retry_count, item.reset_count, item.suspect), (0, 0, false));
    let row = scene.raw("a").await;
    assert_eq!(row.status.as_deref(), Some("PARSE_IN_PROGRESS"));
    assert_eq!((row.token, row.holder.as_deref()), (Some(continuing.token.as_i64()), Some("worker-b")));
    assert_eq!((row.claimed_at, row.heartbeat, row.updated_at), (Some(at(1)), Some(at(1)), Some(at(1))));
    assert_eq!((row.retry_count, row.reset_count, row.retry_after), (Some(0), Some(0), None));
    assert_eq!(row.error.as_deref(), Some("once"), "as after a completion");

    assert_eq!(scene.renew(&lease, at(2)).await, LeaseState::Lost);
    assert_eq!(scene.finish(&lease, Outcome::Complete).await, Finished::LeaseLost);
    assert!(continue_with(&scene, &[lease]).await.is_empty(), "it has continued already");
    assert_eq!(scene.renew(&item.lease, at(2)).await, LeaseState::Held);
    let applied = Finished::Applied { to: Status::Succeeded };
    assert_eq!(scene.finish(&item.lease, Outcome::Complete).await, applied);
}

pub async fn continuing_keeps_both_counts_when_the_budget_is_per_item<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().budget(Budget::PerItem)).await;
    let lease = scene.insert_and_lease("a").await;
    scene.edit("a", &[(Role::RetryCount, Value::Number(2)), (Role::ResetCount, Value::Number(1))]).await;

    assert_eq!(continue_with(&scene, &[lease]).await, ["a"]);

    let row = scene.raw("a").await;
    assert_eq!((row.retry_count, row.reset_count), (Some(2), Some(1)));
}

pub async fn what_is_not_held_does_not_continue_and_its_neighbours_do<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.insert_all(&["held", "cancelled", "released", "forged", "of another stage", "deleted"]).await;
    let batch = scene.claim(9).await;
    let mut leases: Vec<Lease> = batch.leases().cloned().collect();
    assert_eq!(scene.cancel("cancelled").await, crate::store::Moved::Applied { to: Status::Cancelled });
    scene.finish(&leases[2], Outcome::Release).await;
    leases[3].token = FencingToken::draw();
    leases[4].stage = parse;
    scene.delete("deleted").await;
    let before = scene.raw_all().await;

    assert_eq!(continue_with(&scene, &leases).await, ["held"]);

    let after = scene.raw_all().await;
    for (before, after) in before.iter().zip(&after).filter(|(before, _)| before.key != "held") {
        assert_eq!(before, after, "nothing was written");
    }
}

pub async fn nothing_continues_from_the_last_stage_or_from_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.put("a", Status::Ready(parse)).await;
    let lease = scene.lease("a").await;

    assert!(continue_with(&scene, std::slice::from_ref(&lease)).await.is_empty());
    assert!(continue_with(&scene, &[]).await.is_empty());

    assert_eq!(scene.renew(&lease, at(2)).await, LeaseState::Held);
}

pub async fn nothing_continues_to_a_paused_stage<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    let many = insert_many(&scene, 0).await;
    scene.store.pause(parse).await.expect("pause");

    assert!(continue_with(&scene, std::slice::from_ref(&lease)).await.is_empty());
    assert!(continue_with(&scene, &many).await.is_empty());

    let applied = Finished::Applied { to: Status::Ready(parse) };
    assert_eq!(scene.finish(&lease, Outcome::Complete).await, applied, "it was held all the time");
    scene.store.resume(parse).await.expect("resume");
    scene.store.pause(fetch).await.expect("pause");
    assert_eq!(continue_with(&scene, &many).await.len(), MANY, "the stage that they come from does not matter");
}

/// Only a claim by somebody who holds nothing else may take a suspect, and only a claim fails what is at a limit.
pub async fn a_suspect_and_an_item_at_a_limit_do_not_continue<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().budget(Budget::PerItem)).await;
    scene.insert_all(&["no resets", "one", "suspect", "at a limit", "of retries"]).await;
    let leases: Vec<Lease> = scene.claim(9).await.leases().cloned().collect();
    for (key, resets) in [("one", 1), ("suspect", 2), ("at a limit", 3)] {
        scene.edit(key, &[(Role::ResetCount, Value::Number(resets))]).await;
    }
    scene.edit("of retries", &[(Role::RetryCount, Value::Number(5))]).await;

    assert_eq!(continue_with(&scene, &leases).await, ["no resets", "one"]);

    let applied = Finished::Applied { to: Status::Ready(fetch_and_parse().1) };
    assert_eq!(scene.finish(&leases[2], Outcome::Complete).await, applied);
    let batch = scene.claim(9).await;
    assert_eq!(claimed_keys(&batch), ["suspect"]);
    assert!(batch.claimed[0].suspect);
}

pub async fn the_limits_given_say_who_is_a_suspect_in_the_next_stage<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().budget(Budget::PerItem)).await;
    scene.insert_all(&["a", "b"]).await;
    let leases: Vec<Lease> = scene.claim(9).await.leases().cloned().collect();
    scene.edit("b", &[(Role::ResetCount, Value::Number(1))]).await;
    let limited = |max_resets| ContinueParams {
        limits: Limits { max_resets, ..limits(scene.pipeline()) },
        ..scene.continuing(&leases)
    };

    assert_eq!(continued(&scene, &limited(2)).await, ["a"]);
    assert!(continued(&scene, &limited(1)).await.is_empty(), "one reset is all, and it had that");
    assert_eq!(continued(&scene, &limited(3)).await, ["b"]);
}

pub async fn a_batch_of_a_claim_continues_as_a_whole<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let one = insert_many(&scene, 0).await;
    let other = insert_many(&scene, MANY).await;
    scene.edit("0003", &[(Role::ResetCount, Value::Number(2))]).await;
    scene.cancel("0007").await;
    let most = [&one[..MANY - 10], &other[..MANY - 10]].concat();

    let continuing = scene.continuing(&most);
    let claimed = scene.store.continue_items(&continuing).await.expect("continue");

    assert_eq!(claimed.len(), most.len() - 1);
    let is_new =
        |lease: &Lease| lease.token == continuing.token && lease.stage == parse && lease.key.as_str() != "0007";
    assert!(claimed.iter().all(|item| is_new(&item.lease)));
    let left = [&one[MANY - 10..], &other[MANY - 10..]].concat();
    let states = scene.store.renew(&left, Some(at(2))).await.expect("renew");
    assert_eq!(states, vec![LeaseState::Held; 20], "what was not asked for stays as it was");
}

pub async fn what_continued_with_a_lost_answer_is_found_by_its_token<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    let continuing = scene.continuing(&[lease]);
    scene.store.continue_items(&continuing).await.expect("continue");

    let found = scene.store.find_claimed(continuing.token).await.expect("find_claimed");

    let leases: Vec<&Lease> = found.iter().map(|item| &item.lease).collect();
    assert_eq!(leases, [&Lease { key: Key::from("a"), token: continuing.token, stage: parse }]);
}

pub async fn what_continued_and_whose_holder_stops_is_swept_to_the_next_stage<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    assert_eq!(continue_with(&scene, &[lease]).await, ["a"]);

    let swept = scene.sweep(at(400)).await;

    assert_eq!(swept.items.len(), 1);
    assert_eq!(swept.items[0].to, Status::Ready(parse));
    assert_eq!(scene.raw("a").await.reset_count, Some(1));
}

/// The statement is for what is simple: finishing says what is wrong, and with which item.
pub async fn where_the_database_refuses_a_row_the_items_can_still_be_finished<H: Harness>(harness: &H) {
    for how in [Refusing::Loudly, Refusing::Silently] {
        let table = if how == Refusing::Loudly { "loud" } else { "silent" };
        let pipeline = Pipeline::builder(table).table(table).key("page").stage("FETCH").stage("PARSE");
        let scene = Scene::with(harness, pipeline).await;
        scene.insert_all(&["a", "bad", "b"]).await;
        let leases: Vec<Lease> = scene.claim(9).await.leases().cloned().collect();
        let when = "new.page = 'bad' and new.status = 'PARSE_IN_PROGRESS'";
        scene.harness.refuse_updates(&Refusal { table: &scene.table(), when, how }).await.expect("create trigger");

        let continued_keys = continue_with(&scene, &leases).await;

        assert!(!continued_keys.contains(&"bad".to_owned()), "{how:?}");
        for lease in leases.iter().filter(|lease| !continued_keys.iter().any(|key| key == lease.key.as_str())) {
            let applied = Finished::Applied { to: Status::Ready(fetch_and_parse().1) };
            assert_eq!(scene.finish(lease, Outcome::Complete).await, applied, "{how:?}");
        }
    }
}
