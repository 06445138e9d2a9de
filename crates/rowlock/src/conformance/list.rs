//! Every behaviour of the suite, once. A behaviour that is missing here never runs: a test compares the list with the
//! files.

/// One `#[tokio::test]` for each behaviour that every store must show; see [`conformance`](crate::conformance). With
/// `verbs:` before the harness, only those that move items, among them the comparison with a model that knows every
/// verb: they hold on a table of any [`Shape`].
///
/// [`Shape`]: crate::conformance::Shape
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_tests!(@claims $harness);
        $crate::conformance_tests!(@bad_rows $harness);
        $crate::conformance_tests!(@brakes $harness);
        $crate::conformance_tests!(@exhausted $harness);
        $crate::conformance_tests!(@suspects $harness);
        $crate::conformance_tests!(@finishes $harness);
        $crate::conformance_tests!(@retries $harness);
        $crate::conformance_tests!(@errors $harness);
        $crate::conformance_tests!(@heartbeats $harness);
        $crate::conformance_tests!(@sweeps $harness);
        $crate::conformance_tests!(@times $harness);
        $crate::conformance_tests!(@operators $harness);
        $crate::conformance_tests!(@pauses $harness);
        $crate::conformance_tests!(@reading $harness);
        $crate::conformance_tests!(@words $harness);
        $crate::conformance_tests!(@refusals $harness);
        $crate::conformance_tests!(@transactions $harness);
        $crate::conformance_tests!(@schema $harness);
        $crate::conformance_tests!(@racing $harness);
        $crate::conformance_tests!(@spellings $harness);
        $crate::conformance_tests!(@shapes $harness);
        $crate::conformance_tests!(@adopting $harness);
        $crate::conformance_tests!(@altering $harness);
        $crate::conformance_tests!(@keys $harness);
        $crate::conformance_tests!(@names $harness);
        $crate::conformance_tests!(@dry $harness);
        $crate::conformance_tests!(@pitfalls $harness);
        $crate::conformance_tests!(@sequences $harness);
        $crate::conformance_tests!(@workers $harness);
    };
    (verbs: $harness:expr) => {
        $crate::conformance_tests!(@finishes $harness);
        $crate::conformance_tests!(@sweeps $harness);
        $crate::conformance_tests!(@operators $harness);
        $crate::conformance_tests!(@sequences $harness);
    };
    (@claims $harness:expr) => {
        $crate::conformance_tests!(@group claims, $harness;
            a_claim_stamps_token_holder_heartbeat_and_claim_time,
            a_claim_returns_the_whole_row_as_it_is_after_the_claim,
            later_stages_come_first_whatever_the_order_asked_in,
            items_go_by_age_and_retried_ones_by_their_due_time,
            an_item_that_moved_on_a_stage_keeps_its_age,
            an_item_is_claimed_from_its_due_time_on,
            a_created_at_in_the_future_delays_the_item,
            a_due_time_outweighs_a_created_at_in_the_future,
            only_the_stages_asked_for_are_claimed,
            a_limit_of_zero_takes_nothing,
            a_claim_is_never_larger_than_a_batch_may_be,
            a_full_batch_says_that_there_may_be_more,
            keys_to_leave_out_are_left_out,
            only_ready_items_are_claimed,
            claims_at_once_share_nothing_and_take_no_more_than_asked,
            a_claim_whose_answer_was_lost_is_found_by_its_token,
            counts_that_are_null_are_zero,
            an_item_without_a_created_at_is_the_oldest,
            without_a_given_time_the_database_says_what_is_due,
        );
    };
    (@bad_rows $harness:expr) => {
        $crate::conformance_tests!(@group bad_rows, $harness;
            bad_rows_at_the_head_keep_no_good_one_from_being_claimed,
            bad_rows_at_any_even_distance_keep_no_good_one_from_being_claimed,
            bad_rows_keep_no_good_one_from_its_sweep,
            bad_rows_keep_no_good_one_from_its_heartbeat,
            what_was_passed_over_while_nothing_passed_is_claimed_once_it_passes,
            a_good_row_that_comes_behind_bad_ones_is_claimed_at_once,
        );
    };
    (@brakes $harness:expr) => {
        $crate::conformance_tests!(@group brakes, $harness;
            a_cause_that_refuses_every_claim_fails_few_items,
            a_stage_whose_claims_are_all_refused_takes_nothing_from_another,
            a_cause_that_refuses_several_verbs_fails_no_more_items_for_that,
            a_cause_that_refuses_every_heartbeat_is_told_apart_from_a_bad_row,
            a_cause_that_refuses_every_completion_fails_few_items,
            a_cause_that_refuses_every_completion_in_a_transaction_fails_few_items,
            a_cause_that_refuses_every_sweep_fails_few_items,
            bad_rows_among_good_ones_are_each_failed,
        );
    };
    (@exhausted $harness:expr) => {
        $crate::conformance_tests!(@group exhausted, $harness;
            a_ready_item_at_max_retries_is_failed_by_the_claim_that_meets_it,
            a_ready_item_at_max_resets_is_failed_by_the_claim_that_meets_it,
            an_exhausted_item_without_an_error_names_the_limit_alone,
            exhausted_items_count_towards_the_limit_of_the_claim,
            an_item_that_is_not_due_is_not_exhausted_yet,
            a_claim_may_bring_limits_of_its_own,
            a_claim_may_leave_exhausted_items_alone,
            an_exhausted_item_that_is_requeued_is_claimable_again,
        );
    };
    (@suspects $harness:expr) => {
        $crate::conformance_tests!(@group suspects, $harness;
            a_suspect_at_the_head_is_claimed_alone,
            suspects_further_down_are_left_out,
            a_suspect_of_a_later_stage_comes_first_and_alone,
            a_suspect_behind_exhausted_items_is_still_at_the_head,
            an_item_that_was_never_reset_is_no_suspect,
            with_two_resets_allowed_the_first_reset_makes_a_suspect,
            the_limits_of_the_claim_say_who_is_a_suspect,
            a_claimer_that_holds_other_items_gets_no_suspect,
            a_suspect_further_down_is_not_at_the_head,
            a_preview_shows_a_suspect_as_the_claim_would_take_it,
            a_poison_item_never_makes_a_neighbour_failed,
            a_suspect_is_told_of_also_by_a_claim_that_was_refused_a_row,
        );
    };
    (@finishes $harness:expr) => {
        $crate::conformance_tests!(@group finishes, $harness;
            complete_moves_to_the_next_stage_and_restarts_both_counts,
            complete_of_the_last_stage_is_success,
            complete_keeps_both_counts_when_the_budget_is_per_item,
            retry_counts_waits_and_keeps_the_error,
            retry_is_failed_when_the_budget_is_spent,
            five_retries_mean_five_attempts,
            with_one_attempt_the_first_retry_is_failed,
            fail_is_failed_at_once_and_counts_nothing,
            release_gives_back_and_counts_nothing,
            snooze_gives_back_until_a_given_time,
            delays_and_times_of_any_length_are_taken,
            a_time_in_the_past_is_due_at_once,
            every_outcome_needs_the_token,
            every_outcome_needs_the_stage,
            every_outcome_needs_the_item_to_be_in_progress,
            a_second_finish_changes_nothing,
            a_row_that_was_deleted_and_inserted_again_knows_no_old_lease,
            a_batch_takes_any_mixture_and_answers_in_order,
            a_batch_may_mix_stages_and_tokens,
            finishing_nothing_is_not_an_error,
            without_a_given_time_the_database_says_when_it_finished,
        );
    };
    (@retries $harness:expr) => {
        $crate::conformance_tests!(@group retries, $harness;
            jitter_is_uniform_on_both_sides_of_the_delay,
            delays_double_up_to_the_cap,
            the_default_delays_are_a_minute_doubled_within_a_quarter,
            a_delay_is_never_below_the_floor,
            a_delay_saturates_at_any_count,
            a_count_that_cannot_grow_harms_only_its_own_item,
            a_negative_count_harms_only_its_own_item,
            a_listed_policy_repeats_its_last_delay,
            a_stage_may_have_a_policy_of_its_own,
            a_delay_of_the_handlers_own_is_used_as_it_is,
            a_delay_of_the_handlers_own_counts_like_any_other,
            a_permanent_failure_has_no_due_time,
        );
    };
    (@errors $harness:expr) => {
        $crate::conformance_tests!(@group errors, $harness;
            an_error_is_cut_at_a_characters_boundary,
            an_error_that_grows_by_its_limit_is_cut_too,
            an_error_that_is_not_too_long_is_kept_whole,
            an_odd_error_is_kept_and_harms_no_neighbour,
            an_error_with_a_nul_does_not_keep_the_item_from_moving,
            moves_without_an_error_keep_the_last_one,
            after_success_no_error_stays_in_the_row,
            an_error_stays_after_success_where_it_is_asked_for,
            an_error_column_that_takes_no_null_is_cleared_to_nothing,
            the_failures_of_an_item_are_kept_latest_first,
            only_the_last_failures_of_an_item_are_kept,
            an_item_without_failures_has_none,
        );
    };
    (@heartbeats $harness:expr) => {
        $crate::conformance_tests!(@group heartbeats, $harness;
            a_renewal_writes_the_heartbeat_and_nothing_else,
            one_renewal_answers_for_each_lease_in_order,
            a_renewal_needs_the_token_and_the_stage,
            a_finished_item_cannot_be_renewed,
            a_renewed_item_is_not_stale,
            renewing_nothing_is_not_an_error,
            a_lease_of_an_item_that_was_cancelled_and_taken_up_again_is_lost,
            without_a_given_time_the_database_says_when_it_was_renewed,
        );
    };
    (@sweeps $harness:expr) => {
        $crate::conformance_tests!(@group sweeps, $harness;
            a_stale_item_is_ready_again_at_once_and_counted,
            a_missing_heartbeat_is_a_stale_one,
            only_what_is_stale_is_taken_back,
            what_is_not_in_progress_is_never_taken_back,
            the_last_reset_is_failed,
            the_last_reset_may_be_the_first,
            resets_are_counted_per_stage_or_per_item,
            a_sweep_takes_no_more_than_asked_for,
            a_sweep_goes_by_the_age_that_it_is_given,
            sweeps_at_once_count_each_item_once,
            a_reset_count_that_cannot_grow_harms_only_its_own_item,
            without_a_given_time_the_database_says_what_is_stale,
        );
    };
    (@times $harness:expr) => {
        $crate::conformance_tests!(@group times, $harness;
            a_heartbeat_that_is_far_ahead_is_stale,
            a_renewal_brings_a_heartbeat_back_that_is_ahead,
            explain_and_held_say_that_a_heartbeat_is_ahead,
            what_is_never_due_is_named_by_every_verb_and_claimed_by_none,
            a_database_whose_clock_stands_before_1970_works_as_any_other,
        );
    };
    (@operators $harness:expr) => {
        $crate::conformance_tests!(@group operators, $harness;
            set_goes_from_any_state_to_a_ready_or_a_terminal_one,
            set_never_leads_to_in_progress,
            set_replaces_the_error_only_if_one_is_given,
            set_ends_the_lease,
            cancel_stops_what_is_not_terminal,
            a_running_handler_is_told_that_its_item_was_cancelled,
            requeue_takes_terminal_items_up_where_they_stopped,
            requeue_may_name_the_stage,
            requeue_without_a_usable_resume_status_starts_over,
            operators_get_an_answer_for_each_key_in_order,
            operators_may_ask_for_nothing,
            an_item_set_to_failed_is_requeued_where_it_was,
        );
    };
    (@pauses $harness:expr) => {
        $crate::conformance_tests!(@group pauses, $harness;
            a_paused_stage_is_not_claimed_and_the_others_are,
            items_in_progress_go_on_in_a_paused_stage,
            a_paused_stage_is_swept_all_the_same,
            pausing_twice_says_so,
            a_pause_is_one_pipelines_own_and_every_store_sees_it,
            explain_and_counts_say_that_a_stage_is_paused,
        );
    };
    (@reading $harness:expr) => {
        $crate::conformance_tests!(@group reading, $harness;
            a_preview_equals_the_claim_that_follows_and_writes_nothing,
            a_preview_leaves_exhausted_items_as_they_are,
            get_returns_the_item_as_it_is,
            a_list_is_paged_in_the_order_of_the_keys,
            a_full_last_page_is_known_to_be_the_last,
            a_list_may_ask_for_one_state,
            a_page_has_a_limit,
            counts_name_every_status_in_order,
            counts_are_exact_up_to_a_limit_and_at_least_beyond,
            counts_say_what_is_ready_since_when_and_when_the_next_is_due,
            counts_of_what_is_unfinished_leave_out_what_has_ended,
            counts_of_what_is_unfinished_say_what_there_is_to_wait_for,
            explain_gives_every_fact_that_decides,
            held_says_who_holds_what_since_when,
            what_is_held_is_limited_as_a_page_is,
            reading_writes_nothing,
            the_database_has_a_clock,
        );
    };
    (@words $harness:expr) => {
        $crate::conformance_tests!(@group words, $harness;
            an_unknown_word_is_left_alone_by_every_verb,
            unknown_words_are_counted_and_named,
            unknown_words_are_shown_as_they_are,
        );
    };
    (@refusals $harness:expr) => {
        $crate::conformance_tests!(@group refusals, $harness;
            a_row_whose_claim_is_refused_is_failed_and_its_neighbours_are_claimed,
            a_row_that_refuses_every_write_is_left_out_of_later_claims,
            one_bad_row_among_many_is_found,
            a_row_whose_finish_is_refused_is_failed_and_its_neighbours_move_on,
            a_row_that_refuses_every_write_stays_in_progress_and_is_left_out,
            a_refused_row_alone_is_refused_and_not_lost,
            a_refused_row_is_not_taken_for_a_lost_lease,
            a_row_whose_sweep_is_refused_harms_no_neighbour,
            a_row_whose_renewal_is_refused_harms_no_neighbour,
            an_operators_refused_row_harms_no_neighbour,
            a_check_constraint_refuses_only_its_own_row,
            a_unique_constraint_refuses_only_its_own_row,
            a_mended_row_can_be_requeued_and_claimed,
            an_exhausted_row_that_refuses_harms_no_neighbour,
            a_key_with_a_nul_is_no_items_and_changes_nothing,
        );
    };
    (@transactions $harness:expr) => {
        $crate::conformance_tests!(@group transactions, $harness;
            the_users_writes_are_committed_with_the_move,
            a_zombies_writes_are_rolled_back,
            a_forged_lease_writes_nothing,
            a_transaction_that_is_rolled_back_leaves_the_lease,
            a_transaction_that_is_dropped_leaves_the_lease,
            a_refused_move_takes_the_users_writes_back,
            a_spent_budget_is_failed_in_the_users_transaction_too,
        );
    };
    (@schema $harness:expr) => {
        $crate::conformance_tests!(@group schema, $harness;
            prepare_makes_a_table_that_lacks_nothing,
            prepare_may_be_repeated,
            prepare_may_run_many_times_at_once,
            prepare_completes_a_table_of_the_users_and_keeps_its_data,
            a_column_that_moves_must_be_able_to_clear_is_refused_if_it_cannot_be_null,
            a_key_that_is_not_unique_is_refused,
            an_item_may_be_inserted_with_its_key_alone,
            two_pipelines_share_a_database,
            a_schema_of_a_newer_rowlock_is_refused,
            a_missing_table_is_a_lasting_error_and_not_an_empty_queue,
        );
    };
    (@racing $harness:expr) => {
        $crate::conformance_tests!(@group racing, $harness;
            operators_verbs_that_race_workers_answer_what_they_did,
        );
    };
    (@spellings $harness:expr) => {
        $crate::conformance_tests!(@group spellings, $harness;
            an_operators_verb_answers_what_it_did_whatever_the_spelling,
            two_spellings_of_one_item_are_answered_alike,
            a_refused_row_in_another_spelling_is_answered_as_refused,
            reading_verbs_find_an_item_and_its_failures_in_any_spelling,
            a_lease_holds_when_its_key_gets_another_spelling,
            many_completions_in_another_spelling_are_answered_as_they_were_written,
            an_integer_key_is_found_however_it_is_written,
            a_key_that_no_row_can_have_gets_an_answer_of_its_own,
            keys_that_no_row_can_have_are_named_and_the_others_added,
        );
    };
    (@shapes $harness:expr) => {
        $crate::conformance_tests!(@group shapes, $harness;
            a_foreign_key_without_a_word_is_refused_with_the_words_that_are_missing,
            a_foreign_key_with_all_the_words_is_a_queue,
            a_foreign_key_on_who_claimed_it_is_refused,
            a_column_that_moves_write_alike_and_that_is_unique_is_refused,
            a_default_that_is_computed_is_the_ready_word,
            a_status_whose_comparison_ignores_case_is_refused,
        );
    };
    (@adopting $harness:expr) => {
        $crate::conformance_tests!(@group adopting, $harness;
            rows_that_are_there_become_nothing_until_it_is_told_what_they_are,
            rows_that_are_there_become_what_is_said_and_new_ones_are_ready,
            every_problem_is_told_at_once_and_nothing_is_changed,
            a_mapped_column_that_is_not_there_is_an_error_and_no_new_column,
            a_status_without_the_ready_default_is_refused_until_it_is_allowed,
            a_generated_column_is_refused_in_every_role_that_is_written,
            a_view_is_refused,
            a_row_in_progress_that_somebody_may_hold_is_stale_one_time_later,
            a_row_in_progress_that_is_said_to_be_nobodys_is_swept_at_once,
            a_repeated_prepare_stamps_nothing,
            rows_that_no_worker_takes_up_are_counted_and_named,
            a_check_that_does_not_allow_a_word_is_refused,
            a_check_that_lacks_only_the_word_for_cancelled_refuses_cancel_by_name,
            a_check_on_any_role_is_tried_with_what_moves_write,
        );
    };
    (@altering $harness:expr) => {
        $crate::conformance_tests!(@group altering, $harness;
            columns_that_come_and_go_between_calls_are_read_as_they_are,
        );
    };
    (@keys $harness:expr) => {
        $crate::conformance_tests!(@group keys, $harness;
            odd_keys_go_through_every_verb,
            odd_keys_are_listed_page_by_page,
            a_key_may_be_an_int,
            a_key_may_be_a_bigint,
            a_key_may_be_a_uuid,
            a_row_without_a_key_is_no_item,
            a_key_that_is_not_of_its_type_is_an_error_and_no_panic,
            adding_skips_what_exists_and_counts_the_rest,
            adding_many_is_one_call,
            a_key_that_was_added_is_claimable_at_once,
        );
    };
    (@names $harness:expr) => {
        $crate::conformance_tests!(@group names, $harness;
            names_may_be_reserved_words,
            names_may_hold_quotes_spaces_and_any_other_character,
            names_may_be_upper_case_and_long,
            words_may_be_of_any_text,
            a_pipeline_may_have_one_stage_or_many,
            a_column_of_the_users_may_have_the_name_of_a_parameter,
        );
    };
    (@dry $harness:expr) => {
        $crate::conformance_tests!(@group dry, $harness;
            a_read_only_store_refuses_every_write,
            a_read_only_store_reads,
            a_users_transaction_of_a_read_only_store_refuses_writes_too,
            a_read_only_store_follows_what_is_written,
        );
    };
    (@pitfalls $harness:expr) => {
        $crate::conformance_tests!(@group pitfalls, $harness;
            p01_the_claim_stamps_the_heartbeat_and_the_sweep_sees_a_missing_one,
            p02_completion_matches_the_token_and_not_the_id_alone,
            p03_a_worker_name_that_is_used_again_opens_nothing,
            p04_starting_up_takes_nothing_from_live_workers,
            p05_the_sweep_brings_no_finished_row_back_to_life,
            p06_a_row_that_kills_its_worker_is_not_retried_for_ever,
            p07_every_in_progress_state_is_swept,
            p08_a_batch_is_claimed_in_one_statement,
            p09_count_decision_and_move_are_one_write,
            p10_a_retry_waits,
            p11_jitter_is_there_on_both_sides_and_as_wide_as_it_says,
            p12_a_high_retry_count_does_not_overflow,
            p15_no_verb_touches_a_row_that_it_was_not_asked_for,
            p16_an_item_that_is_renewed_is_never_declared_dead,
            p17_a_late_heartbeat_revives_no_lost_lease,
            p18_a_stage_spends_no_other_stages_budget_and_a_requeue_knows_its_stage,
            p19_a_permanent_failure_is_no_count_of_99,
            p20_an_error_of_the_claim_is_no_empty_queue,
            p21_taking_back_loses_nothing_of_the_row,
            p22_no_ready_row_over_a_limit_is_skipped_for_ever,
            p23_a_claim_takes_no_more_than_asked_for_under_concurrency,
            p24_the_row_alone_says_where_its_item_is,
            p25_a_clean_shutdown_burns_no_attempt,
            p26_one_statement_renews_every_lease,
            p26_one_statement_finishes_every_lease,
            two_claims_never_share_a_token,
        );
    };
    (@sequences $harness:expr) => {
        $crate::conformance_tests!(@group sequences, $harness;
            random_verbs_do_what_the_model_does_with_budgets_per_stage,
            random_verbs_do_what_the_model_does_with_budgets_per_item,
            random_verbs_do_what_the_model_does_with_one_stage,
        );
    };
    (@workers $harness:expr) => {
        $crate::conformance_tests!(@group workers, $harness;
            eight_workers_at_once_hold_each_item_once_and_lose_none,
        );
    };
    (@group $group:ident, $harness:expr; $($behaviour:ident,)+) => {
        mod $group {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    let harness = $harness;
                    $crate::conformance::run(harness, async |harness| {
                        $crate::conformance::$group::$behaviour(harness).await;
                    }).await;
                }
            )+
        }
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The behaviours of each file in the suite's folder that has any, by its group.
    fn behaviours() -> Vec<(String, Vec<String>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).expect("the folder of this file") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names = text.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split_once("<H: Harness>"));
            let names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
            if !names.is_empty() {
                let group = path.file_stem().expect("a file name").to_string_lossy();
                found.push((group.into_owned(), names));
            }
        }
        found
    }

    #[test]
    fn every_behaviour_is_in_the_list() {
        let list = include_str!("list.rs");
        let all = behaviours();
        assert!(all.iter().map(|(_, names)| names.len()).sum::<usize>() > 200, "the folder has been read");
        for (group, names) in all {
            let listed = list.split(&format!("@group {group}, ")).nth(1).and_then(|rest| rest.split(");").next());
            let listed = listed.unwrap_or_else(|| panic!("{group}.rs has no group here"));
            for name in names {
                assert!(listed.lines().any(|line| line.trim() == format!("{name},")), "{group}::{name} never runs");
            }
        }
    }
}
