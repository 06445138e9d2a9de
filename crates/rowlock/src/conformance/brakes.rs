//! A trigger or a constraint that refuses every row for one cause, as a deploy may bring it: it fails a few items, but
//! not the backlog.

use super::scene::{Scene, at, fetch_and_parse, limits};
use super::{Harness, Refusal, Refusing};
use crate::limits::REFUSED_ALIKE_MAX;
use crate::pipeline::{StageId, Status};
use crate::store::{Finish, FinishParams, Finished, LeaseState, Outcome, SetParams, Store, SweepParams};
use crate::{Error, Key, Lease};

const ITEMS: usize = 60;

async fn scene_of<H: Harness>(harness: &H) -> Scene<'_, H> {
    let scene = Scene::new(harness).await;
    let keys: Vec<Key> = (0..ITEMS).map(|number| Key::from(format!("page-{number:03}"))).collect();
    scene.store.add_many(&keys).await.expect("add_many");
    scene
}

async fn refuse<H: Harness>(scene: &Scene<'_, H>, when: &str) {
    let refusal = Refusal { table: &scene.table(), when, how: Refusing::Loudly };
    scene.harness.refuse_updates(&refusal).await.expect("create trigger");
}

async fn allow<H: Harness>(scene: &Scene<'_, H>) {
    scene.harness.allow_updates(&scene.table()).await.expect("drop trigger");
}

async fn count<H: Harness>(scene: &Scene<'_, H>, status: Status) -> usize {
    let word = scene.word(status);
    scene.raw_all().await.iter().filter(|item| item.status.as_deref() == Some(word.as_str())).count()
}

async fn assert_few_failed<H: Harness>(scene: &Scene<'_, H>, what: &str) {
    let failed = count(scene, Status::Failed).await;
    assert!(failed <= REFUSED_ALIKE_MAX, "{what}: {failed} items are FAILED");
}

/// Claims until there is nothing more: rows that were tried while nothing passed come back a few at a time.
async fn leases<H: Harness>(scene: &Scene<'_, H>) -> Vec<Lease> {
    let mut leases = Vec::new();
    loop {
        let before = leases.len();
        leases.extend(scene.claim(ITEMS).await.leases().cloned());
        if leases.len() == before {
            return leases;
        }
    }
}

pub async fn a_cause_that_refuses_every_claim_fails_few_items<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    refuse(&scene, "new.status = 'FETCH_IN_PROGRESS'").await;
    let mut last = Ok(());
    for _ in 0..8 {
        for limit in [1, 3, 5, 40] {
            let answer = scene.store.claim(&scene.claiming(limit)).await;
            last = answer.map(|batch| assert!(batch.claimed.is_empty()));
        }
    }
    last.expect_err("that nothing can be claimed is an error");
    let held = scene.store.claim(&scene.claiming(1)).await.map(drop).expect_err("nor can one");
    assert!(matches!(&held, Error::Held { reason, .. } if reason.contains(Refusing::REASON)), "{held:?}");
    let refused = scene.store.refused_stages();
    let [stage] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((stage.stage, stage.verb), (StageId::FIRST, "claim"), "{stage:?}");
    assert_few_failed(&scene, "claims").await;

    allow(&scene).await;
    let claimed = leases(&scene).await.len();
    assert!(claimed >= ITEMS - REFUSED_ALIKE_MAX, "it goes on by itself: {claimed}");
    assert!(scene.store.refused_stages().is_empty());
}

pub async fn a_stage_whose_claims_are_all_refused_takes_nothing_from_another<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    let parse = fetch_and_parse().1;
    let keys: Vec<Key> = (0..ITEMS / 2).map(|number| Key::from(format!("page-{number:03}"))).collect();
    let setting = SetParams { keys, to: Status::Ready(parse), error: None, now: Some(at(0)) };
    scene.store.set(&setting).await.expect("set");
    refuse(&scene, "new.status = 'PARSE_IN_PROGRESS'").await;
    let mut claimed = 0;
    for limit in [40, 40, 20, 10, 1, 1, 1, 1] {
        if let Ok(batch) = scene.store.claim(&scene.claiming(limit)).await {
            assert!(batch.leases().all(|lease| lease.stage == StageId::FIRST));
            claimed += batch.claimed.len();
        }
    }
    assert!(claimed > 0, "the other stage goes on");
    assert_few_failed(&scene, "claims of one stage").await;
    assert!(scene.store.excluded().is_empty(), "nothing is left out for long: {:?}", scene.store.excluded());

    allow(&scene).await;
    let parsed = leases(&scene).await.into_iter().filter(|lease| lease.stage == parse).count();
    assert!(parsed >= ITEMS / 2 - REFUSED_ALIKE_MAX, "all the others: {parsed}");
}

pub async fn a_cause_that_refuses_several_verbs_fails_no_more_items_for_that<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    let leases = leases(&scene).await;
    refuse(&scene, "new.status <> 'FAILED'").await;
    let outcomes = [Outcome::Complete, Outcome::Release, Outcome::Retry { error: "no".to_owned(), delay: None }];
    for (outcome, leases) in outcomes.iter().zip(leases.chunks(15)) {
        for lease in leases {
            let items = vec![Finish { lease: lease.clone(), outcome: outcome.clone() }];
            let finishing = FinishParams { items, limits: limits(scene.pipeline()), now: Some(at(1)) };
            let answer = scene.store.finish(&finishing).await;
            assert!(!matches!(answer.as_deref(), Ok([Finished::Applied { .. }])), "{answer:?}");
        }
    }
    assert_few_failed(&scene, "three outcomes").await;
}

