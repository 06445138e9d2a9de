//! The plans of the verbs' statements, as SQLite explains them, on a table of 200,000 rows.

use super::*;
use crate::store::sqlite::session::{Bind, Sql};

const ROWS: i64 = 200_000;

/// A quarter is ready, some of it for the second stage; a hundred are in progress; the rest is done.
async fn large() -> Scene {
    let scene = Scene::new().await;
    scene
        .execute(&format!(
            "with recursive n (n) as (select 1 union all select n + 1 from n where n < {ROWS})
             insert into videos (id, status, created_at, claim_token, heartbeat_at)
             select
               printf('v%09d', n),
               case when n % 2000 = 0 then 'A_IN_PROGRESS' when n % 8 = 0 then 'PENDING'
                    when n % 8 = 1 then 'A_COMPLETE' when n % 100 = 2 then 'FAILED' else 'SUCCEEDED' end,
               strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-01', n || ' seconds'),
               case when n % 2000 = 0 then n end,
               case when n % 2000 = 0 then strftime('%Y-%m-%dT%H:%M:%fZ', 'now') end
             from n"
        ))
        .await;
    scene
}

async fn plan(scene: &Scene, sql: &Sql) -> Vec<String> {
    plan_with(scene, sql, []).await
}

/// The plan for these values: SQLite looks at them where they decide about a partial index.
async fn plan_with(scene: &Scene, sql: &Sql, binds: impl IntoIterator<Item = Bind>) -> Vec<String> {
    let verb = scene.store.verb("test");
    let mut session = scene.store.take_writer(&verb).await.expect("a connection");
    let explain = Sql::new(format!("explain query plan {}", sql.as_str()));
    let rows = session.rows(&explain, binds).await.expect("a plan");
    session.keep();
    rows.iter().map(|row| rows::text(row, 3).unwrap_or_default()).collect()
}

/// Fails on a step that reads or sorts the whole table.
fn assert_bounded(name: &str, plan: &[String]) {
    let is_bad = |step: &&String| {
        step.starts_with("SCAN t") && !step.contains("INDEX rowlock_")
            || step.starts_with("SCAN videos")
            || step.contains("TEMP B-TREE")
            || step.contains("AUTOMATIC")
    };
    let bad: Vec<&String> = plan.iter().filter(is_bad).collect();
    assert!(bad.is_empty(), "{name}: {bad:?} in {plan:#?}");
}

/// Pitfall 13: an order by an expression that no index has sorts the whole backlog at each claim.
#[tokio::test]
async fn p13_a_claim_reads_the_head_of_a_large_queue_in_the_order_of_an_index() {
    let scene = large().await;
    let plan = plan(&scene, &scene.store.statements.pick).await;
    let table: Vec<&String> = plan.iter().filter(|step| step.contains(" t ") || step.contains("B-TREE")).collect();
    assert!(
        matches!(
            &table[..],
            [one] if one.contains("INDEX rowlock_videos_ready_") && one.contains("(status=? AND <expr><?)")
        ),
        "{plan:#?}"
    );
}

/// What is in progress is little: sorting it costs less than looking through all keys.
#[tokio::test]
async fn a_list_of_what_is_in_progress_reads_that_alone() {
    let scene = large().await;
    for sql in [&scene.store.statements.list_running, &scene.store.statements.list_running_after] {
        let plan = plan(&scene, sql).await;
        assert!(plan.iter().any(|step| step.contains("INDEX rowlock_videos_running_")), "{plan:#?}");
    }
}

/// Pitfall 14: a sweep that joins the table to itself costs the stale ones times the table.
#[tokio::test]
async fn p14_a_sweep_reads_what_is_in_progress_once() {
    let scene = large().await;
    let statements = &scene.store.statements;
    let find = plan(&scene, &statements.find_stale).await;
    let table: Vec<&String> = find.iter().filter(|step| step.contains(" t ")).collect();
    assert!(matches!(&table[..], [one] if one.contains("INDEX rowlock_videos_running_")), "{find:#?}");
    let take_back = plan(&scene, &statements.take_back).await;
    let table: Vec<&String> = take_back.iter().filter(|step| step.contains(" t ")).collect();
    assert!(matches!(&table[..], [one] if one.starts_with("SEARCH t ") && one.contains("(id=?)")), "{take_back:#?}");
}

