//! What is rejected before anything is claimed, with exit status 2 and what to do about it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{file_of, json, make_tiny_videos, rowlock_video, run_to_end, sqlite_url, text};

/// A queue with one video that is ready.
fn ready_queue(folder: &TempDir) -> (String, Value) {
    make_tiny_videos(folder.path(), 1);
    let database = sqlite_url(folder);
    let done = json(&database, &["run", folder.path().to_str().unwrap(), "--frames", "1"], 0);
    let id = done["videos"][0]["video_id"].as_str().unwrap();
    run_to_end(rowlock_video(&database, &["retry", id]), 0);
    let before = json(&database, &["list"], 0);
    assert_eq!(before[0]["status"], "PENDING");
    (database, before)
}

#[test]
fn without_ffmpeg_nothing_is_claimed_and_the_package_is_named() {
    let folder = TempDir::new().unwrap();
    let (database, before) = ready_queue(&folder);
    for arguments in [&["run", folder.path().to_str().unwrap()][..], &["work"], &["dry-run", "1"]] {
        let mut command = rowlock_video(&database, arguments);
        command.env("PATH", "");
        let error = text(&run_to_end(command, 2).stderr);
        assert!(error.contains("apt-get install ffmpeg"), "{error}");
        assert_eq!(json(&database, &["list"], 0), before);
    }
}

#[test]
fn without_the_model_nothing_is_claimed_and_the_way_to_it_is_named() {
    let folder = TempDir::new().unwrap();
    let (database, before) = ready_queue(&folder);
    for arguments in [&["run", folder.path().to_str().unwrap()][..], &["work"], &["dry-run", "1"]] {
        let mut command = rowlock_video(&database, arguments);
        command.env("ROWLOCK_VIDEO_MODEL", "/nowhere/model.onnx");
        let error = text(&run_to_end(command, 2).stderr);
        assert!(error.contains("make setup"), "{error}");
        assert_eq!(json(&database, &["list"], 0), before);
    }
}

#[test]
fn a_path_that_is_not_there_makes_no_database() {
    let folder = TempDir::new().unwrap();
    let error = text(&run_to_end(rowlock_video(&sqlite_url(&folder), &["run", "/nowhere/at/all"]), 2).stderr);
    assert!(error.contains("/nowhere/at/all"), "{error}");
    assert!(!file_of(&folder).exists());
}

#[test]
fn a_database_that_cannot_be_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().display();
    for (database, reason) in [
        ("mysql://host/db".to_owned(), "sqlite://FILE"),
        (format!("sqlite://{path}"), "is a folder"),
        (format!("sqlite://{path}/none/queue.sqlite"), "no folder that exists"),
        ("postgres://postgres@127.0.0.1:1/nobody".to_owned(), "cannot connect"),
    ] {
        let run = rowlock_video(&database, &["run", folder.path().to_str().unwrap()]);
        let error = text(&run_to_end(run, 2).stderr);
        assert!(error.contains(reason), "{database}: {error}");
    }
    fs::write(file_of(&folder), "this is no database, however long one looks at it".repeat(100)).unwrap();
    run_to_end(rowlock_video(&sqlite_url(&folder), &["status"]), 2);
}

#[test]
fn reading_makes_no_database_and_wrong_usage_is_told() {
    let folder = TempDir::new().unwrap();
    let error = text(&run_to_end(rowlock_video(&sqlite_url(&folder), &["list"]), 2).stderr);
    assert!(error.contains("rowlock-video run PATH"), "{error}");
    assert!(!file_of(&folder).exists());
    for arguments in
        [&["run"][..], &["run", ".", "--frames", "0"], &["run", ".", "--jobs", "0"], &["similar"], &["retry"]]
    {
        run_to_end(rowlock_video(&sqlite_url(&folder), arguments), 2);
    }
}
