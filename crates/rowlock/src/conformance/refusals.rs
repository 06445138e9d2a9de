//! Rows that the database does not allow to be written: they harm only themselves.

use super::scene::{
    Scene, assert_invalid_argument, at, claimed_keys, fail, fetch_and_parse, keys, limits, quoted, retry,
};
use super::{Harness, Refusal, Refusing};
use crate::pipeline::Status;
use crate::store::{Finish, FinishParams, Finished, LeaseState, Moved, Outcome, RequeueParams, SetParams, Store};
use crate::{Key, Lease};

const BOTH: [Refusing; 2] = [Refusing::Loudly, Refusing::Silently];

async fn refuse<H: Harness>(scene: &Scene<'_, H>, how: Refusing, when: &str) {
    let table = scene.table();
    scene.harness.refuse_updates(&Refusal { table: &table, when, how }).await.expect("create trigger");
}

async fn allow<H: Harness>(scene: &Scene<'_, H>) {
    scene.harness.allow_updates(&scene.table()).await.expect("drop trigger");
}

/// A table for each way of refusing, so that one test can use both.
async fn scene_of<H: Harness>(harness: &H, how: Refusing) -> Scene<'_, H> {
    let table = match how {
        Refusing::Loudly => "loud",
        Refusing::Silently => "silent",
    };
    let pipeline = crate::Pipeline::builder(table).table(table).key("page").stage("FETCH").stage("PARSE");
    Scene::with(harness, pipeline).await
}

fn assert_reason(how: Refusing, reason: &str) {
    assert!(!reason.is_empty());
    if how == Refusing::Loudly {
        assert!(reason.contains(Refusing::REASON), "{reason}");
    }
}

fn excluded<H: Harness>(scene: &Scene<'_, H>) -> Vec<String> {
    let mut keys: Vec<String> =
        scene.store.excluded().iter().map(|exclusion| exclusion.key.as_str().to_owned()).collect();
    keys.sort();
    keys
}

pub async fn a_row_whose_claim_is_refused_is_failed_and_its_neighbours_are_claimed<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["a", "bad 1", "b", "c", "bad 2", "d"]).await;
        refuse(&scene, how, "new.page like 'bad%' and new.status = 'FETCH_IN_PROGRESS'").await;

        let batch = scene.claim(9).await;

        assert_eq!(claimed_keys(&batch), ["a", "b", "c", "d"], "{how:?}");
        let mut refused: Vec<&str> = batch.refused.iter().map(|(key, _)| key.as_str()).collect();
        refused.sort_unstable();
        assert_eq!(refused, ["bad 1", "bad 2"], "{how:?}");
        for (_, reason) in &batch.refused {
            assert_reason(how, reason);
        }
        for key in refused {
            let item = scene.raw(key).await;
            assert_eq!(item.status.as_deref(), Some("FAILED"), "{how:?}");
            assert_eq!(item.resume.as_deref(), Some("PENDING"), "{how:?}");
            assert_eq!(item.token, None, "nobody holds it");
            assert_reason(how, &item.error.expect("an error"));
            let failures = scene.failures(key).await;
            assert_eq!(failures.iter().map(|(cause, _)| cause.as_str()).collect::<Vec<_>>(), ["refused"]);
        }
        assert!(excluded(&scene).is_empty(), "what could be failed need not be left out");
        for key in ["a", "b", "c", "d"] {
            assert_eq!(scene.raw(key).await.token, batch.leases().next().map(|lease| lease.token.as_i64()));
        }
    }
}

pub async fn a_row_that_refuses_every_write_is_left_out_of_later_claims<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["bad", "a", "b"]).await;
        refuse(&scene, how, "new.page = 'bad'").await;
        let before = scene.raw("bad").await;

        let batch = scene.claim(2).await;
        assert!(!claimed_keys(&batch).contains(&"bad"), "{how:?}");
        assert_eq!(batch.refused.len(), 1, "{how:?}");
        assert_eq!(batch.refused[0].0, Key::from("bad"));
        assert!(batch.may_have_more || claimed_keys(&batch) == ["a", "b"], "{how:?}: the others are still to be had");
        assert_eq!(excluded(&scene), ["bad"], "{how:?}");
        let explanation = scene.store.explain(&Key::from("bad"), Some(at(0))).await.expect("explain");
        assert!(explanation.expect("an item").excluded);

        let mut claimed: Vec<String> = claimed_keys(&batch).into_iter().map(str::to_owned).collect();
        let rest = scene.claim(9).await;
        assert!(rest.refused.is_empty(), "{how:?}: it is not tried again");
        claimed.extend(claimed_keys(&rest).into_iter().map(str::to_owned));
        assert_eq!(claimed, ["a", "b"], "{how:?}");
        assert_eq!(scene.raw("bad").await, before, "{how:?}");
        assert_eq!(scene.store.preview(&scene.claiming(9)).await.expect("preview").len(), 0);
    }
}

