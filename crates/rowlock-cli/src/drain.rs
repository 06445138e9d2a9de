//! `rowlock drain`: takes the items through their stages with handlers that do nothing, to see that a table works as a
//! queue.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use chrono::TimeDelta;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Failure, Handled, JsonRecord, Outcome, Pipeline, Record, Repository, Waiting, Worker, WorkerReport};
use tokio_util::sync::CancellationToken;

use crate::ExitStatus;
use crate::attach::Attachable;
use crate::cli::DrainOptions;
use crate::config::Description;
use crate::database::{Kind, Target};
use crate::output::{print, print_error, shown};
use crate::status::refuse_unattached;

/// Works until nothing is due that other workers do not hold, and prints what was done.
///
/// # Errors
/// If the table is not attached, for a stage that does not exist, and those of the database.
pub async fn run(target: &Target, description: &Description, options: &DrainOptions) -> Result<ExitStatus> {
    target.check_file(false)?;
    let pipeline = description.pipeline_with_key(target.key_type(description).await?)?;
    let stages = stages(&pipeline, &options.stage)?;
    let unusable = || format!("{target} cannot be used");
    print_error(format_args!(
        "draining {} in {target} with handlers that do nothing: {}",
        shown(&pipeline.table().to_string()),
        shown(&stages.join(", "))
    ));
    let report = match target.kind() {
        Kind::Postgres => {
            work(PostgresStore::connect(target.url(), pipeline).await.with_context(unusable)?, stages, options).await?
        }
        Kind::Sqlite => {
            work(SqliteStore::connect(target.url(), pipeline).await.with_context(unusable)?, stages, options).await?
        }
    };
    print_report(&report)?;
    // Items at a limit, and words that no state has, are the affair of the table. A row that cannot be written or read
    // is what a trial is to find.
    let is_odd = report.refused + report.undecodable > 0 || !report.remaining.refused.is_empty();
    Ok(if is_odd { ExitStatus::Findings } else { ExitStatus::Ok })
}

/// The names of the chosen stages, or of all.
fn stages(pipeline: &Pipeline, chosen: &[String]) -> Result<Vec<String>> {
    let known: Vec<String> = pipeline.stages().iter().map(|stage| stage.name().to_owned()).collect();
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        bail!("--stage {unknown}: the pipeline has no such stage, but {}", known.join(", "));
    }
    Ok(known.into_iter().filter(|name| chosen.is_empty() || chosen.contains(name)).collect())
}

async fn work<S: Attachable>(store: S, stages: Vec<String>, options: &DrainOptions) -> Result<WorkerReport>
where
    JsonRecord: Record<S>,
{
    refuse_unattached(&store).await?;
    let plan = Arc::new(Plan {
        runs: AtomicU64::new(0),
        limit: options.limit,
        fail_every: options.fail_every,
        enough: CancellationToken::new(),
    });
    let mut worker = Worker::new(Repository::<S, JsonRecord>::new(store))
        .shutdown_on_signals()
        .shutdown_on(plan.enough.clone())
        .on_wait({
            let plan = Arc::clone(&plan);
            move |waiting| plan.wait_for(waiting)
        });
    for stage in stages {
        let plan = Arc::clone(&plan);
        worker = worker.handle(stage, move |_context, _claim| {
            let handled = plan.handle();
            async move { handled }
        });
    }
    Ok(worker.run_until_nothing_is_due().await?)
}

/// What the handlers share.
struct Plan {
    runs: AtomicU64,
    limit: Option<NonZeroU64>,
    fail_every: Option<NonZeroU64>,
    /// Cancelled when the limit is reached.
    enough: CancellationToken,
}

/// How long the leases of others are waited for: those that are about to end belong to workers that have stopped.
const LEASES_WAITED_FOR: TimeDelta = TimeDelta::seconds(10);

impl Plan {
    /// Ends the trial if nothing but items of other workers is left, whose leases live on.
    fn wait_for(&self, waiting: &Waiting) {
        if waiting.lease_ends_at.is_some_and(|end| end > waiting.at + LEASES_WAITED_FOR) {
            self.enough.cancel();
        } else {
            print_error(format_args!("waiting for {waiting}"));
        }
    }

    /// How the next run ends.
    fn handle(&self) -> Result<Handled, Failure> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(limit) = self.limit {
            if run >= limit.get() {
                self.enough.cancel();
            }
            if run > limit.get() {
                return Ok(Outcome::Release.into());
            }
        }
        match self.fail_every {
            Some(every) if run % every == 0 => {
                Err(Failure::retryable(format!("run {run} was to fail: --fail-every {every}")))
            }
            _ => Ok(().into()),
        }
    }
}

fn print_report(report: &WorkerReport) -> Result<()> {
    print(format_args!(
        "{} stages completed in {:.1} s; {} to be tried again, {} failed, {} refused by the database",
        report.completed,
        report.duration.as_secs_f64(),
        report.retried,
        report.failed,
        report.refused
    ))?;
    if report.swept > 0 {
        print(format_args!("{} were taken back from workers that had stopped", report.swept))?;
    }
    if !report.remaining.is_empty() {
        print(format_args!("left: {}", shown(&report.remaining.to_string())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(limit: Option<u64>, fail_every: Option<u64>) -> Plan {
        Plan {
            runs: AtomicU64::new(0),
            limit: limit.and_then(NonZeroU64::new),
            fail_every: fail_every.and_then(NonZeroU64::new),
            enough: CancellationToken::new(),
        }
    }

    #[test]
    fn each_nth_run_fails() {
        let plan = plan(None, Some(3));
        let failed: Vec<bool> = (0..6).map(|_| plan.handle().is_err()).collect();
        assert_eq!(failed, [false, false, true, false, false, true]);
        assert!(!plan.enough.is_cancelled());
    }

    #[test]
    fn what_comes_after_the_limit_is_released() {
        let plan = plan(Some(2), None);
        assert_eq!(plan.handle(), Ok(Handled::With(Outcome::Complete)));
        assert_eq!(plan.handle(), Ok(Handled::With(Outcome::Complete)));
        assert!(plan.enough.is_cancelled());
        assert_eq!(plan.handle(), Ok(Handled::With(Outcome::Release)));
    }
}
