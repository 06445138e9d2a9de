//! Runs of handlers without the worker's tasks: a dry run, in which the database refuses every write; and one item
//! through one stage, for users' tests.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use smallvec::smallvec;
use tokio_util::sync::CancellationToken;

use super::completion::timeout_error;
use super::execution::{OfRun, panic_message};
use super::handler::{Handler, Stateless};
use crate::claim::{ClaimDetails, Finisher, own_transaction};
use crate::decoding::Record;
use crate::pipeline::{StageId, Status};
use crate::store::{Finish, LeaseState};
use crate::{
    Claim, Error, Failure, FencingToken, Handled, Item, Items, Key, Lease, Repository, Result, Settled, Store,
};

/// What a dry run did with one item.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// The item.
    pub key: Key,
    /// The stage that it would have been claimed for.
    pub stage: StageId,
    /// What the handler returned, or that the row does not decode; nothing of it was written.
    pub result: Result<Handled, Failure>,
}

/// Runs handlers on up to `limit` items that a claim would take now.
pub(crate) async fn dry_run<S: Store, R: Record<S>>(
    repository: &Repository<S, R>,
    handlers: &[(StageId, Handler<S, R>)],
    limit: usize,
) -> Result<Vec<DryRun>> {
    let store = repository.store().read_only().await?;
    let reader = Arc::new(Repository::new(store).with_holder(repository.holder().clone()));
    let results = run_sample(&reader, handlers, limit).await;
    reader.store().close().await;
    results
}

async fn run_sample<S: Store, R: Record<S>>(
    reader: &Arc<Repository<S, R>>,
    handlers: &[(StageId, Handler<S, R>)],
    limit: usize,
) -> Result<Vec<DryRun>> {
    let stages: Vec<StageId> = handlers.iter().map(|(stage, _)| *stage).collect();
    let Items { mut items, undecodable, .. } = reader.preview_with(&reader.claim_params(stages, limit)?).await?;
    let mut results = Vec::with_capacity(items.len());
    while !items.is_empty() {
        let stage = items[0].status.and_then(Status::stage);
        let handler = handlers.iter().find(|(handled, _)| Some(*handled) == stage);
        let Some((stage, handler)) = handler else {
            let key = items.remove(0).key;
            return Err(Error::Worker { problem: format!("the preview returned item {key} for another stage") });
        };
        let same =
            items.iter().take(handler.size()).take_while(|item| item.status.and_then(Status::stage) == Some(*stage));
        let batch: Vec<Item<R>> = items.drain(..same.count()).collect();
        results.extend(run_batch(reader, *stage, handler, batch).await?);
    }
    for (key, reason) in undecodable {
        let status = reader.explain(key.clone()).await?.and_then(|facts| facts.status);
        let Some(stage) = status.and_then(Status::stage) else { continue }; // moved meanwhile
        results.push(DryRun { key, stage, result: Err(Failure::retryable(reason)) });
    }
    Ok(results)
}

async fn run_batch<S: Store, R: Record<S>>(
    reader: &Arc<Repository<S, R>>,
    stage: StageId,
    handler: &Handler<S, R>,
    batch: Vec<Item<R>>,
) -> Result<Vec<DryRun>> {
    let (mut keys, mut claims) = (Vec::with_capacity(batch.len()), OfRun::with_capacity(batch.len()));
    for item in batch {
        keys.push(item.key.clone());
        claims.push(dry_claim(reader, stage, item).await?);
    }
    let stop = CancellationToken::new();
    let context = Stateless::dry(Arc::clone(reader), stop.clone());
    let work = AssertUnwindSafe(handler.run(context, claims)).catch_unwind();
    let timeout = reader.pipeline().stage(stage).timeout();
    let answer = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| timeout_error(Some(timeout))),
        None => Ok(work.await),
    };
    stop.cancel();
    let results = match answer {
        Ok(Ok(results)) => results,
        Ok(Err(panic)) => smallvec![Err(Failure::retryable(panic_message(&*panic))); keys.len()],
        Err(timed_out) => smallvec![Err(Failure::retryable(timed_out)); keys.len()],
    };
    Ok(keys.into_iter().zip(results).map(|(key, result)| DryRun { key, stage, result }).collect())
}

