//! The verbs that need only a span and retries. A verb for operators is sent again only if it surely was not applied; a
//! verb that reads, after any transient error.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::field;

use super::{Dispatch, Resend, retrying, within};
use crate::pipeline::StageId;
use crate::store::{
    Added, ClaimParams, CountParams, Counts, Explanation, FailureRecord, HeldItem, ItemRow, ListParams, Listener,
    Moved, Page, RequeueParams, SetParams, Store,
};
use crate::{Key, Result};

impl<S: Store> Dispatch<S> {
    pub(crate) async fn prepare(&self) -> Result<()> {
        let span = verb_span!(self, "prepare");
        within(span, retrying(Resend::IfNotApplied, || self.store.prepare())).await
    }

    pub(crate) async fn inspect(&self) -> Result<Vec<String>> {
        within(verb_span!(self, "inspect"), retrying(Resend::Always, || self.store.inspect())).await
    }

    pub(crate) async fn set(&self, setting: &SetParams) -> Result<Vec<Moved>> {
        let setting = &*self.clock.timed(setting);
        let span = verb_span!(self, "set", items = setting.keys.len(), to = self.pipeline().word(setting.to));
        within(span, retrying(Resend::IfNotApplied, || self.store.set(setting))).await
    }

    pub(crate) async fn cancel(&self, keys: &[Key]) -> Result<Vec<Moved>> {
        let span = verb_span!(self, "cancel", items = keys.len());
        within(span, retrying(Resend::IfNotApplied, || self.store.cancel(keys, self.clock.now()))).await
    }

    pub(crate) async fn requeue(&self, requeueing: &RequeueParams) -> Result<Vec<Moved>> {
        let requeueing = &*self.clock.timed(requeueing);
        let span = verb_span!(self, "requeue", items = requeueing.keys.len());
        within(span, retrying(Resend::IfNotApplied, || self.store.requeue(requeueing))).await
    }

    pub(crate) async fn pause(&self, stage: StageId) -> Result<bool> {
        let span = verb_span!(self, "pause", stage = self.pipeline().stage(stage).name());
        within(span, retrying(Resend::IfNotApplied, || self.store.pause(stage))).await
    }

    pub(crate) async fn resume(&self, stage: StageId) -> Result<bool> {
        let span = verb_span!(self, "resume", stage = self.pipeline().stage(stage).name());
        within(span, retrying(Resend::IfNotApplied, || self.store.resume(stage))).await
    }

    /// A key of several columns is shown as one text, from which no row can be made.
    fn refuse_parts_of_keys(&self) -> Result<()> {
        let columns = self.store.pipeline().key_columns();
        if columns.len() == 1 {
            return Ok(());
        }
        Err(crate::Error::InvalidArgument {
            argument: "keys",
            value: format!("keys of the columns {}", columns.join(", ")),
            rule: "rows with a key of several columns are inserted by your own INSERT".to_owned(),
        })
    }

    pub(crate) async fn add_many(&self, keys: &[Key]) -> Result<Added> {
        self.refuse_parts_of_keys()?;
        let span = verb_span!(self, "add_many", items = keys.len(), added_items = field::Empty);
        let added = within(span.clone(), retrying(Resend::IfNotApplied, || self.store.add_many(keys))).await?;
        span.record("added_items", added.added);
        if let Some((key, reason)) = added.refused.first() {
            tracing::warn!(
                %key,
                %reason,
                refused_items = added.refused.len(),
                "keys that no row can have were not added"
            );
        }
        Ok(added)
    }

    pub(crate) async fn begin(&self) -> Result<S::Transaction> {
        let span = verb_span!(self, "begin");
        within(span, retrying(Resend::IfNotApplied, || self.store.begin())).await
    }

    pub(crate) async fn rollback(&self, transaction: S::Transaction) -> Result<()> {
        within(verb_span!(self, "rollback"), self.store.rollback(transaction)).await
    }

    pub(crate) async fn preview(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<S::Row>>> {
        let claiming = &*self.clock.timed(claiming);
        let span = verb_span!(self, "preview", limit_items = claiming.limit);
        within(span, retrying(Resend::Always, || self.store.preview(claiming))).await
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<ItemRow<S::Row>>> {
        within(verb_span!(self, "get"), retrying(Resend::Always, || self.store.get(key))).await
    }

    pub(crate) async fn list(&self, listing: &ListParams) -> Result<Page<S::Row>> {
        let span = verb_span!(self, "list", limit_items = listing.limit);
        within(span, retrying(Resend::Always, || self.store.list(listing))).await
    }

    pub(crate) async fn counts(&self, counting: &CountParams) -> Result<Counts> {
        let counting = &*self.clock.timed(counting);
        let span = verb_span!(self, "counts", exact = counting.up_to == usize::MAX);
        within(span, retrying(Resend::Always, || self.store.counts(counting))).await
    }

    pub(crate) async fn explain(&self, key: &Key) -> Result<Option<Explanation>> {
        within(verb_span!(self, "explain"), retrying(Resend::Always, || self.store.explain(key, self.clock.now())))
            .await
    }

    pub(crate) async fn failures(&self, key: &Key) -> Result<Vec<FailureRecord>> {
        within(verb_span!(self, "failures"), retrying(Resend::Always, || self.store.failures(key))).await
    }

    pub(crate) async fn held(&self, limit: usize) -> Result<Vec<HeldItem>> {
        let span = verb_span!(self, "held", limit_items = limit);
        within(span, retrying(Resend::Always, || self.store.held(limit))).await
    }

    pub(crate) async fn now(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.clock.now() {
            return Ok(now);
        }
        within(verb_span!(self, "now"), retrying(Resend::Always, || self.store.now())).await
    }

    /// Asks once, for a caller that handles errors itself.
    pub(crate) async fn now_once(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.clock.now() {
            return Ok(now);
        }
        within(verb_span!(self, "now"), self.store.now()).await
    }

    pub(crate) async fn listen(&self) -> Result<S::Listener> {
        within(verb_span!(self, "listen"), self.store.listen()).await
    }

    pub(crate) async fn test_hearing(&self, listener: &mut S::Listener) -> Result<()> {
        within(verb_span!(self, "test_hearing"), listener.test_hearing()).await
    }

    pub(crate) async fn arm(&self, listener: &mut S::Listener, at_most: Duration) -> Result<()> {
        let span = verb_span!(self, "arm", at_most_ms = at_most.as_millis());
        within(span, listener.arm(at_most)).await
    }
}
