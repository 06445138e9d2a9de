//! The rules of the words, of the moves and of the delays. `refusals.rs` has what the builder rejects.

mod refusals;

use std::time::Duration;

use super::*;
use crate::limits::RETRY_DELAY_MAX;

fn two_stages() -> PipelineBuilder {
    Pipeline::builder("videos").table("video_processing").key("video_id").stage("EXTRACTION").stage("EMBEDDING")
}

fn pipeline() -> Pipeline {
    two_stages().build().expect("a valid pipeline")
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
fn a_stage_of_a_longer_pipeline_is_refused() {
    let longer = two_stages().stage("INDEXING").build().expect("a valid pipeline");
    let third = longer.stage_ids().next_back().expect("three stages");
    let pipeline = pipeline();
    for status in pipeline.statuses() {
        assert!(pipeline.check(status).is_ok(), "{status:?}");
    }
    for status in [Status::Ready(third), Status::InProgress(third)] {
        let refusal = pipeline.check(status).expect_err("it has two stages").to_string();
        let rule = "pipeline videos has no such stage, but EXTRACTION, EMBEDDING";
        assert_eq!(refusal, format!("stage is number 2, but {rule}"));
    }
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

/// The whole table of moves: a move that is not listed does not exist.
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
