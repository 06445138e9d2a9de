//! `attach` and `detach`: killed and run again, and taken back.

use tokio::sync::oneshot;

use super::*;
use crate::pipeline::{Sign, Stage};
use crate::store::{AttachEvent, StepKind};

/// A table of the team's, with rows in progress.
const VIDEOS: &str = "create table videos (id text primary key not null, status text not null default 'PENDING',
      url text);
    insert into videos (id, status) values ('ready', 'PENDING'), ('held', 'A_IN_PROGRESS')";

fn described() -> PipelineBuilder {
    builder().failed(Sign::Own)
}

/// A file with what these statements make, and a store on it that has prepared nothing.
async fn file_with(create: &str, builder: PipelineBuilder) -> Scene {
    let directory = tempfile::tempdir().expect("a directory");
    let pipeline = builder.build().expect("a valid pipeline");
    let store = SqliteStore::open(directory.path().join("queue.db"), pipeline).await.expect("opens");
    let scene = Scene { directory, store };
    scene.execute(create).await;
    scene
}

/// All tables and indexes, with their columns.
async fn schema(scene: &Scene) -> Vec<String> {
    let verb = scene.store.verb("test");
    let mut session = scene.store.read(&verb).await.expect("a connection");
    let sql = "select o.type || ' ' || o.name || ' ' || coalesce(group_concat(c.name || ' ' || c.type), o.sql, '')
               from sqlite_schema as o left join (
                 select t.name as of_table, i.name, i.type
                 from sqlite_schema as t, pragma_table_info(t.name) as i
                 where t.type = 'table'
                 order by i.name
               ) as c on c.of_table = o.name
               where o.name not glob 'sqlite_*'
               group by o.type, o.name
               order by 1";
    let found = session.rows(&super::super::session::Sql::new(sql.to_owned()), []).await.expect("the schema");
    session.roll_back().await.expect("the end");
    found.iter().filter_map(|row| rows::text(row, 0)).collect()
}

/// Runs `attach`, and drops it where a step of this kind begins.
async fn killed_at(scene: &Scene, kind: StepKind) -> bool {
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let attaching = scene.store.attach(|event| {
        if matches!(event, AttachEvent::Began { step, .. } if step.kind == kind)
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

#[tokio::test]
async fn a_plan_says_what_is_lacking_and_is_empty_afterwards() {
    let scene = file_with(VIDEOS, described()).await;
    let plan = scene.store.attach_plan().await.expect("plan");
    for kind in [StepKind::OwnTables, StepKind::Note, StepKind::Column, StepKind::Stamp, StepKind::Index] {
        assert!(plan.iter().any(|step| step.kind == kind), "{kind:?} is not in {plan:?}");
    }
    assert_eq!(scene.count("select count(*) from sqlite_schema where name like 'rowlock%'").await, 0);

    scene.store.attach(|_| {}).await.expect("attach");

    assert_eq!(scene.store.attach_plan().await.expect("plan"), []);
    let stamped = "select count(*) from videos where heartbeat_at is not null and id = 'held'";
    assert_eq!(scene.count(stamped).await, 1);
    assert_eq!(scene.count("select count(*) from videos where heartbeat_at is not null").await, 1);
    assert_eq!(scene.store.unleased().await.expect("unleased"), 1);
}

#[tokio::test]
async fn killed_anywhere_and_run_again_it_ends_in_the_schema_of_prepare() {
    let reference = file_with(VIDEOS, described()).await;
    reference.store.prepare().await.expect("prepare");
    let wanted = schema(&reference).await;
    for kind in [StepKind::Column, StepKind::Stamp, StepKind::Index] {
        let scene = file_with(VIDEOS, described()).await;
        assert!(killed_at(&scene, kind).await, "{kind:?} was never begun");

        patiently(async || scene.store.attach(|_| {}).await).await;

        assert_eq!(schema(&scene).await, wanted, "killed at {kind:?}");
        let unstamped = "select count(*) from videos where heartbeat_at is null and id = 'held'";
        assert_eq!(scene.count(unstamped).await, 0, "killed at {kind:?}");
    }
}

/// Between the column and its rows, all of them would be ready.
#[tokio::test]
async fn rows_that_were_there_are_never_ready_in_between() {
    let create = "create table videos (id text primary key not null); insert into videos values ('old')";
    let builder = || builder().existing_rows(crate::Existing::Succeeded);
    let scene = file_with(create, builder()).await;
    let plan = scene.store.attach_plan().await.expect("plan");
    let status = plan.iter().find(|step| step.object == "\"status\"").expect("the status is added");
    assert!(status.sql.contains("update") && status.sql.contains("'SUCCEEDED'"), "{}", status.sql);

    scene.store.attach(|_| {}).await.expect("attach");

    assert_eq!(scene.count("select count(*) from videos where status = 'SUCCEEDED'").await, 1);
}

#[tokio::test]
async fn a_key_of_several_columns_has_an_index_of_its_own() {
    let create = "create table videos (tenant text not null, id integer not null,
                    status text not null default 'PENDING', primary key (tenant, id))";
    let scene = file_with(create, builder().key_columns(["tenant", "id"])).await;
    scene.store.attach(|_| {}).await.expect("attach");
    assert_eq!(scene.count("select count(*) from sqlite_schema where name glob 'rowlock_videos_key_*'").await, 1);
    assert_eq!(scene.store.attach_plan().await.expect("plan"), []);
}

#[tokio::test]
async fn detach_takes_back_what_attach_added_and_nothing_else() {
    let scene = file_with(VIDEOS, described()).await;
    let before = schema(&scene).await;
    scene.store.attach(|_| {}).await.expect("attach");

    let plan = scene.store.detach_plan().await.expect("plan");
    assert!(plan.held.iter().any(|item| item.key.as_str() == "held"), "{plan:?}");
    assert!(!plan.steps.iter().any(|step| step.sql.contains("\"url\"")), "{plan:?}");
    scene.store.detach(|_| {}).await.expect("detach");

    assert_eq!(schema(&scene).await, before);
    assert_eq!(scene.store.detach_plan().await.expect("plan").steps, []);
}

#[tokio::test]
async fn rows_in_two_states_or_in_none_are_found_and_nothing_is_left() {
    let create = "create table videos (id text primary key not null, state text default 'new', done_at text);
                  insert into videos values ('both', 'new', 'today'), ('none', 'parked', null), ('fine', 'new', null)";
    let pipeline = Pipeline::builder("videos")
        .table("videos")
        .key("id")
        .add_stage(Stage::new("A").with_ready(["new", "again"]).with_running("busy"))
        .succeeded(Sign::sql("done_at is not null", [("done_at", "datetime('now')")]))
        .failed("broken")
        .cancelled("off")
        .column(Role::Status, "state");
    let scene = file_with(create, pipeline).await;

    for _ in 0..2 {
        let proof = scene.store.prove().await.expect("prove");
        let flaw = |words: [&str; 2]| proof.flaws.iter().any(|flaw| words.iter().all(|word| flaw.contains(word)));
        assert!(flaw(["2 states", "\"both\""]), "{proof:?}");
        assert!(flaw(["\"succeeded\"", "ready for A"]), "a success leaves the row in its state as well: {proof:?}");
        assert!(proof.remarks.iter().any(|remark| remark.contains("\"parked\"")), "{proof:?}");
    }
    assert_eq!(scene.count("select count(*) from videos").await, 3);
}
