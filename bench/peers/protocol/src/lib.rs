//! The parts that all peers of the benchmark share: the harness's protocol, and the order of a run.
//!
//! A peer defines how its tables are created, how jobs are added, and how a worker is started and stopped ([`Peer`]).
//! The common part is here, so that all are measured alike: when the clock runs, when a run is over, and what must be
//! true then. bench/README.md has the protocol in words.

mod database;
mod progress;
mod task;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;

pub use crate::database::{connect, count, execute};
pub use crate::progress::Progress;
use crate::task::{Answer, begin, say, wait_for_dismissal};
pub use crate::task::{Task, Work};

/// The time between two looks whether everything was written, after the last handler has run.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long the writing of the last jobs may take.
const WRITTEN_WITHIN: Duration = Duration::from_secs(120);

/// How long an idle worker is left alone before the first job comes.
const SETTLE: Duration = Duration::from_millis(1500);

/// The time between two jobs for an idle worker; the harness's own contenders wait as long, on average.
const BETWEEN: Duration = Duration::from_millis(90);

/// Another project's work queue. Every job does nothing.
pub trait Peer: Sized {
    /// A worker that runs.
    type Worker;

    /// The crate and its version, then its settings for this work.
    fn settings(work: Work) -> String;

    /// Creates its tables in a new database.
    fn prepare(url: &str) -> impl Future<Output = Result<()>>;

    /// Connects, to add and to count.
    fn connect(url: &str) -> impl Future<Output = Result<Self>>;

    /// Adds many jobs, in the fastest way that its interface has.
    fn add(&self, jobs: u64) -> impl Future<Output = Result<()>>;

    /// Adds the jobs of a drain before the clock runs, where the interface would take too long.
    fn fill(&self, jobs: u64) -> impl Future<Output = Result<()>> {
        self.add(jobs)
    }

    /// Adds one job, as an application does whose users wait.
    fn add_one(&self) -> impl Future<Output = Result<()>>;

    /// Jobs that have not succeeded yet, or never will: waiting, claimed, failed.
    fn unfinished(&self) -> impl Future<Output = Result<u64>>;

    /// Starts a worker on separate connections, whose handler calls [`Progress::handled`].
    fn start(task: &Task, progress: Arc<Progress>) -> impl Future<Output = Result<Self::Worker>>;

    /// Stops the worker; returns when no handler runs any more and everything is written.
    fn stop(worker: Self::Worker) -> impl Future<Output = Result<()>>;
}

/// Executes the task of the command line, answers, and waits to be dismissed.
pub async fn run<P: Peer>() -> Result<()> {
    let task = Task::parse();
    P::prepare(&task.database).await?;
    let answer = match task.work {
        Work::Drain | Work::Small => drain::<P>(&task).await?,
        Work::Add => add::<P>(&task).await?,
        Work::Wake => wake::<P>(&task).await?,
    };
    say(&answer)?;
    wait_for_dismissal()
}

/// The clock runs from before the worker connects until the last job is written.
async fn drain<P: Peer>(task: &Task) -> Result<Answer> {
    let peer = P::connect(&task.database).await?;
    peer.fill(task.items).await?;
    // As the harness does with its own tables: statistics, and a clean cache.
    execute(&task.database, "vacuum analyze").await?;
    execute(&task.database, "checkpoint").await?;
    let added = peer.unfinished().await?;
    ensure!(added == task.items, "{added} jobs are there, not {}", task.items);
    begin()?;
    let progress = Arc::new(Progress::start(task.to_handle(), task.work));
    let worker = P::start(task, Arc::clone(&progress)).await?;
    progress.wait_for(task.to_handle()).await?;
    let left = task.items - task.to_handle();
    let written = async {
        while peer.unfinished().await? > left {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(WRITTEN_WITHIN, written).await??;
    let answer = progress.answer(P::settings(task.work));
    P::stop(worker).await?;
    verify(task, &progress, peer.unfinished().await?)?;
    Ok(answer)
}

async fn add<P: Peer>(task: &Task) -> Result<Answer> {
    begin()?;
    let jobs = task.to_handle();
    let progress = Progress::start(jobs, task.work);
    let peer = P::connect(&task.database).await?;
    peer.add(jobs).await?;
    progress.count(jobs);
    let answer = progress.answer(P::settings(task.work));
    let added = peer.unfinished().await?;
    ensure!(added == jobs, "{added} jobs are there, not {jobs}");
    Ok(answer)
}

/// Each job arrives when the one before was taken and the worker has had time to fall asleep again.
async fn wake<P: Peer>(task: &Task) -> Result<Answer> {
    let peer = P::connect(&task.database).await?;
    begin()?;
    let progress = Arc::new(Progress::start(task.items, task.work));
    let worker = P::start(task, Arc::clone(&progress)).await?;
    tokio::time::sleep(SETTLE).await;
    for number in 1..=task.items {
        progress.sent();
        peer.add_one().await?;
        progress.wait_for(number).await?;
        // Not in step with a worker that polls.
        tokio::time::sleep(BETWEEN.mul_f64(0.7 + 0.6 * fraction(number))).await;
    }
    let answer = progress.answer(P::settings(task.work));
    P::stop(worker).await?;
    verify(task, &progress, peer.unfinished().await?)?;
    Ok(answer)
}

/// Every job ran exactly once, and jobs that did not run are still there.
fn verify(task: &Task, progress: &Progress, unfinished: u64) -> Result<()> {
    let handled = progress.count_handled();
    ensure!(
        handled + unfinished == task.items,
        "{handled} runs, {unfinished} jobs unfinished, of {}: this run is no result",
        task.items
    );
    ensure!(task.take.is_some() || unfinished == 0, "{unfinished} jobs are left: this run is no result");
    Ok(())
}

/// A fraction that jumps about between 0 and 1 (multiples of the golden ratio do), the same in each run.
fn fraction(number: u64) -> f64 {
    let low = u32::try_from(number % 1_000_000).unwrap_or(0);
    (f64::from(low) * 0.618_033_988_749_894_9).fract()
}
