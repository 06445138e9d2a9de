//! underway as a peer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use peer_protocol::{Peer, Progress, Task, Work, connect, count};
use sqlx08::postgres::PgPoolOptions;
use sqlx08::{PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use underway::{Queue, Worker};

/// Jobs at once, if it may choose. It claims one at a time.
const AT_ONCE: usize = 4;

/// Jobs at once, if all contenders have as many.
const SMALL_AT_ONCE: usize = 16;

/// Jobs of one call of `enqueue_multi`, as for the other peers.
const ADD_MAX: usize = 5_000;

/// How often a worker begins another of its loops, until it has as many as it may; a loop ends when it finds nothing.
const POLL_EVERY: Duration = Duration::from_millis(100);

struct Nothing {
    progress: Arc<Progress>,
}

impl underway::Task for Nothing {
    type Input = ();
    type Output = ();

    async fn execute(&self, tx: Transaction<'_, Postgres>, _input: ()) -> underway::task::Result<()> {
        self.progress.handled();
        tx.commit().await?;
        Ok(())
    }
}

struct Underway {
    pool: PgPool,
    queue: Queue<Nothing>,
    client: tokio_postgres::Client,
    task: Nothing,
}

async fn pool(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(40).connect(url).await.context("connecting")
}

async fn queue(pool: &PgPool) -> Result<Queue<Nothing>> {
    Ok(Queue::builder().name("bench").pool(pool.clone()).build().await?)
}

impl Peer for Underway {
    type Worker = (CancellationToken, JoinHandle<Result<(), underway::worker::Error>>);

    fn settings(work: Work) -> String {
        let settings = match work {
            Work::Drain => format!("concurrency {AT_ONCE}"),
            Work::Small => format!("concurrency {SMALL_AT_ONCE}"),
            Work::Add => format!("enqueue_multi of {ADD_MAX}"),
            Work::Wake => "the defaults".to_owned(),
        };
        format!("underway 0.2.0: {settings}")
    }

    async fn prepare(url: &str) -> Result<()> {
        let pool = pool(url).await?;
        underway::run_migrations(&pool).await?;
        queue(&pool).await?;
        Ok(())
    }

    async fn connect(url: &str) -> Result<Self> {
        let pool = pool(url).await?;
        let task = Nothing { progress: Arc::new(Progress::start(0, Work::Add)) };
        Ok(Underway { queue: queue(&pool).await?, pool, client: connect(url).await?, task })
    }

    async fn add(&self, jobs: u64) -> Result<()> {
        let mut left = usize::try_from(jobs)?;
        while left > 0 {
            let inputs = vec![(); left.min(ADD_MAX)];
            self.queue.enqueue_multi(&self.pool, &self.task, &inputs).await?;
            left -= inputs.len();
        }
        Ok(())
    }

    async fn add_one(&self) -> Result<()> {
        self.queue.enqueue(&self.pool, &self.task, &()).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64> {
        count(&self.client, "select count(*) from underway.task where state <> 'succeeded'").await
    }

    async fn start(task: &Task, progress: Arc<Progress>) -> Result<Self::Worker> {
        let queue = Arc::new(queue(&pool(&task.database).await?).await?);
        let mut worker = Worker::new(queue, Nothing { progress });
        let stop = CancellationToken::new();
        worker.set_shutdown_token(stop.clone());
        let at_once = match task.work {
            Work::Drain => Some(AT_ONCE),
            Work::Small => Some(SMALL_AT_ONCE),
            Work::Add | Work::Wake => None,
        };
        let Some(at_once) = at_once else { return Ok((stop, tokio::spawn(async move { worker.run().await }))) };
        worker.set_concurrency_limit(at_once);
        let every = jiff::Span::new().milliseconds(i64::try_from(POLL_EVERY.as_millis())?);
        Ok((stop, tokio::spawn(async move { worker.run_every(every).await })))
    }

    async fn stop((stop, run): Self::Worker) -> Result<()> {
        stop.cancel();
        Ok(run.await??)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peer_protocol::run::<Underway>().await
}
