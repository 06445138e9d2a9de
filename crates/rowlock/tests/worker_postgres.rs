//! The worker on PostgreSQL.

mod worker_cases;

use rowlock::pipeline::Pipeline;
use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use worker_cases::Database;

/// A database of its own on the server of `DATABASE_URL`.
struct Postgres {
    server: PgConnectOptions,
    name: String,
}

impl Postgres {
    async fn new(test: &str) -> Postgres {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL names no PostgreSQL server for the tests: run them by `make test`");
        let server: PgConnectOptions = url.parse().expect("DATABASE_URL is a URL of PostgreSQL");
        // The name is cut at 63 bytes: the process id goes first.
        let mut name = format!("wrk_{}_{test}", std::process::id());
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

    async fn execute_in(
        transaction: &mut sqlx::Transaction<'static, sqlx::Postgres>,
        sql: &'static str,
    ) -> Result<(), sqlx::Error> {
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

on_postgres! {
    flow::two_stages_are_run_until_idle,
    flow::an_empty_table_is_idle,
    flow::a_batch_handler_gives_each_item_its_outcome,
    flow::a_batch_handler_with_a_wrong_count_fails_each_item,
    flow::a_handler_completes_in_its_own_transaction,
    flow::a_handler_finishes_by_its_claim,
    flow::slow_handlers_hoard_nothing,
    flow::an_undecodable_row_harms_only_itself,
    flow::a_dry_run_is_refused_every_write_by_the_database,
    failures::a_failed_attempt_is_retried_and_a_permanent_one_is_not,
    failures::a_panic_is_a_failed_attempt,
    failures::a_handler_past_its_timeout_is_dropped_and_its_item_retried,
    failures::a_leaked_slot_is_reported_and_given_back_when_its_handler_ends,
    failures::a_worker_whose_slots_are_all_leaked_ends_with_an_error,
    failures::an_item_at_a_limit_is_exhausted_and_told,
    idle::a_paused_stage_is_named,
    idle::a_stage_without_a_handler_is_named,
    idle::an_unknown_word_is_named,
    idle::the_lease_of_another_worker_is_waited_for,
    idle::a_delayed_item_is_waited_for,
    idle::a_worker_is_woken_by_a_new_item,
    leases::a_long_item_is_kept_by_heartbeats,
    leases::a_lost_lease_stops_just_its_handler,
    leases::a_cancelled_item_stops_just_its_handler,
    leases::a_handler_that_learns_of_its_lost_lease_writes_nothing,
    leases::a_suspect_runs_alone,
    outages::a_claim_whose_answer_was_lost_is_adopted,
    outages::a_claim_that_is_found_later_is_given_back,
    outages::a_finish_whose_answer_was_lost_counts_once,
    outages::errors_of_the_claim_are_not_taken_for_an_empty_queue,
    outages::a_worker_starts_although_the_database_is_away,
    outages::an_item_completed_in_a_transaction_whose_answer_was_lost_is_told,
    outages::a_worker_without_renewals_stops_its_handlers_by_itself,
    stopping::a_graceful_shutdown_finishes_what_runs_and_counts_nothing,
    stopping::after_the_grace_period_the_rest_is_released_uncounted,
    stopping::a_dropped_run_gives_its_items_back,
    stopping::wrong_arguments_are_refused,
}

/// Ends every connection to the database 15 times while 2,000 items go through two stages.
async fn every_connection_ends_again_and_again() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
