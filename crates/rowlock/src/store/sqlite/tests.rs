//! Tests for SQLite alone: statements and plans, busy files, dropped futures, the ways in which it refuses rows. The
//! conformance suite covers the behaviour that all stores share.

mod altered;
mod attach;
mod busy;
mod failure_log;
mod files;
mod keys;
mod plain;
mod plans;
mod refusals;
mod rewritten;
mod shapes;
mod times;
mod whose_fault;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _};

use super::*;
use crate::pipeline::{Budget, ColumnSpec, Form, KeyType, PipelineBuilder, Role, Stage, TableName};
use crate::store::Outcome;
use crate::{Error, Holder};

fn builder() -> PipelineBuilder {
    Pipeline::builder("videos").table("videos").key("id").stage("A").stage("B")
}

/// A pipeline in which every name needs quotes.
fn awkward() -> PipelineBuilder {
    Pipeline::builder("it's \"mine\"")
        .table("my \"own\" table")
        .key("the key")
        .key_type(KeyType::BigInt)
        .add_stage(Stage::new("it's a stage").with_ready("isn't done").with_running("select"))
        .stage(":table")
        .column(Role::Status, "order")
        .column(Role::Heartbeat, "group")
        .column(Role::ClaimToken, "a'b")
        .budget(Budget::PerItem)
}

/// A file for one test, with a store on it.
struct Scene {
    directory: tempfile::TempDir,
    store: SqliteStore,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(builder()).await
    }

    async fn with(builder: PipelineBuilder) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let pipeline = builder.build().expect("a valid pipeline");
        let file = directory.path().join("queue.db");
        let store = patiently(async || SqliteStore::open(&file, pipeline.clone()).await).await;
        store.prepare().await.expect("prepares");
        Scene { directory, store }
    }

    /// Another store on the same file, as another process would have it.
    async fn other(&self) -> SqliteStore {
        let file = self.directory.path().join("queue.db");
        patiently(async || SqliteStore::open(&file, self.store.pipeline().as_ref().clone()).await).await
    }

    /// Runs SQL past the verbs.
    async fn execute(&self, sql: &str) {
        let verb = self.store.verb("test");
        let mut session = self.store.take_writer(&verb).await.expect("a connection");
        (*session).execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        session.keep();
    }

    async fn word(&self, key: &str) -> String {
        self.store.get(&Key::from(key)).await.expect("get").expect("an item").word
    }

    /// The number that a query past the verbs returns.
    async fn count(&self, sql: &'static str) -> i64 {
        let verb = self.store.verb("test");
        let mut session = self.store.take_writer(&verb).await.expect("a connection");
        let count = (*session).fetch_one(sql).await.expect("a number").get(0);
        session.keep();
        count
    }

    async fn add(&self, keys: &[&str]) {
        let keys: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
        patiently(async || self.store.add_many(&keys).await).await;
    }
}

/// The set-up of a test gets enough time even if the verbs of its pipeline give up soon and the machine is busy.
async fn patiently<T>(verb: impl AsyncFn() -> Result<T>) -> T {
    for _ in 0..50 {
        match verb().await {
            Err(error) if error.is_transient() => {}
            answer => return answer.expect("nothing is wrong"),
        }
    }
    panic!("it is given up each time");
}

fn claiming(store: &SqliteStore, limit: usize) -> ClaimParams {
    ClaimParams {
        stages: store.pipeline().stage_ids().collect(),
        limit,
        token: FencingToken::draw(),
        holder: Holder::named("test"),
        limits: limits(store),
        alone: true,
        leave_exhausted: false,
        except: Vec::new(),
        now: None,
    }
}

fn limits(store: &SqliteStore) -> Limits {
    Limits { max_retries: store.pipeline().max_retries(), max_resets: store.pipeline().max_resets() }
}

fn finishing(store: &SqliteStore, leases: &[Lease], outcome: &Outcome) -> FinishParams {
    let finish = |lease: &Lease| Finish { lease: lease.clone(), outcome: outcome.clone() };
    FinishParams { items: leases.iter().map(finish).collect(), limits: limits(store), now: None }
}

async fn claim(store: &SqliteStore, limit: usize) -> Vec<Lease> {
    let mut batch = store.claim(&claiming(store, limit)).await.expect("claim");
    batch.claimed.drain(..).map(|claimed| claimed.lease).collect()
}

