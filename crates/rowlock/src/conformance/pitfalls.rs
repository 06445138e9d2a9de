//! One test for each known mistake of hand-written queue tables, as far as a store can show it.
//!
//! Shown elsewhere: the plans of claim and sweep (13, 14) in the tests of the plans, the restart of the server (27) in
//! the worker's tests. The transaction pooler (29) and `NOTIFY` (28) concern only one database.

use super::scene::{RawItem, Scene, Value, at, claimed_keys, fail, fetch_and_parse, keys, limits, retry, two_stages};
use super::{Harness, Refusal, Refusing};
use crate::pipeline::{Pipeline, Role, Status};
use crate::store::{
    ClaimParams, Finish, FinishParams, Finished, LeaseState, Moved, Outcome, RequeueParams, SetParams, Store,
    SweepParams,
};
use crate::{FencingToken, Holder, Key, Lease};

pub async fn p01_the_claim_stamps_the_heartbeat_and_the_sweep_sees_a_missing_one<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_and_lease("a").await;
    assert_eq!(scene.raw("a").await.heartbeat, Some(at(0)));

    scene.edit("a", &[(Role::Heartbeat, Value::Null)]).await;
    assert_eq!(scene.sweep(at(1)).await.items.len(), 1);
}

pub async fn p02_completion_matches_the_token_and_not_the_id_alone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let zombie = scene.insert_and_lease("a").await;
    scene.sweep(at(301)).await;
    let holder = scene.lease_at("a", at(302)).await;
    let before = scene.raw("a").await;

    for outcome in super::scene::every_outcome() {
        assert_eq!(scene.finish(&zombie, outcome).await, Finished::LeaseLost);
        assert_eq!(scene.raw("a").await, before);
    }
    assert!(matches!(scene.finish(&holder, Outcome::Complete).await, Finished::Applied { .. }));
}

pub async fn p03_a_worker_name_that_is_used_again_opens_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let before_restart = scene.insert_and_lease("a").await;
    scene.sweep(at(301)).await;
    // The same host and the same name, after a restart.
    let after_restart = scene.lease_at("a", at(302)).await;
    assert_eq!(scene.raw("a").await.holder.as_deref(), Some("worker-a"));

    assert_eq!(scene.renew(&before_restart, at(303)).await, LeaseState::Lost);
    assert_eq!(scene.finish(&before_restart, Outcome::Complete).await, Finished::LeaseLost);
    assert_eq!(scene.renew(&after_restart, at(303)).await, LeaseState::Held);
}

pub async fn p04_starting_up_takes_nothing_from_live_workers<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let batch = scene.claim(2).await;
    let before = scene.raw_all().await;

    let newcomer = harness.open(two_stages().build().expect("a valid pipeline")).await;
    newcomer.prepare().await.expect("prepare");
    newcomer.inspect().await.expect("inspect");
    let swept = newcomer.sweep(&scene.sweeping(at(299))).await.expect("sweep");
    assert!(newcomer.claim(&scene.claiming(9)).await.expect("claim").claimed.is_empty());

    assert!(swept.items.is_empty());
    assert_eq!(scene.raw_all().await, before);
    for item in &batch.claimed {
        assert_eq!(scene.renew(&item.lease, at(299)).await, LeaseState::Held);
    }
}

pub async fn p05_the_sweep_brings_no_finished_row_back_to_life<H: Harness>(harness: &H) {
    super::sweeps::what_is_not_in_progress_is_never_taken_back(harness).await;
}

pub async fn p06_a_row_that_kills_its_worker_is_not_retried_for_ever<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("poison").await;
    let mut crashes = 0;
    let mut now = 0;
    while !scene.claim_at(1, at(now)).await.claimed.is_empty() {
        crashes += 1;
        assert!(crashes <= 10, "it is retried for ever");
        now += 1000;
        scene.sweep(at(now)).await;
    }
    assert_eq!(crashes, scene.pipeline().max_resets());
    let item = scene.raw("poison").await;
    assert_eq!(item.status.as_deref(), Some("FAILED"));
    assert_eq!((item.retry_count, item.reset_count), (Some(0), Some(3)));
}

