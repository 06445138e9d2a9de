//! The command on an SQLite file.

use std::process::{Command, Stdio};
use std::time::Duration;

use rowlock::{Repository, Status};
use rowlock_video::library::{Library as _, SqliteLibrary, Videos};
use tempfile::TempDir;

use super::{
    file_of, holds, make_tiny_videos, open_sqlite, result_rows, rowlock_video, run_to_end, scenarios, signal,
    sqlite_url, text, wait_until,
};

#[test]
fn a_folder_goes_through_both_stages_and_a_second_run_adds_nothing() {
    scenarios::a_folder_end_to_end(&sqlite_url(&TempDir::new().unwrap()));
}

#[test]
fn a_changed_file_is_taken_again() {
    scenarios::a_changed_file(&sqlite_url(&TempDir::new().unwrap()));
}

#[test]
fn the_database_is_named_first_and_the_table_comes_last() {
    scenarios::plain_output(&sqlite_url(&TempDir::new().unwrap()));
}

#[test]
fn the_default_database_is_a_file_in_the_current_folder() {
    let folder = TempDir::new().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_rowlock-video"));
    // An empty folder is not an error: nothing failed.
    run.args(["run", "."]).current_dir(folder.path());
    let output = text(&run_to_end(run, 0).stdout);
    assert!(output.starts_with("database: sqlite://rowlock-video.sqlite\n"), "{output}");
    assert!(folder.path().join("rowlock-video.sqlite").is_file());
}

/// Starts a run over the folder.
fn start_run(database: &str, folder: &TempDir) -> std::process::Child {
    let arguments = ["run", folder.path().to_str().unwrap(), "--frames", "1", "--jobs", "2", "--stale-after", "8s"];
    rowlock_video(database, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the process holds something and has done something, and leaves it stopped there.
async fn stop_in_the_middle(database: &str, process: u32) -> Videos<SqliteLibrary> {
    wait_until("the database", async || {
        std::path::Path::new(database.trim_start_matches("sqlite://")).is_file()
            && matches!(SqliteLibrary::open(database, false, Duration::from_secs(30)).await, Ok(library)
                if library.is_migrated().await.unwrap_or(false))
    })
    .await;
    let library = open_sqlite(database).await;
    let videos: Videos<SqliteLibrary> = Repository::new(library.store().clone());
    wait_until("the middle of the run", async || {
        let some_done = videos.counts_exact().await.is_ok_and(|counts| counts.count(Status::Succeeded) >= 2);
        if !some_done {
            return false;
        }
        signal(process, "-STOP");
        // What is running when the signal arrives is finished or not, but nothing changes any more.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let in_the_middle = holds::<SqliteLibrary>(&videos, process).await;
        if !in_the_middle {
            signal(process, "-CONT");
        }
        in_the_middle
    })
    .await;
    videos
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_where_it_was_and_says_what_it_takes_back() {
    const VIDEOS: usize = 12;
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_tiny_videos(folder.path(), VIDEOS);
    let database = sqlite_url(&queue);
    let mut killed = start_run(&database, &folder);
    let videos = stop_in_the_middle(&database, killed.id()).await;
    let held = videos.held(100).await.unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(videos.counts_exact().await.unwrap().unfinished() > 0);

    let path = folder.path().to_str().unwrap();
    let again = ["run", path, "--frames", "1", "--jobs", "2", "--stale-after", "8s"];
    let output = run_to_end(rowlock_video(&database, &again), 0);
    let (table, log) = (text(&output.stdout), text(&output.stderr));
    assert!(table.contains(&format!("{VIDEOS} of {VIDEOS} videos succeeded")), "{table}");
    assert!(log.contains("waiting for its leases"), "{log}");
    for item in held {
        let taken_back = |line: &&str| line.starts_with("taken back") && line.contains(item.key.as_str());
        assert_eq!(log.lines().filter(taken_back).count(), 1, "{}: {log}", item.key);
    }
    assert_eq!(result_rows(&file_of(&queue)).await, (12, 12, 0), "each has its results once");
}

#[tokio::test]
async fn a_run_that_is_asked_to_stop_gives_back_what_it_holds() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_tiny_videos(folder.path(), 20);
    let database = sqlite_url(&queue);
    let mut run = start_run(&database, &folder);
    let videos = stop_in_the_middle(&database, run.id()).await;
    signal(run.id(), "-TERM");
    signal(run.id(), "-CONT");
    assert_eq!(run.wait().unwrap().code(), Some(1), "not all is done");
    let counts = videos.counts_exact().await.unwrap();
    assert!(videos.held(100).await.unwrap().is_empty());
    assert!(counts.unfinished() > 0 && counts.count(Status::Failed) == 0, "{counts:?}");
    let arguments = ["run", folder.path().to_str().unwrap(), "--frames", "1", "--jobs", "2"];
    run_to_end(rowlock_video(&database, &arguments), 0);
    assert_eq!(result_rows(&file_of(&queue)).await, (20, 20, 0));
}
