//! sqlxmq as a peer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use peer_protocol::{Peer, Progress, Task, Work, count, execute};
use sqlx08::PgPool;
use sqlx08::postgres::PgPoolOptions;
use sqlxmq::{JobBuilder, JobRunnerHandle, JobRunnerOptions};

/// The crate's own, which it asks its users to copy.
const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/20210316025847_setup.up.sql"),
    include_str!("../migrations/20210921115907_clear.up.sql"),
    include_str!("../migrations/20211013151757_fix_mq_latest_message.up.sql"),
    include_str!("../migrations/20220208120856_fix_concurrent_poll.up.sql"),
    include_str!("../migrations/20220713122907_fix-clear_all-keep-nil-message.up.sql"),
];

const NAME: &str = "nothing";

/// Claims as soon as fewer run than the first, up to the second.
const DRAIN_CONCURRENCY: (usize, usize) = (500, 1000);
const SMALL_CONCURRENCY: (usize, usize) = (16, 16);

/// Connections for completions, each of which is a separate statement.
const CONNECTIONS: u32 = 16;

/// After this long, a job that was claimed but not completed is claimed again. A whole batch is claimed at once, and
/// its last job has to be done by then.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Jobs that are added in one transaction.
const ADD_AT_ONCE: u64 = 1000;

/// Jobs of the drain that are added beforehand, in one statement.
const FILL_AT_ONCE: u64 = 10_000;

/// How long jobs may run on when the worker stops.
const STOP_WITHIN: Duration = Duration::from_secs(60);

struct Sqlxmq {
    pool: PgPool,
    client: tokio_postgres::Client,
}

async fn pool(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await.context("connecting")
}

fn job() -> JobBuilder<'static> {
    let mut job = JobBuilder::new(NAME);
    job.set_retry_backoff(RETRY_AFTER);
    job
}

impl Peer for Sqlxmq {
    type Worker = JobRunnerHandle;

    fn settings(work: Work) -> String {
        let settings = match work {
            Work::Drain => format!("concurrency {DRAIN_CONCURRENCY:?}, {CONNECTIONS} connections"),
            Work::Small => format!("concurrency {SMALL_CONCURRENCY:?}, {CONNECTIONS} connections"),
            Work::Add => format!("spawn, {ADD_AT_ONCE} a transaction"),
            Work::Wake => "the defaults".to_owned(),
        };
        format!("sqlxmq 0.6.0: {settings}")
    }

    async fn prepare(url: &str) -> Result<()> {
        for migration in MIGRATIONS {
            execute(url, migration).await?;
        }
        Ok(())
    }

    async fn connect(url: &str) -> Result<Self> {
        Ok(Sqlxmq { pool: pool(url).await?, client: peer_protocol::connect(url).await? })
    }

    async fn add(&self, jobs: u64) -> Result<()> {
        for first in (0..jobs).step_by(usize::try_from(ADD_AT_ONCE)?) {
            let mut tx = self.pool.begin().await?;
            for _ in first..jobs.min(first + ADD_AT_ONCE) {
                job().spawn(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// One by one this takes a minute for 200,000. The function is the one that `spawn` calls.
    async fn fill(&self, jobs: u64) -> Result<()> {
        for first in (0..jobs).step_by(usize::try_from(FILL_AT_ONCE)?) {
            let batch = FILL_AT_ONCE.min(jobs - first);
            let retry_secs = RETRY_AFTER.as_secs();
            let insert = format!(
                "select mq_insert(array_agg((gen_random_uuid(), interval '0', 4, interval '{retry_secs} s', '', '',
                    null, false, '{NAME}', null, null)::mq_new_t)) from generate_series(1, {batch})"
            );
            self.client.batch_execute(&insert).await?;
        }
        Ok(())
    }

    async fn add_one(&self) -> Result<()> {
        job().spawn(&self.pool).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64> {
        // Jobs that succeeded are deleted. One row is not a job: orders begin at it.
        count(&self.client, "select count(*) from mq_msgs where id <> uuid_nil()").await
    }

    async fn start(task: &Task, progress: Arc<Progress>) -> Result<Self::Worker> {
        let mut runner = JobRunnerOptions::new(&pool(&task.database).await?, move |mut job| {
            let progress = Arc::clone(&progress);
            tokio::spawn(async move {
                progress.handled();
                if let Err(error) = job.complete().await {
                    eprintln!("{error}");
                }
            });
        });
        match task.work {
            Work::Drain => {
                runner.set_concurrency(DRAIN_CONCURRENCY.0, DRAIN_CONCURRENCY.1);
            }
            Work::Small => {
                runner.set_concurrency(SMALL_CONCURRENCY.0, SMALL_CONCURRENCY.1);
            }
            Work::Add | Work::Wake => {}
        }
        Ok(runner.run().await?)
    }

    async fn stop(mut runner: JobRunnerHandle) -> Result<()> {
        runner.stop().await;
        runner.wait_jobs_finish(STOP_WITHIN).await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peer_protocol::run::<Sqlxmq>().await
}
