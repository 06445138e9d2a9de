//! SQLite: one machine, nothing to install.
//!
//! SQLite has one writer at a time. Each verb that writes is one `BEGIN IMMEDIATE` transaction, so nothing changes
//! between its statements; everything that reads uses connections that are opened read-only.

mod attach;
mod broken_keys;
mod checks;
mod claim;
mod clock;
mod detach;
mod errors;
mod failure_log;
mod file;
mod finish;
mod indexes;
mod items;
mod json;
mod leases;
mod listener;
mod operator;
mod plain;
mod planned;
mod proof;
mod read;
mod refusal;
mod rows;
mod schema;
mod session;
mod statements;
mod store;
mod sweep;
mod table_facts;
#[cfg(test)]
mod tests;
mod transaction;
mod trial;
mod unreadable;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use self::session::Verb;
use super::{
    Added, ClaimBatch, ClaimParams, ClaimedRow, CountParams, Counts, Exclusion, Expiry, Explanation, FailureRecord,
    Finish, FinishParams, Finished, HeldItem, ItemRow, LeaseState, Limits, ListParams, Moved, Page, RefusedStage,
    RequeueParams, SetParams, Store, SweepParams, Swept,
};
use crate::limits::PREPARE_DEADLINE;
use crate::pipeline::{Pipeline, StageId};
use crate::{FencingToken, Key, Lease, Result};

pub(crate) use self::errors::is_outage;
pub use self::listener::SqliteListener;
pub use self::store::SqliteStore;
pub use self::transaction::SqliteTransaction;

impl Store for SqliteStore {
    type Row = SqliteRow;
    type Transaction = SqliteTransaction;
    type Listener = SqliteListener;

    fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    async fn fork(&self) -> Result<SqliteStore> {
        let fork = self.again(self.read_only);
        fork.open_writer("fork").await?;
        Ok(fork)
    }

    async fn read_only(&self) -> Result<SqliteStore> {
        let store = self.again(true);
        store.open_writer("read_only").await?;
        Ok(store)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn prepare(&self) -> Result<()> {
        let verb = Verb::new("prepare", PREPARE_DEADLINE);
        verb.within(self.prepare_schema(&verb)).await
    }

    async fn inspect(&self) -> Result<Vec<String>> {
        let verb = self.verb("inspect");
        verb.within(self.inspect_schema(&verb)).await
    }

    async fn claim(&self, claiming: &ClaimParams) -> Result<ClaimBatch<SqliteRow>> {
        let verb = self.verb("claim");
        verb.within(self.claim_items(&verb, claiming)).await
    }

    async fn find_claimed(&self, token: FencingToken) -> Result<Vec<ClaimedRow<SqliteRow>>> {
        let verb = self.verb("find_claimed");
        verb.within(self.find_claimed_items(&verb, token)).await
    }

    async fn finish(&self, finishing: &FinishParams) -> Result<Vec<Finished>> {
        let verb = self.verb("finish");
        verb.within(self.finish_items(&verb, finishing)).await
    }

    async fn renew(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        let verb = self.verb("renew");
        verb.within(self.renew_leases(&verb, leases, now)).await
    }

    async fn read_leases(&self, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let verb = self.verb("read_leases");
        verb.within(self.read_lease_states(&verb, leases)).await
    }

    async fn sweep(&self, sweeping: &SweepParams) -> Result<Swept> {
        let verb = self.verb("sweep");
        verb.within(self.sweep_items(&verb, sweeping)).await
    }

    async fn set(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        let verb = self.verb("set");
        verb.within(self.set_items(&verb, setting)).await
    }

    async fn cancel(&self, keys: &[Key], now: Option<DateTime<Utc>>) -> Result<Vec<Moved>> {
        let verb = self.verb("cancel");
        verb.within(self.cancel_items(&verb, keys, now)).await
    }

    async fn requeue(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        let verb = self.verb("requeue");
        verb.within(self.requeue_items(&verb, requeueing)).await
    }

    async fn pause(&self, stage: StageId) -> Result<bool> {
        let verb = self.verb("pause");
        verb.within(self.pause_stage(&verb, stage)).await
    }

    async fn resume(&self, stage: StageId) -> Result<bool> {
        let verb = self.verb("resume");
        verb.within(self.resume_stage(&verb, stage)).await
    }

    async fn paused(&self) -> Result<Vec<StageId>> {
        let verb = self.verb("paused");
        verb.within(self.paused_stages(&verb)).await
    }

    async fn add_many(&self, keys: &[Key]) -> Result<Added> {
        self.add_keys("add_many", keys).await
    }

    async fn preview(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<SqliteRow>>> {
        let verb = self.verb("preview");
        verb.within(self.preview_items(&verb, claiming)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<ItemRow<SqliteRow>>> {
        let verb = self.verb("get");
        verb.within(self.get_item(&verb, key)).await
    }

    async fn list(&self, listing: &ListParams) -> Result<Page<SqliteRow>> {
        let verb = self.verb("list");
        verb.within(self.list_items(&verb, listing)).await
    }

    async fn counts(&self, counting: &CountParams) -> Result<Counts> {
        let verb = self.verb("counts");
        verb.within(self.count_items(&verb, counting)).await
    }

    async fn explain(&self, key: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        let verb = self.verb("explain");
        verb.within(self.explain_item(&verb, key, now)).await
    }

    async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        let verb = self.verb("failures");
        verb.within(self.read_failures(&verb, key)).await
    }

    async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        let verb = self.verb("held");
        verb.within(self.held_items(&verb, limit)).await
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        let verb = self.verb("now");
        verb.within(self.read_clock(&verb)).await
    }

    async fn begin(&self) -> Result<SqliteTransaction> {
        let verb = self.verb("begin");
        verb.within(self.begin_transaction(&verb)).await
    }

    fn expiry(transaction: &mut SqliteTransaction) -> Option<Expiry> {
        transaction.expiry()
    }

    async fn finish_in(&self, transaction: SqliteTransaction, finish: &Finish, limits: Limits) -> Result<Finished> {
        let verb = transaction.verb().clone();
        verb.within(self.finish_transaction(&verb, transaction, finish, limits)).await
    }

    async fn rollback(&self, transaction: SqliteTransaction) -> Result<()> {
        let verb = self.verb("rollback");
        verb.within(transaction.roll_back()).await
    }

    async fn listen(&self) -> Result<SqliteListener> {
        let verb = self.verb("listen");
        verb.within(self.start_listening(&verb)).await
    }

    fn excluded(&self) -> Vec<Exclusion> {
        self.exclusions.list()
    }

    fn refused_stages(&self) -> Vec<RefusedStage> {
        self.brake.held()
    }
}
