//! Finishing in the user's own transaction.

use super::Harness;
use super::scene::{Scene, fail, fetch_and_parse, limits, retry};
use crate::pipeline::Status;
use crate::store::{Finish, Finished, Outcome, Store};
use crate::{FencingToken, Lease};

async fn scene_with_results<H: Harness>(harness: &H) -> Scene<'_, H> {
    let scene = Scene::new(harness).await;
    scene.execute("create table results (page text primary key, words integer)").await;
    scene
}

async fn results<H: Harness>(harness: &H) -> usize {
    harness.rows("select page from results").await.expect("select").len()
}

/// Writes a result and finishes, in one transaction.
async fn work_and_finish<H: Harness>(scene: &Scene<'_, H>, lease: &Lease, outcome: Outcome) -> Finished {
    let mut transaction = scene.store.begin().await.expect("begin");
    scene.harness.execute_in(&mut transaction, "insert into results values ('a', 7)").await.expect("insert");
    let finish = Finish { lease: lease.clone(), outcome };
    scene.store.finish_in(transaction, &finish, limits(scene.pipeline())).await.expect("finish_in")
}

pub async fn the_users_writes_are_committed_with_the_move<H: Harness>(harness: &H) {
    let (fetch, parse) = fetch_and_parse();
    let scene = scene_with_results(harness).await;
    for (outcome, to) in [
        (Outcome::Complete, Status::Ready(parse)),
        (retry("broken"), Status::Ready(fetch)),
        (fail("hopeless"), Status::Failed),
        (Outcome::Release, Status::Ready(fetch)),
        (Outcome::SnoozeFor(std::time::Duration::from_secs(60)), Status::Ready(fetch)),
    ] {
        let lease = scene.insert_and_lease("a").await;
        let word = scene.word(to);

        let finished = work_and_finish(&scene, &lease, outcome.clone()).await;

        assert_eq!(finished, Finished::Applied { to }, "{outcome:?}");
        let item = scene.raw("a").await;
        assert_eq!(item.status, Some(word), "{outcome:?}");
        assert_eq!(item.error.as_deref(), outcome.error());
        assert_eq!(scene.failures("a").await.len(), usize::from(outcome.error().is_some()), "{outcome:?}");
        assert_eq!(results(harness).await, 1, "{outcome:?}");
        scene.execute("delete from results").await;
        scene.execute("delete from rowlock_failures").await;
        scene.delete("a").await;
    }
}

pub async fn a_zombies_writes_are_rolled_back<H: Harness>(harness: &H) {
    let scene = scene_with_results(harness).await;
    for outcome in super::scene::every_outcome() {
        let lease = scene.insert_and_lease("a").await;
        scene.cancel("a").await;
        let before = scene.raw("a").await;

        let finished = work_and_finish(&scene, &lease, outcome.clone()).await;

        assert_eq!(finished, Finished::LeaseLost, "{outcome:?}");
        assert_eq!(results(harness).await, 0, "{outcome:?}");
        assert_eq!(scene.raw("a").await, before, "{outcome:?}");
        scene.delete("a").await;
    }
}

pub async fn a_forged_lease_writes_nothing<H: Harness>(harness: &H) {
    let scene = scene_with_results(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let (_, parse) = fetch_and_parse();
    let before = scene.raw("a").await;
    for forged in [Lease { token: FencingToken::draw(), ..lease.clone() }, Lease { stage: parse, ..lease.clone() }] {
        assert_eq!(work_and_finish(&scene, &forged, Outcome::Complete).await, Finished::LeaseLost);
        assert_eq!(results(harness).await, 0);
        assert_eq!(scene.raw("a").await, before);
    }
}

pub async fn a_transaction_that_is_rolled_back_leaves_the_lease<H: Harness>(harness: &H) {
    let scene = scene_with_results(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let mut transaction = scene.store.begin().await.expect("begin");
    harness.execute_in(&mut transaction, "insert into results values ('a', 7)").await.expect("insert");

    scene.store.rollback(transaction).await.expect("rollback");

    assert_eq!(results(harness).await, 0);
    assert!(matches!(work_and_finish(&scene, &lease, Outcome::Complete).await, Finished::Applied { .. }));
}

pub async fn a_transaction_that_is_dropped_leaves_the_lease<H: Harness>(harness: &H) {
    let scene = scene_with_results(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let mut transaction = scene.store.begin().await.expect("begin");
    harness.execute_in(&mut transaction, "insert into results values ('a', 7)").await.expect("insert");

    drop(transaction);

    let finished = work_and_finish(&scene, &lease, Outcome::Complete).await;
    assert!(matches!(finished, Finished::Applied { .. }), "{finished:?}");
    assert_eq!(results(harness).await, 1);
}

pub async fn a_refused_move_takes_the_users_writes_back<H: Harness>(harness: &H) {
    use super::{Refusal, Refusing};
    for how in [Refusing::Loudly, Refusing::Silently] {
        let scene = scene_with_results(harness).await;
        let lease = scene.insert_and_lease("a").await;
        let (_, parse) = fetch_and_parse();
        let when = scene.is_state_of("new", Status::Ready(parse));
        let refusal = Refusal { table: &scene.table(), when: &when, how };
        harness.refuse_updates(&refusal).await.expect("create trigger");
        let mut transaction = scene.store.begin().await.expect("begin");
        harness.execute_in(&mut transaction, "insert into results values ('a', 7)").await.expect("insert");
        let finish = Finish { lease, outcome: Outcome::Complete };

        let finished = scene.store.finish_in(transaction, &finish, limits(scene.pipeline())).await;

        match finished {
            Ok(Finished::Refused { .. }) => {}
            Err(error) if error.is_row_refusal() => {}
            other => panic!("{how:?}: {other:?}"),
        }
        assert_eq!(results(harness).await, 0, "{how:?}");
        assert_ne!(scene.raw("a").await.status, Some(scene.ready(1)));
        harness.allow_updates(&scene.table()).await.expect("drop trigger");
        scene.execute("drop table results").await;
        scene.delete("a").await;
    }
}

pub async fn a_spent_budget_is_failed_in_the_users_transaction_too<H: Harness>(harness: &H) {
    let scene = scene_with_results(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.edit("a", &[(crate::Role::RetryCount, super::scene::Value::Number(4))]).await;

    let finished = work_and_finish(&scene, &lease, retry("broken")).await;

    assert_eq!(finished, Finished::Applied { to: Status::Failed });
    assert_eq!(scene.raw("a").await.error.as_deref(), Some("Max retries (5) exceeded: broken"));
}
