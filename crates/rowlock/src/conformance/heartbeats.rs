//! Renewing leases, and reading whether they hold.

use super::Harness;
use super::scene::{RawItem, Scene, Value, at, fail};
use crate::pipeline::{Role, Status};
use crate::store::{LeaseState, Outcome, Store};
use crate::{FencingToken, Lease};

pub async fn a_renewal_writes_the_heartbeat_and_nothing_else<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;

    assert_eq!(scene.renew(&lease, at(70)).await, LeaseState::Held);

    let expected = RawItem { heartbeat: Some(at(70)), updated_at: Some(at(70)), ..before };
    assert_eq!(scene.raw("a").await, expected);
}

pub async fn one_renewal_answers_for_each_lease_in_order<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let names = ["cancelled", "completed", "deleted", "held", "reclaimed", "set to failed", "swept"];
    scene.insert_all(&names).await;
    let batch = scene.claim(99).await;
    let mut leases: Vec<Lease> = batch.leases().cloned().collect();
    let of = |name: &str| leases.iter().find(|lease| lease.key.as_str() == name).expect("a lease").clone();
    scene.cancel("cancelled").await;
    scene.finish(&of("completed"), Outcome::Complete).await;
    scene.delete("deleted").await;
    scene.set("set to failed", Status::Failed).await;
    for name in ["swept", "reclaimed"] {
        scene.edit(name, &[(Role::Heartbeat, Value::Null)]).await;
    }
    scene.sweep(at(10)).await;
    let key = of("swept").key;
    let claiming = crate::store::ClaimParams { except: vec![key], now: Some(at(20)), ..scene.claiming(99) };
    scene.store.claim(&claiming).await.expect("claim");
    let first = scene.raw_all().await;
    let expected = |lease: &Lease| match lease.key.as_str() {
        "cancelled" => LeaseState::Cancelled,
        "held" => LeaseState::Held,
        _ => LeaseState::Lost,
    };

    // In the order of the keys, and in reverse.
    for _ in 0..2 {
        leases.reverse();
        let before = scene.raw_all().await;
        let states: Vec<LeaseState> = leases.iter().map(expected).collect();
        assert_eq!(scene.store.read_leases(&leases).await.expect("read_leases"), states);
        assert_eq!(scene.raw_all().await, before, "a look writes nothing");
        assert_eq!(scene.store.renew(&leases, Some(at(30))).await.expect("renew"), states);
    }

    for (before, after) in first.into_iter().zip(scene.raw_all().await) {
        if before.key == "held" {
            assert_eq!(after.heartbeat, Some(at(30)));
        } else {
            assert_eq!(after, before, "a renewal writes to nothing that it does not hold");
        }
    }
}

pub async fn a_renewal_needs_the_token_and_the_stage<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (_, parse) = super::scene::fetch_and_parse();
    let lease = scene.insert_and_lease("a").await;
    let before = scene.raw("a").await;

    for wrong in [
        Lease { token: FencingToken::draw(), ..lease.clone() },
        Lease { stage: parse, ..lease.clone() },
        Lease { key: "b".into(), ..lease.clone() },
    ] {
        assert_eq!(scene.renew(&wrong, at(70)).await, LeaseState::Lost);
        assert_eq!(scene.store.read_leases(&[wrong]).await.expect("read_leases"), [LeaseState::Lost]);
    }
    assert_eq!(scene.raw("a").await, before);
}

pub async fn a_finished_item_cannot_be_renewed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for (number, outcome) in super::scene::every_outcome().into_iter().enumerate() {
        let key = format!("{number}");
        let lease = scene.insert_and_lease(&key).await;
        scene.finish(&lease, outcome.clone()).await;
        let before = scene.raw(&key).await;
        assert_eq!(scene.renew(&lease, at(70)).await, LeaseState::Lost, "{outcome:?}");
        assert_eq!(scene.raw(&key).await, before);
        scene.delete(&key).await;
    }
}

pub async fn a_renewed_item_is_not_stale<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.renew(&lease, at(290)).await;

    assert!(scene.sweep(at(500)).await.items.is_empty());
    assert_eq!(scene.sweep(at(600)).await.items.len(), 1);
}

pub async fn renewing_nothing_is_not_an_error<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    assert_eq!(scene.store.renew(&[], None).await.expect("renew"), []);
    assert_eq!(scene.store.read_leases(&[]).await.expect("read_leases"), []);
}

pub async fn a_lease_of_an_item_that_was_cancelled_and_taken_up_again_is_lost<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    scene.cancel("a").await;
    assert_eq!(scene.renew(&lease, at(3)).await, LeaseState::Cancelled);
    scene.requeue("a", None).await;
    assert_eq!(scene.renew(&lease, at(4)).await, LeaseState::Lost);
    let new = scene.lease_at("a", at(5)).await;
    assert_eq!(scene.renew(&lease, at(6)).await, LeaseState::Lost);
    scene.finish(&new, fail("hopeless")).await;
    assert_eq!(scene.renew(&lease, at(7)).await, LeaseState::Lost);
}

pub async fn without_a_given_time_the_database_says_when_it_was_renewed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let before = scene.store.now().await.expect("now");
    scene.store.renew(&[lease], None).await.expect("renew");
    let after = scene.store.now().await.expect("now");
    super::scene::assert_between(scene.raw("a").await.heartbeat, before, after);
}