#[tokio::test]
async fn every_statement_prepares() {
    for builder in [builder(), awkward()] {
        let scene = Scene::with(builder).await;
        let verb = scene.store.verb("test");
        let mut session = scene.store.take_writer(&verb).await.expect("a connection");
        for (name, sql) in scene.store.statements.all() {
            // A column that exists cannot be prepared to be added, nor a table to be created.
            if name.starts_with("add_") && !["add_many", "add_failures"].contains(&name) || name == "create_table" {
                continue;
            }
            let sql = AssertSqlSafe(sql.as_str().to_owned()).into_sql_str();
            (*session).prepare(sql).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[tokio::test]
async fn what_a_new_connection_is_set_to() {
    let scene = Scene::new().await;
    let verb = scene.store.verb("test");
    let mut session = scene.store.take_writer(&verb).await.expect("a connection");
    for (pragma, expected) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")] {
        let row = (*session).fetch_one(AssertSqlSafe(format!("pragma {pragma}"))).await.expect(pragma);
        assert_eq!(rows::text(&row, 0).as_deref(), Some(expected), "{pragma}");
        assert_eq!(row.len(), 1);
    }
}

#[tokio::test]
async fn a_file_must_exist_for_connect_and_for_read_only_but_not_for_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipeline = || builder().build().expect("a valid pipeline");
    let url = format!("sqlite://{}", directory.path().join("none.db").display());
    SqliteStore::connect(&url, pipeline()).await.expect_err("there is no file");
    SqliteStore::connect("sqlite::memory:", pipeline()).await.expect_err("no file at all");
    let store = SqliteStore::connect(&format!("{url}?mode=rwc"), pipeline()).await.expect("creates");
    store.prepare().await.expect("prepares");
    let reading = store.read_only().await.expect("opens");
    store.close().await;
    assert_eq!(reading.counts(&CountParams::default()).await.expect("counts").unfinished(), 0);
    let refused = reading.claim(&claiming(&reading, 1)).await.expect_err("an empty claim is refused too");
    assert!(refused.is_read_only(), "{refused}");
}

#[tokio::test]
async fn a_schema_is_refused_but_for_main() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = async |schema: &str| {
        let pipeline = builder().table(TableName::in_schema(schema, "videos")).build().expect("a valid pipeline");
        SqliteStore::open(directory.path().join("queue.db"), pipeline).await
    };
    match open("work").await {
        Err(Error::InvalidPipeline { field, value, rule }) => {
            assert_eq!(
                (field.as_str(), value.as_str(), rule.as_str()),
                ("table.schema", "\"work\"", "SQLite has no schemas: a file has one set of tables")
            );
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    open("main").await.expect("opens").prepare().await.expect("prepares");
}

#[tokio::test]
async fn values_of_any_type_are_read_without_a_panic() {
    let scene = Scene::new().await;
    scene
        .execute(
            "insert into videos (id, status, retry_count, reset_count, retry_after, created_at, heartbeat_at) values
             ('typed', 'PENDING', 'two', x'00ff', null, null, x'ff'),
             ('timed', 'PENDING', 0, 0, 17, 3.5, null),
             ('word', 7, 0, 0, null, null, null),
             ('blob', x'fffe', 0, 0, null, null, null),
             ('running', 'A_IN_PROGRESS', 0, 0, null, null, x'ff00'),
             (x'ff00', 'PENDING', 0, 0, null, null, null)",
        )
        .await;
    let batch = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert_eq!(batch.leases().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), ["typed"]);
    assert!(batch.refused.is_empty(), "a key that is a blob makes no item: {:?}", batch.refused);
    let again = scene.store.claim(&claiming(&scene.store, 10)).await.expect("claim");
    assert!(again.claimed.is_empty());
    let sweeping = SweepParams { limit: 10, stale_after: Duration::from_secs(300), max_resets: 3, now: None };
    let swept = scene.store.sweep(&sweeping).await.expect("sweep");
    assert_eq!(swept.keys().map(Key::as_str).collect::<Vec<_>>(), ["running"], "{swept:?}");
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.unknown_words().count(), 3, "two words, and a key that makes no item");
    for key in ["typed", "timed", "word", "blob"] {
        scene.store.explain(&Key::from(key), None).await.expect("explain").expect("an item");
    }
    scene.store.list(&ListParams::new(10)).await.expect("list");
    scene.store.held(10).await.expect("held");
}

#[tokio::test]
async fn a_listener_hears_of_another_connections_commit_and_of_one_before_it_waits() {
    use crate::store::Listener as _;
    let scene = Scene::new().await;
    let mut listener = scene.store.listen().await.expect("listens");
    assert!(!listener.wait(Duration::ZERO).await.expect("waits"), "nothing happened");
    let other = scene.other().await;
    other.add_many(&[Key::from("a")]).await.expect("add_many");
    assert!(listener.wait(Duration::ZERO).await.expect("waits"));
    let (heard, added) =
        tokio::join!(listener.wait(Duration::from_secs(10)), async { other.add_many(&[Key::from("b")]).await });
    assert!(heard.expect("waits"));
    assert_eq!(added.expect("add_many").added, 1);
}

#[tokio::test]
async fn a_pipeline_with_another_stage_gets_new_indexes_and_drops_the_old_ones() {
    let scene = Scene::new().await;
    let more = builder().stage("C").build().expect("a valid pipeline");
    let other = SqliteStore::open(scene.directory.path().join("queue.db"), more).await.expect("opens");
    assert_eq!(other.inspect().await.expect("inspect").len(), 3, "it lacks its indexes");
    other.prepare().await.expect("prepares");
    assert_eq!(other.inspect().await.expect("inspect"), Vec::<String>::new());
    assert_eq!(scene.store.inspect().await.expect("inspect").len(), 3);
}
