//! The worker on SQLite.

mod worker_cases;

use rowlock::pipeline::Pipeline;
use rowlock::store::Store;
use rowlock::store::sqlite::{SqliteStore, SqliteTransaction};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use worker_cases::Database;

/// A file of its own.
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

on_sqlite! {
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
