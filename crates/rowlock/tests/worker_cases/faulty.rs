//! A store whose answers can be lost: after its statement took effect, or before.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rowlock::pipeline::{Pipeline, StageId};
use rowlock::store::{
    ClaimBatch, ClaimedRow, Claiming, Counting, Counts, Exclusion, Explanation, FailureRecord, Finish, Finished,
    Finishing, HeldItem, ItemRow, LeaseState, Limits, Listing, Moved, Page, Requeueing, Setting, Store, Sweeping,
    Swept,
};
use rowlock::{Error, Fault, FencingToken, Key, Lease, Result};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It takes effect, and its answer is lost.
    AnswerLost,
    /// It has no effect, and nobody can tell from the error.
    NeverArrived,
    /// It is refused with an error that does not pass by itself.
    Broken,
}

/// Decides by the verb.
pub(crate) type Plan = Arc<dyn Fn(&'static str) -> Fate + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) plan: Plan,
}

fn error(verb: &'static str, fault: Fault) -> Error {
    Error::Database { verb, fault, source: sqlx::Error::PoolClosed }
}

impl<S: Store> Faulty<S> {
    async fn meet<T>(&self, verb: &'static str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match (self.plan)(verb) {
            Fate::Answered => call.await,
            Fate::AnswerLost => {
                let _lost = call.await;
                Err(error(verb, Fault::Unknown))
            }
            Fate::NeverArrived => Err(error(verb, Fault::Unknown)),
            Fate::Broken => Err(error(verb, Fault::Lasting)),
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    type Row = S::Row;
    type Transaction = S::Transaction;
    type Listener = S::Listener;

    fn pipeline(&self) -> &Arc<Pipeline> {
        self.inner.pipeline()
    }
    async fn fork(&self) -> Result<Self> {
        Ok(Faulty { inner: self.inner.fork().await?, plan: Arc::clone(&self.plan) })
    }
    async fn read_only(&self) -> Result<Self> {
        Ok(Faulty { inner: self.inner.read_only().await?, plan: Arc::clone(&self.plan) })
    }
    async fn close(&self) {
        self.inner.close().await;
    }
    async fn prepare(&self) -> Result<()> {
        self.inner.prepare().await
    }
    async fn inspect(&self) -> Result<Vec<String>> {
        self.inner.inspect().await
    }
    async fn claim(&self, claiming: &Claiming) -> Result<ClaimBatch<S::Row>> {
        self.meet("claim", self.inner.claim(claiming)).await
    }
    async fn find_claimed(&self, token: FencingToken) -> Result<Vec<ClaimedRow<S::Row>>> {
        self.meet("find_claimed", self.inner.find_claimed(token)).await
    }
    async fn finish(&self, finishing: &Finishing) -> Result<Vec<Finished>> {
        self.meet("finish", self.inner.finish(finishing)).await
    }
    async fn renew(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        self.meet("renew", self.inner.renew(leases, now)).await
    }
    async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        self.meet("read_leases", self.inner.read_leases(leases)).await
    }
    async fn sweep(&self, sweeping: &Sweeping) -> Result<Swept> {
        self.meet("sweep", self.inner.sweep(sweeping)).await
    }
    async fn set(&self, setting: &Setting) -> Result<Vec<Moved>> {
        self.inner.set(setting).await
    }
    async fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        self.inner.cancel(keys, now).await
    }
    async fn requeue(&self, requeueing: &Requeueing) -> Result<Vec<Moved>> {
        self.inner.requeue(requeueing).await
    }
    async fn pause(&self, stage: StageId) -> Result<bool> {
        self.inner.pause(stage).await
    }
    async fn resume(&self, stage: StageId) -> Result<bool> {
        self.inner.resume(stage).await
    }
    async fn paused(&self) -> Result<Vec<StageId>> {
        self.inner.paused().await
    }
    async fn add_many(&self, keys: &[Key]) -> Result<u64> {
        self.inner.add_many(keys).await
    }
    async fn preview(&self, claiming: &Claiming) -> Result<Vec<ItemRow<S::Row>>> {
        self.inner.preview(claiming).await
    }
    async fn get(&self, key: &Key) -> Result<Option<ItemRow<S::Row>>> {
        self.inner.get(key).await
    }
    async fn list(&self, listing: &Listing) -> Result<Page<S::Row>> {
        self.inner.list(listing).await
    }
    async fn counts(&self, counting: &Counting) -> Result<Counts> {
        self.meet("counts", self.inner.counts(counting)).await
    }
    async fn explain(&self, key: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        self.inner.explain(key, now).await
    }
    async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        self.inner.failures(key).await
    }
    async fn held(&self, limit: i64) -> Result<Vec<HeldItem>> {
        self.inner.held(limit).await
    }
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.meet("now", self.inner.now()).await
    }
    async fn begin(&self) -> Result<S::Transaction> {
        self.inner.begin().await
    }
    async fn finish_in(&self, transaction: S::Transaction, finish: &Finish, limits: Limits) -> Result<Finished> {
        self.meet("finish_in", self.inner.finish_in(transaction, finish, limits)).await
    }
    async fn rollback(&self, transaction: S::Transaction) -> Result<()> {
        self.inner.rollback(transaction).await
    }
    async fn listen(&self) -> Result<S::Listener> {
        self.inner.listen().await
    }
    fn excluded(&self) -> Vec<Exclusion> {
        self.inner.excluded()
    }
}

/// A plan that gives the first calls of a verb these fates, and answers everything else.
pub(crate) fn first_calls(verb: &'static str, fates: &[Fate]) -> Plan {
    let left = std::sync::Mutex::new(fates.iter().copied().rev().collect::<Vec<_>>());
    Arc::new(move |called| {
        if called == verb { left.lock().expect("no panic").pop().unwrap_or(Fate::Answered) } else { Fate::Answered }
    })
}
