//! What a user sees: names unchanged and harmless, tables that fit, reported ends.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{file_of, json, make_tiny_videos, rowlock_video, run_to_end, sqlite_url, text, wait_until};
use crate::clips::{clip, make_test_video};
use crate::killing::processes_reading;

/// A queue with one processed video of an awkward name, and the printed output.
fn awkward(folder: &TempDir, queue: &TempDir) -> (String, String) {
    let name = "100%25 \u{202e}4pm\u{2028}\u{9b}2J\u{1b}[31m.mp4";
    fs::copy(clip("carphone_distorted"), folder.path().join(name)).unwrap();
    (sqlite_url(queue), name.to_owned())
}

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || ['\u{202e}', '\u{2028}'].contains(&c))
}

#[tokio::test]
async fn names_and_ids_are_harmless_to_a_terminal_and_exact_in_json() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (database, name) = awkward(&folder, &queue);
    fs::write(folder.path().join("\u{1b}broken\u{202e}.mp4"), "x").unwrap();
    let run = ["run", folder.path().to_str().unwrap(), "--frames", "1"];
    let first = run_to_end(rowlock_video(&database, &run), 1);
    let pool = sqlx::sqlite::SqlitePool::connect(&database).await.unwrap();
    let id = "\u{1b}]0;x\u{7}\u{202e}id";
    sqlx::query("insert into video_processing (video_id, status) values (?, 'FAILED')")
        .bind(id)
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;

    let mut outputs = vec![first];
    for arguments in [&["list"][..], &["show", id], &["status"], &["similar", "--all"], &["list", "--json"]] {
        outputs.push(run_to_end(rowlock_video(&database, arguments), 0));
    }
    outputs.push(run_to_end(rowlock_video(&database, &["show", "\u{1b}\u{202e}nobody"]), 2));
    outputs.push(run_to_end(rowlock_video(&database, &["retry", "\u{1b}\u{202e}nobody"]), 1));
    outputs.push(run_to_end(rowlock_video(&database, &["similar", "\u{1b}\u{202e}nobody"]), 2));
    for output in &outputs {
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(is_harmless(&stdout) && is_harmless(&stderr), "{stdout:?}\n{stderr:?}");
    }
    assert!(text(&outputs[0].stdout).contains("100%25 \\u{202e}4pm"), "{}", text(&outputs[0].stdout));
    let listed = json(&database, &["list"], 0);
    let paths: Vec<&str> = listed.as_array().unwrap().iter().filter_map(|video| video["path"].as_str()).collect();
    assert!(paths.iter().any(|path| path.ends_with(&name)), "{paths:?}");
}

#[test]
fn tables_fit_80_columns_and_break_no_id() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for name in ["a-very-long-name-of-a-video-that-goes-on-and-on-and-on-and-on-and-on.mp4", "b.mp4"] {
        fs::copy(clip("carphone_distorted"), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("broken.mp4"), "x").unwrap();
    let database = sqlite_url(&queue);
    let run = ["run", folder.path().to_str().unwrap(), "--frames", "1"];
    let mut outputs = vec![run_to_end(rowlock_video(&database, &run), 1)];
    let listed = json(&database, &["list"], 0);
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|video| video["video_id"].as_str().unwrap()).collect();
    let failed = listed.as_array().unwrap().iter().find(|video| video["status"] == "FAILED").unwrap();
    let failed = failed["video_id"].as_str().unwrap();
    let tables: [&[&str]; 4] = [&["list"], &["show", failed], &["similar", "--all"], &["dry-run", "5"]];
    outputs.extend(tables.map(|arguments| run_to_end(rowlock_video(&database, arguments), 0)));
    for output in &outputs {
        let stdout = text(&output.stdout);
        // Sentences are for the terminal to wrap.
        let is_sentence = |line: &str| ["database: ", "path: ", "now: "].iter().any(|word| line.starts_with(word));
        for line in stdout.lines().filter(|line| !is_sentence(line)) {
            assert!(line.chars().count() <= 80, "{line:?} of {}", line.chars().count());
        }
    }
    for id in &ids {
        assert!(text(&outputs[1].stdout).contains(id), "{id} is broken:\n{}", text(&outputs[1].stdout));
    }
}

