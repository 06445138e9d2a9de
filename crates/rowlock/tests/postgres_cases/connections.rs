//! Connections that died, that are outdated, that are too many, that are no longer needed.

use std::time::{Duration, Instant};

use rowlock::conformance::{Harness, run};
use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Error, JsonRecord, Key, Repository, Worker};
use sqlx::{Executor, Row};
use tokio::task::JoinSet;

use super::{claiming, pipeline, table, table_of, value};
use crate::postgres::PostgresHarness;

/// The connections of the store under test: those of the harness are all idle, in its own pool.
pub(super) async fn backends(harness: &PostgresHarness) -> usize {
    let sql = "select count(*)::text from pg_stat_activity
               where datname = current_database() and application_name = 'under_test'";
    value(harness, sql).await.parse().expect("a number")
}

pub(super) async fn end_all(harness: &PostgresHarness) {
    let sql = "select pg_terminate_backend(pid)::text from pg_stat_activity
               where datname = current_database() and application_name = 'under_test'";
    harness.rows(sql).await.expect("ended");
    while backends(harness).await > 0 {}
}

/// A store whose connections can be told from those of the harness.
pub(super) fn watched(harness: &PostgresHarness) -> PostgresStore {
    let options = harness.server.clone().database(&harness.database).application_name("under_test");
    PostgresStore::with_options(options, pipeline())
}

/// The time after which an idle connection is tested.
pub(super) async fn until_idle_ones_are_tested() {
    tokio::time::sleep(rowlock::limits::CONNECTION_TESTED_AFTER).await;
}

#[tokio::test]
async fn no_verb_fails_on_a_connection_that_died_while_it_was_idle() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let store = watched(harness);
        let stage = pipeline().stage_ids().next().expect("a stage");
        for round in 0..5 {
            store.now().await.expect("now");
            drop(store.begin().await.expect("begin"));
            end_all(harness).await;
            until_idle_ones_are_tested().await;
            let what = format!("round {round}");
            match round {
                0 => drop(store.add_many(&["b".into()]).await.expect(&what)),
                1 => drop(store.pause(stage).await.expect(&what)),
                2 => drop(store.resume(stage).await.expect(&what)),
                3 => drop(store.claim(&claiming(1)).await.expect(&what)),
                _ => drop(store.begin().await.expect(&what)),
            }
        }
    })
    .await;
}

/// The server notices this before it reads the next statement, so that the statement had no effect.
#[tokio::test]
async fn a_verb_on_a_session_that_the_server_ended_as_idle_is_sent_again() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        harness
            .execute(&format!("alter database {} set idle_session_timeout = '200ms'", harness.database))
            .await
            .expect("alter");
        let pages: Repository<_, JsonRecord> = Repository::new(watched(harness));
        let stage = pipeline().stage_ids().next().expect("a stage");
        for number in 0..3 {
            // It has a connection that was used a moment ago, and is therefore not tested.
            pages.store().now().await.expect("now");
            while backends(harness).await > 0 {}
            assert_eq!(pages.add_many(&[Key::from(format!("new-{number}"))]).await.expect("add_many").added, 1);
            while backends(harness).await > 0 {}
            pages.pause(stage).await.expect("pause");
            while backends(harness).await > 0 {}
            pages.resume(stage).await.expect("resume");
        }
    })
    .await;
}

/// If a connection ends, it is not known whether the statement on it ran: so the connection is tested before.
#[tokio::test]
async fn an_operators_verb_is_sure_also_where_its_connection_has_just_died() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let store = watched(harness);
        let keys = [Key::from("a")];
        for to in [rowlock::Status::Failed, rowlock::Status::Cancelled, rowlock::Status::Succeeded] {
            store.now().await.expect("a connection that is then idle");
            end_all(harness).await;
            let setting = rowlock::store::SetParams { keys: keys.to_vec(), to, error: None, now: None };
            let moved = store.set(&setting).await.expect("set");
            assert_eq!(moved, [rowlock::store::Moved::Applied { to }]);
        }
        store.now().await.expect("a connection that is then idle");
        end_all(harness).await;
        assert_eq!(store.add_many(&["b".into()]).await.expect("add_many").added, 1);
        store.now().await.expect("a connection that is then idle");
        end_all(harness).await;
        let first = pipeline().stage_ids().next().expect("a stage");
        assert!(store.pause(first).await.expect("pause"));
    })
    .await;
}

