//! Many bad rows: wherever they are, and however many, the good ones get through in bounded time.

use super::scene::{STALE_AFTER, Scene, at};
use super::{Harness, Refusal, Refusing};
use crate::Key;
use crate::limits::REFUSED_ALIKE_MAX;
use crate::pipeline::Status;
use crate::store::{LeaseState, Store, SweepParams};

/// The name of the item at this distance from the head.
fn name(place: usize, is_bad: bool) -> String {
    format!("{place:03}-{}", if is_bad { "bad" } else { "good" })
}

/// A queue of this many items, in this order.
async fn queue<H: Harness>(harness: &H, items: usize, is_bad: impl Fn(usize) -> bool) -> Scene<'_, H> {
    let scene = Scene::new(harness).await;
    for place in 0..items {
        let secs = i64::try_from(place).expect("few") - 10_000;
        scene.insert_created(&name(place, is_bad(place)), at(secs)).await;
    }
    scene
}

/// From now on the table refuses every such write to a bad row.
async fn refuse<H: Harness>(scene: &Scene<'_, H>, when: &str) {
    let when = format!("new.page like '%-bad' and {when}");
    let refusal = Refusal { table: &scene.table(), when: &when, how: Refusing::Loudly };
    scene.harness.refuse_updates(&refusal).await.expect("create trigger");
}

async fn failed<H: Harness>(scene: &Scene<'_, H>) -> Vec<String> {
    let word = scene.word(Status::Failed);
    let is_failed = |item: &super::scene::RawItem| item.status.as_deref() == Some(word.as_str());
    scene.raw_all().await.into_iter().filter(is_failed).map(|item| item.key).collect()
}

/// Claims until this many items were claimed or this many claims were sent; returns how many items were claimed.
async fn claim<H: Harness>(scene: &Scene<'_, H>, limit: usize, items: usize, claims: usize) -> usize {
    let mut claimed = 0;
    for _ in 0..claims {
        if let Ok(batch) = scene.store.claim(&scene.claiming(limit)).await {
            let is_good = |key: &&str| key.ends_with("-good");
            assert!(super::scene::claimed_keys(&batch).iter().all(is_good));
            claimed += batch.claimed.len();
        }
        if claimed >= items {
            break;
        }
    }
    claimed
}

pub async fn bad_rows_at_the_head_keep_no_good_one_from_being_claimed<H: Harness>(harness: &H) {
    for (bad, limit, claims) in [(8, 8, 8), (20, 4, 40), (20, 1, 60), (60, 30, 12)] {
        let scene = queue(harness, bad + 20, |place| place < bad).await;
        refuse(&scene, "new.status = 'FETCH_IN_PROGRESS'").await;
        assert_eq!(claim(&scene, limit, 20, claims).await, 20, "{bad} bad ones, claims of {limit}");
        assert!(failed(&scene).await.iter().all(|key| key.ends_with("-bad")));
        harness.execute(&format!("drop table {}", scene.table())).await.expect("drop");
    }
}

pub async fn bad_rows_at_any_even_distance_keep_no_good_one_from_being_claimed<H: Harness>(harness: &H) {
    for (distance, limit) in [(2, 9), (2, 40), (5, 21), (10, 40)] {
        let scene = queue(harness, 40, |place| place % distance == 0).await;
        refuse(&scene, "new.status = 'FETCH_IN_PROGRESS'").await;
        let good = 40 - 40 / distance;
        assert_eq!(claim(&scene, limit, good, 20).await, good, "each {distance}th is bad, claims of {limit}");
        assert!(failed(&scene).await.iter().all(|key| key.ends_with("-bad")));
        harness.execute(&format!("drop table {}", scene.table())).await.expect("drop");
    }
}

pub async fn bad_rows_keep_no_good_one_from_its_sweep<H: Harness>(harness: &H) {
    for (bad, limit) in [(0, 100), (20, 4)] {
        let scene = queue(harness, 41, |place| place < bad || place % 5 == 0).await;
        scene.claim(100).await;
        let good = scene.raw_all().await.iter().filter(|item| item.key.ends_with("-good")).count();
        refuse(&scene, "new.status = 'PENDING'").await;
        let sweeping = SweepParams { limit, stale_after: STALE_AFTER, ..scene.sweeping(at(100_000)) };
        let mut swept = 0;
        for _ in 0..60 {
            swept += scene.store.sweep(&sweeping).await.map_or(0, |swept| swept.items.len());
            if swept == good {
                break;
            }
        }
        assert_eq!(swept, good, "{bad} bad ones at the head, sweeps of {limit}");
        assert!(failed(&scene).await.iter().all(|key| key.ends_with("-bad")));
        harness.execute(&format!("drop table {}", scene.table())).await.expect("drop");
    }
}

pub async fn bad_rows_keep_no_good_one_from_its_heartbeat<H: Harness>(harness: &H) {
    let scene = queue(harness, 21, |place| place % 5 == 0).await;
    let leases: Vec<_> = scene.claim(100).await.leases().cloned().collect();
    refuse(&scene, "new.status = 'FETCH_IN_PROGRESS'").await;
    let states = scene.store.renew(&leases, Some(at(70))).await.expect("renew");
    for (lease, state) in leases.iter().zip(states) {
        let is_refused = matches!(state, LeaseState::Refused { .. });
        assert_eq!(is_refused, lease.key.as_str().ends_with("-bad"), "{}: {state:?}", lease.key);
        assert_eq!(state == LeaseState::Held, !is_refused, "{}: {state:?}", lease.key);
    }
}

pub async fn what_was_passed_over_while_nothing_passed_is_claimed_once_it_passes<H: Harness>(harness: &H) {
    let scene = queue(harness, 60, |_| false).await;
    let refusal = Refusal { table: &scene.table(), when: "new.status = 'FETCH_IN_PROGRESS'", how: Refusing::Loudly };
    harness.refuse_updates(&refusal).await.expect("create trigger");
    for limit in [40, 1, 5, 40, 3, 40, 1, 40] {
        let claimed = scene.store.claim(&scene.claiming(limit)).await.map_or(0, |batch| batch.claimed.len());
        assert_eq!(claimed, 0);
    }
    let failed = failed(&scene).await.len();
    assert!(failed <= REFUSED_ALIKE_MAX, "{failed} are FAILED");
    assert!(scene.store.excluded().is_empty(), "nobody is left out for a cause that is everybody's");

    harness.allow_updates(&scene.table()).await.expect("drop trigger");
    assert_eq!(claim(&scene, 40, 60 - failed, 12).await, 60 - failed);
}

pub async fn a_good_row_that_comes_behind_bad_ones_is_claimed_at_once<H: Harness>(harness: &H) {
    let scene = queue(harness, 60, |_| true).await;
    refuse(&scene, "new.status = 'FETCH_IN_PROGRESS'").await;
    assert_eq!(claim(&scene, 10, 1, 20).await, 0);
    scene.store.add_many(&[Key::from("new-good")]).await.expect("add_many");
    assert_eq!(claim(&scene, 10, 1, 3).await, 1);
}
