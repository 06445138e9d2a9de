//! From descriptions to pipelines, and from the library's refusals back to the file.

use std::time::Duration;

use rowlock::pipeline::{Sign, StatusType};
use rowlock::{KeyType, Role, Status};

use super::super::pipeline::path_of;
use super::{read, with};

#[test]
fn a_description_becomes_a_pipeline() {
    let top = "failed = [\"failed\", \"error\"]\nwhere = \"deleted_at is null\"\norder = [\"priority desc\"]";
    let end =
        "timeout = \"10m\"\n[columns]\nretry_count = \"attempts\"\n[limits]\nmax_retries = 2\nstale_after = \"1m\"";
    let pipeline = read(&with(top, end)).pipeline().unwrap();
    assert_eq!(pipeline.name(), "videos");
    assert_eq!(pipeline.words(), ["queued", "processing", "completed", "failed", "CANCELLED"]);
    assert_eq!(pipeline.sign(Status::Failed), &Sign::from(["failed", "error"]));
    assert_eq!(pipeline.sign(Status::Cancelled), &Sign::Own);
    assert_eq!(pipeline.status_type(), StatusType::Text);
    assert_eq!(pipeline.claim_where(), Some("deleted_at is null"));
    assert_eq!(pipeline.order(), ["priority desc"]);
    assert_eq!(pipeline.columns().name(Role::RetryCount), "attempts");
    assert_eq!(pipeline.max_retries(), 2);
    assert_eq!(pipeline.heartbeat_interval(), Duration::from_secs(20));
    assert_eq!(pipeline.stages()[0].timeout(), Some(Duration::from_secs(600)));
}

#[test]
fn the_file_decides_the_keys_type_and_else_the_table() {
    let key_type = |top: &str| read(&with(top, "")).pipeline_with_key(KeyType::BigInt).unwrap().key_type();
    assert_eq!(key_type(""), KeyType::BigInt);
    assert_eq!(key_type("key_type = \"uuid\""), KeyType::Uuid);
    assert_eq!(read(&with("", "")).pipeline().unwrap().key_type(), KeyType::Text);
}

#[test]
fn the_librarys_rules_are_told_where_the_file_breaks_them() {
    let long = "x".repeat(64);
    let long_column = format!("[columns]\nstatus = {{ name = \"{long}\" }}");
    let long_word = format!("cancelled = \"{long}\"");
    let upside_down = "[limits]\nretry = { kind = \"exponential\", base = \"2h\", cap = \"1h\" }";
    let too_seldom = "[limits]\nstale_after = \"30s\"\nheartbeat_interval = \"11s\"";
    for (top, end, place) in [
        ("", "[columns]\nretry_count = \"id\"", (12, 15)),
        ("", too_seldom, (13, 22)),
        ("", upside_down, (12, 52)),
        ("", long_column.as_str(), (12, 10)),
        (long_word.as_str(), "", (1, 13)),
    ] {
        let problems = read(&with(top, end)).pipeline().unwrap_err();
        let places: Vec<_> = problems.iter().map(|(place, _)| (place.line, place.column)).collect();
        assert_eq!(places, [place], "{problems}");
    }
}

#[test]
fn every_field_of_the_library_has_a_path() {
    for (field, path) in [
        ("name", "pipeline"),
        ("table.schema", "table"),
        ("stages", "stage"),
        ("stages[1].retry.jitter", "stage[1].retry.jitter"),
        ("word of Ready(StageId(0))", "stage[0].ready"),
        ("word of InProgress(StageId(12))", "stage[12].running"),
        ("word of Cancelled", "cancelled"),
        ("on.EveryMove", "on.every_move"),
        ("max_retries", "limits.max_retries"),
        ("retry.cap", "limits.retry.cap"),
        ("columns.heartbeat_at", "columns.heartbeat_at"),
        ("where", "where"),
    ] {
        assert_eq!(path_of(field), path);
    }
}
