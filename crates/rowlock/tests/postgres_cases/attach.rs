//! `attach` and `detach` on a table that is in use: killed and run again, beside writers, and taken back.

use std::time::{Duration, Instant};

use rowlock::conformance::{Harness, run};
use rowlock::pipeline::{PipelineBuilder, Sign, Word};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{AttachEvent, StepKind, Store};
use rowlock::{Existing, Key, Pipeline, Role, limits};
use sqlx::Executor;
use tokio::sync::oneshot;

use super::{claiming, keys, stages, value};
use crate::postgres::PostgresHarness;

/// Rows of the table beside whose writers `attach` runs.
const ROWS: u32 = 20_000;

/// The same for the test that takes minutes.
const MANY_ROWS: u32 = 5_000_000;

/// A table of the team's, with rows in progress and a sign of life that some of them lack.
const PAGES: &str = "create table pages (page text primary key, status text not null default 'PENDING',
                       beat timestamptz, url text);
    insert into pages (page, status, beat) values
      ('ready', 'PENDING', null), ('held', 'FETCH_IN_PROGRESS', now()), ('lost', 'FETCH_IN_PROGRESS', null)";

fn described() -> PipelineBuilder {
    stages().column(Role::Heartbeat, "beat").failed(Sign::Own)
}

async fn store(harness: &PostgresHarness, pipeline: PipelineBuilder) -> PostgresStore {
    harness.open(pipeline.build().expect("a valid pipeline")).await
}

/// Columns, indexes and notes, as text.
async fn schema(harness: &PostgresHarness) -> Vec<Vec<Option<String>>> {
    let sql = "select 'column', concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default)
               from information_schema.columns where table_schema = 'public'
               union all
               select 'index', concat_ws(' ', indexdef, x.indisvalid)
               from pg_indexes i join pg_index x on x.indexrelid = format('%I', i.indexname)::regclass
               where i.schemaname = 'public'
               order by 1, 2";
    harness.rows(sql).await.expect("the schema")
}

async fn notes(harness: &PostgresHarness) -> Vec<Vec<Option<String>>> {
    harness.rows("select key, value from rowlock_meta where key like 'column %' order by key").await.expect("notes")
}

/// Runs `attach`, and drops it where this holds for the first time, with its statement under way.
async fn killed_where(store: &PostgresStore, is_place: impl Fn(&AttachEvent<'_>) -> bool + Send + Sync) -> bool {
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let attaching = store.attach(|event| {
        if is_place(&event)
            && let Some(tell) = tell.take()
        {
            let _ = tell.send(());
        }
    });
    tokio::select! {
        biased;
        told = told => told.is_ok(),
        attached = attaching => {
            attached.expect("attach");
            false
        }
    }
}

fn begins(event: &AttachEvent<'_>, kind: StepKind) -> bool {
    matches!(event, AttachEvent::Began { step, .. } if step.kind == kind)
}

#[tokio::test]
async fn a_plan_says_what_is_lacking_and_is_empty_afterwards() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PAGES).await.expect("create table");
        let store = store(harness, described()).await;

        let plan = store.attach_plan().await.expect("plan");
        let kinds: Vec<StepKind> = plan.iter().map(|step| step.kind).collect();
        for kind in [StepKind::OwnTables, StepKind::Note, StepKind::Column, StepKind::Stamp, StepKind::Index] {
            assert!(kinds.contains(&kind), "{kind:?} is not in {kinds:?}");
        }
        assert_eq!(kinds.iter().filter(|kind| **kind == StepKind::Index).count(), 3, "{plan:?}");
        assert!(harness.rows("select key from rowlock_meta").await.is_err(), "a plan changes nothing");

        let mut done = 0;
        let events = |event: AttachEvent<'_>| done += usize::from(matches!(event, AttachEvent::Done { .. }));
        store.attach(events).await.expect("attach");

        assert_eq!(done, plan.len());
        assert_eq!(store.attach_plan().await.expect("plan"), []);
        let stamped = "select count(*)::text from pages where status = 'FETCH_IN_PROGRESS' and beat is not null";
        assert_eq!(value(harness, stamped).await, "2");
        assert_eq!(value(harness, "select count(*)::text from pages where beat is not null").await, "2");
        assert_eq!(store.unleased().await.expect("unleased"), 2);
        assert_eq!(keys(&store.claim(&claiming(9)).await.expect("claim")), ["ready"]);
    })
    .await;
}

#[tokio::test]
async fn prepare_and_attach_end_in_the_same_schema() {
    let mut schemas = Vec::new();
    for attaches in [true, false] {
        let harness = PostgresHarness::new().await;
        harness.execute(PAGES).await.expect("create table");
        let store = store(&harness, described()).await;
        if attaches {
            store.attach(|_| {}).await.expect("attach");
        } else {
            store.prepare().await.expect("prepare");
            assert_eq!(store.attach_plan().await.expect("plan"), []);
        }
        schemas.push((schema(&harness).await, notes(&harness).await));
        store.close().await;
        harness.close().await;
    }
    assert_eq!(schemas[0], schemas[1]);
}

