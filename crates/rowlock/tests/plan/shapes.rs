//! The plans of the verbs that run constantly, on tables whose states are not one text each.

use rowlock::{ColumnSpec, Form, Pipeline, PipelineBuilder, Role, Sign, Stage, StatusType, Word};

use super::{MODES, Scene, TABLE, rows_of};

/// A table that others made, with many rows, and the pipeline on it.
struct Shape {
    name: &'static str,
    create: String,
    pipeline: PipelineBuilder,
    /// The name of the ready state.
    ready: &'static str,
}

fn builder() -> PipelineBuilder {
    Pipeline::builder("plans").table(TABLE).key("id")
}

fn shapes() -> Vec<Shape> {
    let rows = "from generate_series(1, 50000) n";
    let ready = "n % 4 = 0";
    let words = Shape {
        name: "words",
        create: format!(
            "create table {TABLE} (id text primary key, state text, deleted_at timestamptz);
             insert into {TABLE} (id, state) select md5(n::text), case when {ready} then null else 'done' end {rows}"
        ),
        pipeline: builder()
            .add_stage(Stage::new("A").with_ready(vec![Word::from("new"), Word::Null]).with_running("busy"))
            .succeeded("done")
            .failed("broken")
            .column(Role::Status, "state")
            .claim_where("deleted_at is null")
            .without_ready_default(),
        ready: "new",
    };
    let labels = Shape {
        name: "labels",
        create: format!(
            "create type item_state as enum ('queued', 'running', 'done', 'failed');
             create table {TABLE} (id text primary key, state item_state not null default 'queued');
             insert into {TABLE} (id, state)
             select md5(n::text), (case when {ready} then 'queued' else 'done' end)::item_state {rows}"
        ),
        pipeline: builder()
            .add_stage(Stage::new("A").with_ready("queued").with_running("running"))
            .succeeded("done")
            .failed("failed")
            .cancelled(Sign::Own)
            .column(Role::Status, "state")
            .status_type(StatusType::Enum),
        ready: "queued",
    };
    let numbers = Shape {
        name: "numbers",
        create: format!(
            "create table {TABLE} (
               id text primary key, state int not null default 0, next_run bigint not null default 0
             );
             insert into {TABLE} (id, state) select md5(n::text), case when {ready} then 0 else 2 end {rows}"
        ),
        pipeline: builder()
            .add_stage(Stage::new("A").with_ready(0).with_running(1))
            .succeeded(2)
            .failed(3)
            .cancelled(4)
            .column(Role::Status, "state")
            .status_type(StatusType::Integer)
            .column_as(Role::RetryAfter, ColumnSpec::new("next_run").form(Form::EpochSeconds).none("0")),
        ready: "0",
    };
    let held = Shape {
        name: "held",
        create: format!(
            "create table {TABLE} (id text primary key, sent_at timestamptz, priority int not null default 0);
             insert into {TABLE} (id, sent_at) select md5(n::text), case when {ready} then null else now() end {rows}"
        ),
        pipeline: builder()
            .add_stage(
                Stage::new("A").with_ready(Sign::sql("sent_at is null", [("sent_at", "null")])).with_running(Sign::Own),
            )
            .succeeded(Sign::sql("sent_at is not null", [("sent_at", "now()")]))
            .failed(Sign::Own)
            .cancelled(Sign::Own)
            .order_by(["priority desc"]),
        ready: "PENDING",
    };
    vec![words, labels, numbers, held]
}

/// Whatever says the states, an index leads to the head of the queue, and every statement prepares.
#[tokio::test]
async fn a_claim_reads_the_head_of_the_queue_whatever_says_the_states() {
    for Shape { name, create, pipeline, ready } in shapes() {
        let pipeline = pipeline.build().expect("a valid pipeline");
        let mut scene = Scene::over(&format!("shape_{name}"), pipeline, &create).await;
        scene.prepare_every_statement().await;
        let arguments = format!("'{ready}', 10, null, 5, 3, false, null, 42, 'me'");
        for mode in MODES {
            let plan = scene.plan("claim_plain", mode, &arguments).await;
            plan.check_indexes(&["rowlock_ready_index"]);
            for node in plan.nodes() {
                let rows = rows_of(node);
                assert!(rows <= 100.0, "{name}: ten items were asked for, and a step reads {rows} rows:\n{node:#}");
            }
            let sweep = scene.plan("sweep", mode, "10, 300, null, 3, null, null").await;
            sweep.check_indexes(&["rowlock_running_index"]);
        }
        scene.end().await;
    }
}