async fn read_whole_row(store: &PostgresStore) -> sqlx::Result<()> {
    let mut transaction = store.begin().await.expect("begin");
    sqlx::query("select * from pages where page = $1").bind("a").fetch_one(&mut *transaction).await?;
    transaction.commit().await
}

#[tokio::test]
async fn a_column_that_is_added_outdates_no_statement_of_a_handler() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        for change in ["add column title text", "alter column title type varchar(90)", "drop column title"] {
            // On two connections.
            let other = store.begin().await.expect("begin");
            read_whole_row(&store).await.expect("read");
            drop(other);
            read_whole_row(&store).await.expect("read");
            harness.execute(&format!("alter table pages {change}")).await.expect("alter");
            tokio::time::sleep(rowlock::limits::COLUMNS_KNOWN_FOR).await;
            let other = store.begin().await.expect("begin");
            read_whole_row(&store).await.expect(change);
            drop(other);
            read_whole_row(&store).await.expect(change);
        }
    })
    .await;
}

/// The last statement on the session of the store's transaction.
async fn sent_last(harness: &PostgresHarness) -> String {
    let sql =
        "select query from pg_stat_activity where application_name = 'under_test' and state = 'idle in transaction'";
    value(harness, sql).await
}

#[tokio::test]
async fn transactions_one_after_the_other_do_not_ask_the_catalogue_each_time() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let store = watched(harness);
        let transaction = store.begin().await.expect("begin");
        let first = sent_last(harness).await;
        assert!(first.contains("pg_attribute") && !first.contains("reset all"), "{first}");
        transaction.commit().await.expect("commit");
        // One of them may be late.
        let mut asked = 0;
        for _ in 0..5 {
            let transaction = store.begin().await.expect("begin");
            let sent = sent_last(harness).await;
            assert!(sent.contains("reset all"), "{sent}");
            asked += u32::from(sent.contains("pg_attribute"));
            transaction.commit().await.expect("commit");
        }
        assert!(asked < 5, "the catalogue was asked each time");
        tokio::time::sleep(rowlock::limits::COLUMNS_KNOWN_FOR).await;
        let transaction = store.begin().await.expect("begin");
        assert!(sent_last(harness).await.contains("pg_attribute"));
        transaction.rollback().await.expect("rollback");
    })
    .await;
}

/// The store knows nothing about the columns of other tables until a transaction fails.
#[tokio::test]
async fn an_outdated_statement_fails_one_transaction_and_not_the_next() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        harness.execute("create table notes (id int); insert into notes values (1)").await.expect("create");
        let read = async |transaction: &mut rowlock::store::postgres::PostgresTransaction| {
            sqlx::query("select * from notes").fetch_all(&mut **transaction).await.map(drop)
        };
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut transaction = store.begin().await.expect("begin");
            read(&mut transaction).await.expect("read");
            open.push(transaction);
        }
        for transaction in open {
            transaction.commit().await.expect("commit");
        }
        harness.execute("alter table notes add column title text").await.expect("alter");
        let mut transaction = store.begin().await.expect("begin");
        read(&mut transaction).await.expect_err("it is outdated");
        drop(transaction);
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut transaction = store.begin().await.expect("begin");
            read(&mut transaction).await.expect("prepared anew");
            open.push(transaction);
        }
    })
    .await;
}