pub async fn one_bad_row_among_many_is_found<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let many: Vec<Key> = (0..100).map(|number| Key::from(format!("{number:03}"))).collect();
    scene.store.add_many(&many).await.expect("add_many");
    refuse(&scene, Refusing::Loudly, "new.page = '067' and new.status <> 'FAILED'").await;

    let batch = scene.claim(100).await;

    assert_eq!(batch.claimed.len(), 99);
    assert_eq!(batch.refused.len(), 1);
    assert_eq!(batch.refused[0].0, Key::from("067"));
}

pub async fn a_row_whose_finish_is_refused_is_failed_and_its_neighbours_move_on<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        let (fetch, parse) = fetch_and_parse();
        scene.insert_all(&["a", "bad", "b", "c"]).await;
        let batch = scene.claim(9).await;
        refuse(&scene, how, "new.page = 'bad' and new.status <> 'FAILED'").await;
        let outcomes = [Outcome::Complete, Outcome::Complete, retry("broken"), fail("hopeless")];

        let finished = finish_all(&scene, batch.leases().cloned().zip(outcomes)).await;

        let applied = |to| Finished::Applied { to };
        assert_eq!(finished[0], applied(Status::Ready(parse)), "{how:?}");
        assert_eq!(finished[2], applied(Status::Ready(fetch)), "{how:?}");
        assert_eq!(finished[3], applied(Status::Failed), "{how:?}");
        match &finished[1] {
            Finished::Refused { reason, failed } => {
                assert_reason(how, reason);
                assert!(failed, "{how:?}");
            }
            other => panic!("{how:?}: {other:?}"),
        }
        let item = scene.raw("bad").await;
        assert_eq!(item.status.as_deref(), Some("FAILED"));
        assert_eq!(item.resume.as_deref(), Some("PENDING"));
        assert_reason(how, &item.error.expect("an error"));
        assert_eq!(scene.failures("bad").await[0].0, "refused");
        assert!(excluded(&scene).is_empty());
    }
}

pub async fn a_row_that_refuses_every_write_stays_in_progress_and_is_left_out<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["a", "bad"]).await;
        let batch = scene.claim(9).await;
        refuse(&scene, how, "new.page = 'bad'").await;
        let before = scene.raw("bad").await;

        let finished = finish_all(&scene, batch.leases().cloned().zip([Outcome::Complete, Outcome::Complete])).await;

        assert!(matches!(finished[0], Finished::Applied { .. }), "{how:?}");
        assert!(matches!(finished[1], Finished::Refused { failed: false, .. }), "{how:?}: {:?}", finished[1]);
        assert_eq!(scene.raw("bad").await, before);
        assert_eq!(excluded(&scene), ["bad"]);
        // Nor does the sweep try it again and again.
        let swept = scene.sweep(at(100_000)).await;
        assert!(swept.refused.is_empty() && swept.items.is_empty(), "{how:?}: {swept:?}");
    }
}

pub async fn a_refused_row_alone_is_refused_and_not_lost<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        let lease = scene.insert_and_lease("bad").await;
        refuse(&scene, how, "new.page = 'bad' and new.status = 'FETCH_COMPLETE'").await;

        let finished = scene.finish(&lease, Outcome::Complete).await;

        assert!(matches!(finished, Finished::Refused { failed: true, .. }), "{how:?}: {finished:?}");
    }
}