pub async fn p07_every_in_progress_state_is_swept<H: Harness>(harness: &H) {
    let pipeline = Pipeline::builder("pages").table("pages").key("page");
    let pipeline = ["A", "B", "C", "D"].into_iter().fold(pipeline, |pipeline, stage| pipeline.stage(stage));
    let scene = Scene::with(harness, pipeline).await;
    for stage in scene.pipeline().stage_ids() {
        let key = scene.pipeline().stage(stage).name().to_owned();
        scene.put(&key, Status::Ready(stage)).await;
        scene.lease(&key).await;
    }

    assert_eq!(scene.sweep(at(301)).await.items.len(), 4);

    for stage in scene.pipeline().stage_ids() {
        let key = scene.pipeline().stage(stage).name();
        assert_eq!(scene.raw(key).await.status, Some(scene.word(Status::Ready(stage))));
    }
}

pub async fn p08_a_batch_is_claimed_in_one_statement<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..500).map(|number| Key::from(format!("{number}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");
    let claiming = ClaimParams { now: None, ..scene.claiming(500) };

    let batch = scene.store.claim(&claiming).await.expect("claim");

    assert_eq!(batch.claimed.len(), 500);
    let items = scene.raw_all().await;
    // A statement has one time, however long it takes.
    assert!(items.iter().all(|item| item.claimed_at == items[0].claimed_at && item.heartbeat == item.claimed_at));
    assert!(items.iter().all(|item| item.token == Some(claiming.token.as_i64())));
}

pub async fn p09_count_decision_and_move_are_one_write<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;
    // The count alone could be written: only the move is refused.
    let refusal = Refusal { table: &scene.table(), when: "new.status <> 'FETCH_IN_PROGRESS'", how: Refusing::Loudly };
    harness.refuse_updates(&refusal).await.expect("create trigger");

    let finished = scene.finish(&lease, retry("broken")).await;

    assert!(matches!(finished, Finished::Refused { failed: false, .. }), "{finished:?}");
    assert_eq!(scene.raw("a").await, before);
    assert!(scene.failures("a").await.iter().all(|(cause, _)| cause != "retry"), "a failure that never was");
}

pub async fn p10_a_retry_waits<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish_at(&lease, retry("broken"), at(0)).await;

    assert!(scene.claim_at(1, at(59)).await.claimed.is_empty());
    assert_eq!(claimed_keys(&scene.claim_at(1, at(151)).await), ["a"]);
}

pub async fn p11_jitter_is_there_on_both_sides_and_as_wide_as_it_says<H: Harness>(harness: &H) {
    super::retries::jitter_is_uniform_on_both_sides_of_the_delay(harness).await;
}

pub async fn p12_a_high_retry_count_does_not_overflow<H: Harness>(harness: &H) {
    super::retries::a_delay_saturates_at_any_count(harness).await;
}

pub async fn p15_no_verb_touches_a_row_that_it_was_not_asked_for<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for status in scene.pipeline().statuses().collect::<Vec<_>>() {
        let key = scene.word(status);
        scene.put(&key, status).await;
        scene.edit(&key, &[(Role::ClaimToken, Value::Number(5)), (Role::Heartbeat, Value::Time(at(0)))]).await;
        // Not due, so that no claim of the test takes them.
        scene.edit(&key, &[(Role::RetryAfter, Value::Time(at(1_000_000)))]).await;
    }
    let bystanders = scene.raw_all().await;
    let unharmed = async |verb: &str| {
        let all: Vec<RawItem> = scene.raw_all().await.into_iter().filter(|item| item.key != "it").collect();
        assert_eq!(all, bystanders, "{verb}");
    };

    for outcome in super::scene::every_outcome() {
        let lease = scene.insert_and_lease("it").await;
        unharmed("claim").await;
        scene.renew(&lease, at(1)).await;
        unharmed("renew").await;
        scene.finish(&lease, outcome).await;
        unharmed("finish").await;
        scene.delete("it").await;
    }
    scene.insert_and_lease("it").await;
    scene.edit("it", &[(Role::Heartbeat, Value::Null)]).await;
    assert_eq!(scene.sweep(at(2)).await.items.len(), 1);
    unharmed("sweep").await;
    scene.cancel("it").await;
    unharmed("cancel").await;
    scene.requeue("it", None).await;
    unharmed("requeue").await;
    scene.set("it", Status::Succeeded).await;
    unharmed("set").await;
    let gone = keys(&["no such item"]);
    scene.store.cancel(&gone, None).await.expect("cancel");
    let requeueing = RequeueParams { keys: gone.clone(), stage: None, now: None };
    scene.store.requeue(&requeueing).await.expect("requeue");
    let setting = SetParams { keys: gone, to: Status::Failed, error: None, now: None };
    scene.store.set(&setting).await.expect("set");
    unharmed("a key that does not exist").await;
}