/// A claim whose lease is not in the database, and whose finishing calls only return what they would do.
async fn dry_claim<S: Store, R: Record<S>>(
    reader: &Arc<Repository<S, R>>,
    stage: StageId,
    item: Item<R>,
) -> Result<Claim<R>> {
    let facts = reader.explain(item.key.clone()).await?;
    let (retry_count, reset_count) = facts.map_or((0, 0), |facts| (facts.retry_count, facts.reset_count));
    let lease = Lease { key: item.key, token: FencingToken::draw(), stage };
    let details = ClaimDetails { lease, retry_count, reset_count, suspect: false };
    let finisher = DryFinisher { reader: Arc::clone(reader), retry_count };
    Ok(Claim::new(item.record, details, Arc::new(finisher)))
}

/// Returns what a finish would do, and writes nothing.
struct DryFinisher<S: Store, R> {
    reader: Arc<Repository<S, R>>,
    retry_count: i32,
}

impl<S: Store, R: 'static> Finisher for DryFinisher<S, R> {
    fn finish(&self, finish: Finish) -> BoxFuture<'_, Result<Settled>> {
        let pipeline = self.reader.pipeline();
        let from = Status::InProgress(finish.lease.stage);
        let spent = self.reader.dispatch().limits().reached(self.retry_count.saturating_add(1), 0).is_some();
        let to = pipeline.after(from, finish.outcome.to_move(spent)).map_err(|_| Error::IllegalMove {
            key: finish.lease.key,
            from: pipeline.word(from).to_owned(),
            to: finish.outcome.name().to_owned(),
        });
        Box::pin(async move { Ok(Settled { to: to? }) })
    }

    fn finish_in(&self, transaction: Box<dyn Any + Send>, finish: Finish) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(async move {
            self.reader.dispatch().rollback(own_transaction::<S::Transaction>(transaction)?).await?;
            self.finish(finish).await
        })
    }

    fn renew(&self, _lease: Lease) -> BoxFuture<'_, Result<LeaseState>> {
        Box::pin(async { Ok(LeaseState::Held) })
    }
}

/// One item through one stage, for users' tests.
#[cfg(feature = "testing")]
pub(super) mod one_item {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use smallvec::smallvec;

    use crate::decoding::{Record, decode};
    use crate::limits::BATCH_ITEMS_MAX;
    use crate::pipeline::StageId;
    use crate::store::{ClaimedRow, Finish, FinishParams, Outcome};
    use crate::worker::completion::{Disposition, disposition_of, retry};
    use crate::worker::execution::{Execution, RunEnd, Stop};
    use crate::worker::handler::{Handler, Stateless, WorkerFinisher};
    use crate::worker::leases::Leases;
    use crate::{Claim, Error, Key, Lease, Repository, Result, Status, Store};

    /// What became of an item that [`Worker::run_one`](crate::Worker::run_one) took through a stage.
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

    /// Claims the item for this stage, runs the handler on it, and writes the outcome.
    pub(crate) async fn run_one<S: Store, R: Record<S>>(
        repository: &Arc<Repository<S, R>>,
        stage: StageId,
        handler: &Handler<S, R>,
        key: Key,
    ) -> Result<TestRun> {
        let row = claim_one(repository, stage, &key).await?;
        let lease = row.lease.clone();
        let disposition = handle_one(repository, handler, row).await;
        let error = write(repository, lease, disposition).await?;
        let Some(row) = repository.get_row(key.clone()).await? else { return Err(Error::NotFound { key }) };
        Ok(TestRun { status: row.status, word: row.word, error })
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
                    Some(facts) => facts.verdict(repository.pipeline()).to_string(),
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
}