#[tokio::test]
async fn the_plans_are_bounded_on_a_large_table_with_and_without_statistics() {
    let scene = large().await;
    let statements = &scene.store.statements;
    let by_key = "USING INDEX sqlite_autoindex_videos_1 (id=?)";
    let by_rowid = "USING INTEGER PRIMARY KEY (rowid=?)";
    let expected = [
        ("pick", &statements.pick, "rowlock_videos_ready_"),
        ("pick by rowid", &statements.claim_by_rowid.pick, "rowlock_videos_ready_"),
        ("pick by key", &statements.claim_by_key.pick, "rowlock_videos_ready_"),
        ("take", &statements.take, by_key),
        ("take by rowid", &statements.claim_by_rowid.take, by_rowid),
        ("take by key", &statements.claim_by_key.take, by_key),
        ("read by rowid", &statements.claim_by_rowid.read, by_rowid),
        ("read by key", &statements.claim_by_key.read, by_key),
        ("finish", &statements.finish, by_key),
        ("complete_few", &statements.complete_few, by_key),
        ("complete_many", &statements.complete_many, "rowlock_videos_running_"),
        ("renew", &statements.renew, by_key),
        ("read_leases", &statements.read_leases, by_key),
        ("refuse", &statements.refuse, by_key),
        ("find_stale", &statements.find_stale, "rowlock_videos_running_"),
        ("take_back", &statements.take_back, by_key),
        ("renew_claimed", &statements.renew_claimed, "rowlock_videos_running_"),
        ("set", &statements.set, by_key),
        ("cancel", &statements.cancel, by_key),
        ("requeue", &statements.requeue, by_key),
        ("get", &statements.get, by_key),
        ("list_any_after", &statements.list_any_after, "sqlite_autoindex_videos_1 (id>?)"),
        ("list_stopped", &statements.list_stopped, "rowlock_videos_stopped_"),
        ("list_stopped_after", &statements.list_stopped_after, "rowlock_videos_stopped_"),
        ("count_ready", &statements.count_ready, "rowlock_videos_ready_"),
        ("count_running", &statements.count_running, "rowlock_videos_running_"),
        ("count_stopped", &statements.count_stopped, "rowlock_videos_stopped_"),
    ];
    for statistics in
        ["select 1", "analyze", "delete from sqlite_stat1 where idx like 'rowlock%'; analyze sqlite_schema"]
    {
        scene.execute(statistics).await;
        for (name, sql, index) in &expected {
            let plan = plan(&scene, sql).await;
            assert_bounded(name, &plan);
            assert!(plan.iter().any(|step| step.contains(index)), "{name} with {statistics}: {plan:#?}");
        }
    }
}

/// If a pipeline has one stage, its ready word is the whole predicate of the ready index, and an index of the user's
/// may be on the status too: neither must lead a batch of known keys through the whole backlog.
#[tokio::test]
async fn a_plain_batch_goes_by_its_keys_whatever_indexes_there_are() {
    let one_stage = || Pipeline::builder("videos").table("videos").key("id").stage("A");
    for (builder, ready, running) in [
        (one_stage(), "PENDING", "A_IN_PROGRESS"),
        (one_stage().key_type(KeyType::BigInt), "PENDING", "A_IN_PROGRESS"),
        (builder(), "A_COMPLETE", "B_IN_PROGRESS"),
    ] {
        let scene = Scene::with(builder).await;
        let statements = &scene.store.statements;
        for more in [
            "select 1",
            "create index of_the_user on videos (status)",
            "create index of_the_user_too on videos (status, created_at)",
        ] {
            scene.execute(more).await;
            let take = || -> [Bind; 6] {
                ["[1]".into(), "now".into(), 7_i64.into(), "me".into(), ready.into(), running.into()]
            };
            let complete =
                || -> [Bind; 5] { ["[1]".into(), "now".into(), 7_i64.into(), running.into(), "SUCCEEDED".into()] };
            let renew: [Bind; 2] = ["[]".into(), "now".into()];
            for plan in [
                plan_with(&scene, &statements.claim_by_rowid.take, take()).await,
                plan_with(&scene, &statements.claim_by_key.take, take()).await,
                plan_with(&scene, &statements.complete_few, complete()).await,
                plan_with(&scene, &statements.renew, renew).await,
            ] {
                let table: Vec<&String> = plan.iter().filter(|step| step.contains(" t ")).collect();
                let by_key = |step: &str| step.contains("(id=?)") || step.contains("(rowid=?)");
                assert!(matches!(&table[..], [one] if by_key(one)), "after {more:?}: {plan:#?}");
            }
            let plan = plan_with(&scene, &statements.complete_many, complete()).await;
            let table: Vec<&String> = plan.iter().filter(|step| step.contains(" t ")).collect();
            assert!(matches!(&table[..], [one] if one.contains("(claim_token=?)")), "after {more:?}: {plan:#?}");
        }
    }
}
