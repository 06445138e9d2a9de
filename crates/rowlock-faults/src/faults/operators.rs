//! Operators cancel and requeue items that workers are working on, in calls for several items. The answer to each call
//! is compared with the ledger.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::RngExt;
use rand::seq::SliceRandom;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{Moved, RequeueParams, Store};
use rowlock::{Error, Fault, Key, Status};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::audit::{Answer, Verb};
use crate::report::Verdict;
use crate::subject::{Database, pipeline};

/// Items of one call.
const KEYS: usize = 20;
/// How long others may keep a file locked.
const FREE_WITHIN: Duration = Duration::from_secs(30);
/// Of the operators' store, whose verbs may take a third of it: far more than thousands of items do.
const STALE_AFTER: Duration = Duration::from_secs(90);
/// One item in this many belongs to the operators.
const ONE_IN: usize = 4;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    let Database::Postgres(pool) = &scene.database else { return scene.drain_and_judge().await };
    let store = PostgresStore::from_pool(pool, pipeline(STALE_AFTER, scene.cast.timeout)?);
    scene.edited = items(&scene);
    scene.start()?;
    for _ in 0..scene.injections_wanted() * 4 {
        if !scene.is_busy_after(20..=150).await? {
            break;
        }
        call(&mut scene, &store, str::to_owned).await?;
        scene.injected();
    }
    take_up_again(&mut scene, &store, str::to_owned).await?;
    scene.drain_and_judge().await
}

/// The operators' share of the items with which a scene starts.
pub(super) fn items(scene: &Scene) -> Vec<String> {
    (0..scene.items_added()).step_by(ONE_IN).map(|number| format!("item-{number:06}")).collect()
}

/// Cancels or requeues some of the operators' items, in any order, by keys in this spelling.
pub(super) async fn call<S: Store>(scene: &mut Scene, store: &S, spelled: fn(&str) -> String) -> Result<()> {
    let mut ids = scene.edited.clone();
    ids.shuffle(&mut scene.lots);
    ids.truncate(KEYS);
    let keys = spelled_keys(&ids, spelled);
    let (verb, answers) = match scene.lots.random_range(0..2) {
        0 => (Verb::Cancel, until_it_is_free(async || store.cancel(&keys, None).await).await?),
        _ => (Verb::Requeue, requeue(store, keys).await?),
    };
    note(scene, ids, verb, answers);
    Ok(())
}

/// Items that are still cancelled are requeued, so that the workers meet them once more.
pub(super) async fn take_up_again<S: Store>(scene: &mut Scene, store: &S, spelled: fn(&str) -> String) -> Result<()> {
    let ids = scene.edited.clone();
    let answers = requeue(store, spelled_keys(&ids, spelled)).await?;
    note(scene, ids, Verb::Requeue, answers);
    Ok(())
}

fn spelled_keys(ids: &[String], spelled: fn(&str) -> String) -> Vec<Key> {
    ids.iter().map(|id| Key::from(spelled(id))).collect()
}

async fn requeue<S: Store>(store: &S, keys: Vec<Key>) -> Result<Vec<Moved>> {
    let requeueing = RequeueParams { keys, stage: None, now: None };
    until_it_is_free(async || store.requeue(&requeueing).await).await
}

/// Asks again if nothing was done because another client is writing: the store itself asks once.
async fn until_it_is_free<T>(ask: impl AsyncFn() -> rowlock::Result<T>) -> Result<T> {
    let until = Instant::now() + FREE_WITHIN;
    loop {
        match ask().await {
            Err(Error::Database { fault: Fault::NotApplied, .. }) if Instant::now() < until => {}
            answer => return Ok(answer?),
        }
    }
}

/// Records the items that a call reports as moved.
fn note(scene: &mut Scene, ids: Vec<String>, verb: Verb, answers: Vec<Moved>) {
    for (item, answer) in ids.into_iter().zip(answers) {
        let moved = match (verb, answer) {
            (Verb::Cancel, Moved::Applied { to }) => to == Status::Cancelled,
            (Verb::Requeue, Moved::Applied { to }) => to.is_ready(),
            (_, _) => false,
        };
        scene.answers.push(Answer { item, verb, moved });
    }
}
