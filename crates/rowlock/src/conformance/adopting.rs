//! Making a queue of a table that is already in use: what its rows become, and what is rejected before anything is
//! changed.

use super::Harness;
use super::scene::{STALE_AFTER, Scene, Value, at, claimed_keys, fetch_and_parse, keys, two_stages};
use crate::pipeline::{Existing, PipelineBuilder, Role, Status};
use crate::store::{ClaimParams, Moved, Store, SweepParams};
use crate::{Error, Pipeline};

async fn open<H: Harness>(harness: &H, pipeline: PipelineBuilder) -> H::Store {
    harness.open(pipeline.build().expect("a valid pipeline")).await
}

/// Creates a table with this statement; asserts that `prepare` rejects it without any change, and that `inspect`
/// reports all of its sentences; returns the problem.
pub(super) async fn problem<H: Harness>(harness: &H, create: &str, pipeline: PipelineBuilder) -> String {
    harness.execute(create).await.unwrap_or_else(|error| panic!("{create}: {error}"));
    let store = open(harness, pipeline).await;
    let problem = match store.prepare().await {
        Err(Error::Schema { problem, .. }) => problem,
        other => panic!("{create}: {other:?}"),
    };
    let own = harness.rows("select key from rowlock_meta").await;
    assert!(own.is_err(), "{create}: a refused prepare has made Rowlock's tables");
    let inspected = store.inspect().await.expect("inspect");
    for sentence in problem.split("; ").filter(|part| part.starts_with("the column") || part.starts_with("there is no"))
    {
        assert!(inspected.iter().any(|inspected| inspected.contains(sentence)), "{sentence} is not in {inspected:?}");
    }
    store.close().await;
    problem
}

async fn drop_table<H: Harness>(harness: &H) {
    harness.execute("drop table pages").await.expect("drop table");
}

fn sweeping(now: Option<chrono::DateTime<chrono::Utc>>) -> SweepParams {
    SweepParams { limit: 9, stale_after: STALE_AFTER, max_resets: 3, now }
}

pub async fn rows_that_are_there_become_nothing_until_it_is_told_what_they_are<H: Harness>(harness: &H) {
    let create = "create table pages (page text primary key, is_done integer not null default 0)";
    harness.execute(create).await.expect("create table");
    harness.execute("insert into pages (page, is_done) values ('long done', 1)").await.expect("insert");
    let store = open(harness, two_stages()).await;

    let refused = store.prepare().await.expect_err("it would be done again");

    assert!(matches!(&refused, Error::Schema { problem, .. } if problem.contains("existing_rows")), "{refused}");
    let inspected = store.inspect().await.expect("inspect");
    assert!(inspected.iter().any(|sentence| sentence.contains("existing_rows")), "{inspected:?}");
    assert!(harness.rows("select status from pages").await.is_err(), "no column was added");
    store.close().await;
    drop_table(harness).await;

    // A table without rows needs no answer to that question.
    harness.execute(create).await.expect("create table");
    open(harness, two_stages()).await.prepare().await.expect("prepare");
}

pub async fn rows_that_are_there_become_what_is_said_and_new_ones_are_ready<H: Harness>(harness: &H) {
    let cases = [(Existing::Ready, "PENDING"), (Existing::Succeeded, "SUCCEEDED"), (Existing::Cancelled, "CANCELLED")];
    for (existing, word) in cases {
        harness.execute("create table pages (page text primary key)").await.expect("create table");
        harness.execute("insert into pages (page) values ('old'), ('older')").await.expect("insert");
        let store = open(harness, two_stages().existing_rows(existing)).await;

        store.prepare().await.expect("prepare");

        let scene = Scene { harness, store };
        assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new(), "{existing:?}");
        harness.execute("insert into pages (page) values ('new')").await.expect("insert");
        scene.store.add_many(&keys(&["newer"])).await.expect("add_many");
        for (key, word) in [("old", word), ("older", word), ("new", "PENDING"), ("newer", "PENDING")] {
            assert_eq!(scene.raw(key).await.status.as_deref(), Some(word), "{key}: {existing:?}");
        }
        // The setting concerns the rows that were there when the column was added, and no later ones.
        scene.store.prepare().await.expect("prepare");
        assert_eq!(scene.raw("new").await.status.as_deref(), Some("PENDING"));
        scene.store.close().await;
        drop_table(harness).await;
    }
}

