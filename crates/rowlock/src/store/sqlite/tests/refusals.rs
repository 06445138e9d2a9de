//! The ways in which SQLite refuses rows: each harms its own row only.

use super::*;
use crate::store::sqlite::items::KeyValue;

/// Claims, then completes items of which the database refuses `b`, in ways beyond a plain `RAISE(ABORT)`: a few, and
/// many.
async fn only_b_is_refused(refusing: &str) {
    one_of_some_is_refused(refusing, &["a", "b", "c", "d"]).await;
    let many = many_items();
    one_of_some_is_refused(refusing, &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// `a`, `b`, and others.
fn many_items() -> Vec<String> {
    let others = (0..32).map(|number| format!("x{number}"));
    ["a", "b"].map(str::to_owned).into_iter().chain(others).collect()
}

async fn one_of_some_is_refused(refusing: &str, keys: &[&str]) {
    let scene = Scene::new().await;
    scene.add(keys).await;
    let leases = claim(&scene.store, 100).await;
    scene.execute(refusing).await;
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    for (lease, finished) in leases.iter().zip(finished) {
        match (lease.key.as_str(), &finished) {
            ("b", Finished::Refused { failed: true, .. }) => assert_eq!(scene.word("b").await, "FAILED"),
            ("b", other) => panic!("{refusing}: {other:?}"),
            (key, Finished::Applied { .. }) => assert_eq!(scene.word(key).await, "A_COMPLETE"),
            other => panic!("{refusing}: {other:?}"),
        }
    }
    let failures = scene.store.failures(&Key::from("b")).await.expect("failures");
    assert_eq!(failures.iter().map(|failure| failure.cause.as_str()).collect::<Vec<_>>(), ["refused"]);
    // The connection is as good as new.
    assert_eq!(claim(&scene.store, 100).await.len(), keys.len() - 1);
}

const WHEN: &str = "on videos when new.id = 'b' and new.status = 'A_COMPLETE'";

#[tokio::test]
async fn a_trigger_that_raises_abort() {
    only_b_is_refused(&format!("create trigger r before update {WHEN} begin select raise(abort, 'no'); end")).await;
}

#[tokio::test]
async fn a_trigger_that_raises_fail_and_would_leave_half_a_batch() {
    only_b_is_refused(&format!("create trigger r after update {WHEN} begin select raise(fail, 'no'); end")).await;
}

#[tokio::test]
async fn a_trigger_that_raises_rollback_and_ends_the_transaction() {
    only_b_is_refused(&format!("create trigger r before update {WHEN} begin select raise(rollback, 'no'); end")).await;
}

#[tokio::test]
async fn a_trigger_that_raises_ignore() {
    only_b_is_refused(&format!("create trigger r before update {WHEN} begin select raise(ignore); end")).await;
}

#[tokio::test]
async fn a_trigger_whose_expression_cannot_take_the_value() {
    only_b_is_refused(&format!("create trigger r before update {WHEN} begin select json('['); end")).await;
}

#[tokio::test]
async fn a_constraint_that_is_checked_at_the_commit() {
    only_b_is_refused(&format!(
        "create table parents (id text primary key);
         create table children (id text references parents (id) deferrable initially deferred);
         create trigger r after update {WHEN} begin insert into children values ('orphan'); end"
    ))
    .await;
}

#[tokio::test]
async fn a_trigger_that_ignores_after_the_update_has_let_it_happen() {
    let scene = Scene::new().await;
    scene.add(&["a", "b"]).await;
    scene.execute("create trigger r after update on videos when new.id = 'a' begin select raise(ignore); end").await;
    let leases = claim(&scene.store, 10).await;
    assert_eq!(leases.len(), 2);
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    assert!(finished.iter().all(|one| matches!(one, Finished::Applied { .. })), "{finished:?}");
}

#[tokio::test]
async fn a_row_that_refuses_every_write_is_excluded_even_when_it_rolls_back() {
    for how in ["raise(abort, 'no')", "raise(rollback, 'no')", "raise(ignore)"] {
        let scene = Scene::new().await;
        let keys = many_items();
        scene.add(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
        scene
            .execute(&format!("create trigger r before update on videos when new.id = 'b' begin select {how}; end"))
            .await;
        let batch = scene.store.claim(&claiming(&scene.store, 100)).await.expect("claim");
        assert_eq!(batch.leases().count(), keys.len() - 1, "{how}");
        assert!(batch.leases().all(|lease| lease.key.as_str() != "b"), "{how}");
        assert_eq!(batch.refused.len(), 1);
        assert_eq!(scene.store.excluded().len(), 1);
        let fork = scene.store.fork().await.expect("forks");
        let again = fork.claim(&claiming(&fork, 10)).await.expect("claim");
        assert!(again.claimed.is_empty() && again.refused.is_empty(), "{how}: {again:?}");
        assert_eq!(scene.word("b").await, "PENDING");
    }
}

#[tokio::test]
async fn a_sweep_that_is_repeated_leaves_an_item_alone_whose_holder_was_heard_of_meanwhile() {
    let scene = Scene::new().await;
    scene.add(&["a"]).await;
    let leases = claim(&scene.store, 1).await;
    let verb = scene.store.verb("test");
    let key = KeyValue::Text("a".to_owned());
    let stale = items::BatchItem {
        step: Some("sweep"),
        heartbeat: Some("2000-01-01T00:00:00.000Z".to_owned()),
        error: Some("stopped".to_owned()),
        ..items::BatchItem::new(key, "A_IN_PROGRESS")
    };
    let batch = refusal::Batch {
        sql: &scene.store.statements.take_back,
        items: vec![stale],
        now: clock::format(Utc::now()),
        binds: vec![3.into()],
        when_refused: refusal::WhenRefused::Fail,
        cause: |_| Some("sweep"),
    };
    let written = scene.store.repeat_batch(&verb, &batch).await.expect("repeats");
    assert!(matches!(written.as_slice(), [refusal::Written::Missing]), "{written:?}");
    assert_eq!(scene.store.read_leases(&leases).await.expect("read_leases"), [LeaseState::Held]);
}

/// Of many items that are written together each has its own answer, though SQLite is asked only for their number.
#[tokio::test]
async fn one_lease_among_many_is_lost() {
    let scene = Scene::new().await;
    let keys = many_items();
    scene.add(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let leases = claim(&scene.store, 100).await;
    scene.execute("update videos set claim_token = claim_token + 1 where id = 'b'").await;
    let is_b = |index: usize| leases[index].key.as_str() == "b";
    for (index, state) in scene.store.renew(&leases, None).await.expect("renew").into_iter().enumerate() {
        assert_eq!(state, if is_b(index) { LeaseState::Lost } else { LeaseState::Held });
    }
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    for (index, finished) in finished.into_iter().enumerate() {
        assert_eq!(matches!(finished, Finished::LeaseLost), is_b(index), "{finished:?}");
        assert_eq!(matches!(finished, Finished::Applied { .. }), !is_b(index), "{finished:?}");
    }
    assert_eq!(scene.word("b").await, "A_IN_PROGRESS");
    // What is done already is not done again, however many of them there are.
    let again = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    assert!(again.iter().all(|one| matches!(one, Finished::LeaseLost)), "{again:?}");
}

/// Completions are written apart from other outcomes, but in one transaction: what refuses one of these must not undo
/// those, and what refuses one of those not these.
#[tokio::test]
async fn a_refused_outcome_among_others_of_its_batch_harms_none() {
    let retried = "retry";
    let retry = Outcome::Retry { error: "not yet".to_owned(), delay: Some(Duration::ZERO) };
    for refusing in [
        "create trigger r before update on videos when new.id = 'b' and new.status = 'A_COMPLETE'
         begin select raise(abort, 'no'); end",
        "create trigger r before update on videos when new.id = 'retry' and new.status = 'PENDING'
         begin select raise(abort, 'no'); end",
        "create trigger r before update on videos when new.id = 'retry' and new.status = 'PENDING'
         begin select raise(ignore); end",
    ] {
        let scene = Scene::new().await;
        scene.add(&["a", "b", "c", retried, "lost"]).await;
        let leases = claim(&scene.store, 100).await;
        scene.execute(refusing).await;
        scene.execute("update videos set claim_token = claim_token + 1 where id = 'lost'").await;
        let mut finishing = finishing(&scene.store, &leases, &Outcome::Complete);
        for finish in &mut finishing.items {
            if finish.lease.key.as_str() == retried {
                finish.outcome = retry.clone();
            }
        }
        let refused = if refusing.contains("'b'") { "b" } else { retried };
        for (finish, finished) in finishing.items.iter().zip(scene.store.finish(&finishing).await.expect("finish")) {
            let key = finish.lease.key.as_str();
            let expected = match key {
                "lost" => "A_IN_PROGRESS",
                _ if key == refused => "FAILED",
                _ if key == retried => "PENDING",
                _ => "A_COMPLETE",
            };
            assert_eq!(scene.word(key).await, expected, "{key} with {refusing}");
            let as_answered = match finished {
                Finished::LeaseLost => key == "lost",
                Finished::Refused { failed, .. } => failed && key == refused,
                Finished::Applied { to } => scene.store.pipeline().word(to) == expected,
                Finished::Busy | Finished::Unknown => false,
            };
            assert!(as_answered, "{key} with {refusing}: {finished:?}");
        }
    }
}