#[tokio::test]
async fn rowlocks_own_verbs_outlive_a_column_that_is_added() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, _) = table_of(harness, 20).await;
        let pages: Repository<_, JsonRecord> = Repository::new(store);
        for number in 0..5 {
            let claims = pages.claim(2).await.expect("claim").items;
            assert_eq!(claims.len(), 2);
            pages.get(claims[0].key().clone()).await.expect("get");
            harness.execute(&format!("alter table pages add column more{number} text")).await.expect("alter");
            for claim in claims {
                claim.complete().await.expect("complete");
            }
            pages.get("page-000").await.expect("get");
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_handler_leaves_in_its_connection_is_not_there_for_the_next() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        let leave = "set search_path = nowhere; set role pg_monitor; select pg_advisory_lock(1); \
                     create temporary table pages as select 1";
        let mut transaction = store.begin().await.expect("begin");
        let before = transaction.fetch_one("select pg_backend_pid()").await.expect("select").get::<i32, _>(0);
        transaction.execute(leave).await.expect("left");
        transaction.commit().await.expect("commit");

        let mut transaction = store.begin().await.expect("begin");
        let found = "select pg_backend_pid(), current_setting('search_path'), current_user = session_user,
                            (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
                            to_regclass('pg_temp.pages') is null";
        let row = transaction.fetch_one(found).await.expect("select");
        assert_eq!(row.get::<i32, _>(0), before, "it is the same connection");
        assert_eq!(row.get::<String, _>(1), "\"$user\", public");
        assert_eq!((row.get::<bool, _>(2), row.get::<i64, _>(3), row.get::<bool, _>(4)), (true, 0, true));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_within_a_handlers_is_a_savepoint() {
    use sqlx::Connection;

    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        harness.execute("create table notes (id int)").await.expect("create");
        let mut transaction = store.begin().await.expect("begin");
        let mut inner = transaction.begin().await.expect("a savepoint");
        inner.execute("insert into notes values (1)").await.expect("insert");
        inner.commit().await.expect("released");
        let mut inner = transaction.begin().await.expect("a savepoint");
        inner.execute("insert into notes values (2)").await.expect("insert");
        drop(inner);
        transaction.execute("insert into notes values (3)").await.expect("insert");
        assert_eq!(value(harness, "select count(*)::text from notes").await, "0");
        transaction.commit().await.expect("commit");
        assert_eq!(value(harness, "select string_agg(id::text, ' ' order by id) from notes").await, "1 3");
    })
    .await;
}

#[tokio::test]
async fn no_more_connections_are_made_than_the_setting_says() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let store = watched(harness).with_max_connections(2);
        let mut verbs = JoinSet::new();
        for _ in 0..20 {
            let store = store.clone();
            verbs.spawn(async move { store.now().await.expect("now") });
            let most = backends(harness).await;
            assert!(most <= 2, "{most}");
        }
        verbs.join_all().await;
        let _first = store.begin().await.expect("begin");
        let _second = store.begin().await.expect("begin");
        let most = backends(harness).await;
        assert!(most <= 4, "two for the verbs, and two for transactions: {most}");
    })
    .await;
}

#[tokio::test]
async fn connections_that_nobody_needs_are_given_back() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (_, _) = table_of(harness, 300).await;
        let store = watched(harness).with_idle_timeout(Duration::from_millis(300));
        let pages: Repository<_, JsonRecord> = Repository::new(store);
        let worker = Worker::new(pages.clone()).handle("FETCH", |context, claim| async move {
            let transaction = context.begin().await?;
            Ok(claim.complete_in(transaction).await?)
        });
        let stop = tokio_util::sync::CancellationToken::new();
        let running = tokio::spawn(worker.shutdown_on(stop.clone()).run());
        while value(harness, "select count(*)::text from pages where status = 'SUCCEEDED'").await != "300" {}
        // One to listen, one for looks, and one of another store until it has been idle for long enough.
        while backends(harness).await > 3 {}
        stop.cancel();
        running.await.expect("no panic").expect("the worker ends");
        // The repository's own connections are idle, and it still exists.
        while backends(harness).await > 0 {}
        pages.counts_exact().await.expect("counted");
    })
    .await;
}