pub async fn a_cause_that_refuses_every_heartbeat_is_told_apart_from_a_bad_row<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    let leases = leases(&scene).await;
    refuse(&scene, "new.status = old.status").await;
    let is_refused = |state: &LeaseState| matches!(state, LeaseState::Refused { .. });
    let alone = scene.store.renew(&leases[..1], Some(at(1))).await.expect("one may be bad");
    assert!(is_refused(&alone[0]) && scene.store.refused_stages().is_empty(), "{alone:?}");
    for part in leases.chunks(3).take(6) {
        if let Ok(states) = scene.store.renew(part, Some(at(1))).await {
            assert!(states.iter().all(is_refused), "{states:?}");
        }
    }
    let refused = scene.store.refused_stages();
    assert!(matches!(&refused[..], [stage] if stage.verb == "renew"), "{refused:?}");

    allow(&scene).await;
    let states = scene.store.renew(&leases, Some(at(2))).await.expect("renew");
    assert!(states.iter().all(|state| *state == LeaseState::Held) && scene.store.refused_stages().is_empty());
}

pub async fn a_cause_that_refuses_every_completion_fails_few_items<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    let mut leases = leases(&scene).await;
    refuse(&scene, "new.status = 'FETCH_COMPLETE'").await;
    let of = |leases: &[Lease]| FinishParams {
        items: leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete }).collect(),
        limits: limits(scene.pipeline()),
        now: Some(at(1)),
    };
    for part in [1, 2, 3, 5, 20, 1, 1, 1, 1, 1] {
        let part: Vec<Lease> = leases.iter().take(part).cloned().collect();
        if let Ok(answers) = scene.store.finish(&of(&part)).await {
            for (lease, answer) in part.iter().zip(answers) {
                assert!(!matches!(answer, Finished::Applied { .. }), "{answer:?}");
                if matches!(answer, Finished::Refused { .. }) {
                    leases.retain(|other| other != lease);
                }
            }
        }
    }
    assert_few_failed(&scene, "finishes").await;
    assert!(leases.len() >= ITEMS - 2 * REFUSED_ALIKE_MAX, "the others are still held: {}", leases.len());

    allow(&scene).await;
    let answers = scene.store.finish(&of(&leases)).await.expect("finish");
    let to = Status::Ready(fetch_and_parse().1);
    assert!(answers.iter().all(|answer| *answer == Finished::Applied { to }), "{answers:?}");
}

pub async fn a_cause_that_refuses_every_completion_in_a_transaction_fails_few_items<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    let leases = leases(&scene).await;
    refuse(&scene, "new.status = 'FETCH_COMPLETE'").await;
    let limits = limits(scene.pipeline());
    let mut held = Vec::new();
    for lease in &leases[..30] {
        let transaction = scene.store.begin().await.expect("begin");
        let finish = Finish { lease: lease.clone(), outcome: Outcome::Complete };
        match scene.store.finish_in(transaction, &finish, limits).await {
            Ok(Finished::Refused { .. }) => {}
            Err(Error::Held { .. }) => held.push(finish),
            other => panic!("{other:?}"),
        }
    }
    assert_few_failed(&scene, "finishes in transactions").await;
    assert_eq!(held.len(), 30 - REFUSED_ALIKE_MAX);

    allow(&scene).await;
    for finish in held {
        let transaction = scene.store.begin().await.expect("begin");
        let answer = scene.store.finish_in(transaction, &finish, limits).await.expect("finish_in");
        assert!(matches!(answer, Finished::Applied { .. }), "its lease still holds: {answer:?}");
    }
}

pub async fn a_cause_that_refuses_every_sweep_fails_few_items<H: Harness>(harness: &H) {
    let scene = scene_of(harness).await;
    leases(&scene).await;
    refuse(&scene, "new.status = 'PENDING'").await;
    let later = at(100_000);
    for limit in [3, 1, 5, 2, 3, 4, 3, 3, 20, 3] {
        let sweeping = SweepParams { limit, ..scene.sweeping(later) };
        if let Ok(swept) = scene.store.sweep(&sweeping).await {
            assert!(swept.items.is_empty());
        }
    }
    assert_few_failed(&scene, "sweeps").await;

    allow(&scene).await;
    let mut swept = 0;
    while let more @ 1.. = scene.sweep(later).await.items.len() {
        swept += more;
    }
    assert!(swept >= ITEMS - 2 * REFUSED_ALIKE_MAX, "it goes on by itself: {swept}");
}

pub async fn bad_rows_among_good_ones_are_each_failed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let keys: Vec<Key> = (0..ITEMS).map(|number| Key::from(format!("{number:03}-{}", number % 2))).collect();
    scene.store.add_many(&keys).await.expect("add_many");
    refuse(&scene, "new.page like '%-1' and new.status = 'FETCH_IN_PROGRESS'").await;
    let mut claimed = 0;
    for _ in 0..ITEMS {
        claimed += scene.store.claim(&scene.claiming(2)).await.expect("nobody is held").claimed.len();
    }
    assert_eq!(claimed, ITEMS / 2);
    assert_eq!(count(&scene, Status::Failed).await, ITEMS / 2);
}
