//! An idle worker, and items from another connection: how long until a handler has one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rowlock::Worker;
use tokio_util::sync::CancellationToken;

use super::raw::connect;
use super::rowlock::repository;
use crate::number::percentile;
use crate::protocol::{Answer, Figures, Progress, Task};

/// The time before the first item arrives: until then a worker has found the table empty and waits.
const SETTLE: Duration = Duration::from_millis(1500);

/// The time between two items, so that the worker is idle again; a random part is added.
const BETWEEN: Duration = Duration::from_millis(60);

/// The longest wait for an item's handler. Items with a longer one count as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// When each item was sent, and when its handler started.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    sent: Mutex<HashMap<String, Instant>>,
    millis: Mutex<Vec<f64>>,
}

impl Latencies {
    /// A handler has started on this item.
    pub(super) fn started(&self, key: &str) {
        let now = Instant::now();
        if let Some(sent_at) = self.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            let millis = (now - sent_at).as_secs_f64() * 1000.0;
            self.millis.lock().unwrap_or_else(PoisonError::into_inner).push(millis);
        }
    }

    fn taken(&self) -> usize {
        self.millis.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn figures(&self) -> Figures {
        let millis = self.millis.lock().unwrap_or_else(PoisonError::into_inner);
        [("wake_p50_ms", 0.5), ("wake_p99_ms", 0.99)]
            .map(|(name, share)| (name.to_owned(), percentile(&millis, share)))
            .into()
    }
}

/// Inserts items one by one over a separate connection, each when the one before was taken and the workers have had
/// time to fall asleep again.
pub(super) async fn insert(url: &str, items: u64, latencies: &Latencies) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    let client = connect(url).await?;
    let insert = client.prepare("insert into items (id) values ($1)").await?;
    for (before, key) in super::new_keys(items).into_iter().enumerate() {
        latencies.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Instant::now());
        client.execute(&insert, &[&key]).await?;
        let until = Instant::now() + PATIENCE;
        while latencies.taken() <= before {
            ensure!(Instant::now() < until, "item {before} was not taken within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(BETWEEN + BETWEEN.mul_f64(rand::random())).await;
    }
    Ok(())
}

pub(crate) async fn wake(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let latencies = Arc::new(Latencies::default());
    let stop = CancellationToken::new();
    let (handled, heard) = (Arc::clone(&progress), Arc::clone(&latencies));
    let worker = Worker::new(repository(task)?)
        .handle("STAGE_1", move |_, claim| {
            heard.started(claim.key().as_str());
            handled.add(1);
            async { Ok(()) }
        })
        .shutdown_on(stop.clone());
    let worker = tokio::spawn(worker.run());
    insert(&task.database, task.items, &latencies).await?;
    stop.cancel();
    worker.await.context("the worker's task")??;
    let mut answer = progress.answer("the defaults");
    answer.figures = latencies.figures();
    Ok(answer)
}
