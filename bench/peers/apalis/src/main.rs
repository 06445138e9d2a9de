//! apalis with apalis-postgres as a peer.

use std::sync::Arc;

use anyhow::{Context, Result};
use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use futures::stream;
use peer_protocol::{Peer, Progress, Task, Work, count};
use sqlx09::postgres::PgPoolOptions;
use tokio::task::JoinHandle;

const QUEUE: &str = "bench";

/// Workers in the process, each with separate claims, and jobs that one claims at a time.
const WORKERS: usize = 2;
const BATCH: usize = 1000;

/// Workers, if each job is claimed by itself.
const SMALL_AT_ONCE: usize = 16;

/// Jobs that are added in one statement.
const ADD_AT_ONCE: usize = 5000;

struct Apalis {
    pool: PgPool,
    client: tokio_postgres::Client,
}

async fn pool(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(20).connect(url).await.context("connecting")
}

fn config() -> Config {
    Config::default().queue(QUEUE)
}

async fn handle(_: u64, progress: Data<Arc<Progress>>) -> Result<(), BoxDynError> {
    progress.handled();
    Ok(())
}

impl Peer for Apalis {
    type Worker = Vec<(WorkerContext, JoinHandle<Result<(), WorkerError>>)>;

    fn settings(work: Work) -> String {
        let settings = match work {
            Work::Drain => format!("{WORKERS} workers, batches of {BATCH}, lock_tasks off"),
            Work::Small => format!("{SMALL_AT_ONCE} workers, batches of 1, lock_tasks off"),
            Work::Add => format!("push_stream, {ADD_AT_ONCE} at a time"),
            Work::Wake => "the defaults, with_pubsub".to_owned(),
        };
        format!("apalis 1.0.0, apalis-postgres 1.0.0: {settings}")
    }

    async fn prepare(url: &str) -> Result<()> {
        Ok(PostgresStorage::setup(&pool(url).await?).await?)
    }

    async fn connect(url: &str) -> Result<Self> {
        Ok(Apalis { pool: pool(url).await?, client: peer_protocol::connect(url).await? })
    }

    async fn add(&self, jobs: u64) -> Result<()> {
        let mut storage = PostgresStorage::<u64>::new(&self.pool).with_config(config());
        for first in (0..jobs).step_by(ADD_AT_ONCE) {
            let mut batch = stream::iter(first..jobs.min(first + ADD_AT_ONCE as u64));
            storage.push_stream(&mut batch).await?;
        }
        Ok(())
    }

    async fn add_one(&self) -> Result<()> {
        PostgresStorage::<u64>::new(&self.pool).with_config(config()).push(0).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64> {
        count(&self.client, "select count(*) from apalis.jobs where status <> 'Done'").await
    }

    async fn start(task: &Task, progress: Arc<Progress>) -> Result<Self::Worker> {
        let pool = pool(&task.database).await?;
        let mut workers = Vec::new();
        let (count, config) = match task.work {
            Work::Drain => (WORKERS, config().batch_size(BATCH).lock_tasks(false)),
            Work::Small => (SMALL_AT_ONCE, config().batch_size(1).lock_tasks(false)),
            Work::Add | Work::Wake => (1, config()),
        };
        for number in 0..count {
            let context = WorkerContext::new(&format!("bench-{number}"));
            let builder = WorkerBuilder::new(&context);
            let progress = Arc::clone(&progress);
            let storage = PostgresStorage::<u64>::new(&pool).with_config(config.clone());
            let run = if task.work == Work::Wake {
                tokio::spawn(builder.backend(storage.with_pubsub()).data(progress).build(handle).run())
            } else {
                tokio::spawn(builder.backend(storage).data(progress).build(handle).run())
            };
            workers.push((context, run));
        }
        Ok(workers)
    }

    async fn stop(workers: Self::Worker) -> Result<()> {
        for (context, _) in &workers {
            context.stop()?;
        }
        for (_, run) in workers {
            run.await??;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peer_protocol::run::<Apalis>().await
}
