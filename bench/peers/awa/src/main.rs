//! awa as a peer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use awa::{Client, InsertOpts, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig};
use peer_protocol::{Peer, Progress, Task, Work, execute};
use serde::{Deserialize, Serialize};
use sqlx08::PgPool;
use sqlx08::postgres::PgPoolOptions;

const QUEUE: &str = "bench";

/// Jobs at once. With 512 or more, awa completes on four connections.
const WORKERS: u32 = 1024;

/// Jobs at once, if each is claimed by itself, and loops that claim them.
const SMALL_AT_ONCE: u32 = 16;
const SMALL_CLAIMERS: u16 = 4;

/// Jobs that are added in one COPY.
const ADD_AT_ONCE: u64 = 5000;

/// How long jobs may run on when the worker stops.
const STOP_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize, JobArgs)]
struct Nothing {}

struct Awa {
    pool: PgPool,
    storage: QueueStorage,
}

async fn pool(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(20).connect(url).await.context("connecting")
}

fn opts() -> InsertOpts {
    InsertOpts { queue: QUEUE.to_owned(), ..InsertOpts::default() }
}

fn config(work: Work) -> QueueConfig {
    let defaults = QueueConfig::default();
    match work {
        // Without a deadline awa records a batch of claims, and one of completions, as a row.
        Work::Drain => QueueConfig { max_workers: WORKERS, deadline_duration: Duration::ZERO, ..defaults },
        Work::Small => {
            QueueConfig { max_workers: SMALL_AT_ONCE, claimers: SMALL_CLAIMERS, claim_batch_size: 1, ..defaults }
        }
        Work::Add | Work::Wake => defaults,
    }
}

impl Peer for Awa {
    type Worker = Client;

    fn settings(work: Work) -> String {
        let settings = match work {
            Work::Drain => format!("max_workers {WORKERS}, no deadline"),
            Work::Small => {
                format!(
                    "claim_batch_size 1, {SMALL_CLAIMERS} claimers, max_workers {SMALL_AT_ONCE}; completions are \
                     gathered nevertheless"
                )
            }
            Work::Add => format!("enqueue_params_copy, {ADD_AT_ONCE} a call"),
            Work::Wake => "the defaults".to_owned(),
        };
        format!("awa 0.6.9: {settings}")
    }

    async fn prepare(url: &str) -> Result<()> {
        awa::migrations::run(&pool(url).await?).await?;
        // The first worker of a new database does this, so that the jobs go where its kind of worker looks for them.
        execute(url, "select awa.storage_auto_finalize_if_fresh('awa')").await
    }

    async fn connect(url: &str) -> Result<Self> {
        Ok(Awa { pool: pool(url).await?, storage: QueueStorage::new(QueueStorageConfig::default())? })
    }

    async fn add(&self, jobs: u64) -> Result<()> {
        for first in (0..jobs).step_by(usize::try_from(ADD_AT_ONCE)?) {
            let batch =
                (first..jobs.min(first + ADD_AT_ONCE)).map(|_| awa::model::insert::params_with(&Nothing {}, opts()));
            self.storage.enqueue_params_copy(&self.pool, &batch.collect::<Result<Vec<_>, _>>()?).await?;
        }
        Ok(())
    }

    async fn add_one(&self) -> Result<()> {
        awa::insert_with(&self.pool, &Nothing {}, opts()).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64> {
        let counts = self.storage.queue_counts(&self.pool, QUEUE).await?;
        Ok(u64::try_from(counts.available + counts.running)?)
    }

    async fn start(task: &Task, progress: Arc<Progress>) -> Result<Self::Worker> {
        let client = Client::builder(pool(&task.database).await?)
            .queue(QUEUE, config(task.work))
            .register::<Nothing, _, _>(move |_, _| {
                progress.handled();
                async { Ok(JobResult::Completed) }
            })
            .build()?;
        client.start().await?;
        Ok(client)
    }

    async fn stop(client: Client) -> Result<()> {
        client.shutdown(STOP_WITHIN).await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peer_protocol::run::<Awa>().await
}
