//! The rules of the builder, of the moves and of the delays.

use std::time::Duration;

use super::*;
use crate::Error;
use crate::limits::RETRY_DELAY_MAX;

fn two_stages() -> PipelineBuilder {
    Pipeline::builder("videos").table("video_processing").key("video_id").stage("EXTRACTION").stage("EMBEDDING")
}

fn pipeline() -> Pipeline {
    two_stages().build().expect("a valid pipeline")
}

/// The field that a builder is refused for; the value and the rule must be there too.
fn refused_field(builder: PipelineBuilder) -> String {
    match builder.build() {
        Err(Error::InvalidPipeline { field, value, rule }) => {
            assert!(!value.is_empty() && !rule.is_empty(), "{field} is refused without its value or rule");
            field
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_default_words_tell_the_stages() {
    assert_eq!(
        pipeline().words(),
        [
            "PENDING",
            "EXTRACTION_IN_PROGRESS",
            "EXTRACTION_COMPLETE",
            "EMBEDDING_IN_PROGRESS",
            "SUCCEEDED",
            "FAILED",
            "CANCELLED"
        ]
    );
}

#[test]
fn words_and_statuses_lead_to_each_other() {
    let pipeline = pipeline();
    for status in pipeline.statuses() {
        assert_eq!(pipeline.status(pipeline.word(status)), Some(status));
    }
    assert_eq!(pipeline.status("pending"), None);
}

#[test]
fn a_pipeline_needs_a_name_a_table_a_key_and_a_stage() {
    let named = |name: &str| Pipeline::builder(name).table("t").key("id").stage("A");
    assert_eq!(refused_field(named("")), "name");
    assert_eq!(refused_field(Pipeline::builder("p").key("id").stage("A")), "table");
    assert_eq!(refused_field(Pipeline::builder("p").table("t").stage("A")), "key");
    assert_eq!(refused_field(Pipeline::builder("p").table("t").key("id")), "stages");
}

#[test]
fn stages_have_names_of_their_own() {
    assert_eq!(refused_field(two_stages().stage("EXTRACTION")), "stages[2].name");
    assert_eq!(refused_field(two_stages().stage("")), "stages[2].name");
}

#[test]
fn a_word_stands_for_one_state() {
    assert!(refused_field(two_stages().succeeded_word("PENDING")).starts_with("word of"));
    assert!(refused_field(two_stages().failed_word("")).starts_with("word of"));
    assert!(refused_field(two_stages().add_stage(Stage::new("X").with_ready_word("FAILED"))).starts_with("word of"));
}

#[test]
fn identifiers_fit_into_postgresql() {
    let long = "x".repeat(64);
    assert_eq!(refused_field(two_stages().table(long.as_str())), "table");
    assert_eq!(refused_field(two_stages().key(long.clone())), "key");
    assert_eq!(refused_field(two_stages().column(Role::Heartbeat, "a\0b")), "columns.heartbeat_at");
    assert_eq!(refused_field(two_stages().table(TableName::in_schema(long, "t"))), "table.schema");
    assert!(two_stages().key("ü".repeat(31)).build().is_ok());
    assert_eq!(refused_field(two_stages().key("ü".repeat(32))), "key");
}

#[test]
fn a_column_plays_one_role() {
    assert_eq!(refused_field(two_stages().column(Role::ClaimedAt, "updated_at")), "columns.updated_at");
    assert_eq!(refused_field(two_stages().key("status")), "columns.status");
}

#[test]
fn limits_are_at_least_one() {
    assert_eq!(refused_field(two_stages().max_retries(0)), "max_retries");
    assert_eq!(refused_field(two_stages().max_resets(-1)), "max_resets");
}

#[test]
fn times_leave_room_for_two_lost_heartbeats() {
    assert_eq!(refused_field(two_stages().heartbeat_interval(Duration::from_secs(101))), "heartbeat_interval");
    assert_eq!(refused_field(two_stages().heartbeat_interval(Duration::ZERO)), "heartbeat_interval");
    assert_eq!(refused_field(two_stages().stale_after(Duration::ZERO)), "stale_after");
    assert!(two_stages().heartbeat_interval(Duration::from_secs(100)).build().is_ok());
    let instant = Stage::new("X").with_timeout(Duration::ZERO);
    assert_eq!(refused_field(two_stages().add_stage(instant)), "stages[2].timeout");
}

#[test]
fn policies_make_sense() {
    let policy = || RetryPolicy::exponential(Duration::from_secs(10), Duration::from_secs(100));
    assert_eq!(refused_field(two_stages().retry(policy().with_jitter(1.5))), "retry.jitter");
    assert_eq!(refused_field(two_stages().retry(policy().with_jitter(f64::NAN))), "retry.jitter");
    let upside_down = RetryPolicy::exponential(Duration::from_secs(10), Duration::from_secs(9));
    assert_eq!(refused_field(two_stages().retry(upside_down)), "retry.cap");
    let nothing = Stage::new("X").with_retry(RetryPolicy::listed([]));
    assert_eq!(refused_field(two_stages().add_stage(nothing)), "stages[2].retry.delays");
}

#[test]
fn delays_double_up_to_the_cap_and_never_overflow() {
    let policy = RetryPolicy::default();
    assert_eq!([1, 2, 3, 5, 6].map(|n| policy.delay(n).as_secs()), [120, 240, 480, 1920, 3600]);
    assert_eq!([31, 32, 63, 64, u32::MAX].map(|n| policy.delay(n).as_secs()), [3600; 5]);
    let endless = RetryPolicy::exponential(Duration::MAX, Duration::MAX);
    assert_eq!(endless.delay(u32::MAX), RETRY_DELAY_MAX);
    assert_eq!(RetryPolicy::exponential(Duration::ZERO, Duration::from_secs(9)).delay(40), Duration::ZERO);
}

#[test]
fn listed_delays_repeat_the_last_one() {
    let policy = RetryPolicy::listed([1, 5, 9].map(Duration::from_secs));
    assert_eq!([1, 2, 3, 4, 100].map(|n| policy.delay(n).as_secs()), [1, 5, 9, 9, 9]);
    assert_eq!(policy.table()[..4], [1.0, 5.0, 9.0, 9.0]);
}

/// The whole table of moves: what is not listed does not exist.
#[test]
fn no_other_move_exists() {
    let pipeline = pipeline();
    let [first, second] = [0, 1].map(|index| pipeline.stage_ids().nth(index).expect("two stages"));
    let after = |from, step| pipeline.after(from, step).ok();
    for from in pipeline.statuses() {
        let running = match from {
            Status::InProgress(stage) => Some(stage),
            _ => None,
        };
        let ready = match from {
            Status::Ready(stage) => Some(stage),
            _ => None,
        };
        assert_eq!(after(from, Move::Claim), ready.map(Status::InProgress));
        let next = |stage| if stage == first { Status::Ready(second) } else { Status::Succeeded };
        assert_eq!(after(from, Move::Complete), running.map(next));
        for step in [Move::Retry { spent: false }, Move::Sweep { spent: false }, Move::Release, Move::Snooze] {
            assert_eq!(after(from, step), running.map(Status::Ready), "{step:?} from {from:?}");
        }
        for step in [Move::Retry { spent: true }, Move::Sweep { spent: true }, Move::Fail] {
            assert_eq!(after(from, step), running.map(|_| Status::Failed), "{step:?} from {from:?}");
        }
        assert_eq!(after(from, Move::Exhaust), ready.map(|_| Status::Failed));
        assert_eq!(after(from, Move::Cancel), (!from.is_terminal()).then_some(Status::Cancelled));
        assert_eq!(after(from, Move::Requeue(second)), from.is_terminal().then_some(Status::Ready(second)));
        for to in pipeline.statuses() {
            assert_eq!(after(from, Move::Set(to)), (!to.is_in_progress()).then_some(to));
        }
    }
}

#[test]
fn an_illegal_move_names_both_states() {
    let refusal = pipeline().after(Status::Succeeded, Move::Cancel).expect_err("illegal");
    assert_eq!(refusal, IllegalMove { from: Status::Succeeded, to: Some(Status::Cancelled) });
}
