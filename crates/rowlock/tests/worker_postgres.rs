//! The worker on PostgreSQL.

mod own_server;
#[macro_use]
mod worker_cases;
mod worker_postgres_cases;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rowlock::pipeline::Pipeline;
use rowlock::store::Store;
use rowlock::store::postgres::{PostgresStore, PostgresTransaction};
use rowlock::{Failure, Handled, Key, Status, Worker};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use own_server::OwnServer;
use worker_cases::faulty::{answered, counted};
use worker_cases::outages::faulty;
use worker_cases::{Database, Item, MOVES, add, pipeline, repository, soon, told};

/// A separate database on the server of `DATABASE_URL`.
struct Postgres {
    server: PgConnectOptions,
    name: String,
}

impl Postgres {
    async fn new(test: &str) -> Postgres {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL names no PostgreSQL server for the tests: run them by `make test`");
        let server: PgConnectOptions = url.parse().expect("DATABASE_URL is a URL of PostgreSQL");
        static LAST: AtomicU32 = AtomicU32::new(0);
        // The name is cut at 63 bytes: its unique part comes first.
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let mut name = format!("rowlock_test_worker_{}_{number}_{test}", std::process::id());
        name.truncate(63);
        let database = Postgres { server, name };
        database.on_server(format!("drop database if exists {} with (force)", database.name)).await;
        database.on_server(format!("create database {}", database.name)).await;
        database
    }

    fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    async fn on_server(&self, sql: String) {
        let mut connection = PgConnection::connect_with(&self.server).await.expect("the server answers");
        connection.execute(AssertSqlSafe(sql)).await.expect("the statement runs");
    }

    async fn end(self) {
        self.on_server(format!("drop database {} with (force)", self.name)).await;
    }
}

impl Database for Postgres {
    type S = PostgresStore;

    async fn store(&self, pipeline: Pipeline) -> PostgresStore {
        let store = PostgresStore::with_options(self.options(), pipeline);
        store.prepare().await.expect("the table is created");
        store
    }

    async fn execute(&self, sql: &str) {
        let mut connection = PgConnection::connect_with(&self.options()).await.expect("the server answers");
        connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
    }

    async fn refuse_updates(&self, when: &str) {
        // A real message, with a value of the row.
        self.execute(&format!(
            "create or replace function refuse() returns trigger language plpgsql as \
             $$begin raise exception 'not since the deploy: %', md5(new.id); end$$; \
             create trigger refusing before update on items for each row when ({when}) execute function refuse()"
        ))
        .await;
    }

    async fn allow_updates(&self) {
        self.execute("drop trigger refusing on items").await;
    }

    async fn note_moves(&self) {
        self.execute(
            "create table moves (id text, was text, became text); \
             create function note() returns trigger language plpgsql as \
             $$begin insert into moves values (new.id, old.status, new.status); return null; end$$; \
             create trigger noting after update on items for each row \
             when (old.status is distinct from new.status) execute function note()",
        )
        .await;
    }

    async fn moves(&self) -> Vec<(String, String, i64)> {
        let mut connection = PgConnection::connect_with(&self.options()).await.expect("the server answers");
        sqlx::query_as(MOVES).fetch_all(&mut connection).await.expect("the moves")
    }

    async fn execute_in(transaction: &mut PostgresTransaction, sql: &'static str) -> Result<(), sqlx::Error> {
        transaction.execute(sql).await.map(drop)
    }
}

