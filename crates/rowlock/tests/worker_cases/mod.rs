//! What a worker must do, on every database. Each case is called by `worker_sqlite.rs` and `worker_postgres.rs`.

#![allow(dead_code, reason = "each database's file uses what applies to it")]

pub(crate) mod failures;
pub(crate) mod faulty;
pub(crate) mod flow;
pub(crate) mod idle;
pub(crate) mod leases;
pub(crate) mod outages;
pub(crate) mod stopping;

use std::future::Future;
use std::time::Duration;

use rowlock::pipeline::{Pipeline, PipelineBuilder, RetryPolicy, Status};
use rowlock::store::{Claiming, Store, Sweeping};
use rowlock::{Key, Record, Repository, WorkerReport};

/// A database of its own for one test.
pub(crate) trait Database: Send + Sync {
    /// The store under test.
    type S: Store;

    /// A store with a prepared table for this pipeline.
    fn store(&self, pipeline: Pipeline) -> impl Future<Output = Self::S> + Send;

    /// Runs a statement behind everybody's back.
    fn execute(&self, sql: &str) -> impl Future<Output = ()> + Send;

    /// Runs a statement in a user's transaction.
    fn execute_in(
        transaction: &mut <Self::S as Store>::Transaction,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// The record of the tests.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) status: String,
}

pub(crate) type Repo<D> = Repository<<D as Database>::S, Item>;

/// A pipeline over the table `items` whose retries are due at once.
pub(crate) fn pipeline(stages: &[&str]) -> PipelineBuilder {
    let builder = Pipeline::builder("test").table("items").key("id").retry(RetryPolicy::constant(Duration::ZERO));
    stages.iter().fold(builder, |builder, stage| builder.stage(*stage))
}

pub(crate) async fn repository<D: Database>(database: &D, pipeline: PipelineBuilder) -> Repo<D>
where
    Item: Record<D::S>,
{
    Repository::new(database.store(pipeline.build().expect("a valid pipeline")).await)
}

pub(crate) async fn add<D: Database>(repository: &Repo<D>, count: usize) -> Vec<Key>
where
    Item: Record<D::S>,
{
    let keys: Vec<Key> = (0..count).map(|n| Key::from(format!("item-{n:05}"))).collect();
    assert_eq!(repository.add_many(&keys).await.expect("added"), count as u64);
    keys
}

pub(crate) async fn status_of<D: Database>(repository: &Repo<D>, key: &Key) -> Status
where
    Item: Record<D::S>,
{
    let item = repository.get(key.clone()).await.expect("read").expect("there is such an item");
    item.status.expect("a known word")
}

pub(crate) async fn error_of<D: Database>(repository: &Repo<D>, key: &Key) -> String
where
    Item: Record<D::S>,
{
    repository.explain(key.clone()).await.expect("read").expect("there is such an item").error.unwrap_or_default()
}

pub(crate) async fn count<D: Database>(repository: &Repo<D>, status: Status) -> i64
where
    Item: Record<D::S>,
{
    repository.counts(true).await.expect("counted").count(status)
}

/// Takes everything back that is in progress, as if its holders had stopped long ago.
pub(crate) async fn take_everything_back<D: Database>(repository: &Repo<D>) -> usize
where
    Item: Record<D::S>,
{
    let later = repository.now().await.expect("the time") + chrono::TimeDelta::hours(10);
    let sweeping = Sweeping {
        limit: 1_000,
        stale_after: repository.pipeline().stale_after(),
        max_resets: repository.pipeline().max_resets(),
        now: Some(later),
    };
    repository.store().sweep(&sweeping).await.expect("swept").items.len()
}

/// Claims as another worker that then does nothing.
pub(crate) async fn claim_and_stop<D: Database>(repository: &Repo<D>, count: i64) -> Vec<Key>
where
    Item: Record<D::S>,
{
    let stages: Vec<_> = repository.pipeline().stage_ids().collect();
    let claiming: Claiming = repository.claiming(&stages, count);
    let batch = repository.store().claim(&claiming).await.expect("claimed");
    batch.leases().map(|lease| lease.key.clone()).collect()
}

/// A safety net: what takes longer hangs.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("this hangs")
}

/// The report of a run that must succeed, without what differs from run to run.
pub(crate) fn told(report: rowlock::Result<WorkerReport>) -> WorkerReport {
    report.expect("the worker ends well")
}