#[tokio::test]
async fn killed_anywhere_and_run_again_it_ends_in_the_same_schema() {
    let reference = PostgresHarness::new().await;
    reference.execute(PAGES).await.expect("create table");
    let whole = store(&reference, described()).await;
    whole.attach(|_| {}).await.expect("attach");
    let (wanted, wanted_notes) = (schema(&reference).await, notes(&reference).await);
    whole.close().await;
    reference.close().await;

    for kind in [StepKind::Column, StepKind::Stamp, StepKind::Index] {
        let harness = PostgresHarness::new().await;
        harness.execute(PAGES).await.expect("create table");
        let store = store(&harness, described()).await;
        assert!(killed_where(&store, |event| begins(event, kind)).await, "{kind:?} was never begun");

        // A build that goes on at the server is waited for.
        store.attach(|_| {}).await.expect("attach");

        assert_eq!(schema(&harness).await, wanted, "killed at {kind:?}");
        assert_eq!(notes(&harness).await, wanted_notes, "killed at {kind:?}");
        assert_eq!(store.attach_plan().await.expect("plan"), []);
        let unstamped = "select count(*)::text from pages where status = 'FETCH_IN_PROGRESS' and beat is null";
        assert_eq!(value(&harness, unstamped).await, "0", "killed at {kind:?}");
        store.close().await;
        harness.close().await;
    }
}

#[tokio::test]
async fn an_index_of_a_broken_build_is_dropped_and_built_anew() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PAGES).await.expect("create table");
        let store = store(harness, described()).await;
        store.attach(|_| {}).await.expect("attach");
        let broken = "update pg_index set indisvalid = false
                      where indexrelid::regclass::text like 'rowlock_ready_index_%'";
        harness.execute(broken).await.expect("update");

        let plan = store.attach_plan().await.expect("plan");
        let kinds: Vec<StepKind> = plan.iter().map(|step| step.kind).collect();
        assert_eq!(kinds, [StepKind::DropIndex, StepKind::Index], "{plan:?}");
        store.attach(|_| {}).await.expect("attach");

        assert_eq!(store.attach_plan().await.expect("plan"), []);
        assert_eq!(value(harness, "select count(*)::text from pg_index where not indisvalid").await, "0");
    })
    .await;
}

/// Whoever comes after a statement that waits for its lock waits as long.
#[tokio::test]
async fn a_column_gives_way_to_others_and_is_tried_again() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PAGES).await.expect("create table");
        let store = store(harness, described()).await;
        let mut reader = harness.pool.begin().await.expect("begin");
        reader.execute("select 1 from pages").await.expect("read");
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);

        let (attached, ()) = tokio::join!(
            store.attach(|event| {
                if let AttachEvent::Retried { tries: 2, .. } = event
                    && let Some(tell) = tell.take()
                {
                    let _ = tell.send(());
                }
            }),
            async {
                told.await.expect("it was tried twice");
                reader.commit().await.expect("commit");
            }
        );

        attached.expect("attach");
        assert_eq!(store.attach_plan().await.expect("plan"), []);
    })
    .await;
}

#[tokio::test]
async fn writers_wait_for_a_moment_at_most() {
    // Other tests run beside this one.
    writers_wait(ROWS, Duration::from_millis(800)).await;
}

#[tokio::test]
#[ignore = "takes minutes, and needs the machine for itself"]
async fn writers_of_a_large_table_wait_no_longer_than_for_the_lock() {
    writers_wait(MANY_ROWS, Duration::from_millis(50)).await;
}

/// The longest wait of a writer beside `attach`, while transactions keep the table's lock from it.
async fn writers_wait(rows: u32, slack: Duration) {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let create = format!(
            "create table pages (page text primary key, status text not null default 'PENDING', n integer default 0);
             insert into pages (page) select 'page-' || n from generate_series(1, {rows}) as g (n);
             analyze pages"
        );
        harness.execute(&create).await.expect("create table");
        let store = store(harness, stages()).await;
        let (tell, mut told) = oneshot::channel::<()>();

        let write = async {
            let (mut longest, mut number) = (Duration::ZERO, 0_u32);
            while matches!(told.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                number = number.wrapping_mul(48_271).wrapping_add(11) % rows + 1;
                let update = format!("update pages set n = n + 1 where page = 'page-{number}'");
                let begin = Instant::now();
                harness.execute(&update).await.expect("update");
                longest = longest.max(begin.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        };
        let attach = async {
            // Its owner's own transactions are open for longer than a lock is waited for.
            let mut other = harness.pool.begin().await.expect("begin");
            other.execute("select 1 from pages limit 1").await.expect("read");
            let (attached, ()) = tokio::join!(store.attach(|_| {}), async {
                tokio::time::sleep(limits::ATTACH_LOCK_TIMEOUT * 3).await;
                other.commit().await.expect("commit");
            });
            let _ = tell.send(());
            attached
        };
        let (longest, attached) = tokio::join!(write, attach);

        attached.expect("attach");
        let most = limits::ATTACH_LOCK_TIMEOUT + slack;
        assert!(longest <= most, "a writer waited {longest:?}");
        assert_eq!(store.attach_plan().await.expect("plan"), []);
    })
    .await;
}

