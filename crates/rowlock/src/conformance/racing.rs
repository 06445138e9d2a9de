//! Operators' verbs beside workers that claim and finish the same items: what was answered is what was done.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::Harness;
use super::scene::{Scene, claiming, limits};
use crate::pipeline::{Pipeline, Status};
use crate::store::{ClaimParams, Finish, FinishParams, Finished, Moved, Outcome, RequeueParams, SetParams, Store};
use crate::{Holder, Key};

/// Items for each verb.
const ITEMS: usize = 150;
const WORKERS: u64 = 3;
/// How often each item is requeued.
const ROUNDS: usize = 2;
/// A limit; the test ends long before.
const AT_MOST: Duration = Duration::from_secs(60);

/// How often each item was completed, by the answers to the workers.
type Completions = HashMap<Key, usize>;

pub async fn operators_verbs_that_race_workers_answer_what_they_did<H: Harness>(harness: &H) {
    let pipeline = Pipeline::builder("pages").table("pages").key("page").stage("FETCH");
    let scene = Scene::with(harness, pipeline).await;
    let named = |verb: &str| (0..ITEMS).map(|number| Key::from(format!("{verb}-{number:03}"))).collect::<Vec<_>>();
    let (cancelled, set, requeued) = (named("cancelled"), named("set"), named("requeued"));
    let all = [&cancelled[..], &set, &requeued].concat();
    let mut shuffled = all.clone();
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
    scene.store.add_many(&shuffled).await.expect("add_many");

    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let store = scene.store.fork().await.expect("fork");
        workers.spawn(work(store, Holder::named(format!("worker-{number}"))));
    }
    let racing = |keys: &[Key], salt: u64| {
        let mut keys = keys.to_vec();
        let mut random = StdRng::seed_from_u64(seed ^ salt);
        keys.shuffle(&mut random);
        keys.chunks(7).map(<[Key]>::to_vec).collect::<Vec<_>>()
    };
    let (cancelling, setting, requeueing) = tokio::join!(
        cancel(&scene.store, racing(&cancelled, 1)),
        fail(&scene.store, racing(&set, 2)),
        requeue(&scene.store, racing(&requeued, 3)),
    );
    let mut completions = Completions::new();
    for done in workers.join_all().await {
        for (key, count) in done {
            *completions.entry(key).or_default() += count;
        }
    }

    let completed = |key: &Key| completions.get(key).copied().unwrap_or_default();
    let table: HashMap<String, Option<String>> =
        scene.raw_all().await.into_iter().map(|row| (row.key, row.status)).collect();
    let word = |key: &Key| table[key.as_str()].as_deref().unwrap_or_default();
    for (key, answer) in &cancelling {
        let expected = match answer {
            Moved::Applied { to: Status::Cancelled } => ("CANCELLED", 0),
            Moved::Illegal { from } if from == "SUCCEEDED" => ("SUCCEEDED", 1),
            other => panic!("cancel {key}: {other:?}"),
        };
        assert_eq!((word(key), completed(key)), expected, "{key} was answered {answer:?}");
    }
    for (key, answer) in &setting {
        assert_eq!(*answer, Moved::Applied { to: Status::Failed }, "set {key}");
        assert!(
            word(key) == "FAILED" && completed(key) <= 1,
            "{key} is {} and {} times done",
            word(key),
            completed(key)
        );
    }
    for (key, applied) in &requeueing {
        assert_eq!((word(key), completed(key)), ("SUCCEEDED", 1 + applied), "{key}");
    }
    let was_cancelled = cancelling.iter().filter(|(_, answer)| matches!(answer, Moved::Applied { .. })).count();
    println!("{was_cancelled} of {ITEMS} were cancelled before they were done");
}

async fn cancel<S: Store>(store: &S, batches: Vec<Vec<Key>>) -> Vec<(Key, Moved)> {
    let mut answers = Vec::new();
    for keys in batches {
        let moved = store.cancel(&keys, None).await.expect("cancel");
        answers.extend(keys.into_iter().zip(moved));
    }
    answers
}

async fn fail<S: Store>(store: &S, batches: Vec<Vec<Key>>) -> Vec<(Key, Moved)> {
    let mut answers = Vec::new();
    for keys in batches {
        let setting = SetParams { keys: keys.clone(), to: Status::Failed, error: None, now: None };
        let moved = store.set(&setting).await.expect("set");
        answers.extend(keys.into_iter().zip(moved));
    }
    answers
}

/// Requeues each item once a round, each time after it is done; returns how often that was.
async fn requeue<S: Store>(store: &S, batches: Vec<Vec<Key>>) -> Vec<(Key, usize)> {
    let started = Instant::now();
    let mut left: Vec<(Key, usize)> = batches.into_iter().flatten().map(|key| (key, 0)).collect();
    let mut done = Vec::new();
    while !left.is_empty() {
        assert!(started.elapsed() < AT_MOST, "{} items are never done", left.len());
        let keys: Vec<Key> = left.iter().map(|(key, _)| key.clone()).collect();
        let moved = store.requeue(&RequeueParams { keys, stage: None, now: None }).await.expect("requeue");
        for ((key, applied), answer) in left.iter_mut().zip(moved) {
            match answer {
                Moved::Applied { to: Status::Ready(_) } => *applied += 1,
                Moved::Illegal { from } if from == "PENDING" || from == "FETCH_IN_PROGRESS" => {}
                other => panic!("requeue {key}: {other:?}"),
            }
        }
        let (ready, rest) = left.into_iter().partition(|(_, applied)| *applied >= ROUNDS);
        left = rest;
        done.extend::<Vec<_>>(ready);
    }
    done
}

/// Claims and completes until nothing is ready for a while.
async fn work<S: Store>(store: S, holder: Holder) -> Completions {
    let started = Instant::now();
    let mut completions = Completions::new();
    let mut idle = 0;
    while idle < 100 {
        assert!(started.elapsed() < AT_MOST, "the queue does not drain");
        let claiming = ClaimParams { holder: holder.clone(), now: None, ..claiming(store.pipeline(), 5) };
        let batch = store.claim(&claiming).await.expect("claim");
        if batch.claimed.is_empty() {
            idle += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        idle = 0;
        let mut items: Vec<Finish> =
            batch.leases().map(|lease| Finish { lease: lease.clone(), outcome: Outcome::Complete }).collect();
        while !items.is_empty() {
            let finishing = FinishParams { items: items.clone(), limits: limits(store.pipeline()), now: None };
            let answers = store.finish(&finishing).await.expect("finish");
            let mut busy = Vec::new();
            for (item, answer) in items.into_iter().zip(answers) {
                match answer {
                    Finished::Applied { .. } => *completions.entry(item.lease.key).or_default() += 1,
                    Finished::LeaseLost => {}
                    Finished::Busy => busy.push(item),
                    other => panic!("{}: {other:?}", item.lease.key),
                }
            }
            items = busy;
        }
    }
    store.close().await;
    completions
}