pub async fn every_problem_is_told_at_once_and_nothing_is_changed<H: Harness>(harness: &H) {
    let time = harness.time_type();
    let create = format!(
        "create table pages (page text not null, state text, retry_after {time} not null, beat {time}, \
         resume_status text not null)"
    );
    let pipeline =
        two_stages().column(Role::Status, "state").column(Role::Heartbeat, "beat").column(Role::ClaimedBy, "worker");

    let problem = problem(harness, &create, pipeline).await;

    for named in ["unique", "\"state\"", "\"retry_after\"", "\"resume_status\"", "\"worker\""] {
        assert!(problem.contains(named), "{named} is not in: {problem}");
    }
    assert!(harness.rows("select claim_token from pages").await.is_err(), "no column was added");
}

pub async fn a_mapped_column_that_is_not_there_is_an_error_and_no_new_column<H: Harness>(harness: &H) {
    let pipeline = two_stages().column(Role::RetryAfter, "run_att");
    let problem = problem(harness, "create table pages (page text primary key, run_at text)", pipeline).await;

    assert!(problem.contains("\"run_att\"") && problem.contains("RetryAfter"), "{problem}");
    assert!(harness.rows("select run_att from pages").await.is_err(), "no column was added");
}

pub async fn a_status_without_the_ready_default_is_refused_until_it_is_allowed<H: Harness>(harness: &H) {
    for (column, named) in [
        ("status text", "no default"),
        ("status text not null", "no default"),
        ("status text not null default 'DRAFT'", "\"DRAFT\""),
        ("status text default null", "no default"),
    ] {
        let create = format!("create table pages (page text primary key, {column})");
        let problem = problem(harness, &create, two_stages()).await;
        assert!(problem.contains(named) && problem.contains("\"PENDING\""), "{column}: {problem}");

        let scene = Scene::with(harness, two_stages().without_ready_default()).await;
        for round in 1..=2 {
            let key = format!("added {round}");
            scene.store.add_many(&[key.as_str().into(), "twice".into()]).await.expect("add_many");
            let claiming = ClaimParams { now: None, ..scene.claiming(9) };
            let batch = scene.store.claim(&claiming).await.expect("claim");
            assert!(claimed_keys(&batch).contains(&&*key), "{column}: what was added is an item");
        }
        scene.store.close().await;
        harness.execute("drop table pages; drop table rowlock_meta").await.expect("drop table");
    }
}

pub async fn a_generated_column_is_refused_in_every_role_that_is_written<H: Harness>(harness: &H) {
    for (role, column) in [
        ("Status", "status text generated always as ('PENDING') stored"),
        ("RetryCount", "retry_count integer generated always as (0) stored"),
    ] {
        let create = format!("create table pages (page text primary key, {column})");
        let problem = problem(harness, &create, two_stages()).await;
        assert!(problem.contains("generated") && problem.contains(role), "{problem}");
        drop_table(harness).await;
    }
}

pub async fn a_view_is_refused<H: Harness>(harness: &H) {
    harness
        .execute("create table real_pages (page text primary key, status text default 'PENDING')")
        .await
        .expect("table");
    let problem = problem(harness, "create view pages as select * from real_pages", two_stages()).await;
    assert!(problem.contains("view"), "{problem}");
}

/// An older worker of the team claimed it a moment ago, and has no heartbeat in Rowlock's column.
pub async fn a_row_in_progress_that_somebody_may_hold_is_stale_one_time_later<H: Harness>(harness: &H) {
    let time = harness.time_type();
    for beat in ["", ", heartbeat_at"] {
        let column = if beat.is_empty() { String::new() } else { format!("{beat} {time}") };
        let create =
            format!("create table pages (page text primary key, status text not null default 'PENDING'{column})");
        harness.execute(&create).await.expect("create table");
        harness
            .execute("insert into pages (page, status) values ('held', 'FETCH_IN_PROGRESS'), ('ready', 'PENDING')")
            .await
            .expect("insert");
        let scene = Scene::new(harness).await;

        let now = scene.store.now().await.expect("now");
        let swept = scene.store.sweep(&sweeping(None)).await.expect("sweep");

        assert!(swept.items.is_empty(), "{swept:?}");
        let later = sweeping(Some(now + chrono::TimeDelta::seconds(301)));
        assert_eq!(scene.store.sweep(&later).await.expect("sweep").items.len(), 1, "nobody renewed it");
        assert_eq!(scene.raw("held").await.status.as_deref(), Some("PENDING"));
        scene.store.close().await;
        drop_table(harness).await;
    }
}

pub async fn a_row_in_progress_that_is_said_to_be_nobodys_is_swept_at_once<H: Harness>(harness: &H) {
    let create = "create table pages (page text primary key, status text not null default 'PENDING')";
    harness.execute(create).await.expect("create table");
    harness.execute("insert into pages (page, status) values ('held', 'FETCH_IN_PROGRESS')").await.expect("insert");
    let scene = Scene::with(harness, two_stages().existing_leases_are_stale()).await;

    assert_eq!(scene.store.sweep(&sweeping(None)).await.expect("sweep").items.len(), 1);
}

