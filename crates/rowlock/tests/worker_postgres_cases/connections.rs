//! How many connections workers and repositories hold: at work, when idle, and after that.

use std::time::Duration;

use rowlock::store::postgres::PostgresStore;
use rowlock::{Handled, Repository, Status, Worker};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Postgres;
use crate::worker_cases::{Database, Item, Repo, add, count, pipeline, soon, told};

const WORKERS: usize = 10;
const ITEMS: usize = 2_000;
/// The value of `with_max_connections`.
const MOST_EACH: usize = 2;
/// For verbs, and for handlers' transactions.
const OF_A_REPOSITORY: usize = 2 * MOST_EACH;
/// For its verbs, for its heartbeats, and one to listen.
const OF_A_WORKER: usize = 2 * MOST_EACH + 1;
/// One to listen, and one for looks.
const OF_A_WORKER_THAT_WAITS: usize = 2;

/// How many connections the stores under test have.
async fn held(watch: &mut PgConnection) -> usize {
    let sql = "select count(*) from pg_stat_activity
               where datname = current_database() and application_name = 'under_test'";
    let held: i64 = sqlx::query_scalar(sql).fetch_one(watch).await.expect("counted");
    usize::try_from(held).expect("a count")
}

fn watched(database: &Postgres) -> Repo<Postgres> {
    let stages = pipeline(&["ONE"]).build().expect("a valid pipeline");
    let store = PostgresStore::with_options(database.options().application_name("under_test"), stages)
        .with_max_connections(u32::try_from(MOST_EACH).expect("few"))
        .with_idle_timeout(Duration::from_millis(500));
    Repository::<_, Item>::new(store)
}

/// Ten workers over these repositories, one after the other. The handlers of each want more transactions than it may
/// have.
async fn hold_what_is_documented(database: &Postgres, repositories: &[Repo<Postgres>]) {
    drop(database.store(pipeline(&["ONE"]).build().expect("a valid pipeline")).await);
    let mut watch = PgConnection::connect_with(&database.options()).await.expect("the server answers");
    add::<Postgres>(&repositories[0], ITEMS).await;
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for repository in repositories.iter().cycle().take(WORKERS) {
        let worker = Worker::new(repository.clone()).shutdown_on(stop.clone());
        let handler = |context: rowlock::Context<_, Item>, claim: rowlock::Claim<Item>| async move {
            let transaction = context.begin().await?;
            Ok::<Handled, rowlock::Failure>(claim.complete_in(transaction).await?.into())
        };
        running.spawn(worker.concurrency("ONE", 4 * MOST_EACH).handle("ONE", handler).run());
    }
    let at_most = repositories.len() * OF_A_REPOSITORY + WORKERS * OF_A_WORKER;
    let mut most = 0;
    let at_work = async {
        while count::<Postgres>(&repositories[0], Status::Succeeded).await < i64::try_from(ITEMS).expect("few") {
            for _ in 0..10 {
                most = most.max(held(&mut watch).await);
            }
        }
    };
    soon(at_work).await;
    assert!(most <= at_most, "{most} at work, where {at_most} are documented");
    assert!(most > WORKERS * OF_A_WORKER_THAT_WAITS, "{most}: they never worked");

    soon(async { while held(&mut watch).await > WORKERS * OF_A_WORKER_THAT_WAITS {} }).await;
    stop.cancel();
    while let Some(report) = running.join_next().await {
        told(report.expect("no panic"));
    }
    // The repositories still exist.
    soon(async { while held(&mut watch).await > 0 {} }).await;
    for repository in repositories {
        repository.counts_exact().await.expect("counted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_workers_of_one_process_hold_as_many_connections_as_is_documented() {
    let database = Postgres::new("connections_of_one_process").await;
    hold_what_is_documented(&database, &[watched(&database)]).await;
    database.end().await;
}

/// As with ten processes, each with its own repository.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_processes_of_a_worker_hold_as_many_connections_as_is_documented() {
    let database = Postgres::new("connections_of_ten_processes").await;
    let repositories: Vec<_> = (0..WORKERS).map(|_| watched(&database)).collect();
    hold_what_is_documented(&database, &repositories).await;
    database.end().await;
}