macro_rules! on_postgres {
    ($($module:ident :: $case:ident,)*) => {
        mod postgres {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn a_worker_outlives_the_end_of_every_connection() {
                super::every_connection_ends_again_and_again().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn p27_a_worker_outlives_a_server_that_is_killed_and_started_again() {
                super::the_server_is_killed_and_started_again().await;
            }

            #[tokio::test]
            async fn the_transaction_of_a_dry_run_cannot_be_made_writable() {
                super::a_dry_transaction_stays_read_only().await;
            }

            #[tokio::test]
            async fn p28_an_insert_notifies_only_while_a_worker_waits() {
                super::an_insert_notifies_only_while_a_worker_waits().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn an_item_that_refuses_heartbeats_alone_ends_with_that_reason() {
                super::an_item_refuses_heartbeats().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn a_batch_in_which_each_row_refuses_its_completion_ends_for_the_row_at_fault() {
                super::each_row_of_a_batch_refuses_its_completion().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn items_that_come_due_one_by_one_are_not_looked_for_one_by_one() {
                super::items_come_due_one_by_one().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn what_the_server_says_of_itself_spends_no_attempt() {
                super::the_server_says_of_itself().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn a_column_that_is_added_under_running_handlers_burns_no_attempt() {
                super::a_column_is_added_under_running_handlers().await;
            }

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    let database = super::Postgres::new(stringify!($case)).await;
                    super::worker_cases::$module::$case(&database).await;
                    database.end().await;
                }
            )*
        }
    };
}

with_all_cases!(on_postgres);

/// As in a storm of retries with jitter, where each look would find an item. (On SQLite a worker is notified of its own
/// commits, and looks.)
async fn items_come_due_one_by_one() {
    const ITEMS: u32 = 300;
    let (plan, looks) = counted("claim", answered());
    let database = Postgres::new("items_come_due_one_by_one").await;
    let repository = faulty(&database, pipeline(&["ONE"]), plan).await;
    let keys: Vec<Key> = (0..ITEMS).map(|n| Key::from(format!("item-{n:05}"))).collect();
    repository.add_many(&keys).await.expect("added");
    let number = AtomicU32::new(0);
    let worker = Worker::new(repository).handle("ONE", move |_, claim| {
        let delay = Duration::from_millis(500) + Duration::from_millis(5) * number.fetch_add(1, Ordering::Relaxed);
        async move {
            match claim.retry_count() {
                0 => Err(Failure::retry_after("later", delay)),
                _ => Ok(()),
            }
        }
    });
    let start = Instant::now();
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried), (u64::from(ITEMS), u64::from(ITEMS)));
    // A look that finds something is followed by one that does not; then there is a wait of at least 50 ms.
    let most = 20 + 2 * start.elapsed().as_millis() / 50;
    let looks = *looks.borrow();
    assert!(looks as u128 <= most, "{looks} claims, where {most} would do");
    database.end().await;
}

/// Each of its words once, by a handler that reads them in its own transaction.
async fn the_server_says_of_itself() {
    let database = Postgres::new("the_server_says_of_itself").await;
    let codes = ["08006", "57P01", "57P02", "57P03", "57P04", "57P05", "53300", "53100", "25006"];
    let repository = repository(&database, pipeline(&["ONE"]).max_retries(1)).await;
    add::<Postgres>(&repository, codes.len() + 1).await;
    let calls = std::sync::Arc::new(AtomicUsize::new(0));
    let worker = Worker::new(repository.clone())
        .hold_between(Duration::from_millis(4), Duration::from_millis(16))
        .concurrency("ONE", 1)
        .handle("ONE", move |ctx, claim: rowlock::Claim<Item>| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                let mut transaction = ctx.begin().await?;
                if let Some(code) = codes.get(call) {
                    let sql = format!("do $$ begin raise exception 'as such' using errcode = '{code}'; end $$");
                    (&mut *transaction).execute(AssertSqlSafe(sql)).await?;
                } else if call == codes.len() {
                    transaction.execute("select pg_terminate_backend(pg_backend_pid())").await?;
                }
                Ok::<Handled, Failure>(claim.complete_in(transaction).await?.into())
            }
        });
    let report = told(soon(worker.run_until_idle()).await);
    let items = codes.len() as u64 + 1;
    assert_eq!((report.completed, report.retried, report.failed), (items, 0, 0), "{report:?}");
    assert_eq!(report.outages, items, "{report:?}");
    database.end().await;
}