/// `prepare` stamps once, when it adds its columns: a lease of Rowlock's whose heartbeat is missing is stale.
pub async fn a_repeated_prepare_stamps_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (fetch, _) = fetch_and_parse();
    scene.put("a", Status::InProgress(fetch)).await;

    scene.store.prepare().await.expect("prepare");

    assert_eq!(scene.raw("a").await.heartbeat, None);
    assert_eq!(scene.sweep(at(0)).await.items.len(), 1);
}

pub async fn rows_that_no_worker_takes_up_are_counted_and_named<H: Harness>(harness: &H) {
    let create = "create table pages (page text primary key, status text default 'PENDING')";
    harness.execute(create).await.expect("create table");
    let scene = Scene::new(harness).await;
    scene.insert_all(&["empty", "null", "null too", "odd", "fine", "held", "failed"]).await;
    for (key, word) in [
        ("empty", Value::Text("")),
        ("null", Value::Null),
        ("null too", Value::Null),
        ("odd", Value::Text("it's on hold")),
        ("held", Value::Text("FETCH_IN_PROGRESS")),
        ("failed", Value::Text("FAILED")),
    ] {
        scene.edit(key, &[(Role::Status, word)]).await;
    }

    let said = scene.store.inspect().await.expect("inspect");

    assert_eq!(said.len(), 4, "{said:?}");
    for beginning in ["1 row has \"\" in", "1 row has \"it's on hold\" in", "2 rows have null in", "1 row in progress"]
    {
        assert!(said.iter().any(|sentence| sentence.starts_with(beginning)), "{beginning}: {said:?}");
    }
    // None of this keeps a worker from the other items.
    scene.store.prepare().await.expect("prepare");
    assert_eq!(claimed_keys(&scene.claim(9).await), ["fine"]);
}

/// A status column with a constraint that allows these words.
fn constrained(words: &[&str]) -> String {
    format!(
        "create table pages (page text primary key, status text not null default 'PENDING'
         constraint known check (status in ('{}')))",
        words.join("', '")
    )
}

fn words_but(without: &str) -> Vec<String> {
    let pipeline: Pipeline = two_stages().build().expect("a valid pipeline");
    pipeline.words().into_iter().filter(|word| *word != without).map(str::to_owned).collect()
}

pub async fn a_check_that_does_not_allow_a_word_is_refused<H: Harness>(harness: &H) {
    for word in ["FETCH_IN_PROGRESS", "PARSE_IN_PROGRESS", "FAILED", "SUCCEEDED"] {
        let words = words_but(word);
        let create = constrained(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let problem = problem(harness, &create, two_stages()).await;
        assert!(problem.contains("\"known\"") && problem.contains(&format!("{word:?}")), "{problem}");
        drop_table(harness).await;
    }
}

pub async fn a_check_that_lacks_only_the_word_for_cancelled_refuses_cancel_by_name<H: Harness>(harness: &H) {
    let words = words_but("CANCELLED");
    harness.execute(&constrained(&words.iter().map(String::as_str).collect::<Vec<_>>())).await.expect("create table");
    let scene = Scene::new(harness).await;
    assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new());
    scene.insert("a").await;

    let moved = scene.store.cancel(&keys(&["a"]), None).await.expect("cancel");

    match &moved[..] {
        [Moved::Refused { reason }] => {
            assert!(reason.contains("\"CANCELLED\"") && reason.contains("known"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.raw("a").await.status.as_deref(), Some("PENDING"));
}

pub async fn a_check_on_any_role_is_tried_with_what_moves_write<H: Harness>(harness: &H) {
    for (column, named) in [
        ("retry_count integer not null default 0 check (retry_count <= 3)", "RetryCount"),
        ("resume_status text check (resume_status is not null)", "ResumeStatus"),
        ("resume_status text check (resume_status <> 'FETCH_COMPLETE')", "ResumeStatus"),
        ("error_message text check (length(error_message) <= 100)", "ErrorMessage"),
        ("claimed_by text check (length(claimed_by) <= 20)", "ClaimedBy"),
    ] {
        let create = format!("create table pages (page text primary key, status text default 'PENDING', {column})");
        let problem = problem(harness, &create, two_stages()).await;
        assert!(problem.contains(named), "{column}: {problem}");
        drop_table(harness).await;
    }
    // Only a row can show whether several columns fit together.
    let sql = "create table pages (page text primary key, status text default 'PENDING', url text, \
               retry_count integer check (retry_count <= 99), \
               check (status <> 'FETCH_IN_PROGRESS' or url is not null))";
    harness.execute(sql).await.expect("create table");
    open(harness, two_stages()).await.prepare().await.expect("prepare");
}
