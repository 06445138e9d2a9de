//! Whose fault an error is: one row's, whatever its trigger meets, or everybody's.

use super::*;

/// What a trigger can meet in one row. The result codes are as different as the messages.
const ERRORS: [&str; 8] = [
    "select 'a' like 'b' escape 'too long'",
    "select abs(-9223372036854775808)",
    "select json('[')",
    "select json_extract('{}', 'no path')",
    "select length(zeroblob(2000000000))",
    "insert into words (words) values ('no such command')",
    // The full-text index says that the file is corrupt.
    "insert into words (words, rank) values ('integrity-check', 1)",
    "select raise(rollback, 'no')",
];

/// So many items that the error of one is found by halving.
fn keys() -> Vec<String> {
    (0..40).map(|number| if number == 17 { "bad".to_owned() } else { format!("v{number:02}") }).collect()
}

async fn scene_of(keys: &[String]) -> Scene {
    let scene = Scene::new().await;
    scene
        .execute(
            "create table texts (text text);
             create virtual table words using fts5 (text, content = 'texts');
             insert into texts values ('what the index does not know')",
        )
        .await;
    scene.add(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    scene
}

async fn meets(scene: &Scene, error: &str, when: &str) {
    scene.execute(&format!("create trigger r before update on videos when {when} begin {error}; end")).await;
}

#[tokio::test]
async fn whatever_the_trigger_of_one_row_meets_the_others_are_claimed_renewed_and_finished() {
    for error in ERRORS {
        let keys = keys();
        let scene = scene_of(&keys).await;
        let leases = claim(&scene.store, 100).await;
        scene.execute("update videos set status = 'PENDING', claim_token = null").await;
        meets(&scene, error, "new.id = 'bad'").await;
        let batch =
            scene.store.claim(&claiming(&scene.store, 100)).await.unwrap_or_else(|why| panic!("{error}: {why}"));
        assert_eq!(batch.claimed.len(), keys.len() - 1, "{error}");
        assert!(matches!(&batch.refused[..], [(key, _)] if key.as_str() == "bad"), "{error}: {:?}", batch.refused);
        assert_eq!(scene.word("bad").await, "PENDING");

        // Then it is held, and goes bad.
        scene.execute("drop trigger r").await;
        let token = leases[0].token.as_i64();
        scene.execute(&format!("update videos set status = 'A_IN_PROGRESS', claim_token = {token}")).await;
        meets(&scene, error, "new.id = 'bad'").await;
        let is_bad = |lease: &Lease| lease.key.as_str() == "bad";
        let states = scene.store.renew(&leases, None).await.unwrap_or_else(|why| panic!("{error}: {why}"));
        for (lease, state) in leases.iter().zip(states) {
            assert_eq!(state == LeaseState::Held, !is_bad(lease), "{error}: {lease:?} is {state:?}");
            assert_eq!(matches!(state, LeaseState::Refused { .. }), is_bad(lease), "{error}: {lease:?} is {state:?}");
        }
        let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await;
        for (lease, finished) in leases.iter().zip(finished.unwrap_or_else(|why| panic!("{error}: {why}"))) {
            assert_eq!(matches!(finished, Finished::Applied { .. }), !is_bad(lease), "{error}: {finished:?}");
            assert_eq!(matches!(finished, Finished::Refused { .. }), is_bad(lease), "{error}: {finished:?}");
        }
    }
}

#[tokio::test]
async fn whatever_the_trigger_of_one_row_meets_the_others_are_swept() {
    for error in ERRORS {
        let keys = keys();
        let scene = scene_of(&keys).await;
        claim(&scene.store, 100).await;
        scene.execute("update videos set heartbeat_at = null").await;
        meets(&scene, error, "new.id = 'bad' and new.status = 'PENDING'").await;
        let sweeping = SweepParams { limit: 100, stale_after: Duration::from_secs(300), max_resets: 3, now: None };
        let swept = scene.store.sweep(&sweeping).await.unwrap_or_else(|why| panic!("{error}: {why}"));
        assert_eq!(swept.items.len(), keys.len() - 1, "{error}");
        assert!(matches!(&swept.refused[..], [(key, _)] if key.as_str() == "bad"), "{error}: {:?}", swept.refused);
        assert_eq!(scene.word("bad").await, "FAILED", "{error}");
    }
}

#[tokio::test]
async fn whatever_the_trigger_of_one_row_meets_operators_move_the_others() {
    for error in ERRORS {
        let scene = scene_of(&keys()).await;
        meets(&scene, error, "new.id = 'bad'").await;
        let asked: Vec<Key> = keys().iter().map(|key| Key::from(key.as_str())).collect();
        let moved = scene.store.cancel(&asked, None).await.unwrap_or_else(|why| panic!("{error}: {why}"));
        for (key, moved) in asked.iter().zip(moved) {
            assert_eq!(matches!(moved, Moved::Refused { .. }), key.as_str() == "bad", "{error}: {moved:?}");
        }
    }
}

/// A trigger that does not compile touches no row, so it is none's fault: not of a thousand, nor of one alone.
#[tokio::test]
async fn what_fails_without_any_row_is_everybodys_fault_and_marks_none() {
    for items in [1, 3, 40] {
        let scene = scene_of(&keys()[..items]).await;
        scene.execute("create trigger r before update on videos begin insert into gone values (1); end").await;
        let error = scene.store.claim(&claiming(&scene.store, 100)).await.expect_err("it is everybody's");
        assert!(error.to_string().contains("gone"), "{error}");
        assert_untouched(&scene, items).await;

        scene.execute("drop trigger r").await;
        let leases = claim(&scene.store, 100).await;
        scene.execute("create trigger r before update on videos begin insert into gone values (1); end").await;
        scene.store.renew(&leases, None).await.expect_err("it is everybody's");
        let finishing = finishing(&scene.store, &leases, &Outcome::Complete);
        scene.store.finish(&finishing).await.expect_err("it is everybody's");
        let transaction = scene.store.begin().await.expect("begins");
        let limits = limits(&scene.store);
        scene.store.finish_in(transaction, &finishing.items[0], limits).await.expect_err("it is everybody's");
        scene.execute("drop trigger r").await;
        let finished = scene.store.finish(&finishing).await.expect("finish");
        assert!(finished.iter().all(|finished| matches!(finished, Finished::Applied { .. })), "{finished:?}");
    }
}

async fn assert_untouched(scene: &Scene, items: usize) {
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.statuses[0].count, i64::try_from(items).expect("few"), "{counts:?}");
    assert!(scene.store.excluded().is_empty());
}