#[tokio::test]
async fn a_key_of_several_columns_has_an_index_of_its_own() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let create = "create table pages (site text, page text, status text not null default 'PENDING',
                      primary key (site, page))";
        harness.execute(create).await.expect("create table");
        let store = store(harness, stages().key_columns(["site", "page"])).await;

        let plan = store.attach_plan().await.expect("plan");
        assert_eq!(plan.iter().filter(|step| step.kind == StepKind::Index).count(), 4, "{plan:?}");
        store.attach(|_| {}).await.expect("attach");

        assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
        let index = "select count(*)::text from pg_indexes where indexname like 'rowlock_key_index_%'";
        assert_eq!(value(harness, index).await, "1");
    })
    .await;
}

#[tokio::test]
async fn detach_takes_back_what_attach_added_and_nothing_else() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PAGES).await.expect("create table");
        let before = schema(harness).await;
        let store = store(harness, described()).await;
        store.attach(|_| {}).await.expect("attach");
        store.install_trigger().await.expect("trigger");
        let batch = store.claim(&claiming(1)).await.expect("claim");
        let fail = rowlock::Outcome::Fail { error: "no".to_owned() };
        let lease = batch.leases().next().expect("a lease").clone();

        let plan = store.detach_plan().await.expect("plan");
        assert!(plan.held.iter().any(|item| item.key == Key::from("ready")), "{plan:?}");
        super::finish_all(&store, &[lease], fail).await.expect("finish");
        let plan = store.detach_plan().await.expect("plan");
        assert_eq!(plan.lost.len(), 1, "the table itself does not say that it failed: {plan:?}");
        assert!(!plan.steps.iter().any(|step| step.sql.contains("\"beat\"") || step.sql.contains("\"url\"")));

        store.detach(|_| {}).await.expect("detach");

        assert_eq!(schema(harness).await, before);
        let functions = "select count(*)::text from pg_proc where proname like 'rowlock_%'";
        assert_eq!(value(harness, functions).await, "0");
        assert_eq!(store.detach_plan().await.expect("plan").steps, []);
    })
    .await;
}

#[tokio::test]
async fn detach_keeps_own_tables_that_another_pipeline_uses() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PAGES).await.expect("create table");
        let pages = store(harness, described()).await;
        pages.attach(|_| {}).await.expect("attach");
        let others = Pipeline::builder("others").table("others").key("other").stage("ONLY");
        let others = store(harness, others).await;
        others.prepare().await.expect("prepare");

        pages.detach(|_| {}).await.expect("detach");

        assert_eq!(others.inspect().await.expect("inspect"), Vec::<String>::new());
        assert!(!pages.detach_plan().await.expect("plan").kept.is_empty());
    })
    .await;
}

#[tokio::test]
async fn rows_in_two_states_or_in_none_are_found_before_anything_changes() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let create = "create table pages (page text primary key, state text default 'new', done_at timestamptz);
                      insert into pages values ('both', 'new', now()), ('none', 'parked', null), ('fine', 'new', null)";
        harness.execute(create).await.expect("create table");
        let pipeline = Pipeline::builder("pages")
            .table("pages")
            .key("page")
            .add_stage(rowlock::Stage::new("FETCH").with_ready(["new", "again"]).with_running("busy"))
            .succeeded(Sign::sql("done_at is not null", [("done_at", "now()")]))
            .failed("broken")
            .cancelled("off")
            .column(Role::Status, "state");
        let proof = store(harness, pipeline.clone()).await.prove().await.expect("prove");

        let two = proof.flaws.iter().any(|flaw| flaw.contains("2 states") && flaw.contains("\"both\""));
        assert!(two, "{proof:?}");
        let mut flaws = proof.flaws.iter();
        let unwritten = flaws.any(|flaw| flaw.contains("\"succeeded\"") && flaw.contains("ready for FETCH"));
        assert!(unwritten, "a success leaves the row in its state as well: {proof:?}");
        let none = proof.remarks.iter().any(|remark| remark.contains("\"parked\"") && remark.contains("\"none\""));
        assert!(none, "{proof:?}");
        let ignoring = store(harness, pipeline.ignored([Word::from("parked")])).await;
        assert_eq!(ignoring.prove().await.expect("prove").remarks, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_condition_that_no_index_can_hold_is_found_before_anything_changes() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute("create table pages (page text primary key, due timestamptz)").await.expect("create table");
        harness.execute("alter table pages add column status text not null default 'PENDING'").await.expect("alter");
        let store = store(harness, stages().claim_where("due < now()").existing_rows(Existing::Ready)).await;

        let proof = store.prove().await.expect("prove");

        assert!(proof.flaws.iter().any(|flaw| flaw.contains("immutable")), "{proof:?}");
        assert_eq!(value(harness, "select count(*)::text from pg_class where relname like 'rowlock%'").await, "0");
    })
    .await;
}
