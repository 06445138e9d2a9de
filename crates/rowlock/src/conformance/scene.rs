//! The table of one test, and short words for what the tests do with it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::Harness;
use crate::pipeline::{Pipeline, PipelineBuilder, Role, StageId, Status};
use crate::store::{
    ClaimBatch, ClaimParams, CountParams, Finish, FinishParams, Finished, LeaseState, Limits, ListParams, Moved,
    Outcome, RequeueParams, SetParams, Store, SweepParams, Swept,
};
use crate::store::{Dialect, Lens};
use crate::{Error, FencingToken, Holder, Key, Lease, Result};

/// The time of the tests, in seconds from a noon that is far after the database's own time, so that an item whose
/// `created_at` is the database's default is due.
pub(super) fn at(secs: i64) -> DateTime<Utc> {
    let noon = Utc.with_ymd_and_hms(2040, 1, 1, 12, 0, 0).single().expect("a time that exists");
    noon + TimeDelta::seconds(secs)
}

/// The age from which on a heartbeat is stale in these tests.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(300);

/// Two stages: `PENDING`, `FETCH_IN_PROGRESS`, `FETCH_COMPLETE`, `PARSE_IN_PROGRESS`, `SUCCEEDED`.
pub(super) fn two_stages() -> PipelineBuilder {
    Pipeline::builder("pages").table("pages").key("page").stage("FETCH").stage("PARSE")
}

/// The stages of [`two_stages`].
pub(super) fn fetch_and_parse() -> (StageId, StageId) {
    let pipeline = two_stages().build().expect("a valid pipeline");
    let id = |name| pipeline.stage_named(name).expect("a stage of this pipeline");
    (id("FETCH"), id("PARSE"))
}

/// The pipeline's own budgets.
pub(super) fn limits(pipeline: &Pipeline) -> Limits {
    Limits { max_retries: pipeline.max_retries(), max_resets: pipeline.max_resets() }
}

/// A claim for every stage at noon.
pub(super) fn claiming(pipeline: &Pipeline, limit: usize) -> ClaimParams {
    ClaimParams {
        stages: pipeline.stage_ids().collect(),
        limit,
        token: FencingToken::draw(),
        holder: Holder::named("worker-a"),
        limits: limits(pipeline),
        leave_exhausted: false,
        alone: true,
        except: Vec::new(),
        now: Some(at(0)),
    }
}

/// A retry by the policy.
pub(super) fn retry(error: &str) -> Outcome {
    Outcome::Retry { error: error.to_owned(), delay: None }
}

/// A permanent failure.
pub(super) fn fail(error: &str) -> Outcome {
    Outcome::Fail { error: error.to_owned() }
}

/// One outcome of each kind.
pub(super) fn every_outcome() -> Vec<Outcome> {
    vec![
        Outcome::Complete,
        retry("broken"),
        fail("hopeless"),
        Outcome::Release,
        Outcome::SnoozeUntil(at(90)),
        Outcome::SnoozeFor(Duration::from_secs(90)),
    ]
}

/// The keys of a claim, in its order.
pub(super) fn claimed_keys<Row>(batch: &ClaimBatch<Row>) -> Vec<&str> {
    batch.claimed.iter().map(|item| item.lease.key.as_str()).collect()
}

/// Keys as the tests write them.
pub(super) fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| Key::from(*text)).collect()
}

/// A name, quoted so that it can mean nothing but itself in both dialects.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal in both dialects.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value that a test plants in a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    Time(DateTime<Utc>),
}

/// The role columns of a row as the table has them, without the pipeline's interpretation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawItem {
    /// The key column, as text.
    pub(super) key: String,
    /// The status word.
    pub(super) status: Option<String>,
    /// The retry count.
    pub(super) retry_count: Option<i64>,
    /// The reset count.
    pub(super) reset_count: Option<i64>,
    /// The due time.
    pub(super) retry_after: Option<DateTime<Utc>>,
    /// The last error.
    pub(super) error: Option<String>,
    /// The heartbeat.
    pub(super) heartbeat: Option<DateTime<Utc>>,
    /// The token.
    pub(super) token: Option<i64>,
    /// The holder.
    pub(super) holder: Option<String>,
    /// The claim time.
    pub(super) claimed_at: Option<DateTime<Utc>>,
    /// The word at which a requeue resumes.
    pub(super) resume: Option<String>,
    /// When it was inserted.
    pub(super) created_at: Option<DateTime<Utc>>,
    /// When it was last moved or renewed.
    pub(super) updated_at: Option<DateTime<Utc>>,
}

/// The dialect of a harness's database.
fn dialect(harness: &impl Harness) -> Dialect {
    if harness.time_type() == "text" { Dialect::Sqlite } else { Dialect::Postgres }
}

