//! Items of which one more reset is the last: they run alone, so that they take no neighbour with them.

use super::Harness;
use super::scene::{Scene, Value, at, claimed_keys, fetch_and_parse, keys, two_stages};
use crate::pipeline::{Role, Status};
use crate::store::{ClaimParams, Limits, Outcome, Store};

async fn make_suspect<H: Harness>(scene: &Scene<'_, H>, key: &str) {
    let resets = i64::from(scene.pipeline().max_resets()) - 1;
    scene.edit(key, &[(Role::ResetCount, Value::Number(resets))]).await;
}

pub async fn a_suspect_at_the_head_is_claimed_alone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["suspect", "b", "c"]).await;
    make_suspect(&scene, "suspect").await;

    let batch = scene.claim(9).await;

    assert_eq!(claimed_keys(&batch), ["suspect"]);
    assert!(batch.claimed[0].suspect);
    assert_eq!(batch.claimed[0].reset_count, 2);
    assert!(batch.may_have_more, "a short batch is not an empty queue here");
    let rest = scene.claim(9).await;
    assert_eq!(claimed_keys(&rest), ["b", "c"]);
    assert!(rest.claimed.iter().all(|item| !item.suspect));
}

pub async fn suspects_further_down_are_left_out<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "suspect 1", "b", "suspect 2"]).await;
    make_suspect(&scene, "suspect 1").await;
    make_suspect(&scene, "suspect 2").await;

    let batch = scene.claim(9).await;

    assert_eq!(claimed_keys(&batch), ["a", "b"]);
    assert!(batch.may_have_more, "a short batch is not an empty queue here");
    for suspect in ["suspect 1", "suspect 2"] {
        let batch = scene.claim(9).await;
        assert_eq!(claimed_keys(&batch), [suspect]);
    }
    assert!(scene.claim(9).await.claimed.is_empty());
}

pub async fn a_suspect_of_a_later_stage_comes_first_and_alone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = fetch_and_parse();
    scene.insert("a").await;
    scene.put("suspect", Status::Ready(parse)).await;
    make_suspect(&scene, "suspect").await;

    assert_eq!(claimed_keys(&scene.claim(9).await), ["suspect"]);
}

pub async fn a_suspect_behind_exhausted_items_is_still_at_the_head<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["exhausted", "suspect", "b"]).await;
    scene.edit("exhausted", &[(Role::RetryCount, Value::Number(5))]).await;
    make_suspect(&scene, "suspect").await;

    let batch = scene.claim(9).await;

    assert_eq!(batch.exhausted, keys(&["exhausted"]));
    assert_eq!(claimed_keys(&batch), ["suspect"]);
}

pub async fn an_item_that_was_never_reset_is_no_suspect<H: Harness>(harness: &H) {
    // With one reset allowed, max_resets - 1 is zero, and every item would be a suspect.
    let scene = Scene::with(harness, two_stages().max_resets(1)).await;
    scene.insert_all(&["a", "b"]).await;

    let batch = scene.claim(9).await;

    assert_eq!(claimed_keys(&batch), ["a", "b"]);
    assert!(batch.claimed.iter().all(|item| !item.suspect));
}

pub async fn with_two_resets_allowed_the_first_reset_makes_a_suspect<H: Harness>(harness: &H) {
    let scene = Scene::with(harness, two_stages().max_resets(2)).await;
    scene.insert_all(&["a", "b"]).await;
    scene.edit("a", &[(Role::ResetCount, Value::Number(1))]).await;

    assert_eq!(claimed_keys(&scene.claim(9).await), ["a"]);
}

pub async fn the_limits_of_the_claim_say_who_is_a_suspect<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    scene.edit("a", &[(Role::ResetCount, Value::Number(4))]).await;

    let generous = ClaimParams { limits: Limits { max_retries: 5, max_resets: 10 }, ..scene.claiming(9) };
    let batch = scene.store.claim(&generous).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["a", "b"]);
    scene.insert("c").await;
    scene.edit("c", &[(Role::ResetCount, Value::Number(9))]).await;
    let batch = scene.store.claim(&generous).await.expect("claim");
    assert!(batch.claimed[0].suspect, "one more reset is its last by these limits");
}

pub async fn a_claimer_that_holds_other_items_gets_no_suspect<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["suspect", "b", "c"]).await;
    make_suspect(&scene, "suspect").await;
    let busy = |limit| ClaimParams { alone: false, ..scene.claiming(limit) };

    let batch = scene.store.claim(&busy(9)).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["b", "c"]);
    assert!(batch.suspect_at_head, "or the suspect would wait for ever");
    assert!(batch.may_have_more);
    let batch = scene.store.claim(&busy(9)).await.expect("claim");
    assert!(batch.claimed.is_empty() && batch.suspect_at_head && batch.may_have_more);
    let batch = scene.claim(9).await;
    assert_eq!(claimed_keys(&batch), ["suspect"]);
    assert!(!batch.suspect_at_head, "it was not left out");
}

pub async fn a_suspect_further_down_is_not_at_the_head<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "suspect"]).await;
    make_suspect(&scene, "suspect").await;

    let busy = ClaimParams { alone: false, ..scene.claiming(9) };
    let batch = scene.store.claim(&busy).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["a"]);
    assert!(!batch.suspect_at_head);
    assert!(batch.may_have_more);
}

pub async fn a_preview_shows_a_suspect_as_the_claim_would_take_it<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["suspect", "b"]).await;
    make_suspect(&scene, "suspect").await;

    let preview = scene.store.preview(&scene.claiming(9)).await.expect("preview");

    assert_eq!(preview.len(), 1);
    assert_eq!(preview[0].key.as_str(), "suspect");
}

pub async fn a_suspect_is_told_of_also_by_a_claim_that_was_refused_a_row<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["suspect", "bad", "a"]).await;
    scene.edit("suspect", &[(Role::ResetCount, Value::Number(2))]).await;
    let when = format!("new.page = 'bad' and not ({})", scene.is_state_of("new", Status::Failed));
    let table = scene.table();
    let refusal = crate::conformance::Refusal { table: &table, when: &when, how: crate::conformance::Refusing::Loudly };
    harness.refuse_updates(&refusal).await.expect("create trigger");

    let claiming = ClaimParams { alone: false, ..scene.claiming(9) };
    let batch = scene.store.claim(&claiming).await.expect("claim");

    assert_eq!(claimed_keys(&batch), ["a"]);
    assert_eq!(batch.refused.len(), 1);
    assert!(batch.suspect_at_head, "the claimer holds other items, and the suspect waits for it");
    assert!(batch.may_have_more, "the suspect is still to be had");
}

pub async fn a_poison_item_never_makes_a_neighbour_failed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["b", "c", "d", "e"]).await;
    scene.insert_created("poison", at(-999)).await;

    // A worker that holds the poison dies with all that it holds; every other worker completes its items.
    let mut now = 0;
    for _ in 0..100 {
        now += 1000;
        scene.sweep(at(now)).await;
        let batch = scene.claim_at(9, at(now)).await;
        if claimed_keys(&batch).contains(&"poison") {
            continue;
        }
        for item in &batch.claimed {
            scene.finish_at(&item.lease, Outcome::Complete, at(now)).await;
        }
        if batch.claimed.is_empty() && !batch.may_have_more {
            break;
        }
    }

    assert_eq!(scene.raw("poison").await.status, Some(scene.word(Status::Failed)));
    for key in ["b", "c", "d", "e"] {
        assert_eq!(scene.raw(key).await.status, Some(scene.word(Status::Succeeded)), "{key}");
    }
}
