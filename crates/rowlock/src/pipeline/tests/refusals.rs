//! What the builder rejects, each with the field, the value and the rule in the error.

use std::time::Duration;

use super::*;
use crate::Error;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const TOO_LONG: Duration = Duration::from_secs(365 * 24 * 3600 + 1);
const SECOND: Duration = Duration::from_secs(1);

const IDENTIFIER: &str = "must be at most 63 bytes long, as PostgreSQL's identifiers are";
const NUL: &str = "must not contain a NUL";

/// One byte too long for a name.
fn long() -> String {
    "x".repeat(64)
}

fn quoted_long() -> String {
    format!("{:?} (64 bytes)", long())
}

/// Asserts that the builder's error has these words.
#[track_caller]
fn refused(builder: PipelineBuilder, expected_field: &str, expected_value: &str, expected_rule: &str) {
    match builder.build() {
        Err(Error::InvalidPipeline { field, value, rule }) => {
            assert_eq!(
                (field.as_str(), value.as_str(), rule.as_str()),
                (expected_field, expected_value, expected_rule)
            );
        }
        other => panic!("expected a refusal of {expected_field}, got {other:?}"),
    }
}

#[test]
fn a_pipeline_needs_a_name_a_table_a_key_and_a_stage() {
    let named = |name: &str| Pipeline::builder(name).table("t").key("id").stage("A");
    refused(named(""), "name", "\"\"", "must be given");
    refused(Pipeline::builder("p").key("id").stage("A"), "table", "\"\"", "must be given");
    refused(Pipeline::builder("p").table("t").stage("A"), "key", "\"\"", "must be given");
    refused(Pipeline::builder("p").table("t").key("id"), "stages", "none", "a pipeline has at least one stage");
    refused(two_stages().column(Role::Heartbeat, ""), "columns.heartbeat_at", "\"\"", "must be given");
    refused(two_stages().table(TableName::in_schema("", "t")), "table.schema", "\"\"", "must be given");
    refused(two_stages().stage(""), "stages[2].name", "\"\"", "must be given");
}

#[test]
fn names_fit_into_postgresql() {
    let named = |name: &str| Pipeline::builder(name).table("t").key("id").stage("A");
    refused(named(&long()), "name", &quoted_long(), IDENTIFIER);
    refused(two_stages().table(long().as_str()), "table", &quoted_long(), IDENTIFIER);
    refused(two_stages().table(TableName::in_schema(long(), "t")), "table.schema", &quoted_long(), IDENTIFIER);
    refused(two_stages().key(long()), "key", &quoted_long(), IDENTIFIER);
    refused(two_stages().column(Role::ClaimToken, long()), "columns.claim_token", &quoted_long(), IDENTIFIER);
    refused(two_stages().stage(long()), "stages[2].name", &quoted_long(), IDENTIFIER);
    assert!(two_stages().key("ü".repeat(31)).build().is_ok());
    let umlauts = "ü".repeat(32);
    refused(two_stages().key(umlauts.clone()), "key", &format!("{umlauts:?} (64 bytes)"), IDENTIFIER);
}

