//! A store whose answers can be lost: after its statement took effect, or before.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rowlock::pipeline::{Pipeline, StageId};
use rowlock::store::{
    Added, ClaimBatch, ClaimParams, ClaimedRow, CountParams, Counts, Exclusion, Expiry, Explanation, FailureRecord,
    Finish, FinishParams, Finished, HeldItem, ItemRow, LeaseState, Limits, ListParams, Moved, Page, RequeueParams,
    SetParams, Store, SweepParams, Swept,
};
use rowlock::{Error, Fault, FencingToken, Key, Lease, Result};

/// The fate of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It takes effect, and its answer is lost.
    AnswerLost,
    /// It has no effect, and the error does not show that.
    NeverArrived,
    /// It takes effect, and no answer ever comes.
    Silent,
    /// It has no effect, and the error shows that.
    NotApplied,
    /// It is refused with a permanent error.
    Broken,
    /// It has no effect, because the database is read-only.
    ReadOnly,
    /// The database was prepared by a newer version.
    TooNew,
}

/// Decides by the verb.
pub(crate) type Plan = Arc<dyn Fn(&'static str) -> Fate + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) plan: Plan,
    pub(crate) special: Arc<Special>,
}

/// Keys with special treatment, and what was seen.
#[derive(Default)]
pub(crate) struct Special {
    /// A finish of any of these meets a permanent error.
    pub(crate) unwritable: Mutex<HashSet<Key>>,
    /// A finish of these is answered "busy".
    pub(crate) locked: Mutex<HashSet<Key>>,
    /// A finish of these alone meets an error that might be transient; together with others they are "busy".
    pub(crate) out_of_room: Mutex<HashSet<Key>>,
    /// How often that happened.
    pub(crate) turned_away: AtomicUsize,
    /// A finish of these is answered "refused, and failed".
    pub(crate) refused: Mutex<HashSet<Key>>,
    /// The last of this many finishes is answered when this allows it, if it is set.
    pub(crate) held_finish: Mutex<Option<(usize, tokio::sync::watch::Receiver<bool>)>>,
    /// The tokens of all claims, as they were sent.
    pub(crate) tokens: Mutex<Vec<FencingToken>>,
    /// How far the database's clock was set forward, for the verbs of a worker.
    pub(crate) clock_ahead: Mutex<TimeDelta>,
}

impl<S> Faulty<S> {
    pub(crate) fn new(inner: S, plan: Plan) -> Faulty<S> {
        Faulty { inner, plan, special: Arc::default() }
    }
}

fn error(verb: &'static str, fault: Fault) -> Error {
    Error::Database { verb, fault, source: sqlx::Error::PoolClosed }
}

