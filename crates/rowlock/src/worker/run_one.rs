//! Takes one item through one stage, for tests of handlers.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::smallvec;

use super::completion::{Disposition, disposition_of, retry};
use super::context::{Stateless, WorkerFinisher};
use super::execution::{Execution, Stop};
use super::handler::{Handler, RunEnd};
use super::leases::Leases;
use super::{Worker, resolve};
use crate::decoding::{Record, decode};
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{IntoStage, StageId};
use crate::store::{ClaimedRow, Finish, FinishParams, Outcome};
use crate::{Claim, Error, Key, Lease, Repository, Result, Status, Store};

/// What became of an item that [`Worker::run_one`] took through a stage.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TestRun {
    /// The state that the item is in now; `None` for a word that the pipeline does not know.
    pub status: Option<Status>,
    /// The word that the table has.
    pub word: String,
    /// What went wrong: the handler's error or panic, its timeout, a refusal by the database, or a lost lease.
    pub error: Option<String>,
}

impl<S: Store, R: Record<S>, T: Send + Sync + 'static> Worker<S, R, T> {
    /// Claims this item, runs the stage's handler on it under the stage's timeout, and writes the outcome, as the
    /// worker would. A batch handler gets a batch of one. No heartbeats are sent, and an outage holds no stage.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that does not exist or has no handler; [`Error::Worker`], with the
    /// reason, if the item cannot be claimed for that stage now; and those of the database.
    pub async fn run_one(self, stage: impl IntoStage, key: impl Into<Key>) -> Result<TestRun> {
        let (key, repository) = (key.into(), Arc::new(self.repository));
        let pipeline = Arc::clone(repository.pipeline());
        let stage = stage.into_stage(&pipeline)?;
        let handlers = resolve(&pipeline, self.handlers, &self.concurrency)?;
        let handler = handlers.into_iter().find(|(handled, _, _)| *handled == stage);
        let Some((_, handler, _)) = handler else {
            let value = pipeline.stage(stage).name().to_owned();
            return Err(Error::InvalidArgument {
                argument: "stage",
                value,
                rule: "this worker has no handler for it".to_owned(),
            });
        };
        let row = claim_one(&repository, stage, &key).await?;
        let lease = row.lease.clone();
        let disposition = handle_one(&repository, &handler, row).await;
        let error = write(&repository, lease, disposition).await?;
        let Some(row) = repository.get_row(key.clone()).await? else { return Err(Error::NotFound { key }) };
        Ok(TestRun { status: row.status, word: row.word, error })
    }
}

/// Runs the handler on the item, under its stage's timeout.
async fn handle_one<S: Store, R: Record<S>>(
    repository: &Arc<Repository<S, R>>,
    handler: &Handler<S, R>,
    row: ClaimedRow<S::Row>,
) -> Disposition {
    let (record, details) = match decode::<S, R>(row) {
        Ok(decoded) => decoded,
        Err((_, error)) => return Disposition::Undecodable(retry(error.to_string())),
    };
    let timeout = repository.pipeline().stage(details.lease.stage).timeout();
    let leases = Arc::new(Leases::default());
    let held = leases.hold(details.lease.clone(), Instant::now());
    let run = Arc::new(Execution::new(smallvec![Arc::clone(&held)], Instant::now()));
    held.start(&run);
    let context = Stateless::live(Arc::clone(repository), &run);
    let finisher = WorkerFinisher { repository: Arc::clone(repository), leases };
    let claims = smallvec![Claim::new(record, details, Arc::new(finisher))];
    let mut work = pin!(run.drive(handler.run(context, claims)));
    let end = tokio::select! {
        end = &mut work => end,
        () = tokio::time::sleep(timeout.unwrap_or(Duration::MAX)) => {
            run.stop(Stop::TimedOut(Instant::now()));
            work.await
        }
    };
    let result = match &end {
        RunEnd::Returned(results) => Ok(results.first().cloned()),
        stopped => Err(stopped),
    };
    disposition_of(held.by_handler(), result, run.stop_reason(), timeout)
}

/// Claims the item. A claim takes the head of the queue: the other items are released.
async fn claim_one<S: Store, R: Record<S>>(
    repository: &Repository<S, R>,
    stage: StageId,
    key: &Key,
) -> Result<ClaimedRow<S::Row>> {
    let batch = repository.dispatch().claim(repository.params_for(vec![stage], BATCH_ITEMS_MAX)).await?;
    let (mut wanted, others): (Vec<_>, Vec<_>) = batch.claimed.into_iter().partition(|row| row.lease.key == *key);
    let release = |row: ClaimedRow<S::Row>| Finish { lease: row.lease, outcome: Outcome::Release };
    let items: Vec<Finish> = others.into_iter().map(release).collect();
    if !items.is_empty() {
        let limits = repository.dispatch().limits();
        repository.dispatch().finish(FinishParams { items, limits, now: None }).await?;
    }
    match wanted.pop() {
        Some(row) => Ok(row),
        None => {
            let why = match repository.explain(key.clone()).await? {
                Some(facts) => facts.disposition(repository.pipeline()).to_string(),
                None => "there is no such item".to_owned(),
            };
            let stage = repository.pipeline().stage(stage).name();
            Err(Error::Worker { problem: format!("item {key} cannot be claimed for {stage}: {why}") })
        }
    }
}

/// Writes the outcome, if there is one. Returns what went wrong.
async fn write<S: Store, R: Record<S>>(
    repository: &Repository<S, R>,
    lease: Lease,
    disposition: Disposition,
) -> Result<Option<String>> {
    if let Some(outcome) = disposition.outcome() {
        let limits = repository.dispatch().limits();
        repository.finish_lease(lease, outcome.clone(), limits).await?;
    }
    Ok(match disposition {
        Disposition::Write(outcome)
        | Disposition::WriteAfterUnknown(outcome)
        | Disposition::TimedOut(outcome)
        | Disposition::Panicked(outcome)
        | Disposition::Undecodable(outcome) => outcome.error().map(str::to_owned),
        Disposition::Outage { error, .. } => Some(error),
        Disposition::Settled { error, .. } => error,
        Disposition::Refused { reason } => Some(reason),
        Disposition::Lost(_) => Some("the lease was lost".to_owned()),
    })
}
