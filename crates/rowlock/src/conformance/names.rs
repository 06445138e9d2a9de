//! Tables, columns and words with any name.

use std::time::Duration;

use super::Harness;
use super::scene::{RawItem, Scene, at, claimed_keys, retry};
use crate::pipeline::{PipelineBuilder, Role, Stage, StageId, Status};
use crate::store::{ClaimParams, CountParams, Finished, ListParams, Outcome, Store};
use crate::{Key, Pipeline};

/// Takes items through every verb that writes a name.
async fn go_through<H: Harness>(harness: &H, pipeline: PipelineBuilder) {
    let scene = Scene::with(harness, pipeline).await;
    assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new());
    scene.store.prepare().await.expect("prepare again");
    let pipeline = scene.pipeline().clone();
    let last = pipeline.stage_ids().next_back().expect("a stage");
    scene.insert_all(&["a", "b"]).await;

    let lease = scene.lease("a").await;
    assert_eq!(scene.finish(&lease, retry("broken")).await, Finished::Applied { to: Status::Ready(lease.stage) });
    assert_eq!(scene.failures("a").await.len(), 1);
    scene.cancel("a").await;
    scene.requeue("a", Some(last)).await;
    let claim_a = async |now| {
        let claiming = ClaimParams { except: vec![Key::from("b")], now: Some(now), ..scene.claiming(9) };
        let mut batch = scene.store.claim(&claiming).await.expect("claim");
        assert_eq!(claimed_keys(&batch), ["a"]);
        batch.claimed.remove(0).lease
    };
    let lease = claim_a(at(3)).await;
    assert_eq!(lease.stage, last);
    scene.sweep(at(1000)).await;
    let lease = claim_a(at(1001)).await;
    scene.renew(&lease, at(1002)).await;
    let done = scene.finish_at(&lease, Outcome::Complete, at(1003)).await;
    assert_eq!(done, Finished::Applied { to: Status::Succeeded });
    assert_eq!(scene.raw("a").await.status.as_deref(), Some(pipeline.word(Status::Succeeded)));

    scene.store.pause(last).await.expect("pause");
    assert_eq!(scene.store.paused().await.expect("paused"), [last]);
    scene.store.resume(last).await.expect("resume");
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.count(Status::Succeeded), 1);
    assert_eq!(counts.unknown_words().count(), 0);
    scene.set("b", Status::Failed).await;
    let listing = ListParams { status: Some(Status::Failed), limit: 9, after: None };
    assert_eq!(scene.store.list(&listing).await.expect("list").items.len(), 1);
    assert_eq!(scene.raw("b").await.resume.as_deref(), Some(pipeline.word(Status::Ready(StageId::FIRST))));
    scene.requeue("b", None).await;
    assert_eq!(scene.store.preview(&scene.claiming(9)).await.expect("preview").len(), 1);
    assert_eq!(claimed_keys(&scene.claim_at(9, at(2000)).await), ["b"]);
}

pub async fn names_may_be_reserved_words<H: Harness>(harness: &H) {
    let pipeline = Pipeline::builder("select").table("order").key("group").stage("user").stage("table");
    let roles = ["case", "from", "where", "limit", "null", "union", "check", "default", "end", "index", "on", "to"];
    let pipeline =
        Role::ALL.into_iter().zip(roles).fold(pipeline, |pipeline, (role, name)| pipeline.column(role, name));
    go_through(harness, pipeline).await;
}

pub async fn names_may_hold_quotes_spaces_and_any_other_character<H: Harness>(harness: &H) {
    let pipeline = Pipeline::builder("it's \"odd\"; drop table x; --")
        .table("My \"Table\"; it's odd")
        .key("The Key's \"name\"")
        .stage("stage 'one'")
        .stage("stage \\ \"two\" 🦀");
    let pipeline = Role::ALL.into_iter().fold(pipeline, |pipeline, role| {
        pipeline.column(role, format!("{} \"x\" 'y' $1 ?1 :z", role.default_column()))
    });
    go_through(harness, pipeline).await;
}

pub async fn names_may_be_upper_case_and_long<H: Harness>(harness: &H) {
    let long = |start: &str| format!("{start}{}", "_".repeat(63 - start.len()));
    let pipeline = Pipeline::builder(long("P")).table(long("TABLE").as_str()).key(long("KEY")).stage("S");
    let pipeline = Role::ALL
        .into_iter()
        .fold(pipeline, |pipeline, role| pipeline.column(role, long(&role.default_column().to_uppercase())));
    go_through(harness, pipeline).await;
}

pub async fn words_may_be_of_any_text<H: Harness>(harness: &H) {
    let pipeline = Pipeline::builder("pages")
        .table("pages")
        .key("page")
        .add_stage(Stage::new("FETCH").with_ready("it's new").with_running("e\\'n cours"))
        .add_stage(Stage::new("PARSE").with_ready("\"half\" done; --").with_running("läuft 🦀"))
        .succeeded("done'")
        .failed("E'failed\\")
        .cancelled("$1 ?1 :now");
    go_through(harness, pipeline).await;
}

pub async fn a_pipeline_may_have_one_stage_or_many<H: Harness>(harness: &H) {
    for stages in [1, 64] {
        let name = format!("stages_{stages}");
        let mut pipeline =
            Pipeline::builder(&name).table(name.as_str()).key("page").stale_after(Duration::from_secs(300));
        for stage in 0..stages {
            pipeline = pipeline.stage(format!("S{stage}"));
        }
        go_through(harness, pipeline).await;
    }
}

pub async fn a_column_of_the_users_may_have_the_name_of_a_parameter<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let taken = ["key", "token", "now", "t", "limit", "word", "position", "outcome", "item", "picked", "due"];
    for column in taken {
        scene.execute(&format!("alter table pages add column \"{column}\" text")).await;
        scene.execute(&format!("alter table pages add column \"{column}_\" text default 'theirs'")).await;
    }
    let lease = scene.insert_and_lease("a").await;
    assert!(matches!(scene.finish(&lease, retry("broken")).await, Finished::Applied { .. }));
    scene.lease_at("a", at(100_000)).await;
    assert_eq!(scene.sweep(at(200_000)).await.items.len(), 1);
    let item: RawItem = scene.raw("a").await;
    assert_eq!((item.retry_count, item.reset_count), (Some(1), Some(1)));
    scene.cancel("a").await;
    scene.requeue("a", None).await;
    scene.set("a", Status::Failed).await;
    let found = scene.store.get(&lease.key).await.expect("get").expect("an item");
    assert_eq!(found.key, lease.key);
    assert_eq!(scene.harness.text(&found.row, "key_").as_deref(), Some("theirs"));
}
