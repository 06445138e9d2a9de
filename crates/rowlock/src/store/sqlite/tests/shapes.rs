//! Tables of every shape that SQLite has: what `prepare` makes of them, and what it refuses before it changes anything.

use super::*;

/// An empty file with what these statements make, and a store on it that has prepared nothing.
async fn file_with(create: &str, builder: PipelineBuilder) -> Scene {
    let directory = tempfile::tempdir().expect("a directory");
    let pipeline = builder.build().expect("a valid pipeline");
    let store = SqliteStore::open(directory.path().join("queue.db"), pipeline).await.expect("opens");
    let scene = Scene { directory, store };
    scene.execute(create).await;
    scene
}

/// The problem that is told of what these statements make; nothing is changed.
async fn problem(create: &str, builder: PipelineBuilder) -> String {
    let scene = file_with(create, builder).await;
    let problem = match scene.store.prepare().await {
        Err(Error::Schema { problem, .. }) => problem,
        other => panic!("{create}: {other:?}"),
    };
    let inspected = scene.store.inspect().await.expect("inspect");
    assert!(inspected.iter().any(|sentence| problem.contains(sentence)), "{create}: {inspected:?}");
    assert_eq!(scene.count("select count(*) from sqlite_schema where name like 'rowlock%'").await, 0, "{create}");
    problem
}

fn table(columns: &str) -> String {
    format!("create table videos (id text primary key not null, {columns})")
}

const STATUS: &str = "status text not null default 'PENDING'";

#[tokio::test]
async fn a_type_that_would_change_what_is_written_is_refused_in_every_role() {
    for (role, column) in [
        ("Status", "status integer not null default 1"),
        ("Status", "status real"),
        ("Status", "status decimal default 'PENDING'"),
        ("ResumeStatus", "resume_status numeric"),
        ("ErrorMessage", "error_message int"),
        ("ClaimedBy", "claimed_by blob"),
        ("RetryCount", "retry_count text not null default 0"),
        ("ResetCount", "reset_count real"),
        ("ClaimToken", "claim_token text"),
        ("ClaimToken", "claim_token real"),
        ("RetryAfter", "retry_after integer"),
        ("Heartbeat", "heartbeat_at bigint"),
        ("ClaimedAt", "claimed_at real"),
        ("CreatedAt", "created_at int"),
        ("UpdatedAt", "updated_at blob"),
    ] {
        let columns = if role == "Status" { column.to_owned() } else { format!("{STATUS}, {column}") };
        for options in ["", " strict"] {
            if !options.is_empty()
                && ["numeric", "decimal", "bigint"].iter().any(|no_strict| column.contains(no_strict))
            {
                continue;
            }
            let problem = problem(&format!("{}{options}", table(&columns)), builder()).await;
            assert!(problem.contains(role), "{column}{options}: {problem}");
        }
    }
}

#[tokio::test]
async fn seconds_since_1970_are_no_time_whatever_their_column_says() {
    for declared in ["integer", "datetime", "timestamp", ""] {
        let create = format!(
            "{}; insert into videos (id, run_at) values ('due in 2096', 4000000000)",
            table(&format!("{STATUS}, run_at {declared}"))
        );
        let problem = problem(&create, builder().column(Role::RetryAfter, "run_at")).await;
        assert!(problem.contains("\"run_at\"") && problem.contains("column_as"), "{declared}: {problem}");
    }
}

#[tokio::test]
async fn a_column_that_keeps_texts_as_they_are_is_one_for_times() {
    for (declared, options) in [("datetime", ""), ("timestamp", ""), ("text", " strict"), ("any", " strict"), ("", "")]
    {
        let create = format!("{}{options}", table(&format!("{STATUS}, run_at {declared}")));
        let scene = file_with(&create, builder().column(Role::RetryAfter, "run_at")).await;
        scene.store.prepare().await.expect("prepare");
        assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new(), "{declared}");
        scene.add(&["a"]).await;
        assert_eq!(claim(&scene.store, 1).await.len(), 1, "{declared}");
    }
}

#[tokio::test]
async fn a_strict_table_without_rowids_is_a_queue() {
    let scene = file_with(&format!("{} strict, without rowid", table(STATUS)), builder()).await;
    scene.store.prepare().await.expect("prepare");
    assert_eq!(scene.store.inspect().await.expect("inspect"), Vec::<String>::new());
    scene.add(&["a", "b"]).await;
    let leases = claim(&scene.store, 2).await;
    let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
    assert!(finished.iter().all(|finished| matches!(finished, Finished::Applied { .. })), "{finished:?}");
}

#[tokio::test]
async fn a_virtual_table_is_refused() {
    let problem = problem("create virtual table videos using fts5 (id, status)", builder()).await;
    assert!(problem.contains("virtual"), "{problem}");
}

#[tokio::test]
async fn a_generated_column_is_refused_whether_it_is_stored_or_not() {
    for kind in ["virtual", "stored"] {
        let columns = format!("{STATUS}, retry_count integer generated always as (0) {kind}");
        let problem = problem(&table(&columns), builder()).await;
        assert!(problem.contains("RetryCount") && problem.contains("generated"), "{problem}");
    }
}

#[tokio::test]
async fn a_check_without_a_name_is_called_by_its_expression() {
    let columns = "status text not null default 'PENDING' check (\"status\" in ('PENDING', 'SUCCEEDED'))";
    let problem = problem(&table(columns), builder()).await;
    assert!(
        problem.contains("A_IN_PROGRESS") && problem.contains("FAILED") && problem.contains("in ('PENDING'"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_key_of_several_columns_that_two_rows_may_share_is_refused() {
    let builder = || Pipeline::builder("videos").table("videos").key_columns(["tenant", "id"]).stage("A");
    let create = |key: &str| format!("create table videos (tenant text not null, id text not null, {STATUS}{key})");
    let problem = problem(&create(""), builder()).await;
    assert!(problem.contains("are not unique together"), "{problem}");
    let scene = file_with(&create(", primary key (tenant, id)"), builder()).await;
    scene.store.prepare().await.expect("prepare");
}

/// The owner's programs may take a lease for longer than Rowlock would.
#[tokio::test]
async fn a_lease_that_is_an_expiry_is_stale_when_it_has_expired_and_not_before() {
    let builder = builder().column_as(Role::Heartbeat, ColumnSpec::new("locked_until").form(Form::Expiry));
    let scene = file_with(&table(&format!("{STATUS}, locked_until text")), builder).await;
    scene.store.prepare().await.expect("prepare");
    scene
        .execute(
            "insert into videos (id, status, locked_until) values
               ('long', 'A_IN_PROGRESS', datetime('now', '+1 day')),
               ('over', 'A_IN_PROGRESS', datetime('now', '-1 day'))",
        )
        .await;
    let sweeping = SweepParams { limit: 9, stale_after: scene.store.pipeline.stale_after(), max_resets: 3, now: None };
    let swept = scene.store.sweep(&sweeping).await.expect("sweep");
    assert_eq!(swept.keys().map(Key::as_str).collect::<Vec<_>>(), ["over"]);
}
