//! What only PostgreSQL can do to a queue, each test on a separate database.

mod adding;
mod after_commits;
mod attach;
mod blips;
mod claims;
mod connections;
mod dead_connections;
mod deadlines;
mod encodings;
mod fail_over;
mod illegible;
mod lock_order;
mod locks;
mod notifications;
mod operators;
mod preparing;
mod refusals;
mod secrets;
mod shapes;
mod sweep_turns;
mod transactions;
mod values;
mod whose_fault;

use std::time::Duration;

use rowlock::pipeline::PipelineBuilder;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{ClaimParams, Finish, FinishParams, Finished, Limits, Outcome, Store, SweepParams};
use rowlock::{FencingToken, Holder, Key, Lease, Pipeline};
use sqlx::postgres::PgRow;

use crate::postgres::PostgresHarness;

const LIMITS: Limits = Limits { max_retries: 5, max_resets: 3 };

fn stages() -> PipelineBuilder {
    Pipeline::builder("pages").table("pages").key("page").stage("FETCH")
}

fn pipeline() -> Pipeline {
    stages().build().expect("a valid pipeline")
}

fn claiming(limit: usize) -> ClaimParams {
    ClaimParams {
        stages: pipeline().stage_ids().collect(),
        limit,
        token: FencingToken::draw(),
        holder: Holder::named("worker-a"),
        limits: LIMITS,
        leave_exhausted: false,
        alone: true,
        except: Vec::new(),
        now: None,
    }
}

fn sweeping() -> SweepParams {
    SweepParams { limit: 100, stale_after: Duration::from_secs(300), max_resets: 3, now: None }
}

/// A prepared table with these items.
async fn table(harness: &PostgresHarness, keys: &[&str]) -> PostgresStore {
    use rowlock::conformance::Harness;

    let store = harness.open(pipeline()).await;
    store.prepare().await.expect("prepare");
    add(&store, keys).await;
    store
}

fn names(many: usize) -> Vec<String> {
    (0..many).map(|number| format!("page-{number:03}")).collect()
}

/// A prepared table with this many items, and their names in order.
async fn table_of(harness: &PostgresHarness, many: usize) -> (PostgresStore, Vec<String>) {
    let names = names(many);
    let store = table(harness, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (store, names)
}

async fn add(store: &PostgresStore, keys: &[&str]) {
    let keys: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
    store.add_many(&keys).await.expect("add_many");
}

/// The leases of a claim of everything, in the order of their keys.
async fn lease_all(store: &PostgresStore) -> Vec<Lease> {
    let batch = store.claim(&claiming(200)).await.expect("claim");
    let mut leases: Vec<Lease> = batch.leases().cloned().collect();
    leases.sort_by(|a, b| a.key.cmp(&b.key));
    leases
}

async fn finish_all(store: &PostgresStore, leases: &[Lease], outcome: Outcome) -> rowlock::Result<Vec<Finished>> {
    let items = leases.iter().map(|lease| Finish { lease: lease.clone(), outcome: outcome.clone() }).collect();
    store.finish(&FinishParams { items, limits: LIMITS, now: None }).await
}

fn keys(batch: &rowlock::store::ClaimBatch<PgRow>) -> Vec<&str> {
    let mut keys: Vec<&str> = batch.claimed.iter().map(|item| item.lease.key.as_str()).collect();
    keys.sort_unstable();
    keys
}

/// One value as text.
async fn value(harness: &PostgresHarness, sql: &str) -> String {
    use rowlock::conformance::Harness;

    let rows = harness.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default()
}

/// Returns when a statement in the test's database waits for a lock.
async fn until_one_waits(harness: &PostgresHarness) {
    let sql = "select count(*)::text from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'";
    while value(harness, sql).await == "0" {
        tokio::task::yield_now().await;
    }
}