#[test]
fn no_name_has_a_nul() {
    let (name, value) = ("a\0b", r#""a\0b""#);
    refused(Pipeline::builder(name).table("t").key("id").stage("A"), "name", value, NUL);
    refused(two_stages().table(name), "table", value, NUL);
    refused(two_stages().table(TableName::in_schema(name, "t")), "table.schema", value, NUL);
    refused(two_stages().key(name), "key", value, NUL);
    refused(two_stages().column(Role::Heartbeat, name), "columns.heartbeat_at", value, NUL);
    refused(two_stages().stage(name), "stages[2].name", value, NUL);
    refused(two_stages().succeeded(name), "word of Succeeded", value, NUL);
}

#[test]
fn a_column_plays_one_role() {
    refused(
        two_stages().column(Role::ClaimedAt, "updated_at"),
        "columns.updated_at",
        "\"updated_at\"",
        "is the column of columns.claimed_at too: one column, one role",
    );
    let rule = "is the column of key too: one column, one role";
    refused(two_stages().key("status"), "columns.status", "\"status\"", rule);
}

#[test]
fn stages_have_names_of_their_own_and_are_not_too_many() {
    let rule = "must not be the name of two stages";
    refused(two_stages().stage("EXTRACTION"), "stages[2].name", "\"EXTRACTION\"", rule);
    let of = |count: usize| {
        let builder = Pipeline::builder("p").table("t").key("id");
        (0..count).fold(builder, |builder, number| builder.stage(format!("S{number}")))
    };
    assert!(of(64).build().is_ok());
    refused(of(65), "stages", "65", "a pipeline has at most 64 stages");
}

#[test]
fn a_word_stands_for_one_state() {
    refused(
        two_stages().succeeded("PENDING"),
        "word of Succeeded",
        "\"PENDING\"",
        "is the word of Ready(StageId(0)) too: no two states may share a word",
    );
    refused(
        two_stages().add_stage(Stage::new("X").with_ready("FAILED")),
        "word of Failed",
        "\"FAILED\"",
        "is the word of Ready(StageId(2)) too: no two states may share a word",
    );
    refused(two_stages().failed(""), "word of Failed", "\"\"", "must not be empty");
    let rule = "must be at most 63 bytes long";
    refused(two_stages().cancelled(long()), "word of Cancelled", &quoted_long(), rule);
    // The stage's name is short enough, but the word made from it is not.
    let name = "x".repeat(60);
    let word = format!("\"{name}_IN_PROGRESS\" (72 bytes)");
    refused(two_stages().stage(name), "word of InProgress(StageId(2))", &word, rule);
}

#[test]
fn limits_are_at_least_one_and_fit_into_a_count() {
    let rule = "must be at least 1: it is the number of attempts, not of repeats";
    refused(two_stages().max_retries(0), "max_retries", "0", rule);
    refused(two_stages().max_resets(0), "max_resets", "0", rule);
    let rule = "must be at most 2147483647: the counts have 32 bits, one of them for the sign";
    refused(two_stages().max_retries(2_147_483_648), "max_retries", "2147483648", rule);
    refused(two_stages().max_resets(u32::MAX), "max_resets", "4294967295", rule);
    assert!(two_stages().max_retries(2_147_483_647).max_resets(2_147_483_647).build().is_ok());
}

#[test]
fn times_leave_room_for_two_lost_heartbeats() {
    refused(two_stages().stale_after(Duration::ZERO), "stale_after", "0ns", "must be at least 100ms");
    refused(two_stages().stale_after(TOO_LONG), "stale_after", "31536001s", "must be at most a year");
    assert!(two_stages().stale_after(YEAR).build().is_ok());
    let zero = "must be longer than zero";
    refused(two_stages().heartbeat_interval(Duration::ZERO), "heartbeat_interval", "0s", zero);
    refused(
        two_stages().heartbeat_interval(Duration::from_secs(101)),
        "heartbeat_interval",
        "101s",
        "must be at most a third of stale_after (100s): two renewals may be lost before a lease is",
    );
    assert!(two_stages().heartbeat_interval(Duration::from_secs(100)).build().is_ok());
    let instant = Stage::new("X").with_timeout(Duration::ZERO);
    refused(two_stages().add_stage(instant), "stages[2].timeout", "0s", zero);
}

/// The same rules hold for the pipeline's policy and for a stage's own.
#[test]
fn policies_make_sense() {
    let policy = || RetryPolicy::exponential(Duration::from_secs(10), Duration::from_secs(100));
    let nonsense = [
        (policy().with_jitter(1.5), "jitter", "1.5", "must be from 0 to 1"),
        (policy().with_jitter(-0.1), "jitter", "-0.1", "must be from 0 to 1"),
        (policy().with_jitter(f64::NAN), "jitter", "NaN", "must be from 0 to 1"),
        (policy().with_floor(TOO_LONG), "floor", "31536001s", "must be at most a year"),
        (
            RetryPolicy::exponential(Duration::from_secs(10), Duration::from_secs(9)),
            "cap",
            "9s",
            "must be at least the base (10s), or the base would never be used",
        ),
        (RetryPolicy::listed([]), "delays", "none", "a list of delays has at least one"),
    ];
    for (policy, field, value, rule) in nonsense {
        refused(two_stages().retry(policy.clone()), &format!("retry.{field}"), value, rule);
        let stage = Stage::new("X").with_retry(policy);
        refused(two_stages().add_stage(stage), &format!("stages[2].retry.{field}"), value, rule);
    }
    let edges = policy().with_jitter(1.0).with_floor(YEAR);
    assert!(two_stages().retry(edges).stage("X").build().is_ok());
    assert!(two_stages().retry(RetryPolicy::constant(SECOND).with_jitter(0.0)).build().is_ok());
}

/// What a state or a form writes is written by nothing else, and no text of the user's ends where it should not.
#[test]
fn a_tables_own_way_to_say_things_hurts_no_other_column() {
    let state = |column: &str| two_stages().failed(Sign::sql("broken", [(column, "true")]));
    let field = "word of Failed";
    for (column, owner) in [("video_id", "the key"), ("Error_Message", "the column of ErrorMessage")] {
        let rule = format!("is {owner}, which moves write themselves: say the state by other columns");
        refused(state(column), field, &format!("{column:?}"), &rule);
    }
    assert!(state("broken").build().is_ok());
    let kept = |role, column: &str| two_stages().column_as(role, ColumnSpec::new(column).keep());
    refused(kept(Role::ClaimToken, "token"), "columns.claim_token", "keep", "is for times only");
    assert!(kept(Role::RetryAfter, "run_at").build().is_ok());
    let none = |none: &str| two_stages().column_as(Role::ErrorMessage, ColumnSpec::new("message").none(none));
    let rule = "is a number, or a text in quotes, and not for the token";
    refused(none("0) or (1"), "columns.error_message", "none = \"0) or (1\"", rule);
    assert!(none("''").build().is_ok());
    let own = two_stages().failed(Sign::Own).column(Role::Status, "ocr_state").own_prefix("ocr_");
    refused(own, "own_prefix", "\"ocr_state\"", "is the column of columns.status too");
}
