//! PostgreSQL: a store for a fleet.
//!
//! Every verb has its statement in `sql/<verb>.sql`; `statements` says which text runs when.

mod add_many;
mod asked_key;
mod attach;
mod claim;
mod columns;
mod complete_batch;
mod connections;
mod detach;
mod encoding;
mod errors;
mod fields;
mod finish;
mod indexes;
mod json;
mod late_renewals;
mod leases;
mod listener;
mod operator;
mod proof;
mod queue_head;
mod read;
mod refusal;
mod rows;
mod schema;
mod session;
mod shapes;
mod shown;
mod statements;
mod store;
mod sweep;
mod table_facts;
mod text;
mod time;
mod transaction;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;

use super::{
    Added, ClaimBatch, ClaimParams, ClaimedRow, CountParams, Counts, Exclusion, Explanation, FailureRecord, Finish,
    FinishParams, Finished, HeldItem, ItemRow, LeaseState, Limits, ListParams, Moved, Page, RefusedStage,
    RequeueParams, SetParams, Store, SweepParams, Swept,
};
use crate::pipeline::{Pipeline, StageId};
use crate::{FencingToken, Key, Lease, Result};

pub(crate) use self::errors::is_outage;
pub use self::listener::PostgresListener;
pub use self::store::PostgresStore;
pub use self::transaction::PostgresTransaction;

// The handling of a bad row makes a verb's future large, and every future around it would reserve that space, so it is
// boxed.
impl Store for PostgresStore {
    type Row = PgRow;
    type Transaction = PostgresTransaction;
    type Listener = PostgresListener;

    fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    async fn fork(&self) -> Result<Self> {
        let store = self.over(self.sessions.fork(false));
        store.refuse_newer_schema().await?;
        Ok(store)
    }

    async fn read_only(&self) -> Result<Self> {
        Ok(self.over(self.sessions.fork(true)))
    }

    async fn close(&self) {
        self.sessions.close().await;
    }

    async fn prepare(&self) -> Result<()> {
        self.directly()?.prepare_schema().await
    }

    async fn inspect(&self) -> Result<Vec<String>> {
        Box::pin(self.inspect_schema()).await
    }

    async fn claim(&self, claiming: &ClaimParams) -> Result<ClaimBatch<PgRow>> {
        Box::pin(self.claim_batch(claiming)).await
    }

    async fn find_claimed(&self, token: FencingToken) -> Result<Vec<ClaimedRow<PgRow>>> {
        Box::pin(self.find_claimed_rows(token)).await
    }

    async fn finish(&self, finishing: &FinishParams) -> Result<Vec<Finished>> {
        Box::pin(self.finish_batch(finishing)).await
    }

    async fn renew(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        Box::pin(self.renew_leases(leases, now)).await
    }

    async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        for lease in leases {
            lease.key.check()?;
        }
        let mut session = self.sessions.open("read_leases").await?;
        let states = self.read_lease_states(&mut session, leases).await?;
        session.done();
        Ok(states)
    }

    async fn sweep(&self, sweeping: &SweepParams) -> Result<Swept> {
        Box::pin(self.sweep_batch(sweeping)).await
    }

    async fn sweep_turn(&self, every: Duration) -> Result<Duration> {
        Box::pin(self.take_sweep_turn(every)).await
    }

    async fn set(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        Box::pin(self.set_items(setting)).await
    }

    async fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        Box::pin(self.cancel_items(keys, now)).await
    }

    async fn requeue(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        Box::pin(self.requeue_items(requeueing)).await
    }

    async fn pause(&self, stage: StageId) -> Result<bool> {
        Box::pin(self.pause_stage(stage)).await
    }

    async fn resume(&self, stage: StageId) -> Result<bool> {
        Box::pin(self.resume_stage(stage)).await
    }

    async fn paused(&self) -> Result<Vec<StageId>> {
        Box::pin(self.paused_stages()).await
    }

    async fn add_many(&self, keys: &[Key]) -> Result<Added> {
        Box::pin(self.add_keys(keys)).await
    }

    async fn preview(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<PgRow>>> {
        Box::pin(self.preview_rows(claiming)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<ItemRow<PgRow>>> {
        Box::pin(self.get_item(key)).await
    }

    async fn list(&self, listing: &ListParams) -> Result<Page<PgRow>> {
        Box::pin(self.list_items(listing)).await
    }

    async fn counts(&self, counting: &CountParams) -> Result<Counts> {
        Box::pin(self.count_items(counting)).await
    }

    async fn explain(&self, key: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        Box::pin(self.explain_item(key, now)).await
    }

    async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        Box::pin(self.failure_records(key)).await
    }

    async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        Box::pin(self.held_items(limit)).await
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        Box::pin(self.database_time()).await
    }

    async fn begin(&self) -> Result<Self::Transaction> {
        Box::pin(self.begin_transaction()).await
    }

    async fn finish_in(&self, transaction: Self::Transaction, finish: &Finish, limits: Limits) -> Result<Finished> {
        Box::pin(self.finish_in_transaction(transaction, finish, limits)).await
    }

    async fn rollback(&self, transaction: Self::Transaction) -> Result<()> {
        Box::pin(self.roll_back(transaction)).await
    }

    async fn listen(&self) -> Result<PostgresListener> {
        PostgresListener::connect(self).await
    }

    fn claims_side_by_side(&self) -> bool {
        true
    }

    fn excluded(&self) -> Vec<Exclusion> {
        self.exclusions.list()
    }

    fn refused_stages(&self) -> Vec<RefusedStage> {
        self.brake.held()
    }
}