/// Where no item from anywhere in a large batch passes, nothing is known of any of them.
#[tokio::test]
async fn what_fails_for_each_item_of_a_large_batch_is_everybodys_fault_and_marks_none() {
    for error in
        ["select raise(abort, 'no')", "select raise(rollback, 'no')", "select raise(ignore)", "select json('[')"]
    {
        let scene = scene_of(&keys()).await;
        meets(&scene, error, "true").await;
        let refused = scene.store.claim(&claiming(&scene.store, 100)).await.expect_err("it is everybody's");
        assert!(!refused.is_transient(), "{error}: {refused}");
        assert_untouched(&scene, 40).await;
        scene.execute("drop trigger r").await;
        // What was tried comes back a few at a time.
        let mut claimed = 0;
        while let more @ 1.. = claim(&scene.store, 100).await.len() {
            claimed += more;
        }
        assert_eq!(claimed, 40, "{error}");
    }
}

/// Its holder is told so, and ends it with that reason: it would be swept in time, as if its worker had stopped.
#[tokio::test]
async fn a_lease_whose_heartbeats_alone_are_refused_is_told_the_reason() {
    for (how, reason) in
        [("select raise(abort, 'not this one')", "not this one"), ("select raise(ignore)", "suppressed")]
    {
        for keys in [vec!["bad"], vec!["a", "bad", "c"]] {
            let scene = Scene::new().await;
            scene.add(&keys).await;
            let leases = claim(&scene.store, 10).await;
            meets(&scene, how, "new.id = 'bad' and new.heartbeat_at is not old.heartbeat_at").await;
            let states = scene.store.renew(&leases, None).await.expect("renew");
            for (lease, state) in leases.iter().zip(states) {
                match state {
                    LeaseState::Refused { reason: told } => {
                        assert_eq!(lease.key.as_str(), "bad");
                        assert!(told.contains(reason), "{told}");
                    }
                    state => assert_eq!((state, lease.key.as_str() == "bad"), (LeaseState::Held, false)),
                }
            }
        }
    }
}

/// Of a few there are too few for that: what passes without them is their own fault.
#[tokio::test]
async fn a_few_items_that_all_fail_are_each_at_fault() {
    for error in
        ["select raise(abort, 'no')", "select json('[')", "select raise(ignore)", "select raise(rollback, 'no')"]
    {
        let scene = scene_of(&keys()[..3]).await;
        meets(&scene, error, "new.status = 'A_IN_PROGRESS'").await;
        let batch = scene.store.claim(&claiming(&scene.store, 100)).await.expect("claim");
        assert_eq!(batch.refused.len(), 3, "{error}: {batch:?}");
        assert_eq!(scene.word("v00").await, "FAILED", "{error}");
    }
}

/// What matches no row says nothing about the others.
#[tokio::test]
async fn lost_leases_in_a_batch_do_not_make_the_others_guilty() {
    let scene = scene_of(&keys()).await;
    let leases = claim(&scene.store, 100).await;
    scene.execute("update videos set claim_token = 7 where id < 'v20'").await;
    meets(&scene, "select raise(abort, 'no')", "true").await;
    scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect_err("it is everybody's");
    assert_eq!(scene.word("v39").await, "A_IN_PROGRESS");
}

#[tokio::test]
async fn texts_with_a_nul_harm_nothing() {
    let scene = scene_of(&keys()[..2]).await;
    let claiming = ClaimParams { holder: Holder::named("host\0pid"), ..claiming(&scene.store, 2) };
    let leases: Vec<Lease> = scene.store.claim(&claiming).await.expect("claim").leases().cloned().collect();
    assert_eq!(leases.len(), 2);
    let retry = Outcome::Retry { error: "broken\0here".to_owned(), delay: Some(Duration::ZERO) };
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &retry)).await.expect("finish");
    assert!(finished.iter().all(|finished| matches!(finished, Finished::Applied { .. })), "{finished:?}");
    let failures = scene.store.failures(&leases[0].key).await.expect("failures");
    assert!(failures[0].error.contains("here"), "{failures:?}");
    scene.store.explain(&leases[0].key, None).await.expect("explain").expect("an item");
}