/// "cached plan must not change result type": an error of the connection, and of no item.
async fn a_column_is_added_under_running_handlers() {
    let database = Postgres::new("a_column_is_added_under_running_handlers").await;
    let repository = repository(&database, pipeline(&["ONE"]).max_retries(1)).await;
    add::<Postgres>(&repository, 40).await;
    let calls = std::sync::Arc::new(AtomicUsize::new(0));
    let admin = database.options();
    let worker = Worker::new(repository.clone())
        .hold_between(Duration::from_millis(4), Duration::from_millis(16))
        .concurrency("ONE", 3)
        .handle("ONE", move |ctx, claim: rowlock::Claim<Item>| {
            let (call, admin) = (calls.fetch_add(1, Ordering::Relaxed), admin.clone());
            async move {
                if call == 20 {
                    let mut connection = PgConnection::connect_with(&admin).await?;
                    connection.execute("alter table items add column note text").await?;
                }
                let mut transaction = ctx.begin().await?;
                let key = claim.key().as_str().to_owned();
                sqlx::query("select * from items where id = $1").bind(key).fetch_one(&mut *transaction).await?;
                Ok::<Handled, Failure>(claim.complete_in(transaction).await?.into())
            }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.failed), (40, 0, 0), "{report:?}");
    database.end().await;
}

/// Its neighbours, which the same statement renews, are completed.
async fn an_item_refuses_heartbeats() {
    let database = Postgres::new("refused_heartbeats").await;
    let times = pipeline(&["ONE"]).stale_after(Duration::from_secs(12)).heartbeat_interval(Duration::from_millis(200));
    let repository: worker_cases::Repo<Postgres> = worker_cases::repository(&database, times).await;
    repository.add_many(&["a", "bad", "c"].map(Key::from)).await.expect("added");
    database
        .execute(
            "create function refuse() returns trigger language plpgsql as $$begin
               raise exception 'no beat' using errcode = 'XX000'; end$$;
             create trigger refusing before update on items for each row
               when (new.id = 'bad' and new.status = old.status) execute function refuse()",
        )
        .await;
    let worker = Worker::new(repository.clone()).concurrency("ONE", 3).handle("ONE", |_, claim| async move {
        let lasts = if claim.key().as_str() == "bad" { Duration::from_secs(600) } else { Duration::from_secs(2) };
        tokio::time::sleep(lasts).await;
        Ok(())
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.lost), (2, 0), "{report:?}");
    let item = repository.explain("bad").await.expect("explain").expect("an item");
    let error = item.error.unwrap_or_default();
    assert!(error.contains("no beat") && !error.contains("stopped"), "{error}");
    database.end().await;
}

