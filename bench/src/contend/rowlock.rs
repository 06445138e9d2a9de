//! Rowlock, through its public interface.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rowlock::store::postgres::PostgresStore;
use rowlock::{Claims, Failure, Key, Repository, Store, Worker};
use tokio_util::sync::CancellationToken;

use super::passes::{FAILURES, Passes, RUNS};
use crate::protocol::{Answer, Progress, Task};
use crate::scene::{pipeline, retrying_pipeline};

/// The record: the handler needs only the key.
pub(super) type Record = (String,);
pub(super) type Items = Repository<PostgresStore, Record>;

/// Items of one call of a batch handler, which is the fastest way to handle items that take no time.
const BATCH: usize = 500;

/// Items that are handled at once, if each is claimed and completed by itself.
const SMALL_AT_ONCE: u32 = 16;

pub(super) fn repository(task: &Task) -> Result<Items> {
    Ok(Repository::new(PostgresStore::with_options(task.database.parse()?, pipeline(task.stages)?)))
}

fn stage_names(task: &Task) -> impl Iterator<Item = String> {
    (1..=task.stages).map(|stage| format!("STAGE_{stage}"))
}

/// The worker with all settings but its handlers at their defaults.
pub(crate) async fn drain(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items * task.stages as u64));
    let worker = stage_names(task).zip(0..).fold(Worker::new(repository(task)?), |worker, (name, stage)| {
        let progress = Arc::clone(&progress);
        worker.handle(name, move |_, claim| {
            progress.handled_key(claim.key().as_str(), stage);
            async { Ok(()) }
        })
    });
    finish(worker, &progress, "the defaults").await
}

/// The same beside items that are due tomorrow, for which `run_until_idle` would wait.
pub(crate) async fn drain_until_done(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let (handled, items, done) = (Arc::clone(&progress), task.items, CancellationToken::new());
    let stop = done.clone();
    let worker = Worker::new(repository(task)?)
        .handle("STAGE_1", move |_, claim| {
            handled.handled_key(claim.key().as_str(), 0);
            if handled.handled() >= items {
                stop.cancel();
            }
            async { Ok(()) }
        })
        .shutdown_on(done);
    worker.run().await?;
    Ok(progress.answer("the defaults"))
}

/// The worker with its best setting: a handler that takes batches.
pub(crate) async fn drain_in_batches(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items * task.stages as u64));
    let worker = stage_names(task).zip(0..).fold(Worker::new(repository(task)?), |worker, (name, stage)| {
        let progress = Arc::clone(&progress);
        worker.handle_batch(name, BATCH, move |_, claims| {
            progress.handled_keys(claims.iter().map(|claim| claim.key().as_str()), stage);
            async move { claims.iter().map(|_| Ok(())).collect() }
        })
    });
    finish(worker, &progress, &format!("handle_batch of {BATCH}")).await
}

/// Every item fails a few times.
pub(crate) async fn retry(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items * RUNS as u64));
    let passes = Arc::new(Passes::default());
    let (handled, ran) = (Arc::clone(&progress), Arc::clone(&passes));
    let store = PostgresStore::with_options(task.database.parse()?, retrying_pipeline(task.secs)?);
    let worker = Worker::new(Items::new(store)).handle("STAGE_1", move |_, claim| {
        handled.handled_key(claim.key().as_str(), 0);
        ran.ran(claim.retry_count());
        let fails = claim.retry_count() < FAILURES;
        async move { if fails { Err(Failure::retryable("not yet")) } else { Ok(()) } }
    });
    let mut answer = finish(worker, &progress, &format!("the defaults, retries after {} s", task.secs)).await?;
    answer.figures.insert("busy_items_per_s".into(), passes.busy_items_per_s(answer.handled));
    Ok(answer)
}

async fn finish(worker: Worker<PostgresStore, Record>, progress: &Progress, settings: &str) -> Result<Answer> {
    let report = worker.run_until_idle().await?;
    let mut answer = progress.answer(settings);
    // No other process takes items away here, and the server answers.
    ensure!(report.lost + report.unknown == 0, "{} items lost, of {} it is not known", report.lost, report.unknown);
    // A call that failed and was repeated is no reason to stop, but should be visible.
    if report.errors > 0 {
        answer.figures.insert("error_calls".to_owned(), crate::number::float(report.errors));
    }
    Ok(answer)
}

/// The verbs themselves, one item a statement.
pub(crate) async fn small(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let repository = repository(task)?;
    let mut loops = Vec::new();
    for _ in 0..SMALL_AT_ONCE {
        let (repository, progress) = (repository.clone(), Arc::clone(&progress));
        loops.push(tokio::spawn(async move { claim_and_complete(&repository, &progress).await }));
    }
    for ended in loops {
        ended.await??;
    }
    repository.store().close().await;
    Ok(progress.answer(&format!("Repository::claim(1) and Claim::complete, {SMALL_AT_ONCE} at once")))
}

async fn claim_and_complete(repository: &Items, progress: &Progress) -> Result<()> {
    loop {
        let Claims { items, .. } = repository.claim(1).await?;
        if items.is_empty() {
            return Ok(());
        }
        for claim in items {
            progress.handled_key(claim.key().as_str(), 0);
            claim.complete().await.map_err(|error| error.into_parts().0)?;
        }
    }
}

/// The worker with 16 slots whose handler completes its item itself, and waits for it.
pub(crate) async fn small_by_worker(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let handled = Arc::clone(&progress);
    let worker = Worker::new(repository(task)?)
        .handle("STAGE_1", move |_, claim| {
            handled.handled_key(claim.key().as_str(), 0);
            async move { Ok::<_, Failure>(claim.complete().await?) }
        })
        .concurrency("STAGE_1", SMALL_AT_ONCE as usize);
    finish(worker, &progress, &format!("Worker, {SMALL_AT_ONCE} slots, each item completed by its handler")).await
}

/// Adds keys.
pub(crate) async fn add(task: &Task, keys: Vec<String>) -> Result<Answer> {
    let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
    let repository = repository(task)?;
    let progress = Progress::start(task.items);
    let added = repository.add_many(&keys).await?;
    progress.add(added.added);
    let answer = progress.answer("add_many");
    repository.store().close().await;
    Ok(answer)
}