impl<S: Store> Faulty<S> {
    /// The time by the clock that was set; `None` if it was not set, or if a test passed the time.
    async fn clock(&self, given: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>> {
        let ahead = *self.special.clock_ahead.lock().expect("no panic");
        if given.is_some() || ahead.is_zero() {
            return Ok(given);
        }
        Ok(Some(self.inner.now().await? + ahead))
    }

    async fn hold_finish(&self) {
        let held = {
            let mut held = self.special.held_finish.lock().expect("no panic");
            let is_last = held.as_mut().is_some_and(|(finishes, _)| {
                *finishes -= 1;
                *finishes == 0
            });
            if is_last { held.take() } else { None }
        };
        if let Some((_, mut may_go)) = held {
            may_go.wait_for(|may_go| *may_go).await.expect("the test says so");
        }
    }

    async fn meet<T>(&self, verb: &'static str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match (self.plan)(verb) {
            Fate::Answered => call.await,
            Fate::AnswerLost => {
                let _lost = call.await;
                Err(error(verb, Fault::Unknown))
            }
            Fate::Silent => {
                let _lost = call.await;
                std::future::pending().await
            }
            Fate::NeverArrived => Err(error(verb, Fault::Unknown)),
            Fate::NotApplied => Err(error(verb, Fault::NotApplied)),
            Fate::ReadOnly => Err(error(verb, Fault::ReadOnly)),
            Fate::TooNew => Err(Error::SchemaTooNew { found: 99, known: 1 }),
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
        Ok(Faulty { inner: self.inner.fork().await?, ..self.clone() })
    }
    async fn read_only(&self) -> Result<Self> {
        Ok(Faulty { inner: self.inner.read_only().await?, ..self.clone() })
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
    async fn claim(&self, claiming: &ClaimParams) -> Result<ClaimBatch<S::Row>> {
        self.special.tokens.lock().expect("no panic").push(claiming.token);
        let claiming = ClaimParams { now: self.clock(claiming.now).await?, ..claiming.clone() };
        self.meet("claim", self.inner.claim(&claiming)).await
    }
    async fn find_claimed(&self, token: FencingToken) -> Result<Vec<ClaimedRow<S::Row>>> {
        self.meet("find_claimed", self.inner.find_claimed(token)).await
    }
    async fn finish(&self, finishing: &FinishParams) -> Result<Vec<Finished>> {
        let among =
            |keys: &Mutex<HashSet<Key>>, item: &Finish| keys.lock().expect("no panic").contains(&item.lease.key);
        if finishing.items.iter().any(|item| among(&self.special.unwritable, item)) {
            return Err(error("finish", Fault::Lasting));
        }
        if finishing.items.iter().all(|item| among(&self.special.out_of_room, item)) {
            self.special.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(error("finish", Fault::NotApplied));
        }
        let answer = |item: &Finish| {
            if among(&self.special.locked, item) || among(&self.special.out_of_room, item) {
                Some(Finished::Busy)
            } else if among(&self.special.refused, item) {
                Some(Finished::Refused { reason: "a check".to_owned(), failed: true })
            } else {
                None
            }
        };
        let answers: Vec<Option<Finished>> = finishing.items.iter().map(answer).collect();
        let open = finishing.items.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
        let sent = FinishParams { items: open.map(|(item, _)| item.clone()).collect(), ..*finishing };
        self.hold_finish().await;
        let mut written = self.meet("finish", self.inner.finish(&sent)).await?.into_iter();
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| written.next().expect("one each"))).collect())
    }
    async fn renew(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        let now = self.clock(now).await?;
        self.meet("renew", self.inner.renew(leases, now)).await
    }
    async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        self.meet("read_leases", self.inner.read_leases(leases)).await
    }
    async fn sweep(&self, sweeping: &SweepParams) -> Result<Swept> {
        let sweeping = SweepParams { now: self.clock(sweeping.now).await?, ..sweeping.clone() };
        self.meet("sweep", self.inner.sweep(&sweeping)).await
    }
    async fn sweep_turn(&self, every: Duration) -> Result<Duration> {
        self.meet("sweep_turn", self.inner.sweep_turn(every)).await
    }
    async fn set(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        self.meet("set", self.inner.set(setting)).await
    }
    async fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        self.meet("cancel", self.inner.cancel(keys, now)).await
    }
    async fn requeue(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        self.meet("requeue", self.inner.requeue(requeueing)).await
    }
    async fn pause(&self, stage: StageId) -> Result<bool> {
        self.meet("pause", self.inner.pause(stage)).await
    }
    async fn resume(&self, stage: StageId) -> Result<bool> {
        self.meet("resume", self.inner.resume(stage)).await
    }
    async fn paused(&self) -> Result<Vec<StageId>> {
        self.inner.paused().await
    }
    async fn add_many(&self, keys: &[Key]) -> Result<Added> {
        self.meet("add_many", self.inner.add_many(keys)).await
    }
    async fn preview(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<S::Row>>> {
        self.meet("preview", self.inner.preview(claiming)).await
    }
    async fn get(&self, key: &Key) -> Result<Option<ItemRow<S::Row>>> {
        self.meet("get", self.inner.get(key)).await
    }
    async fn list(&self, listing: &ListParams) -> Result<Page<S::Row>> {
        self.meet("list", self.inner.list(listing)).await
    }
    async fn counts(&self, counting: &CountParams) -> Result<Counts> {
        let counting = CountParams { now: self.clock(counting.now).await?, ..*counting };
        self.meet("counts", self.inner.counts(&counting)).await
    }
    async fn explain(&self, key: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        self.meet("explain", self.inner.explain(key, now)).await
    }
    async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        self.meet("failures", self.inner.failures(key)).await
    }
    async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        self.meet("held", self.inner.held(limit)).await
    }
    async fn now(&self) -> Result<DateTime<Utc>> {
        let ahead = *self.special.clock_ahead.lock().expect("no panic");
        self.meet("now", async { Ok(self.inner.now().await? + ahead) }).await
    }
    async fn begin(&self) -> Result<S::Transaction> {
        self.inner.begin().await
    }
    fn expiry(transaction: &mut S::Transaction) -> Option<Expiry> {
        S::expiry(transaction)
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
    fn claims_side_by_side(&self) -> bool {
        self.inner.claims_side_by_side()
    }

    fn excluded(&self) -> Vec<Exclusion> {
        self.inner.excluded()
    }
}

/// Counts the calls of a verb.
pub(crate) fn counted(verb: &'static str, plan: Plan) -> (Plan, tokio::sync::watch::Receiver<usize>) {
    let (calls, count) = tokio::sync::watch::channel(0);
    let counting: Plan = Arc::new(move |called| {
        if called == verb {
            calls.send_modify(|calls| *calls += 1);
        }
        plan(called)
    });
    (counting, count)
}

/// A plan that answers everything.
pub(crate) fn answered() -> Plan {
    Arc::new(|_| Fate::Answered)
}

/// A plan with these fates for the first calls of a verb; it answers everything else.
pub(crate) fn first_calls(verb: &'static str, fates: &[Fate]) -> Plan {
    let left = std::sync::Mutex::new(fates.iter().copied().rev().collect::<Vec<_>>());
    Arc::new(move |called| {
        if called == verb { left.lock().expect("no panic").pop().unwrap_or(Fate::Answered) } else { Fate::Answered }
    })
}
