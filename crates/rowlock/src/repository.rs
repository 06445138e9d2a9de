//! The typed interface over a store.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::claim::{Finisher, own_transaction};
use crate::decoding::{Item, Items, Record, decode, decode_item, decode_items};
use crate::dispatch::Dispatch;
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{IntoStage, Pipeline, StageId, Status};
use crate::store::{
    Added, ClaimBatch, ClaimParams, CountParams, Counts, Explanation, FailureRecord, Finish, FinishParams, Finished,
    HeldItem, ItemRow, LeaseState, Limits, ListParams, Moved, Outcome, RequeueParams, SetParams, Store, SweepParams,
    Swept,
};
use crate::{Claim, Error, FencingToken, Holder, Key, Lease, Result, Settled};

/// Claims typed records, finishes them, and has the verbs for operators. Cheap to clone.
pub struct Repository<S: Store, R> {
    dispatch: Dispatch<S>,
    holder: Holder,
    record: PhantomData<fn() -> R>,
}

impl<S: Store, R> Clone for Repository<S, R> {
    fn clone(&self) -> Self {
        Repository { dispatch: self.dispatch.clone(), holder: self.holder.clone(), record: PhantomData }
    }
}

/// The result of a claim.
#[derive(Debug)]
#[must_use = "claimed items that are not finished stay in progress until the sweep takes them back"]
#[non_exhaustive]
pub struct Claims<R> {
    /// The claimed items, in the order of the queue.
    pub items: Vec<Claim<R>>,
    /// Items that were at a limit and are now `FAILED`.
    pub exhausted: Vec<Key>,
    /// Items that the database did not allow to move, each with its reason.
    pub refused: Vec<(Key, String)>,
    /// Items whose row does not decode to the record, each with the reason. They returned to the queue as failed
    /// attempts; if that could not be written for one, the sweep takes it back.
    pub undecodable: Vec<(Key, String)>,
    /// Whether the queue may hold more items that are due.
    pub may_have_more: bool,
}

impl<S: Store, R> Repository<S, R> {
    /// A repository over a store, with its own unique holder name.
    pub fn new(store: S) -> Repository<S, R> {
        Repository { dispatch: Dispatch::new(store), holder: Holder::unique(), record: PhantomData }
    }

    /// The same repository with another holder name.
    pub fn with_holder(mut self, holder: Holder) -> Repository<S, R> {
        self.holder = holder;
        self
    }

    /// The same under a clock that a test moves.
    #[cfg(feature = "testing")]
    pub fn with_clock(mut self, clock: crate::dispatch::TestClock) -> Repository<S, R> {
        self.dispatch.set_clock(clock);
        self
    }

    /// The store underneath.
    pub fn store(&self) -> &S {
        self.dispatch.store()
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        self.dispatch.pipeline()
    }

