//! A dry run: handlers run on a sample while the database refuses every write.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use smallvec::smallvec;
use tokio_util::sync::CancellationToken;

use super::completion::timeout_error;
use super::context::{DryFinisher, Stateless};
use super::execution::OfRun;
use super::handler::{Handler, panic_message};
use crate::claim::ClaimDetails;
use crate::decoding::Record;
use crate::pipeline::{StageId, Status};
use crate::{Claim, Error, Failure, FencingToken, Handled, Item, Items, Key, Lease, Repository, Result, Store};

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
