//! What a worker must do on every database. `worker_sqlite.rs` and `worker_postgres.rs` call each case.

#![allow(dead_code, reason = "each database's file uses what applies to it")]

/// Passes every case to a macro of the database's, which makes a test of each.
macro_rules! with_all_cases {
    ($on_database:ident) => {
        $on_database! {
            flow::handlers_are_plain_functions_with_state_and_errors_of_anyhow,
            flow::state_and_handlers_are_dropped_on_the_users_runtime,
            flow::two_stages_are_run_until_idle,
            flow::an_empty_table_is_idle,
            flow::a_batch_handler_gives_each_item_its_outcome,
            flow::a_batch_handler_with_a_wrong_count_fails_each_item,
            flow::a_handler_completes_in_its_own_transaction,
            flow::a_handler_finishes_by_its_claim,
            flow::no_handler_runs_on_the_workers_own_thread,
            flow::slow_handlers_hoard_nothing,
            flow::an_undecodable_row_harms_only_itself,
            flow::a_dry_run_is_refused_every_write_by_the_database,
            flow::by_default_a_worker_passes_through_the_word_between_two_stages,
            flow::what_waits_for_the_next_stage_has_its_turn,
            flow::a_suspect_of_the_next_stage_has_its_turn,
            clocks::a_step_of_the_databases_clock_takes_nothing_from_the_living,
            due::what_is_never_due_is_named_and_not_waited_for,
            due::a_worker_can_end_when_nothing_is_due,
            due::a_worker_that_ends_when_nothing_is_due_waits_for_the_leases_of_others,
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
            kit::one_item_is_taken_through_one_stage,
            kit::an_item_that_cannot_be_claimed_is_an_error_that_says_why,
            kit::the_clock_of_a_test_decides_what_is_due_and_stale,
            leases::a_long_item_is_kept_by_heartbeats,
            leases::a_lost_lease_stops_just_its_handler,
            leases::a_cancelled_item_stops_just_its_handler,
            leases::a_handler_that_learns_of_its_lost_lease_writes_nothing,
            leases::a_suspect_runs_alone,
            leases::a_suspect_has_its_turn_in_a_fast_drain,
            observers::an_observer_hears_how_each_handler_ended,
            observers::an_observer_hears_of_each_item_of_a_batch,
            outages::a_claim_whose_answer_was_lost_is_adopted,
            outages::a_claim_that_is_found_later_is_given_back,
            outages::a_finish_whose_answer_was_lost_counts_once,
            outages::errors_of_the_claim_are_not_taken_for_an_empty_queue,
            outages::a_worker_starts_although_the_database_is_away,
            outages::an_item_completed_in_a_transaction_whose_answer_was_lost_is_told,
            outages::a_worker_without_renewals_stops_its_handlers_by_itself,
            outages::after_an_outage_the_living_renew_before_a_sweep,
            outages::while_the_database_may_only_be_read_nothing_is_swept_and_then_the_living_renew,
            outages::where_no_turn_can_be_had_everybody_sweeps,
            outages::a_handler_that_finishes_by_itself_is_told_of_its_timeout,
            outages_of_handlers::an_outage_that_a_handler_hands_back_spends_no_attempt,
            outages_of_handlers::while_a_stage_is_held_one_item_is_tried_and_each_time_another,
            outages_of_handlers::a_held_stage_is_told_once_and_once_when_it_goes_on,
            outages_of_handlers::a_stage_is_held_for_as_long_as_its_handler_says_and_others_go_on,
            outages_of_handlers::an_item_that_alone_meets_outages_holds_nobody_up_and_comes_to_an_end,
            outages_of_handlers::an_item_that_alone_says_that_something_is_away_pays_nothing,
            outages_of_handlers::a_batch_handler_pays_nothing_for_an_outage_either,
            outages_of_handlers::a_handler_whose_transaction_meets_an_outage_pays_nothing,
            outages_of_handlers::a_queue_of_one_item_outlives_an_outage,
            outages_of_handlers::a_worker_that_ends_while_a_stage_is_held_names_it,
            outages_of_handlers::a_held_stage_is_named_by_what_is_waited_for,
            outages_of_handlers::an_outage_until_a_time_puts_its_item_off_until_then,
            outages_of_handlers::a_worker_that_ends_when_nothing_is_due_names_the_stage_that_it_holds,
            broken_deploys::a_trigger_that_refuses_every_claim_fails_few_items,
            broken_deploys::a_trigger_that_refuses_every_success_fails_few_items,
            broken_deploys::a_trigger_that_refuses_every_update_fails_few_items,
            broken_deploys::a_trigger_that_refuses_every_heartbeat_fails_few_items,
            broken_deploys::a_trigger_that_refuses_every_sweep_fails_few_items,
            broken_deploys::while_a_stage_cannot_be_completed_the_next_one_goes_on,
            broken_deploys::while_a_stage_cannot_be_claimed_the_one_before_goes_on,
            broken_deploys::a_worker_that_ends_while_finishes_are_refused_gives_them_back_uncounted,
            broken_deploys::a_queue_of_nothing_but_bad_rows_comes_to_an_end,
            held_up::an_item_that_cannot_be_written_holds_up_no_other,
            held_up::an_item_that_alone_looks_like_an_outage_holds_up_no_other,
            held_up::an_item_whose_row_is_locked_holds_up_no_other,
            held_up::a_finish_of_the_handlers_own_that_is_refused_is_no_lost_lease,
            held_up::an_item_that_a_sweep_fails_is_told,
            held_up::an_empty_stage_is_looked_at_though_another_is_busy,
            held_up::a_worker_drains_only_while_the_suspect_is_there,
            held_up::a_stop_looks_for_what_a_lost_claim_took,
            held_up::a_worker_that_is_too_old_ends_at_once,
            held_up::handlers_that_block_their_threads_keep_nothing_queued,
            held_up::a_handler_that_blocks_the_only_thread_for_ever_ends_the_worker,
            held_up::a_cancelled_item_is_noticed_long_before_its_renewal,
            panics::a_worker_one_of_whose_tasks_panics_ends_with_an_error,
            stopped::a_fleet_that_was_stopped_keeps_what_it_holds,
            stopped::a_worker_that_was_stopped_alone_loses_what_others_took,
            typed::an_outcome_is_written_with_the_users_own_writes,
            typed::a_finish_that_fails_hands_the_claim_back,
            typed::a_finish_in_a_transaction_that_fails_hands_the_claim_back,
            typed::what_cannot_be_proved_is_unknown,
            typed::a_lost_answer_and_then_a_sweep_is_unknown,
            typed::a_lost_commit_of_a_row_that_is_gone_is_unknown,
            typed::an_illegal_move_names_both_states,
            typed::a_stage_goes_by_its_id_and_one_of_another_pipeline_is_an_error,
            typed::a_dropped_claim_is_given_back_before_the_next,
            typed::claims_whose_answers_were_lost_are_given_back_before_the_next,
            typed::a_claim_that_took_nothing_is_sent_again_under_a_new_token,
            typed::an_operators_verb_is_sent_again_only_if_it_was_not_applied,
            typed::each_claimed_row_is_decoded_by_itself,
            typed::a_row_that_does_not_decode_ends_no_page,
            stopping::a_graceful_shutdown_finishes_what_runs_and_counts_nothing,
            stopping::a_stop_in_the_middle_of_a_fast_drain_keeps_nothing,
            stopping::after_the_grace_period_the_rest_is_released_uncounted,
            stopping::a_finish_of_the_handlers_own_without_an_answer_is_unknown,
            stopping::a_dropped_run_gives_its_items_back,
            stopping::wrong_arguments_are_refused,
            stopping::no_time_is_too_long_for_a_worker,
        }
    };
}

