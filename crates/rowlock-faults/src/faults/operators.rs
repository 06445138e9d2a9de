//! Operators cancel and requeue what workers are just working on, in calls for several items. What each call answered is
//! compared with what the ledger says was done.

use anyhow::Result;
use rand::RngExt;
use rand::seq::SliceRandom;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{Moved, Requeueing, Store};
use rowlock::{Key, Status};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::audit::{Answer, Verb};
use crate::report::Verdict;
use crate::subject::{Database, pipeline};

/// Items of one call.
const KEYS: usize = 20;
/// Every so-manieth item is the operators'.
const ONE_IN: usize = 4;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    let Database::Postgres(pool) = &scene.database else { return scene.drain_and_judge().await };
    let store = PostgresStore::from_pool(pool, pipeline(scene.cast.stale_after, scene.cast.timeout)?);
    scene.edited = (0..round.size.items).step_by(ONE_IN).map(|number| format!("item-{number:06}")).collect();
    scene.start()?;
    for _ in 0..scene.injections_wanted() * 4 {
        if !scene.is_busy_after(20..=150).await? {
            break;
        }
        let keys = some_keys(&mut scene);
        let answers = match scene.lots.random_range(0..2) {
            0 => (Verb::Cancel, store.cancel(&keys, None).await?),
            _ => (Verb::Requeue, requeue(&store, &keys).await?),
        };
        note(&mut scene, &keys, answers);
        scene.injected();
    }
    // What is still cancelled is taken up again, so that the workers meet it once more.
    let keys: Vec<Key> = scene.edited.iter().map(|id| Key::from(id.as_str())).collect();
    let answers = (Verb::Requeue, requeue(&store, &keys).await?);
    note(&mut scene, &keys, answers);
    scene.drain_and_judge().await
}

/// Some of the operators' items, in any order.
fn some_keys(scene: &mut Scene) -> Vec<Key> {
    let mut ids: Vec<&String> = scene.edited.iter().collect();
    ids.shuffle(&mut scene.lots);
    ids.into_iter().take(KEYS).map(|id| Key::from(id.as_str())).collect()
}

async fn requeue(store: &PostgresStore, keys: &[Key]) -> Result<Vec<Moved>> {
    Ok(store.requeue(&Requeueing { keys: keys.to_vec(), stage: None, now: None }).await?)
}

/// Writes down which items a call says that it moved.
fn note(scene: &mut Scene, keys: &[Key], (verb, answers): (Verb, Vec<Moved>)) {
    for (key, answer) in keys.iter().zip(answers) {
        let moved = match (verb, answer) {
            (Verb::Cancel, Moved::Applied { to }) => to == Status::Cancelled,
            (Verb::Requeue, Moved::Applied { to }) => to.is_ready(),
            (_, _) => false,
        };
        scene.answers.push(Answer { item: key.as_str().to_owned(), verb, moved });
    }
}