pub async fn a_refused_row_is_not_taken_for_a_lost_lease<H: Harness>(harness: &H) {
    // The row refuses, and the lease is another's: a lease that does not hold cannot be refused.
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        let lease = scene.insert_and_lease("bad").await;
        scene.cancel("bad").await;
        refuse(&scene, how, "new.page = 'bad'").await;
        let before = scene.raw("bad").await;

        assert_eq!(scene.finish(&lease, Outcome::Complete).await, Finished::LeaseLost, "{how:?}");
        assert_eq!(scene.raw("bad").await, before);
    }
}

pub async fn a_row_whose_sweep_is_refused_harms_no_neighbour<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["a", "bad", "b", "worse"]).await;
        scene.claim(9).await;
        refuse(&scene, how, "(new.page = 'bad' and new.status <> 'FAILED') or new.page = 'worse'").await;
        let worse = scene.raw("worse").await;

        let swept = scene.sweep(at(301)).await;

        let mut taken: Vec<&str> = swept.keys().map(Key::as_str).collect();
        taken.retain(|key| *key != "bad");
        taken.sort_unstable();
        assert_eq!(taken, ["a", "b"], "{how:?}");
        let mut refused: Vec<&str> = swept.refused.iter().map(|(key, _)| key.as_str()).collect();
        refused.sort_unstable();
        assert_eq!(refused, ["bad", "worse"], "{how:?}");
        let bad = scene.raw("bad").await;
        assert_eq!(bad.status.as_deref(), Some("FAILED"), "{how:?}");
        assert_eq!(bad.token, None, "{how:?}: the lease has ended");
        assert_eq!(scene.raw("worse").await, worse, "{how:?}");
        assert_eq!(excluded(&scene), ["worse"], "{how:?}");
    }
}

pub async fn a_row_whose_renewal_is_refused_harms_no_neighbour<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["a", "bad", "b"]).await;
        let batch = scene.claim(9).await;
        let leases: Vec<Lease> = batch.leases().cloned().collect();
        refuse(&scene, how, "new.page = 'bad'").await;

        let states = scene.store.renew(&leases, Some(at(70))).await.expect("renew");

        assert_eq!((&states[0], &states[2]), (&LeaseState::Held, &LeaseState::Held), "{how:?}");
        assert_ne!(states[1], LeaseState::Cancelled, "{how:?}");
        assert_eq!(scene.raw("a").await.heartbeat, Some(at(70)), "{how:?}");
        assert_eq!(scene.raw("b").await.heartbeat, Some(at(70)), "{how:?}");
    }
}

pub async fn an_operators_refused_row_harms_no_neighbour<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["a", "bad", "b"]).await;
        refuse(&scene, how, "new.page = 'bad'").await;
        let all = keys(&["a", "bad", "b"]);
        let before = scene.raw("bad").await;
        let setting = SetParams { keys: all.clone(), to: Status::Failed, error: None, now: Some(at(2)) };
        let requeueing = RequeueParams { keys: all.clone(), stage: None, now: Some(at(2)) };
        for (verb, moved) in [
            ("set", scene.store.set(&setting).await.expect("set")),
            ("requeue", scene.store.requeue(&requeueing).await.expect("requeue")),
            ("cancel", scene.store.cancel(&all, Some(at(2))).await.expect("cancel")),
        ] {
            assert!(matches!(moved[0], Moved::Applied { .. }), "{how:?} {verb}: {moved:?}");
            assert!(matches!(moved[2], Moved::Applied { .. }), "{how:?} {verb}: {moved:?}");
            match (&moved[1], verb) {
                (Moved::Refused { reason }, _) => assert_reason(how, reason),
                // It never became FAILED: there is nothing to requeue.
                (Moved::Illegal { .. }, "requeue") => {}
                other => panic!("{how:?} {verb}: {other:?}"),
            }
        }
        assert_eq!(scene.raw("bad").await, before);
    }
}

pub async fn a_check_constraint_refuses_only_its_own_row<H: Harness>(harness: &H) {
    let sql = "create table pages (page text primary key, url text, status text not null default 'PENDING', \
               check (status <> 'FETCH_IN_PROGRESS' or url is not null))";
    harness.execute(sql).await.expect("create table");
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "without url", "b"]).await;
    scene.execute("update pages set url = 'https://example.org/' where page <> 'without url'").await;

    let batch = scene.claim(9).await;

    assert_eq!(claimed_keys(&batch), ["a", "b"]);
    assert_eq!(batch.refused.len(), 1);
    assert!(batch.refused[0].1.to_lowercase().contains("check"), "the database's own words: {:?}", batch.refused);
    assert_eq!(scene.raw("without url").await.status.as_deref(), Some("FAILED"));
}