pub(crate) mod broken_deploys;
pub(crate) mod clocks;
pub(crate) mod due;
pub(crate) mod failures;
pub(crate) mod faulty;
pub(crate) mod flow;
pub(crate) mod held_up;
pub(crate) mod idle;

pub(crate) mod kit;
pub(crate) mod leases;
pub(crate) mod observers;
pub(crate) mod outages;
pub(crate) mod outages_of_handlers;
pub(crate) mod panics;
pub(crate) mod stopped;
pub(crate) mod stopping;
pub(crate) mod typed;

use std::future::Future;
use std::time::Duration;

use rowlock::pipeline::{Pipeline, PipelineBuilder, RetryPolicy, Status};
use rowlock::store::{Store, SweepParams};
use rowlock::{Key, Record, Repository, WorkerReport};

/// A separate database for one test.
pub(crate) trait Database: Send + Sync {
    /// The store under test.
    type S: Store;

    /// A store with a prepared table for this pipeline.
    fn store(&self, pipeline: Pipeline) -> impl Future<Output = Self::S> + Send;

    /// Runs a statement without the store or the worker.
    fn execute(&self, sql: &str) -> impl Future<Output = ()> + Send;

    /// Makes the database refuse updates of the items, in terms of `old` and `new`, with "not since the deploy".
    fn refuse_updates(&self, when: &str) -> impl Future<Output = ()> + Send;