#[tokio::test]
async fn no_connection_is_used_beyond_its_lifetime() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let store = watched(harness).with_max_lifetime(Duration::from_millis(200));
        let born = Instant::now();
        let pid = async || {
            let mut transaction = store.begin().await.expect("begin");
            let row = transaction.fetch_one("select pg_backend_pid()").await.expect("select");
            transaction.commit().await.expect("commit");
            row.get::<i32, _>(0)
        };
        let first = pid().await;
        while pid().await == first {
            assert!(born.elapsed() < Duration::from_secs(20), "it is used for ever");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_without_connections_says_so_at_once_and_how_many_are_held() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let role = format!("{}_few", harness.database);
        let make = format!(
            "create role {role} login connection limit 1 password 'few'; \
             grant all on all tables in schema public to {role}"
        );
        harness.execute(&make).await.expect("a role");
        let options = harness.server.clone().database(&harness.database).username(&role).password("few");
        let pages: Repository<_, JsonRecord> = Repository::new(PostgresStore::with_options(options, pipeline()));
        let open = pages.begin().await.expect("the one that it may have");

        let asked = Instant::now();
        let error = pages.begin().await.expect_err("there is no other");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        assert!(matches!(&error, Error::TooManyConnections { held: 1.., .. }), "{error:?}");
        assert!(error.is_transient() && !error.may_have_been_applied());
        let text = error.to_string();
        assert!(text.contains("no connection left") && text.contains("this process holds"), "{text}");
        assert!(text.contains(&role), "the server's own words: {text}");

        open.rollback().await.expect("rollback");
        pages.store().close().await;
        harness.execute(&format!("drop owned by {role}; drop role {role}")).await.expect("dropped");
    })
    .await;
}

/// As in a program that is not asynchronous, and makes a runtime for each call.
#[test]
fn a_repository_outlives_the_runtime_that_it_was_first_used_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outer = runtime();
    let harness = outer.block_on(PostgresHarness::new());
    let store = outer.block_on(table(&harness, &["a"]));
    let pages: Repository<_, JsonRecord> = Repository::new(store);
    for number in 0..3 {
        // The first runtime still exists, but does not run; each later one is gone before the next one starts.
        runtime().block_on(async {
            assert_eq!(pages.add_many(&[Key::from(number)]).await.expect("add_many").added, 1);
            pages.counts_exact().await.expect("counts");
            pages.begin().await.expect("begin").rollback().await.expect("rollback");
        });
    }
    outer.block_on(async {
        pages.counts_exact().await.expect("counts");
        harness.close().await;
    });
}

#[tokio::test]
async fn who_waits_in_vain_for_a_connection_of_the_stores_own_is_told_in_time() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let pipeline = super::stages().stale_after(Duration::from_secs(1)).build().expect("a valid pipeline");
        let options = harness.server.clone().database(&harness.database);
        let store = PostgresStore::with_options(options, pipeline).with_max_connections(1);
        let _open = store.begin().await.expect("begin");
        let error = store.begin().await.expect_err("the one there is is in use");
        assert!(error.is_transient() && error.to_string().contains("timed out"), "{error}");
    })
    .await;
}

/// Answers every connection with this error, as a full pooler does.
async fn full_pooler(message: &'static str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let _ = client.read(&mut asked).await;
            let fields = format!("SFATAL\0VFATAL\0C08P01\0M{message}\0\0");
            let length = i32::try_from(fields.len() + 4).expect("short");
            let answer = [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat();
            let _ = client.write_all(&answer).await;
        }
    });
    port
}

#[tokio::test]
async fn a_pooler_that_lets_nobody_in_says_so_at_once_and_how_many_are_held() {
    for (message, is_full) in [
        ("no more connections allowed (max_client_conn)", true),
        ("client connections exceeded (max_db_client_connections)", true),
        ("Max client connections reached", true),
        ("server conn crashed?", false),
    ] {
        let port = full_pooler(message).await;
        let options = sqlx::postgres::PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        let options = options.username("me").ssl_mode(sqlx::postgres::PgSslMode::Disable);
        let store = PostgresStore::through_pooler(options, pipeline());
        for error in
            [store.now().await.map(drop).expect_err(message), store.begin().await.map(drop).expect_err(message)]
        {
            assert_eq!(matches!(error, Error::TooManyConnections { .. }), is_full, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