pub async fn p16_an_item_that_is_renewed_is_never_declared_dead<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("long").await;
    for now in (100..5000).step_by(100) {
        assert_eq!(scene.renew(&lease, at(now)).await, LeaseState::Held);
        assert!(scene.sweep(at(now + 99)).await.items.is_empty());
        assert!(scene.claim_at(9, at(now + 99)).await.claimed.is_empty());
    }
    assert!(matches!(scene.finish_at(&lease, Outcome::Complete, at(5000)).await, Finished::Applied { .. }));
}

pub async fn p17_a_late_heartbeat_revives_no_lost_lease<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let late = scene.insert_and_lease("a").await;
    scene.sweep(at(301)).await;
    let ready = scene.raw("a").await;
    assert_eq!(scene.renew(&late, at(302)).await, LeaseState::Lost);
    assert_eq!(scene.raw("a").await, ready);

    let new = scene.lease_at("a", at(303)).await;
    let held = scene.raw("a").await;
    assert_eq!(scene.renew(&late, at(304)).await, LeaseState::Lost);
    assert_eq!(scene.raw("a").await, held);
    assert_eq!(scene.renew(&new, at(305)).await, LeaseState::Held);
}

pub async fn p18_a_stage_spends_no_other_stages_budget_and_a_requeue_knows_its_stage<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().max_retries(2)).await;
    let (_, parse) = fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    scene.finish_at(&lease, retry("in fetch"), at(0)).await;
    let lease = scene.lease_at("a", at(10_000)).await;
    scene.finish_at(&lease, Outcome::Complete, at(10_000)).await;
    let lease = scene.lease_at("a", at(10_000)).await;
    let first_of_parse = scene.finish_at(&lease, retry("in parse"), at(10_000)).await;
    assert_eq!(first_of_parse, Finished::Applied { to: Status::Ready(parse) });
    let lease = scene.lease_at("a", at(30_000)).await;
    let second = scene.finish_at(&lease, retry("in parse"), at(30_000)).await;
    assert_eq!(second, Finished::Applied { to: Status::Failed });

    assert_eq!(scene.requeue("a", None).await, Moved::Applied { to: Status::Ready(parse) });
    assert_eq!(scene.raw("a").await.retry_count, Some(0));
}

pub async fn p19_a_permanent_failure_is_no_count_of_99<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish(&lease, fail("no picture in it")).await;

    let item = scene.raw("a").await;
    assert_eq!(item.status.as_deref(), Some("FAILED"));
    assert_eq!(item.retry_count, Some(0));
    assert_eq!(item.error.as_deref(), Some("no picture in it"));
    assert_eq!(scene.failures("a").await[0].0, "fail");
}

pub async fn p20_an_error_of_the_claim_is_no_empty_queue<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    scene.execute("alter table pages rename to elsewhere").await;

    assert!(scene.store.claim(&scene.claiming(1)).await.is_err());
    assert!(scene.store.sweep(&scene.sweeping(at(301))).await.is_err());
    assert!(scene.store.preview(&scene.claiming(1)).await.is_err());
}

pub async fn p21_taking_back_loses_nothing_of_the_row<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.execute("alter table pages add column url text").await;
    scene.insert("a").await;
    scene.execute("update pages set url = 'https://example.org/'").await;
    for round in 1..=4 {
        scene.claim_at(1, at(round * 1000)).await;
        scene.sweep(at(round * 1000 + 301)).await;
        let rows = harness.rows("select url from pages").await.expect("select");
        assert_eq!(rows, [[Some("https://example.org/".to_owned())]]);
    }
}

