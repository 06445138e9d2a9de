//! The worker on SQLite.

#[macro_use]
mod worker_cases;

use std::time::{Duration, Instant};

use rowlock::pipeline::Pipeline;
use rowlock::store::Store;
use rowlock::store::sqlite::{SqliteStore, SqliteTransaction};
use rowlock::{Handled, Worker, WorkerReport};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use worker_cases::{Database, Item, MOVES, add, pipeline, repository, soon, status_of, told};

/// A separate file.
struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    fn new() -> Sqlite {
        Sqlite { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("queue.sqlite")
    }
}

impl Database for Sqlite {
    type S = SqliteStore;

    async fn store(&self, pipeline: Pipeline) -> SqliteStore {
        let store = SqliteStore::open(self.file(), pipeline).await.expect("the file opens");
        store.prepare().await.expect("the table is created");
        store
    }

    async fn execute(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.file()).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the file opens");
        connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
    }

    async fn refuse_updates(&self, when: &str) {
        self.execute(&format!(
            "pragma busy_timeout = 30000; create trigger refusing before update on items when {when} \
             begin select raise(abort, 'not since the deploy'); end"
        ))
        .await;
    }

    async fn allow_updates(&self) {
        self.execute("pragma busy_timeout = 30000; drop trigger refusing").await;
    }

    async fn note_moves(&self) {
        self.execute(
            "create table moves (id, was, became); \
             create trigger noting after update on items when old.status is not new.status \
             begin insert into moves values (new.id, old.status, new.status); end",
        )
        .await;
    }

    async fn moves(&self) -> Vec<(String, String, i64)> {
        let options = SqliteConnectOptions::new().filename(self.file());
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the file opens");
        sqlx::query_as(MOVES).fetch_all(&mut connection).await.expect("the moves")
    }

    async fn execute_in(transaction: &mut SqliteTransaction, sql: &'static str) -> Result<(), sqlx::Error> {
        (&mut **transaction).execute(sql).await.map(drop)
    }
}

macro_rules! on_sqlite {
    ($($module:ident :: $case:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::worker_cases::$module::$case(&super::Sqlite::new()).await;
                }
            )*
        }
    };
}

with_all_cases!(on_sqlite);

/// SQLite has one writer. PostgreSQL deals by itself with an idle transaction; here the worker has to do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_idles_in_its_transaction_is_stopped_so_that_others_write() {
    let report = a_handler_keeps_its_transaction(false).await;
    assert_eq!((report.timed_out, report.completed), (1, 1), "{report:?}");
}

/// It finishes its item outside of its open transaction, and therefore waits for its own lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_waits_for_its_own_transaction_is_stopped_so_that_others_write() {
    let report = a_handler_keeps_its_transaction(true).await;
    assert_eq!((report.retried, report.completed), (1, 1), "{report:?}");
}

/// The driver remembers the columns that a statement had when it was prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn columns_that_come_and_go_under_running_handlers_burn_no_attempt() {
    let database = std::sync::Arc::new(Sqlite::new());
    let repository = repository(&*database, pipeline(&["ONE", "TWO"]).max_retries(1)).await;
    add::<Sqlite>(&repository, 60).await;
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let changes = [
        "alter table items add column note text",
        "alter table items add column remark text",
        "alter table items drop column note",
    ];
    // In this order, whichever handler comes first.
    let changes = std::sync::Arc::new(tokio::sync::Mutex::new(changes.into_iter()));
    let handle = move |ctx: rowlock::Context<SqliteStore, Item>, claim: rowlock::Claim<Item>| {
        let (call, database) = (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed), database.clone());
        let changes = changes.clone();
        async move {
            if [15, 30, 45].contains(&call) {
                let mut changes = changes.lock().await;
                database.execute(changes.next().expect("one each")).await;
            }
            let mut transaction = ctx.begin().await?;
            let row = sqlx::query_as::<_, Item>("select * from items where id = ?1").bind(claim.key().as_str());
            assert_eq!(row.fetch_one(&mut *transaction).await?.id, claim.key().as_str());
            Ok::<Handled, rowlock::Failure>(claim.complete_in(transaction).await?.into())
        }
    };
    let worker = Worker::new(repository.clone()).handle("ONE", handle.clone()).handle("TWO", handle);
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.failed), (120, 0, 0), "{report:?}");
    assert_eq!((report.errors, report.undecodable), (0, 0), "{report:?}");
}

async fn a_handler_keeps_its_transaction(waits_for_itself: bool) -> WorkerReport {
    let database = Sqlite::new();
    let repository = repository(&database, pipeline(&["ONE"]).stale_after(Duration::from_secs(3))).await;
    let keys = add::<Sqlite>(&repository, 1).await;
    let (tell, begun) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let worker = Worker::new(repository.clone()).handle("ONE", move |context, claim: rowlock::Claim<Item>| {
        let tell = tell.lock().expect("no panic").take();
        async move {
            let mut transaction = context.begin().await?;
            Sqlite::execute_in(&mut transaction, "update items set error_message = 'undone'").await?;
            if let Some(first) = tell {
                first.send(()).expect("the test listens");
                if waits_for_itself {
                    let _ = claim.fail("not today").await;
                }
                std::future::pending::<()>().await;
                unreachable!("nobody lets go of the lock but this handler");
            }
            Ok::<Handled, rowlock::Failure>(claim.complete_in(transaction).await?.into())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    soon(begun).await.expect("a handler began a transaction");
    let waited = Instant::now();
    // Another program's statement, which waits for the lock.
    soon(database.execute("pragma busy_timeout = 30000; create table theirs (id text)")).await;
    assert!(waited.elapsed() < Duration::from_secs(3), "the lock was held for {:?}", waited.elapsed());
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!(status_of::<Sqlite>(&repository, &keys[0]).await, rowlock::Status::Succeeded);
    report
}
