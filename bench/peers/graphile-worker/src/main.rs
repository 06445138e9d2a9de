//! graphile_worker as a peer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, Worker, WorkerContext, WorkerOptions, WorkerUtils,
};
use peer_protocol::{Peer, Progress, Task, Work, count};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// Handlers at once, if jobs come in batches. They wait for nothing, so that more of them gain nothing.
const CONCURRENCY: usize = 16;

/// Handlers at once, if each job is claimed and completed by itself.
const SMALL_AT_ONCE: usize = 16;

/// Local queues, each of which claims for itself, and the jobs that one claims in one statement.
const LOCAL_QUEUES: usize = 2;
const LOCAL_QUEUE_SIZE: usize = 1000;

/// How long completions are gathered. The crate's guide recommends 1 to 5 ms.
const COMPLETION_DELAY: Duration = Duration::from_millis(5);

/// Jobs that are added in one statement.
const ADD_AT_ONCE: u64 = 5000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Nothing {}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(progress) = context.get_ext::<Arc<Progress>>() else { return Err("no counter".to_owned()) };
        progress.handled();
        Ok(())
    }
}

struct GraphileWorker {
    utils: WorkerUtils,
    client: tokio_postgres::Client,
    /// Keeps the connections of `utils`.
    _idle: Worker,
}

fn options(url: &str) -> WorkerOptions {
    WorkerOptions::default().database_url(url).define_job::<Nothing>()
}

impl Peer for GraphileWorker {
    type Worker = (Arc<Worker>, JoinHandle<Result<()>>);

    fn settings(work: Work) -> String {
        let settings = match work {
            Work::Drain => format!(
                "{LOCAL_QUEUES} local queues of {LOCAL_QUEUE_SIZE}, completions gathered for {COMPLETION_DELAY:?}, \
                 concurrency {CONCURRENCY}"
            ),
            Work::Small => format!("run_once, no local queue, no batches, concurrency {SMALL_AT_ONCE}"),
            Work::Add => format!("add_jobs, {ADD_AT_ONCE} a call"),
            Work::Wake => "the defaults".to_owned(),
        };
        format!("graphile_worker 0.14.1: {settings}")
    }

    async fn prepare(url: &str) -> Result<()> {
        options(url).init().await.context("migrating")?;
        Ok(())
    }

    async fn connect(url: &str) -> Result<Self> {
        let worker = options(url).init().await.context("connecting")?;
        Ok(GraphileWorker { utils: worker.create_utils(), client: peer_protocol::connect(url).await?, _idle: worker })
    }

    async fn add(&self, jobs: u64) -> Result<()> {
        let spec = JobSpec::default();
        for first in (0..jobs).step_by(usize::try_from(ADD_AT_ONCE)?) {
            let batch: Vec<_> = (first..jobs.min(first + ADD_AT_ONCE)).map(|_| (Nothing {}, &spec)).collect();
            self.utils.add_jobs(&batch).await?;
        }
        Ok(())
    }

    async fn add_one(&self) -> Result<()> {
        self.utils.add_job(Nothing {}, JobSpec::default()).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64> {
        // Jobs that succeeded are deleted.
        count(&self.client, "select count(*) from graphile_worker._private_jobs").await
    }

    async fn start(task: &Task, progress: Arc<Progress>) -> Result<Self::Worker> {
        let options = options(&task.database).add_extension(progress);
        let options = match task.work {
            Work::Drain => options
                .concurrency(CONCURRENCY)
                .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE_SIZE).with_queue_count(LOCAL_QUEUES))
                .complete_job_batch_delay(COMPLETION_DELAY),
            Work::Small => options.concurrency(SMALL_AT_ONCE),
            Work::Add | Work::Wake => options,
        };
        let worker = Arc::new(options.init().await.context("connecting")?);
        let running = Arc::clone(&worker);
        let is_small = task.work == Work::Small;
        // Without a local queue and without notifications, `run` takes no more jobs a second than it has handlers.
        let run = async move { Ok(if is_small { running.run_once().await? } else { running.run().await? }) };
        Ok((worker, tokio::spawn(run)))
    }

    async fn stop((worker, run): Self::Worker) -> Result<()> {
        worker.request_shutdown();
        run.await?
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    peer_protocol::run::<GraphileWorker>().await
}