pub async fn a_unique_constraint_refuses_only_its_own_row<H: Harness>(harness: &H) {
    // At most one item of a site in progress: a unique index of the user's, for which no single row is to blame.
    let scene = Scene::new(harness).await;
    scene.execute("alter table pages add column site text").await;
    scene.insert_all(&["a", "b", "c"]).await;
    scene.execute("update pages set site = case page when 'c' then 'other' else 'same' end").await;
    scene.execute("create unique index one_a_site on pages (site) where status = 'FETCH_IN_PROGRESS'").await;

    let batch = scene.claim(9).await;

    let mut claimed = claimed_keys(&batch);
    claimed.sort_unstable();
    assert_eq!(claimed.len(), 2, "{claimed:?}");
    assert!(claimed.contains(&"c"));
    assert_eq!(batch.refused.len(), 1);
}

pub async fn a_mended_row_can_be_requeued_and_claimed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("bad").await;
    refuse(&scene, Refusing::Loudly, "new.status = 'FETCH_IN_PROGRESS'").await;
    scene.claim(9).await;
    allow(&scene).await;

    scene.requeue("bad", None).await;

    assert_eq!(claimed_keys(&scene.claim_at(9, at(3)).await), ["bad"]);
}

pub async fn an_exhausted_row_that_refuses_harms_no_neighbour<H: Harness>(harness: &H) {
    for how in BOTH {
        let scene = scene_of(harness, how).await;
        scene.insert_all(&["bad", "a"]).await;
        let table = quoted(scene.pipeline().table().name());
        scene.execute(&format!("update {table} set retry_count = 9 where page = 'bad'")).await;
        refuse(&scene, how, "new.page = 'bad'").await;

        let batch = scene.claim(9).await;

        assert!(batch.exhausted.is_empty(), "{how:?}");
        assert_eq!(claimed_keys(&batch), ["a"], "{how:?}");
        assert_eq!(batch.refused.len(), 1, "{how:?}");
        assert_eq!(excluded(&scene), ["bad"], "{how:?}");
    }
}

pub async fn a_key_with_a_nul_is_no_items_and_changes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let lease = scene.insert_and_lease("a").await;
    let nul = Key::from("a\0b");
    let forged = Lease { key: nul.clone(), ..lease.clone() };
    let all = vec![nul.clone(), nul.clone()];
    let before = scene.raw_all().await;

    // A lease comes from a claim: one with such a key was made up.
    let items = vec![Finish { lease: forged.clone(), outcome: Outcome::Complete }];
    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: None };
    assert_invalid_argument(scene.store.finish(&finishing).await, "key");
    assert_invalid_argument(scene.store.renew(&[lease, forged.clone()], None).await, "key");
    assert_invalid_argument(scene.store.read_leases(&[forged]).await, "key");
    let setting = SetParams { keys: all.clone(), to: Status::Failed, error: None, now: None };
    let requeueing = RequeueParams { keys: all.clone(), stage: None, now: None };
    for answers in [
        scene.store.cancel(&all, None).await.expect("cancel"),
        scene.store.set(&setting).await.expect("set"),
        scene.store.requeue(&requeueing).await.expect("requeue"),
    ] {
        assert!(matches!(answers.as_slice(), [Moved::Invalid { .. }, Moved::Invalid { .. }]), "{answers:?}");
    }
    let added = scene.store.add_many(&all).await.expect("add_many");
    assert_eq!((added.added, added.refused.len()), (0, 2));
    assert!(scene.store.get(&nul).await.expect("get").is_none());
    assert!(scene.store.explain(&nul, None).await.expect("explain").is_none());
    assert!(scene.store.failures(&nul).await.expect("failures").is_empty());

    assert_eq!(scene.raw_all().await, before);
}

async fn finish_all<H: Harness>(scene: &Scene<'_, H>, items: impl Iterator<Item = (Lease, Outcome)>) -> Vec<Finished> {
    let items = items.map(|(lease, outcome)| Finish { lease, outcome }).collect();
    let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: Some(at(1)) };
    scene.store.finish(&finishing).await.expect("finish")
}
