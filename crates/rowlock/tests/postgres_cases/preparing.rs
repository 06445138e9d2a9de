//! What `prepare` and `inspect` report on a table on which every item would fail, and two calls of `prepare` at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowlock::conformance::{Harness, run};
use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use sqlx::Executor;

use super::{pipeline, stages, table, value};
use crate::postgres::PostgresHarness;

/// Prepares a table that this statement created, and returns the problem.
async fn problem(harness: &PostgresHarness, create: &str) -> String {
    harness.execute(create).await.expect("create table");
    let store = harness.open(pipeline()).await;
    let problem = match store.prepare().await {
        Err(rowlock::Error::Schema { problem, .. }) => problem,
        other => panic!("{create}: {other:?}"),
    };
    let inspected = store.inspect().await.expect("inspect");
    for sentence in inspected.iter().filter(|sentence| !sentence.ends_with("run prepare")) {
        assert!(problem.contains(sentence), "{create}: {sentence} is not in {problem}");
    }
    assert!(inspected.iter().any(|sentence| problem.contains(sentence)), "{create}: {inspected:?}");
    store.close().await;
    harness.execute("drop table pages").await.expect("drop");
    problem
}

#[tokio::test]
async fn a_column_that_cannot_hold_what_is_written_is_refused() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        // FETCH_IN_PROGRESS has 17 characters.
        for (column, named) in [
            ("status varchar(16)", "17"),
            ("status char(16)", "char"),
            ("resume_status varchar(10)", "17"),
            ("claimed_by varchar(20)", "96"),
        ] {
            let problem = problem(harness, &format!("create table pages (page text primary key, {column})")).await;
            assert!(problem.contains(named), "{column}: {problem}");
        }
        let wide = "create table pages (page varchar(50) primary key, status varchar(17) default 'PENDING',
                    resume_status varchar(17), error_message varchar(1), claimed_by varchar(96))";
        harness.execute(wide).await.expect("create table");
        harness.open(pipeline()).await.prepare().await.expect("wide enough");
    })
    .await;
}

#[tokio::test]
async fn a_constraint_that_does_not_know_a_word_is_refused() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let words = "'PENDING', 'SUCCEEDED', 'FAILED', 'CANCELLED'";
        let column = |words: &str| {
            format!(
                "create table pages (page text primary key, status varchar(40) not null default 'PENDING'
                 constraint known check (status in ({words})))"
            )
        };
        let problem = problem(harness, &column(words)).await;
        assert!(problem.contains("\"known\"") && problem.contains("FETCH_IN_PROGRESS"), "{problem}");
        assert!(!problem.contains("SUCCEEDED"), "{problem}");

        harness.execute(&column(&format!("{words}, 'FETCH_IN_PROGRESS'"))).await.expect("create table");
        harness.open(pipeline()).await.prepare().await.expect("every word is allowed");
    })
    .await;
}

#[tokio::test]
async fn two_prepare_a_table_in_use_at_once() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let first = table(harness, &[]).await;
        harness
            .execute(
                "do $$ declare name text; begin
                   for name in select indexrelid::regclass::text from pg_index
                     where indrelid = 'pages'::regclass and not indisprimary
                   loop execute 'drop index ' || name; end loop; end $$",
            )
            .await
            .expect("drop");
        let second = harness.open(stages().build().expect("valid")).await;
        // The build waits for this transaction, and would wait for any that holds a snapshot while it waits for the
        // lock.
        let mut other = harness.pool.begin().await.expect("begin");
        other.execute("insert into pages (page) values ('a')").await.expect("insert");
        let building = "select count(*)::text from pg_index where indrelid = 'pages'::regclass and not indisvalid";
        let tried = "select count(*)::text from pg_stat_activity
                     where datname = current_database() and query like '%pg_try_advisory_xact_lock%'
                       and pid <> pg_backend_pid()";

        // Whatever ends one of them early is said below, and not waited for here.
        let is_over = AtomicBool::new(false);
        let both = async {
            tokio::join!(
                async {
                    let prepared = first.prepare().await;
                    is_over.store(true, Ordering::Relaxed);
                    prepared
                },
                async {
                    let is_on = async || value(harness, building).await != "0" && value(harness, tried).await != "0";
                    while !is_on().await && !is_over.load(Ordering::Relaxed) {
                        tokio::task::yield_now().await;
                    }
                    other.commit().await.expect("commit");
                },
                async {
                    while value(harness, building).await == "0" && !is_over.load(Ordering::Relaxed) {
                        tokio::task::yield_now().await;
                    }
                    let prepared = second.prepare().await;
                    is_over.store(true, Ordering::Relaxed);
                    prepared
                }
            )
        };
        let (prepared, (), also) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("both prepare");

        prepared.expect("prepare");
        also.expect("prepare");
        assert_eq!(first.inspect().await.expect("inspect"), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn connect_refuses_a_newer_schema() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &[]).await;
        harness.execute("update rowlock_meta set value = '1000' where key = 'schema_version'").await.expect("update");
        let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
        let (address, parameters) = url.split_once('?').unwrap_or((&url, ""));
        let (server, _) = address.rsplit_once('/').expect("a URL with a database");
        let url = format!("{server}/{}?{parameters}", harness.database);
        let error = PostgresStore::connect(&url, pipeline()).await.expect_err("it is too new");
        assert!(matches!(error, rowlock::Error::SchemaTooNew { found: 1000, .. }), "{error}");
    })
    .await;
}

/// `now()` would be the start of a transaction that may be hours old.
#[tokio::test]
async fn an_insert_in_an_old_transaction_is_as_young_as_its_statement() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &[]).await;
        let mut transaction = harness.pool.begin().await.expect("begin");
        transaction.execute("select 1").await.expect("select");
        transaction.execute("insert into pages (page) values ('a')").await.expect("insert");
        let young: bool = sqlx::query_scalar("select created_at > now() and updated_at > now() from pages")
            .fetch_one(&mut *transaction)
            .await
            .expect("select");
        assert!(young, "its age is that of its transaction");
    })
    .await;
}
