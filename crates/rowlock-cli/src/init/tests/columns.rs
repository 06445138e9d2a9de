//! The columns that play roles, and those that do not.

use super::*;
use crate::survey::{IndexInfo, TriggerInfo};

fn jobs(database: Database) -> Survey {
    let mut survey = table(database, "jobs");
    survey.columns.push(text("status", &[("new", 10), ("working", 3), ("done", 20), ("failed", 2)]));
    survey
}

#[test]
fn names_in_camel_case_are_found_and_quoted() {
    let mut survey = jobs(Database::Sqlite);
    survey.columns.extend([
        column("processingStartedAt", TypeKind::Integer, &[("", 5), ("1700000000", 3)]),
        not_null(column("createdAt", TypeKind::Integer, &[("1700000001", 3)])),
        column("completedAt", TypeKind::Integer, &[("1700000002000", 3)]),
        column("deletedAt", TypeKind::Integer, &[("", 8)]),
    ]);
    let file = valid_file(&survey);
    assert!(file.contains("created_at = { name = \"createdAt\", as = \"epoch_s\" }"), "{file}");
    assert!(file.contains("claimed_at = { name = \"processingStartedAt\", as = \"epoch_s\" }"), "{file}");
    assert!(file.contains("success = { completedAt = \"cast(unixepoch('subsec') * 1000 as integer)\" }"), "{file}");
    assert!(file.contains("where = '\"deletedAt\" is null'"), "{file}");
}

#[test]
fn a_value_may_stand_for_none() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.extend([
        with_default(not_null(column("retry_after", TypeKind::BigInt, &[("0", 30), ("1700000000", 3)])), "0"),
        not_null(text("last_error", &[("", 30)])),
    ]);
    let proposal = propose(&survey);
    let retry_after = role(&proposal, "retry_after").unwrap();
    assert_eq!((retry_after.form, &retry_after.none), (Some("epoch_s"), &Some(Word::Integer(0))));
    assert_eq!(role(&proposal, "error_message").unwrap().none, Some(Word::Text(String::new())));
    valid_file(&survey);
}

#[test]
fn a_schedule_of_the_owners_is_never_emptied() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(time("run_at"));
    assert!(role(&propose(&survey), "retry_after").unwrap().keep);
    survey.columns.last_mut().unwrap().name = "next_attempt_at".to_owned();
    assert!(!role(&propose(&survey), "retry_after").unwrap().keep);
}

#[test]
fn a_time_in_an_unknown_form_is_a_question() {
    let mut survey = jobs(Database::Sqlite);
    survey.columns.push(column("retry_at", TypeKind::Integer, &[("", 30)]));
    let file = valid_file(&survey);
    assert_eq!(role(&propose(&survey), "retry_after"), None);
    assert!(file.contains("# retry_after = \"retry_at\""), "{file}");
}

#[test]
fn a_stamp_that_a_trigger_sets_is_no_lease() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(not_null(time("updated_at")));
    survey.triggers.push(TriggerInfo {
        name: "touch".to_owned(),
        when: "before update".to_owned(),
        source: Some("begin new.updated_at := now(); return new; end".to_owned()),
    });
    let file = valid_file(&survey);
    assert!(file.contains("the trigger touch sets it at every update of a row, so it is no lease"), "{file}");
    assert!(!file.contains("\nheartbeat_at"), "{file}");
}

#[test]
fn a_lease_may_be_the_time_at_which_it_ends() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.extend([time("locked_until"), text("locked_by", &[("", 30)])]);
    let file = valid_file(&survey);
    assert!(file.contains("heartbeat_at = { name = \"locked_until\", as = \"expiry\" }"), "{file}");
    assert!(file.contains("claimed_by = \"locked_by\""), "{file}");
}

#[test]
fn a_column_of_the_wrong_type_is_left_and_its_name_avoided() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(column("claimed_by", TypeKind::Uuid, &[("", 30)]));
    let file = valid_file(&survey);
    assert!(!file.contains("\nclaimed_by ="), "{file}");
    assert!(file.contains("\nprefix = \"rowlock_\""), "{file}");
}

#[test]
fn of_several_status_columns_each_has_its_own_columns() {
    let mut survey = postgres("videos");
    let values = [("queued", 10), ("processing", 2), ("done", 20), ("failed", 1)];
    survey.columns.extend([
        text("thumbnail_status", &values),
        text("audio_status", &[("queued", 33)]),
        column("thumbnail_attempts", TypeKind::Integer, &[("0", 33)]),
        text("audio_error", &[("", 33)]),
        time("processed_at"),
        time("thumbnail_finished_at"),
    ]);
    let proposal = propose(&survey);
    assert_eq!(proposal.pipeline, "videos_thumbnail");
    assert_eq!(role(&proposal, "retry_count").unwrap().name, "thumbnail_attempts");
    assert_eq!(role(&proposal, "error_message"), None);
    let file = valid_file(&survey);
    assert!(file.contains("success = { thumbnail_finished_at = \"now()\" }\n"), "{file}");
    assert!(file.contains("# success = { processed_at = \"now()\" }\n"), "{file}");
    assert!(file.contains("\"audio_status\" may be pipelines of their own"), "{file}");

    let audio = super::super::propose_for(&survey, Some("audio_status"));
    assert_eq!(role(&audio, "error_message").unwrap().name, "audio_error");
}

#[test]
fn the_direction_of_a_priority_is_asked_unless_an_index_tells_it() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(not_null(column("priority", TypeKind::Integer, &[("0", 30)])));
    assert!(valid_file(&survey).contains("# order = [\"priority desc\"]"));
    survey.indexes.push(IndexInfo {
        name: "jobs_next".to_owned(),
        definition: "CREATE INDEX jobs_next ON public.jobs USING btree (status, priority DESC, id)".to_owned(),
        ..IndexInfo::default()
    });
    assert!(valid_file(&survey).contains("\norder = [\"priority desc\"]"));
}

#[test]
fn rows_that_are_deleted_are_no_items_and_other_truths_are_asked_about() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.extend([
        column("is_deleted", TypeKind::Boolean, &[("false", 30), ("true", 3)]),
        not_null(column("paused", TypeKind::Boolean, &[("false", 33)])),
    ]);
    let file = valid_file(&survey);
    assert!(file.contains("\nwhere = \"is_deleted is not true\""), "{file}");
    assert!(file.contains("does \"paused\" keep a row from workers? Then add: not paused"), "{file}");
}

#[test]
fn a_number_of_attempts_that_may_be_a_version_is_a_question() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(column("ingestion_attempt_number", TypeKind::Integer, &[("0", 30)]));
    assert_eq!(role(&propose(&survey), "retry_count"), None);
    assert!(valid_file(&survey).contains("# retry_count = \"ingestion_attempt_number\""));
}

#[test]
fn a_limit_on_the_attempts_is_told() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(column("attempt_count", TypeKind::Integer, &[("0", 30)]));
    survey.checks.push(check("attempt_count", "CHECK (attempt_count <= 50)"));
    assert!(valid_file(&survey).contains("keep max_retries within attempt_count_check: CHECK (attempt_count <= 50)"));
}

#[test]
fn a_timestamp_without_a_zone_is_described_and_asked_about() {
    let mut survey = jobs(Database::Postgres);
    survey.columns.push(not_null(column("created_at", TypeKind::Timestamp, &[("2026-01-31 12:00:00", 30)])));
    let file = valid_file(&survey);
    assert!(file.contains("created_at = { name = \"created_at\", as = \"timestamp_utc\" }"), "{file}");
    assert!(file.contains("# TODO: confirm that it holds times in UTC"), "{file}");
}
