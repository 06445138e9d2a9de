//! Workers that have nothing to do, and workers that hold items for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rowlock::store::postgres::PostgresStore;
use rowlock::{Repository, Worker};
use tokio_util::sync::CancellationToken;

use super::raw::connect;
use super::rowlock::{Items, repository};
use super::wake::{Latencies, insert};
use crate::protocol::{Answer, Mark, Progress, Task, mark};
use crate::scene::{TABLE, held_pipeline};

/// The time until the workers have connected, looked, and fallen asleep: more than their longest wait between two
/// looks.
const SETTLE_SECS_MAX: f64 = 15.0;

/// How long items are held before the measurement begins, as a share of the measured time.
const SETTLE_SHARE: f64 = 0.3;

/// Items that are inserted after the idle time, to see whether so many sleepers still wake.
pub(super) const WAKE_ITEMS: u64 = 30;

/// Many idle workers for a time; then the time to wake one of them.
pub(crate) async fn idle(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(WAKE_ITEMS));
    let latencies = Arc::new(Latencies::default());
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for _ in 0..task.workers {
        let (handled, heard) = (Arc::clone(&progress), Arc::clone(&latencies));
        let worker = Worker::new(repository(task)?)
            .handle("STAGE_1", move |_, claim| {
                heard.started(claim.key().as_str());
                handled.add(1);
                async { Ok(()) }
            })
            .shutdown_on(stop.clone());
        workers.push(tokio::spawn(worker.run()));
    }
    idle_time(task).await?;
    insert(&task.database, WAKE_ITEMS, &latencies).await?;
    stop.cancel();
    for worker in workers {
        worker.await.context("a worker's task")??;
    }
    let mut answer = progress.answer(&format!("{} workers in one process, the defaults", task.workers));
    answer.figures = latencies.figures();
    Ok(answer)
}

/// The measured time, after all have fallen asleep.
pub(super) async fn idle_time(task: &Task) -> Result<()> {
    tokio::time::sleep(Duration::from_secs_f64(task.secs.clamp(0.5, SETTLE_SECS_MAX))).await;
    blocking_mark(Mark::Begin).await?;
    tokio::time::sleep(Duration::from_secs_f64(task.secs)).await;
    blocking_mark(Mark::End).await
}

/// Waits for the harness without occupying a thread of the workers'.
async fn blocking_mark(which: Mark) -> Result<()> {
    tokio::task::spawn_blocking(move || mark(which)).await?
}

fn held_repository(task: &Task) -> Result<Items> {
    Ok(Repository::new(PostgresStore::with_options(task.database.parse()?, held_pipeline()?)))
}

/// All items held for a time, by handlers that wait.
pub(crate) async fn alive(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let held = Arc::new(AtomicU64::new(0));
    let release = CancellationToken::new();
    let slots = usize::try_from(task.items.div_ceil(u64::from(task.workers)))?;
    let mut workers = Vec::new();
    for _ in 0..task.workers {
        let (progress, held, release) = (Arc::clone(&progress), Arc::clone(&held), release.clone());
        let worker = Worker::new(held_repository(task)?)
            .handle("STAGE_1", move |_, _| {
                held.fetch_add(1, Ordering::Relaxed);
                progress.add(1);
                let release = release.clone();
                async move {
                    release.cancelled().await;
                    Ok(())
                }
            })
            .concurrency("STAGE_1", slots);
        workers.push(tokio::spawn(worker.run_until_idle()));
    }
    while held.load(Ordering::Relaxed) < task.items {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let growth = settle(task).await?;
    blocking_mark(Mark::Begin).await?;
    tokio::time::sleep(Duration::from_secs_f64(task.secs)).await;
    blocking_mark(Mark::End).await?;
    release.cancel();
    for worker in workers {
        worker.await.context("a worker's task")??;
    }
    let mut answer = progress.answer(&format!("{} workers, {slots} slots each, a heartbeat every 10 s", task.workers));
    answer.figures.insert("settling_growth_share".to_owned(), growth);
    Ok(answer)
}

/// Waits until the table has its working size: a page needs room for two versions of each of its rows, which a
/// heartbeat writes together. Returns by what share it has grown since all items were claimed.
async fn settle(task: &Task) -> Result<f64> {
    let client = connect(&task.database).await?;
    let size = format!("select pg_table_size('{TABLE}')");
    let before: i64 = client.query_one(&size, &[]).await?.try_get(0)?;
    tokio::time::sleep(Duration::from_secs_f64(task.secs * SETTLE_SHARE)).await;
    let after: i64 = client.query_one(&size, &[]).await?.try_get(0)?;
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let growth = after as f64 / before as f64 - 1.0;
    Ok(growth)
}