pub async fn p22_no_ready_row_over_a_limit_is_skipped_for_ever<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, parse) = fetch_and_parse();
    for (key, status, role, count) in [
        ("retries at", Status::Ready(fetch), Role::RetryCount, 5),
        ("retries over", Status::Ready(parse), Role::RetryCount, 6),
        ("resets at", Status::Ready(parse), Role::ResetCount, 3),
        ("resets over", Status::Ready(fetch), Role::ResetCount, 400),
    ] {
        scene.put(key, status).await;
        scene.edit(key, &[(role, Value::Number(count))]).await;
    }

    let batch = scene.claim(9).await;

    assert_eq!(batch.exhausted.len(), 4);
    for item in scene.raw_all().await {
        assert_eq!(item.status.as_deref(), Some("FAILED"), "{}", item.key);
        assert!(item.error.is_some_and(|error| error.contains("exceeded")));
    }
}

pub async fn p23_a_claim_takes_no_more_than_asked_for_under_concurrency<H: Harness>(harness: &H) {
    super::claims::claims_at_once_share_nothing_and_take_no_more_than_asked(harness).await;
}

pub async fn p24_the_row_alone_says_where_its_item_is<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.finish_at(&lease, retry("broken"), at(0)).await;
    let lease = scene.lease_at("a", at(1000)).await;
    // Rowlock's own records may vanish, and a person may move the row: nothing needs repair.
    scene.execute("delete from rowlock_failures").await;
    assert_eq!(scene.renew(&lease, at(1001)).await, LeaseState::Held);
    scene.edit("a", &[(Role::Status, Value::Text("FETCH_COMPLETE"))]).await;
    assert_eq!(scene.finish(&lease, Outcome::Complete).await, Finished::LeaseLost);

    let batch = scene.claim_at(1, at(2000)).await;

    assert_eq!(claimed_keys(&batch), ["a"]);
    assert_eq!(batch.claimed[0].lease.stage, fetch_and_parse().1);
}

pub async fn p25_a_clean_shutdown_burns_no_attempt<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    for deploy in 1..=20 {
        let lease = scene.lease_at("a", at(deploy)).await;
        scene.finish_at(&lease, Outcome::Release, at(deploy)).await;
    }
    let item = scene.raw("a").await;
    assert_eq!((item.retry_count, item.reset_count), (Some(0), Some(0)));
    assert_eq!(item.status.as_deref(), Some("PENDING"));
}

pub async fn p26_one_statement_renews_every_lease<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..500).map(|number| Key::from(format!("{number}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");
    let leases: Vec<Lease> = scene.claim(500).await.leases().cloned().collect();

    let states = scene.store.renew(&leases, None).await.expect("renew");

    assert_eq!(states, vec![LeaseState::Held; 500]);
    let items = scene.raw_all().await;
    assert!(items.iter().all(|item| item.heartbeat == items[0].heartbeat && item.heartbeat != Some(at(0))));
}

pub async fn p26_one_statement_finishes_every_lease<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..500).map(|number| Key::from(format!("{number}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");
    let batch = scene.claim(500).await;
    let items = batch.leases().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete }).collect();

    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: None };
    let finished = scene.store.finish(&finishing).await.expect("finish");

    assert_eq!(finished.len(), 500);
    let items = scene.raw_all().await;
    assert!(items.iter().all(|item| item.updated_at == items[0].updated_at && item.updated_at != Some(at(0))));
}

pub async fn two_claims_never_share_a_token<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let holder = || Holder::named("worker-a");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let claiming = ClaimParams { token: FencingToken::draw(), holder: holder(), ..scene.claiming(1) };
        let batch = scene.store.claim(&claiming).await.expect("claim");
        tokens.push(batch.claimed[0].lease.token);
    }
    assert_ne!(tokens[0], tokens[1]);
    // A lease of the one opens nothing of the other.
    let crossed = Lease { key: Key::from("a"), token: tokens[1], stage: fetch_and_parse().0 };
    assert_eq!(scene.finish(&crossed, Outcome::Complete).await, Finished::LeaseLost);
    let sweeping = SweepParams { limit: 10, ..scene.sweeping(at(1)) };
    assert!(scene.store.sweep(&sweeping).await.expect("sweep").items.is_empty());
}