    /// Ends that refusal.
    fn allow_updates(&self) -> impl Future<Output = ()> + Send;

    /// Has the database note every change of an item's status from now on.
    fn note_moves(&self) -> impl Future<Output = ()> + Send;

    /// Which words items went from and to since then, with the number of items.
    fn moves(&self) -> impl Future<Output = Vec<(String, String, i64)>> + Send;

    /// Runs a statement in a user's transaction.
    fn execute_in(
        transaction: &mut <Self::S as Store>::Transaction,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Reads what `note_moves` had noted.
pub(crate) const MOVES: &str = "select was, became, count(distinct id) from moves group by was, became order by 1, 2";

/// The record of the tests.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) status: String,
}

pub(crate) type Repo<D> = Repository<<D as Database>::S, Item>;

/// A pipeline over the table `items`, whose retries are due at once.
pub(crate) fn pipeline(stages: &[&str]) -> PipelineBuilder {
    let builder = Pipeline::builder("test").table("items").key("id").retry(RetryPolicy::constant(Duration::ZERO));
    stages.iter().fold(builder, |builder, stage| builder.stage(*stage))
}

pub(crate) async fn repository<D: Database>(database: &D, pipeline: PipelineBuilder) -> Repo<D>
where
    Item: Record<D::S>,
{
    Repository::new(database.store(pipeline.build().expect("a valid pipeline")).await)
}

pub(crate) async fn add<D: Database>(repository: &Repo<D>, count: usize) -> Vec<Key>
where
    Item: Record<D::S>,
{
    let keys: Vec<Key> = (0..count).map(|n| Key::from(format!("item-{n:05}"))).collect();
    assert_eq!(repository.add_many(&keys).await.expect("added").added, count as u64);
    keys
}

pub(crate) async fn status_of<D: Database>(repository: &Repo<D>, key: &Key) -> Status
where
    Item: Record<D::S>,
{
    let item = repository.get(key.clone()).await.expect("read").expect("there is such an item");
    item.status.expect("a known word")
}

pub(crate) async fn error_of<D: Database>(repository: &Repo<D>, key: &Key) -> String
where
    Item: Record<D::S>,
{
    repository.explain(key.clone()).await.expect("read").expect("there is such an item").error.unwrap_or_default()
}

pub(crate) async fn count<D: Database>(repository: &Repo<D>, status: Status) -> i64
where
    Item: Record<D::S>,
{
    repository.counts_exact().await.expect("counted").count(status)
}

/// Takes back everything that is in progress, as if its holders had stopped long ago.
pub(crate) async fn take_everything_back<D: Database>(repository: &Repo<D>) -> usize
where
    Item: Record<D::S>,
{
    let later = repository.now().await.expect("the time") + chrono::TimeDelta::hours(10);
    let sweeping = SweepParams {
        limit: 1_000,
        stale_after: repository.pipeline().stale_after(),
        max_resets: repository.pipeline().max_resets(),
        now: Some(later),
    };
    repository.store().sweep(&sweeping).await.expect("swept").items.len()
}

/// Claims as another worker, which then does nothing.
pub(crate) async fn claim_and_stop<D: Database>(repository: &Repo<D>, count: usize) -> Vec<Key>
where
    Item: Record<D::S>,
{
    let claiming = repository.claim_params(repository.pipeline().stage_ids(), count).expect("stages");
    let batch = repository.store().claim(&claiming).await.expect("claimed");
    batch.leases().map(|lease| lease.key.clone()).collect()
}

/// A safety net: a test that takes longer hangs.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("this hangs")
}

/// The report of a run that must succeed, without the parts that differ from run to run.
pub(crate) fn told(report: rowlock::Result<WorkerReport>) -> WorkerReport {
    report.expect("the worker ends well")
}