    /// The name under which this repository claims.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    pub(crate) fn dispatch(&self) -> &Dispatch<S> {
        &self.dispatch
    }

    /// Creates the table or adds what it lacks. May be repeated.
    ///
    /// # Errors
    /// [`Error::Schema`] if a column has a type that cannot play its role, and those of the database.
    pub async fn prepare(&self) -> Result<()> {
        self.dispatch.prepare().await
    }

    /// What the table lacks, in sentences; empty if it can be used.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn inspect(&self) -> Result<Vec<String>> {
        self.dispatch.inspect().await
    }

    /// Ends a lease that is known by its parts, for a caller that keeps leases without their claims.
    ///
    /// # Errors
    /// As [`Claim::complete`]; [`Error::InvalidArgument`] for a stage that the pipeline does not have.
    pub async fn finish_lease(&self, lease: Lease, outcome: Outcome, limits: Limits) -> Result<Settled> {
        self.pipeline().check(Status::InProgress(lease.stage))?;
        let finish = Finish { lease: lease.clone(), outcome };
        let answers = self.dispatch.finish(FinishParams { items: vec![finish], limits, now: None }).await?;
        settled(&lease, answers.into_iter().next().unwrap_or(Finished::Unknown))
    }

    /// Renews a lease with a new heartbeat.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that the pipeline does not have, and those of the database.
    pub async fn renew_lease(&self, lease: Lease) -> Result<LeaseState> {
        self.pipeline().check(Status::InProgress(lease.stage))?;
        let states = self.dispatch.renew(&[lease]).await?;
        Ok(states.first().cloned().unwrap_or(LeaseState::Lost))
    }

    /// One item with its row as the store has it, whether or not it decodes to the record.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_row(&self, key: impl Into<Key>) -> Result<Option<ItemRow<S::Row>>> {
        self.dispatch.get(&key.into()).await
    }

    /// A transaction for [`Claim::complete_in`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self) -> Result<S::Transaction> {
        self.dispatch.begin().await
    }

    /// Takes back the items of stopped workers, until nothing stale is left.
    ///
    /// It uses the database's clock alone. After that clock was set, or the machine was suspended, the leases of living
    /// holders look stale: let the holders renew before this call. A worker takes care of this itself.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sweep(&self) -> Result<Swept> {
        let pipeline = self.pipeline();
        let sweeping = SweepParams {
            limit: BATCH_ITEMS_MAX,
            stale_after: pipeline.stale_after(),
            max_resets: pipeline.max_resets(),
            now: None,
        };
        let mut all = Swept::default();
        loop {
            let swept = self.dispatch.sweep(&sweeping).await?;
            let more = swept.may_have_more && !swept.items.is_empty();
            all.items.extend(swept.items);
            all.refused.extend(swept.refused);
            // A round that moved nothing met only rows that the database refuses: the next round would, too.
            if !more {
                return Ok(all);
            }
        }
    }

    /// Puts an item into a ready or terminal state, without a lease; ends its lease if it has one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IllegalMove`] into a state that is in progress or from a word that the pipeline
    /// does not know, [`Error::InvalidArgument`] for a stage that the pipeline does not have, [`Error::Refused`], and
    /// those of the database.
    pub async fn set(&self, key: impl Into<Key>, to: Status, error: Option<&str>) -> Result<Status> {
        self.pipeline().check(to)?;
        let key = key.into();
        let setting = SetParams { keys: vec![key.clone()], to, error: error.map(str::to_owned), now: None };
        let moved = self.dispatch.set(&setting).await?;
        self.single(key, moved, self.pipeline().word(to))
    }

    /// Cancels an item; if its handler is running, it is asked to stop.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IllegalMove`] if it is terminal, [`Error::Refused`], and those of the database.
    pub async fn cancel(&self, key: impl Into<Key>) -> Result<Status> {
        let keys = [key.into()];
        let moved = self.dispatch.cancel(&keys).await?;
        let [key] = keys;
        self.single(key, moved, self.pipeline().word(Status::Cancelled))
    }

    /// Makes a terminal item ready again at the stage where it stopped.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IllegalMove`] if it is not terminal, [`Error::Refused`], and those of the
    /// database.
    pub async fn requeue(&self, key: impl Into<Key>) -> Result<Status> {
        self.requeue_one(key.into(), None).await
    }

    /// Makes a terminal item ready again at this stage.
    ///
    /// # Errors
    /// As [`Repository::requeue`]; [`Error::InvalidArgument`] for a stage that the pipeline does not have.
    pub async fn requeue_from(&self, key: impl Into<Key>, stage: impl IntoStage) -> Result<Status> {
        let stage = stage.into_stage(self.pipeline())?;
        self.requeue_one(key.into(), Some(stage)).await
    }

    /// As [`Repository::requeue`] for many items; the answer has one entry for each item, in order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn requeue_many(&self, keys: impl IntoIterator<Item: Into<Key>>) -> Result<Vec<Moved>> {
        self.requeue_keys(keys.into_iter().map(Into::into).collect(), None).await
    }

    /// As [`Repository::requeue_from`] for many items; the answer has one entry for each item, in order.
    ///
    /// # Errors
    /// As [`Repository::requeue_from`].
    pub async fn requeue_many_from(
        &self,
        keys: impl IntoIterator<Item: Into<Key>>,
        stage: impl IntoStage,
    ) -> Result<Vec<Moved>> {
        let stage = stage.into_stage(self.pipeline())?;
        self.requeue_keys(keys.into_iter().map(Into::into).collect(), Some(stage)).await
    }

    async fn requeue_one(&self, key: Key, stage: Option<StageId>) -> Result<Status> {
        let moved = self.requeue_keys(vec![key.clone()], stage).await?;
        self.single(key, moved, self.pipeline().stage(stage.unwrap_or(StageId::FIRST)).ready_word())
    }

    async fn requeue_keys(&self, keys: Vec<Key>, stage: Option<StageId>) -> Result<Vec<Moved>> {
        self.dispatch.requeue(&RequeueParams { keys, stage, now: None }).await
    }

    fn single(&self, key: Key, moved: Vec<Moved>, wanted: &str) -> Result<Status> {
        match moved.into_iter().next() {
            Some(Moved::Applied { to }) => Ok(to),
            Some(Moved::Illegal { from }) => Err(Error::IllegalMove { key, from, to: wanted.to_owned() }),
            Some(Moved::Refused { reason }) => Err(Error::Refused { key, reason, failed: false }),
            Some(Moved::Invalid { reason }) => {
                Err(Error::InvalidArgument { argument: "key", value: key.to_string(), rule: reason })
            }
            Some(Moved::NotFound) | None => Err(Error::NotFound { key }),
        }
    }

    /// Stops claims for a stage. Returns false if it was already paused.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that the pipeline does not have, and those of the database.
    pub async fn pause(&self, stage: impl IntoStage) -> Result<bool> {
        self.dispatch.pause(stage.into_stage(self.pipeline())?).await
    }

    /// Allows claims for a stage again. Returns false if it was not paused.
    ///
    /// # Errors
    /// As [`Repository::pause`].
    pub async fn resume(&self, stage: impl IntoStage) -> Result<bool> {
        self.dispatch.resume(stage.into_stage(self.pipeline())?).await
    }

    /// Inserts keys in bulk. An existing key is skipped. A key that no row can have is left out: the answer names it,
    /// and a warning is logged.
    ///
    /// # Errors
    /// Those of the database, also if it refuses the row of a key (a constraint, a trigger).
    pub async fn add_many(&self, keys: impl IntoIterator<Item: Into<Key>>) -> Result<Added> {
        let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
        self.dispatch.add_many(&keys).await
    }

    /// How many items are in each state. The count of a status stops at 10,000, so that it is cheap on any table.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts(&self) -> Result<Counts> {
        self.dispatch.counts(&CountParams::default()).await
    }

    /// As [`Repository::counts`], but exact for any number of items: it reads the table.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts_exact(&self) -> Result<Counts> {
        self.dispatch.counts(&CountParams { up_to: usize::MAX, ..CountParams::default() }).await
    }

    /// Why an item can or cannot be claimed now; `None` if there is no such item.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn explain(&self, key: impl Into<Key>) -> Result<Option<Explanation>> {
        self.dispatch.explain(&key.into()).await
    }

    /// The last failures of an item, latest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn failures(&self, key: impl Into<Key>) -> Result<Vec<FailureRecord>> {
        self.dispatch.failures(&key.into()).await
    }

    /// Which items are held, by whom and since when.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        self.dispatch.held(limit).await
    }

    /// The time by the database's clock.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        self.dispatch.now().await
    }
}

