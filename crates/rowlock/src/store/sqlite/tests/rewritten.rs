//! Triggers that change the status of a row after a move.

use super::*;

async fn rewrites(scene: &Scene, from: &str, to: &str) {
    scene
        .execute(&format!(
            "create trigger r after update of status on videos when new.id = 'b' and new.status = '{from}'
             begin update videos set status = {to} where id = new.id; end"
        ))
        .await;
}

async fn token_of(scene: &Scene, key: &str) -> Option<i64> {
    scene.store.get(&Key::from(key)).await.expect("get").expect("an item").token
}

async fn three() -> Scene {
    let scene = Scene::new().await;
    scene.add(&["a", "b", "c"]).await;
    scene
}

#[tokio::test]
async fn a_claimed_row_whose_status_a_trigger_changes_is_reported_as_that_and_keeps_no_token() {
    for (to, word) in [
        ("'ON_HOLD'", "ON_HOLD"),
        ("'SUCCEEDED'", "SUCCEEDED"),
        ("'FAILED'", "FAILED"),
        ("'PENDING'", "PENDING"),
        ("'B_IN_PROGRESS'", "B_IN_PROGRESS"),
    ] {
        let scene = three().await;
        rewrites(&scene, "A_IN_PROGRESS", to).await;
        let batch = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
        assert_eq!(batch.leases().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), ["a", "c"], "{to}");
        assert!(batch.exhausted.is_empty());
        match &batch.refused[..] {
            [(key, reason)] => {
                assert_eq!(key.as_str(), "b");
                assert_eq!(reason, &format!("a trigger changed the status to {word:?}"));
            }
            other => panic!("{to}: {other:?}"),
        }
        assert_eq!((scene.word("b").await.as_str(), token_of(&scene, "b").await), (word, None), "{to}");
        let again = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
        assert!(again.claimed.is_empty() && again.refused.is_empty(), "{to}: {again:?}");
    }
}

/// With another row beside it that is refused, so that the batch is tried in parts.
#[tokio::test]
async fn a_rewritten_row_beside_a_refused_one_is_reported_too() {
    let scene = three().await;
    rewrites(&scene, "A_IN_PROGRESS", "'ON_HOLD'").await;
    scene
        .execute("create trigger s before update on videos when new.id = 'a' begin select raise(abort, 'no'); end")
        .await;
    let batch = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert_eq!(batch.leases().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(batch.refused.len(), 2, "{:?}", batch.refused);
    assert_eq!(token_of(&scene, "b").await, None);
}

#[tokio::test]
async fn a_claimed_row_that_a_trigger_deletes_is_reported() {
    let scene = three().await;
    scene
        .execute(
            "create trigger r after update on videos when new.id = 'b' and new.status = 'A_IN_PROGRESS'
             begin delete from videos where id = 'b'; end",
        )
        .await;
    let batch = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert_eq!(batch.claimed.len(), 2);
    assert!(matches!(&batch.refused[..], [(key, _)] if key.as_str() == "b"), "{:?}", batch.refused);
}

#[tokio::test]
async fn a_finished_row_whose_status_a_trigger_changes_is_reported_as_that() {
    for outcome in [Outcome::Complete, Outcome::Release] {
        let scene = three().await;
        let leases = claim(&scene.store, 10).await;
        rewrites(&scene, if outcome == Outcome::Complete { "A_COMPLETE" } else { "PENDING" }, "'CANCELLED'").await;
        let finished = scene.store.finish(&finishing(&scene.store, &leases, &outcome)).await.expect("finish");
        for (lease, finished) in leases.iter().zip(&finished) {
            match finished {
                Finished::Refused { reason, failed: false } => {
                    assert_eq!(lease.key.as_str(), "b");
                    assert_eq!(reason, "a trigger changed the status to \"CANCELLED\"");
                }
                Finished::Applied { .. } => assert_ne!(lease.key.as_str(), "b"),
                other => panic!("{outcome:?}: {other:?}"),
            }
        }
        assert_eq!(scene.word("b").await, "CANCELLED");
    }
}

#[tokio::test]
async fn a_swept_row_whose_status_a_trigger_changes_is_reported_as_that() {
    let scene = three().await;
    claim(&scene.store, 10).await;
    scene.execute("update videos set heartbeat_at = null").await;
    rewrites(&scene, "PENDING", "'ON_HOLD'").await;
    let sweeping = SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: None };
    let swept = scene.store.sweep(&sweeping).await.expect("sweep");
    assert_eq!(swept.items.len(), 2);
    assert!(
        matches!(&swept.refused[..], [(key, reason)] if key.as_str() == "b" && reason.contains("ON_HOLD")),
        "{swept:?}"
    );
}

#[tokio::test]
async fn an_operator_is_told_that_a_trigger_changed_the_status() {
    let scene = three().await;
    rewrites(&scene, "CANCELLED", "'FAILED'").await;
    let moved = scene.store.cancel(&[Key::from("a"), Key::from("b")], None).await.expect("cancel");
    assert!(
        matches!(&moved[..], [Moved::Applied { .. }, Moved::Refused { reason }] if reason.contains("FAILED")),
        "{moved:?}"
    );
}