/// A prepared table and a store on it.
pub(super) struct Scene<'h, H: Harness> {
    pub(super) harness: &'h H,
    pub(super) store: H::Store,
}

impl<'h, H: Harness> Scene<'h, H> {
    /// Two stages with the default policies, prepared.
    pub(super) async fn new(harness: &'h H) -> Scene<'h, H> {
        Scene::with(harness, two_stages()).await
    }

    /// The test's own pipeline, prepared.
    pub(super) async fn with(harness: &'h H, pipeline: PipelineBuilder) -> Scene<'h, H> {
        let (pipeline, table) = harness.shape().describe(pipeline, dialect(harness));
        let exists = format!("select 'yes' from {} limit 1", pipeline.table_name());
        if !table.is_empty() && harness.rows(&exists).await.is_err() {
            harness.execute(&table).await.unwrap_or_else(|error| panic!("{table}: {error}"));
        }
        let store = harness.open(pipeline.build().expect("a valid pipeline")).await;
        store.prepare().await.expect("prepare");
        Scene { harness, store }
    }

    fn lens(&self) -> Lens {
        Lens::new(self.pipeline(), dialect(self.harness))
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        self.store.pipeline()
    }

    pub(super) fn word(&self, status: Status) -> String {
        self.pipeline().word(status).to_owned()
    }

    pub(super) fn table(&self) -> String {
        quoted(self.pipeline().table().name())
    }

    fn column(&self, role: Role) -> String {
        quoted(self.pipeline().columns().name(role))
    }

    // Planting

    /// Inserts an item that is due.
    pub(super) async fn insert(&self, key: &str) {
        self.insert_created(key, at(-1000)).await;
    }

    /// Inserts items, the oldest first.
    pub(super) async fn insert_all(&self, keys: &[&str]) {
        for (position, key) in keys.iter().enumerate() {
            let age = 1000 - i64::try_from(position).expect("few keys");
            self.insert_created(key, at(-age)).await;
        }
    }

    pub(super) async fn insert_created(&self, key: &str, created_at: DateTime<Utc>) {
        let sql = format!("insert into {} ({}) values ({})", self.table(), quoted(self.pipeline().key()), literal(key));
        self.execute(&sql).await;
        self.edit(key, &[(Role::CreatedAt, Value::Time(created_at))]).await;
    }

    /// Changes columns of a row without the store.
    pub(super) async fn edit(&self, key: &str, values: &[(Role, Value<'_>)]) {
        let filter = format!(" where {} = {}", quoted(self.pipeline().key()), literal(key));
        self.edit_where(&filter, values).await;
    }

    /// Changes columns of every row.
    pub(super) async fn edit_all(&self, values: &[(Role, Value<'_>)]) {
        self.edit_where("", values).await;
    }

    async fn edit_where(&self, filter: &str, values: &[(Role, Value<'_>)]) {
        let assignments: Vec<String> = values
            .iter()
            .map(|(role, value)| {
                let value = match value {
                    Value::Null => "null".to_owned(),
                    Value::Number(number) => number.to_string(),
                    Value::Text(text) => literal(text),
                    Value::Time(time) => self.harness.time(*time),
                };
                let written = self.lens().write(*role, &value);
                written.unwrap_or_else(|| format!("{} = {value}", self.column(*role)))
            })
            .collect();
        self.execute(&format!("update {} as t set {}{filter}", self.table(), assignments.join(", "))).await;
    }

    /// Inserts an item in any state; without a holder if it is in progress.
    pub(super) async fn put(&self, key: &str, status: Status) {
        self.insert(key).await;
        let word = self.word(status);
        self.edit(key, &[(Role::Status, Value::Text(&word))]).await;
    }

    /// The word for "ready for this stage", by the stage's position.
    pub(super) fn ready(&self, position: usize) -> String {
        self.pipeline().stages()[position].ready_word().to_owned()
    }

    /// Puts an item into a state that the pipeline does not know, and returns the word for it.
    pub(super) async fn put_into_unknown_state(&self, key: &str) -> String {
        let (assignment, word) = self.harness.shape().unknown_state();
        let sql = format!(
            "update {} set {assignment} where {} = {}",
            self.table(),
            quoted(self.pipeline().key()),
            literal(key)
        );
        self.execute(&sql).await;
        word.to_owned()
    }

    /// A condition in SQL: the row of this alias is in the state.
    pub(super) fn is_state_of(&self, alias: &str, status: Status) -> String {
        format!("{} = {}", self.lens().read(Role::Status, Some(alias)), literal(&self.word(status)))
    }

    pub(super) async fn delete(&self, key: &str) {
        let sql = format!("delete from {} where {} = {}", self.table(), quoted(self.pipeline().key()), literal(key));
        self.execute(&sql).await;
    }

    pub(super) async fn execute(&self, sql: &str) {
        if let Err(error) = self.harness.execute(sql).await {
            panic!("{sql}: {error}");
        }
    }

    // Looking

    /// The row as the table has it.
    pub(super) async fn raw(&self, key: &str) -> RawItem {
        let filter = format!(" where {} = {}", quoted(self.pipeline().key()), literal(key));
        let mut items = self.read(&filter).await;
        assert_eq!(items.len(), 1, "rows with the key {key:?}");
        items.remove(0)
    }

    /// Every row, in the order of the keys.
    pub(super) async fn raw_all(&self) -> Vec<RawItem> {
        let mut items = self.read("").await;
        items.sort_by(|a, b| a.key.cmp(&b.key));
        items
    }

    async fn read(&self, filter: &str) -> Vec<RawItem> {
        let mut columns = vec![format!("cast({} as text)", quoted(self.pipeline().key()))];
        for role in Role::ALL {
            let column = self.lens().read(role, None);
            columns.push(match role {
                Role::RetryAfter | Role::Heartbeat | Role::ClaimedAt | Role::CreatedAt | Role::UpdatedAt => {
                    self.harness.time_text(&column)
                }
                Role::Status
                | Role::RetryCount
                | Role::ResetCount
                | Role::ErrorMessage
                | Role::ClaimToken
                | Role::ClaimedBy
                | Role::ResumeStatus => format!("cast({column} as text)"),
            });
        }
        let sql = format!("select {} from {}{filter}", columns.join(", "), self.table());
        let rows = match self.harness.rows(&sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{sql}: {error}"),
        };
        rows.into_iter().map(raw_item).collect()
    }

    // Verbs that are expected to work

    pub(super) fn claiming(&self, limit: usize) -> ClaimParams {
        claiming(self.pipeline(), limit)
    }

    pub(super) async fn claim(&self, limit: usize) -> ClaimBatch<<H::Store as Store>::Row> {
        self.store.claim(&self.claiming(limit)).await.expect("claim")
    }

    pub(super) async fn claim_at(&self, limit: usize, now: DateTime<Utc>) -> ClaimBatch<<H::Store as Store>::Row> {
        let claiming = ClaimParams { now: Some(now), ..self.claiming(limit) };
        self.store.claim(&claiming).await.expect("claim")
    }

    /// Claims the item at the head of the queue, which must be this one.
    pub(super) async fn lease(&self, key: &str) -> Lease {
        self.lease_at(key, at(0)).await
    }

    pub(super) async fn lease_at(&self, key: &str, now: DateTime<Utc>) -> Lease {
        let mut batch = self.claim_at(1, now).await;
        assert_eq!(claimed_keys(&batch), [key], "the head of the queue");
        batch.claimed.remove(0).lease
    }

    /// Inserts an item and claims it.
    pub(super) async fn insert_and_lease(&self, key: &str) -> Lease {
        self.insert(key).await;
        self.lease(key).await
    }

    pub(super) async fn finish(&self, lease: &Lease, outcome: Outcome) -> Finished {
        self.finish_at(lease, outcome, at(1)).await
    }

    pub(super) async fn finish_at(&self, lease: &Lease, outcome: Outcome, now: DateTime<Utc>) -> Finished {
        let mut finished = self.try_finish(lease, outcome, now).await.expect("finish");
        assert_eq!(finished.len(), 1, "one answer for one item");
        finished.remove(0)
    }

    pub(super) async fn try_finish(
        &self,
        lease: &Lease,
        outcome: Outcome,
        now: DateTime<Utc>,
    ) -> Result<Vec<Finished>> {
        let items = vec![Finish { lease: lease.clone(), outcome }];
        self.store.finish(&FinishParams { items, limits: limits(self.pipeline()), now: Some(now) }).await
    }

    pub(super) async fn renew(&self, lease: &Lease, now: DateTime<Utc>) -> LeaseState {
        let states = self.store.renew(std::slice::from_ref(lease), Some(now)).await.expect("renew");
        assert_eq!(states.len(), 1, "one answer for one lease");
        states[0].clone()
    }

    pub(super) fn sweeping(&self, now: DateTime<Utc>) -> SweepParams {
        SweepParams { limit: 100, stale_after: STALE_AFTER, max_resets: self.pipeline().max_resets(), now: Some(now) }
    }

    pub(super) async fn sweep(&self, now: DateTime<Utc>) -> Swept {
        self.store.sweep(&self.sweeping(now)).await.expect("sweep")
    }

    pub(super) async fn set(&self, key: &str, to: Status) -> Moved {
        let setting = SetParams { keys: keys(&[key]), to, error: None, now: Some(at(2)) };
        self.store.set(&setting).await.expect("set").remove(0)
    }

    pub(super) async fn cancel(&self, key: &str) -> Moved {
        self.store.cancel(&keys(&[key]), Some(at(2))).await.expect("cancel").remove(0)
    }

    pub(super) async fn requeue(&self, key: &str, stage: Option<StageId>) -> Moved {
        let requeueing = RequeueParams { keys: keys(&[key]), stage, now: Some(at(2)) };
        self.store.requeue(&requeueing).await.expect("requeue").remove(0)
    }

    /// The errors that are kept for an item, latest first.
    pub(super) async fn failures(&self, key: &str) -> Vec<(String, String)> {
        let failures = self.store.failures(&Key::from(key)).await.expect("failures");
        failures.into_iter().map(|failure| (failure.cause, failure.error)).collect()
    }

    /// Every verb that writes, on this store, as far as each gets.
    pub(super) async fn try_every_write(&self, store: &H::Store, lease: &Lease) -> Vec<(&'static str, Result<()>)> {
        let items = vec![Finish { lease: lease.clone(), outcome: Outcome::Complete }];
        let finishing = FinishParams { items, limits: limits(self.pipeline()), now: None };
        let key = lease.key.clone();
        let setting = SetParams { keys: vec![key.clone()], to: Status::Failed, error: None, now: None };
        let requeueing = RequeueParams { keys: vec![key.clone()], stage: None, now: None };
        let first = StageId::FIRST;
        vec![
            ("claim", store.claim(&self.claiming(1)).await.map(drop)),
            ("finish", store.finish(&finishing).await.map(drop)),
            ("find_claimed", store.find_claimed(lease.token).await.map(drop)),
            ("renew", store.renew(std::slice::from_ref(lease), None).await.map(drop)),
            ("sweep", store.sweep(&self.sweeping(at(100_000))).await.map(drop)),
            ("set", store.set(&setting).await.map(drop)),
            ("cancel", store.cancel(std::slice::from_ref(&key), None).await.map(drop)),
            ("requeue", store.requeue(&requeueing).await.map(drop)),
            ("pause", store.pause(first).await.map(drop)),
            ("resume", store.resume(first).await.map(drop)),
            ("add_many", store.add_many(&keys(&["new"])).await.map(drop)),
        ]
    }

    /// Every verb that only reads.
    pub(super) async fn try_every_read(&self, store: &H::Store, lease: &Lease) -> Vec<(&'static str, Result<()>)> {
        vec![
            ("preview", store.preview(&self.claiming(1)).await.map(drop)),
            ("get", store.get(&lease.key).await.map(drop)),
            ("list", store.list(&ListParams::new(10)).await.map(drop)),
            ("counts", store.counts(&CountParams::default()).await.map(drop)),
            ("explain", store.explain(&lease.key, None).await.map(drop)),
            ("failures", store.failures(&lease.key).await.map(drop)),
            ("held", store.held(10).await.map(drop)),
            ("now", store.now().await.map(drop)),
            ("paused", store.paused().await.map(drop)),
            ("read_leases", store.read_leases(std::slice::from_ref(lease)).await.map(drop)),
            ("inspect", store.inspect().await.map(drop)),
        ]
    }
}

/// Asserts that a verb rejected an argument, and which one.
pub(super) fn assert_invalid_argument<T: std::fmt::Debug>(result: Result<T>, expected: &str) {
    match result {
        Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, expected),
        other => panic!("an invalid {expected} was not refused: {other:?}"),
    }
}

/// Asserts that a time is within a range.
#[track_caller]
pub(super) fn assert_between(time: Option<DateTime<Utc>>, from: DateTime<Utc>, to: DateTime<Utc>) {
    let time = time.expect("a time");
    assert!(from <= time && time <= to, "{time} is not between {from} and {to}");
}

fn raw_item(row: Vec<Option<String>>) -> RawItem {
    let mut columns = row.into_iter();
    let mut next = || columns.next().expect("a column for each role");
    fn number(text: Option<String>) -> Option<i64> {
        text.map(|text| text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number")))
    }
    fn time(text: Option<String>) -> Option<DateTime<Utc>> {
        text.map(|text| text.parse().unwrap_or_else(|_| panic!("{text:?} is not a time")))
    }
    RawItem {
        key: next().expect("a key"),
        status: next(),
        retry_count: number(next()),
        reset_count: number(next()),
        retry_after: time(next()),
        error: next(),
        heartbeat: time(next()),
        token: number(next()),
        holder: next(),
        claimed_at: time(next()),
        resume: next(),
        created_at: time(next()),
        updated_at: time(next()),
    }
}