#[test]
fn a_closed_and_a_full_standard_output_end_the_program_quietly() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_tiny_videos(folder.path(), 1);
    let database = sqlite_url(&queue);
    run_to_end(rowlock_video(&database, &["run", folder.path().to_str().unwrap(), "--frames", "1"]), 0);
    for arguments in [&["list"][..], &["status", "--json"], &["--help"]] {
        let mut full = rowlock_video(&database, arguments);
        let output = full.stdout(File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = rowlock_video(&database, arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn a_status_may_be_in_any_case_and_the_database_in_the_environment() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_tiny_videos(folder.path(), 1);
    let database = sqlite_url(&queue);
    run_to_end(rowlock_video(&database, &["run", folder.path().to_str().unwrap(), "--frames", "1"]), 0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlock-video"));
    command.args(["list", "--status", "succeeded", "--json"]).env("ROWLOCK_VIDEO_DATABASE", &database);
    let listed: Value = serde_json::from_slice(&run_to_end(command, 0).stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn a_bad_database_is_told_before_folders_are_searched() {
    let queue = TempDir::new().unwrap();
    fs::write(file_of(&queue), "this is no database, however long one looks at it".repeat(100)).unwrap();
    let run = ["run", "/nowhere/at/all"];
    for database in [sqlite_url(&queue), "postgres://me@127.0.0.1:1/db".to_owned()] {
        let error = text(&run_to_end(rowlock_video(&database, &run), 2).stderr);
        assert!(error.contains("cannot be used") && !error.contains("/nowhere"), "{database}: {error}");
    }
}

#[test]
fn the_default_database_is_not_opened_through_a_link() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let target = elsewhere.path().join("theirs");
    symlink(&target, folder.path().join("rowlock-video.sqlite")).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_rowlock-video"));
    run.args(["run", "."]).current_dir(folder.path()).env_remove("ROWLOCK_VIDEO_DATABASE");
    let error = text(&run_to_end(run, 2).stderr);
    assert!(error.contains("symbolic link") && !target.exists(), "{error}");
}

#[test]
fn the_exit_codes_stand_in_the_help() {
    let help = text(&run_to_end(rowlock_video("sqlite://x", &["--help"]), 0).stdout);
    for code in ["0  all", "1  some", "2  nothing", "3  the standard output"] {
        assert!(help.contains(code), "{code}: {help}");
    }
}

#[tokio::test]
async fn what_takes_long_is_named_and_there_are_never_0_seconds_left() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_tiny_videos(folder.path(), 3);
    let slow = folder.path().join("slow film.mp4");
    fs::copy(clip("carphone_distorted"), &slow).unwrap();
    let log = queue.path().join("log");
    let mut run = rowlock_video(&sqlite_url(&queue), &["run", folder.path().to_str().unwrap(), "--jobs", "1"]);
    let mut run = run.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let told = || fs::read_to_string(&log).unwrap();
    wait_until("it is named", async || {
        // Whichever process reads it, it goes no further.
        processes_reading(&slow).iter().for_each(|process| signal_if_there(*process, "-STOP"));
        told().contains("slow film.mp4 for 1")
    })
    .await;
    while run.try_wait().unwrap().is_none() {
        processes_reading(&slow).iter().for_each(|process| signal_if_there(*process, "-CONT"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!told().contains(" 0 s left"), "{}", told());
}

/// It may have ended meanwhile.
fn signal_if_there(process: u32, signal: &str) {
    let _sent = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

#[test]
fn a_note_on_a_damaged_film_is_in_the_table_in_show_and_in_json() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = folder.path().join("cut.mp4");
    make_test_video(&path, 12.0, 25, &["-g", "25", "-preset", "ultrafast", "-movflags", "+faststart"]);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let database = sqlite_url(&queue);
    let table =
        text(&run_to_end(rowlock_video(&database, &["run", path.to_str().unwrap(), "--frames", "1"]), 0).stdout);
    let listed = json(&database, &["list"], 0);
    let note = listed[0]["note"].as_str().unwrap();
    assert!(note.starts_with("decoded ") && note.ends_with(" of 12.0 s"), "{note}");
    let shown =
        text(&run_to_end(rowlock_video(&database, &["show", listed[0]["video_id"].as_str().unwrap()]), 0).stdout);
    assert!(table.contains(note) && shown.contains(note), "{table}\n{shown}");
}