impl<S: Store, R: Record<S>> Repository<S, R> {
    /// Claims up to `limit` ready items of any stage, at most 1,000 at once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim(&self, limit: usize) -> Result<Claims<R>> {
        self.claim_for(self.pipeline().stage_ids(), limit).await
    }

    /// Claims up to `limit` ready items of these stages.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that the pipeline does not have, and those of the database.
    pub async fn claim_for(&self, stages: impl IntoIterator<Item: IntoStage>, limit: usize) -> Result<Claims<R>> {
        self.claim_with(self.claim_params(stages, limit)?).await
    }

    /// Claims items by the caller's parameters. The token must be drawn for this claim alone; after a transient error
    /// that certainly took nothing, the claim is sent again under a new token.
    ///
    /// First, the items of earlier claims with lost answers return to the queue.
    ///
    /// # Errors
    /// As [`Repository::claim_for`].
    pub async fn claim_with(&self, claiming: ClaimParams) -> Result<Claims<R>> {
        self.check_stages(&claiming)?;
        self.dispatch.release_lost_claims().await;
        let batch = self.dispatch.claim(claiming).await?;
        let finisher: Arc<dyn Finisher> = Arc::new(self.clone());
        let ClaimBatch { claimed, exhausted, refused, may_have_more, .. } = batch;
        let mut claims = Claims { items: Vec::new(), exhausted, refused, undecodable: Vec::new(), may_have_more };
        let mut failed_attempts = Vec::new();
        for row in claimed {
            match decode::<S, R>(row) {
                Ok((record, details)) => claims.items.push(Claim::new(record, details, Arc::clone(&finisher))),
                Err((lease, error)) => {
                    let reason = error.to_string();
                    claims.undecodable.push((lease.key.clone(), reason.clone()));
                    failed_attempts.push(Finish { lease, outcome: Outcome::Retry { error: reason, delay: None } });
                }
            }
        }
        if !failed_attempts.is_empty() {
            let finishing = FinishParams { items: failed_attempts, limits: self.dispatch.limits(), now: None };
            // The good claims matter more than this error: without them nothing could finish those items.
            if let Err(error) = self.dispatch.finish(finishing).await {
                tracing::error!(%error, "items that do not decode could not be retried: the sweep will take them");
            }
        }
        Ok(claims)
    }

    /// The parameters of a claim by this repository, with a new token. They say that the caller holds nothing else: set
    /// `alone` to false if it does.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that the pipeline does not have.
    pub fn claim_params(&self, stages: impl IntoIterator<Item: IntoStage>, limit: usize) -> Result<ClaimParams> {
        let stages = stages.into_iter().map(|stage| stage.into_stage(self.pipeline())).collect::<Result<_>>()?;
        Ok(self.params_for(stages, limit))
    }

    /// The ids may be those of another pipeline.
    fn check_stages(&self, claiming: &ClaimParams) -> Result<()> {
        claiming.stages.iter().try_for_each(|stage| stage.into_stage(self.pipeline()).map(drop))
    }

    pub(crate) fn params_for(&self, stages: Vec<StageId>, limit: usize) -> ClaimParams {
        ClaimParams {
            stages,
            limit,
            token: FencingToken::draw(),
            holder: self.holder.clone(),
            limits: self.dispatch.limits(),
            alone: true,
            leave_exhausted: false,
            except: Vec::new(),
            now: None,
        }
    }

    /// What a claim would return now, without claiming anything. Rows that do not decode are listed apart.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn preview(&self, limit: usize) -> Result<Items<R>> {
        self.preview_with(&self.claim_params(self.pipeline().stage_ids(), limit)?).await
    }

    /// What a claim with these parameters would return now, without claiming anything.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that the pipeline does not have, and those of the database.
    pub async fn preview_with(&self, claiming: &ClaimParams) -> Result<Items<R>> {
        self.check_stages(claiming)?;
        Ok(decode_items(self.dispatch.preview(claiming).await?, None))
    }

    /// One item.
    ///
    /// # Errors
    /// [`Error::Decode`] if its row does not decode, and those of the database.
    pub async fn get(&self, key: impl Into<Key>) -> Result<Option<Item<R>>> {
        let row = self.dispatch.get(&key.into()).await?;
        row.map(decode_item).transpose()
    }

    /// A page of items in the order of their keys. Rows that do not decode are listed apart.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that the pipeline does not have, and those of the database.
    pub async fn list(&self, listing: &ListParams) -> Result<Items<R>> {
        listing.status.map_or(Ok(()), |status| self.pipeline().check(status))?;
        let page = self.dispatch.list(listing).await?;
        Ok(decode_items(page.items, page.next))
    }
}

impl<S: Store, R: 'static> Finisher for Repository<S, R> {
    fn finish(&self, finish: Finish) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(self.finish_lease(finish.lease, finish.outcome, self.dispatch.limits()))
    }

    fn finish_in(&self, transaction: Box<dyn Any + Send>, finish: Finish) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(async move {
            let transaction = own_transaction::<S::Transaction>(transaction)?;
            let finished = self.dispatch.finish_in(transaction, &finish).await?;
            settled(&finish.lease, finished)
        })
    }

    fn renew(&self, lease: Lease) -> BoxFuture<'_, Result<LeaseState>> {
        Box::pin(self.renew_lease(lease))
    }
}

/// The result for one item, as the result of a call for that item alone.
pub(crate) fn settled(lease: &Lease, finished: Finished) -> Result<Settled> {
    let key = lease.key.clone();
    match finished {
        Finished::Applied { to } => Ok(Settled { to }),
        Finished::LeaseLost => Err(Error::LeaseLost { key }),
        Finished::Busy => Err(Error::busy("finish")),
        Finished::Unknown => Err(Error::OutcomeUnknown { key }),
        Finished::Refused { reason, failed } => Err(Error::Refused { key, reason, failed }),
    }
}