/// More rows meet a full disk than a batch is tried in parts for, so that the batch as a whole looks like an outage.
/// The row behind them raises an error of its own.
async fn each_row_of_a_batch_refuses_its_completion() {
    let database = Postgres::new("each_row_refuses").await;
    let repository: worker_cases::Repo<Postgres> = worker_cases::repository(&database, pipeline(&["ONE"])).await;
    let keys = ["a", "b", "c", "d", "e", "f", "g", "z"];
    repository.add_many(keys).await.expect("added");
    database
        .execute(
            "create function refuse() returns trigger language plpgsql as $$begin
               if new.id = 'z' then raise exception 'no such table' using errcode = '42P01'; end if;
               raise exception 'no space' using errcode = '53100'; end$$;
             create trigger refusing before update on items for each row
               when (new.status = 'SUCCEEDED') execute function refuse()",
        )
        .await;
    let worker = Worker::new(repository.clone())
        .handle_batch("ONE", keys.len(), |_, claims| async move { claims.iter().map(|_| Ok(())).collect() });
    let is_settled = async {
        let z = Key::from("z");
        while worker_cases::status_of::<Postgres>(&repository, &z).await != Status::Failed {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = soon(async {
        tokio::select! {
            ended = worker.run_until_idle() => Some(ended),
            () = is_settled => None,
        }
    });
    assert!(ended.await.is_none(), "nothing else can end");
    let item = repository.explain("z").await.expect("explain").expect("an item");
    assert!(item.error.is_some_and(|error| error.contains("no such table")));
    database.end().await;
}

/// Kills the server with all its processes five times while 2,000 items go through two stages.
async fn the_server_is_killed_and_started_again() {
    use rowlock::Repository;
    use worker_cases::{Item, Repo, add, count, pipeline, soon, told};

    let server = OwnServer::start();
    let stages = pipeline(&["ONE", "TWO"]).build().expect("a valid pipeline");
    let store = PostgresStore::connect(&server.url, stages).await.expect("the server answers");
    let repository: Repo<Postgres> = Repository::<_, Item>::new(store);
    repository.prepare().await.expect("the table is created");
    add::<Postgres>(&repository, 2_000).await;
    let (handled, mut progress) = tokio::sync::watch::channel(0);
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |_, _| {
            handled.send_modify(|handled| *handled += 1);
            // Slow enough that the server is killed in the middle.
            async {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                Ok(())
            }
        })
        .handle("TWO", |_, _| async { Ok(()) });
    let running = tokio::spawn(worker.run_until_idle());
    for round in 1..=5 {
        soon(progress.wait_for(|handled| *handled >= round * 300)).await.expect("the worker runs");
        server.tell("crash");
        server.tell("start");
    }
    let report = told(soon(running).await.expect("no panic"));
    assert!(report.errors > 0, "it noticed nothing: {report:?}");
    assert_eq!(count::<Postgres>(&repository, Status::Succeeded).await, 2_000, "{report:?}");
}

async fn a_dry_transaction_stays_read_only() {
    use rowlock::{Failure, Worker};
    use worker_cases::{Repo, add, pipeline, repository, soon};

    let database = Postgres::new("dry").await;
    let repository: Repo<Postgres> = repository(&database, pipeline(&["ONE"])).await;
    database.execute("create table results (id text)").await;
    add::<Postgres>(&repository, 1).await;
    let worker = Worker::new(repository).handle("ONE", |ctx, _| async move {
        let ways = ["set transaction read write", "set local transaction_read_only = off", "select 1"];
        for way in ways {
            let mut transaction = ctx.begin().await?;
            let made = Postgres::execute_in(&mut transaction, way).await;
            let written = Postgres::execute_in(&mut transaction, "insert into results values ('one')").await;
            assert!(written.is_err(), "{way}: {made:?}");
        }
        Err::<(), _>(Failure::permanent("nothing was written"))
    });
    let runs = soon(worker.dry_run(1)).await.expect("the dry run ends");
    let failure = runs[0].result.clone().expect_err("as the handler says");
    assert_eq!(failure.message(), "nothing was written");
    database.end().await;
}

async fn an_insert_notifies_only_while_a_worker_waits() {
    use std::time::Duration;

    use rowlock::store::Listener;
    use worker_cases::pipeline;

    let database = Postgres::new("p28").await;
    let store = database.store(pipeline(&["ONE"]).build().expect("a valid pipeline")).await;
    let mut listener = store.listen().await.expect("listens");
    database.execute("insert into items (id) values ('a')").await;
    assert!(!listener.wait(Duration::from_millis(300)).await.expect("waits"), "NOTIFY though nobody waits");
    listener.arm(Duration::from_secs(5)).await.expect("arms");
    database.execute("insert into items (id) values ('b')").await;
    assert!(listener.wait(Duration::from_secs(10)).await.expect("waits"), "no NOTIFY though somebody waits");
    database.end().await;
}

/// Ends every connection to the database 15 times while 2,000 items go through two stages.
async fn every_connection_ends_again_and_again() {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use rowlock::{Status, Worker};
    use worker_cases::{Repo, add, count, pipeline, repository, soon, told};

    let database = Postgres::new("outage").await;
    let repository: Repo<Postgres> = repository(&database, pipeline(&["ONE", "TWO"])).await;
    add::<Postgres>(&repository, 2_000).await;
    let (handled, mut progress) = tokio::sync::watch::channel(0);
    let runs = Arc::new(AtomicUsize::new(0));
    let (counted, told_progress) = (Arc::clone(&runs), handled.clone());
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |_, _| {
            told_progress.send_replace(counted.fetch_add(1, Ordering::Relaxed));
            async { Ok(()) }
        })
        .handle("TWO", |_, _| async { Ok(()) });
    let running = tokio::spawn(worker.run_until_idle());
    for round in 1..=15 {
        soon(progress.wait_for(|handled| *handled >= round * 100)).await.expect("the worker runs");
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}' and pid <> pg_backend_pid()",
            database.name
        );
        database.on_server(end).await;
    }
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.lost, report.unknown), (4_000, 0, 0), "{report:?}");
    assert!(report.errors > 0, "{report:?}");
    assert_eq!(count::<Postgres>(&repository, Status::Succeeded).await, 2_000);
    database.end().await;
}
