//! The command `rowlock-video` as a user starts it.

mod fleet_postgres;
mod full_disk_sqlite;
mod identity_sqlite;
mod outage_postgres;
mod postgres;
mod refusals_sqlite;
mod scenarios;
mod secrets;
mod similar;
mod sqlite;
mod terminals_sqlite;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rowlock_video::library::{Library, SqliteLibrary};
use serde_json::Value;
use tempfile::TempDir;

use crate::clips::make;

/// The longest wait of a test: enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// The command, on this database.
fn rowlock_video(database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlock-video"));
    command.args(arguments).args(["--database", database]).env_remove("RUST_LOG");
    command
}

/// The database of a file in a separate folder.
fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("queue.sqlite").display())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command to its end, with this exit status.
fn run_to_end(mut command: Command, status: i32) -> Output {
    let output = command.output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{command:?}\n{stdout}\n{stderr}");
    output
}

/// Runs a command to its end, with this exit status, and returns its output.
fn json(database: &str, arguments: &[&str], status: i32) -> Value {
    let output = run_to_end(rowlock_video(database, &[arguments, &["--json"]].concat()), status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// The entry of a video by the name of its file.
fn of_file<'a>(videos: &'a Value, name: &str) -> &'a Value {
    let named = |video: &&Value| video["path"].as_str().is_some_and(|path| path.ends_with(&format!("/{name}")));
    videos.as_array().unwrap().iter().find(named).unwrap_or_else(|| panic!("no {name} in {videos}"))
}

/// Makes this many tiny videos of a second each, with different pictures, with one ffmpeg.
fn make_tiny_videos(folder: &Path, count: usize) {
    let source = format!("testsrc2=size=64x64:rate=4:duration={count}");
    let output = folder.join("clip%03d.mp4");
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        &source,
        "-g",
        "4",
        "-preset",
        "ultrafast",
        "-f",
        "segment",
        "-segment_time",
        "1",
        "-reset_timestamps",
        "1",
    ];
    make(&arguments.map(std::ffi::OsStr::new), &output);
    // The last second may be cut in two.
    let made = std::fs::read_dir(folder).unwrap().count();
    assert!(made >= count, "{made} of {count} videos were made");
    for surplus in count..made {
        std::fs::remove_file(folder.join(format!("clip{surplus:03}.mp4"))).unwrap();
    }
}

/// Polls until `done` says so. The awaited event happens in other processes, which give no signal.
async fn wait_until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a signal to a process of ours.
fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(sent.success(), "kill {signal} {process}");
}

/// How many rows each of the application's tables of results has.
async fn result_rows(file: &Path) -> (i64, i64, i64) {
    let pool = sqlx::sqlite::SqlitePool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let counts = sqlx::query_as(
        "select (select count(*) from video_details), (select count(*) from video_embeddings),
                (select count(*) from video_frames)",
    );
    counts.fetch_one(&pool).await.unwrap()
}

/// Whether a process holds any video just now.
async fn holds<L: Library>(videos: &rowlock_video::library::Videos<L>, process: u32) -> bool {
    let named = format!(":{process}:");
    videos.held(1_000).await.unwrap().iter().any(|item| item.holder.as_deref().is_some_and(|by| by.contains(&named)))
}

/// A library on the file, for looks while others work.
async fn open_sqlite(url: &str) -> SqliteLibrary {
    SqliteLibrary::open(url, false, Duration::from_secs(30)).await.unwrap()
}

fn file_of(folder: &TempDir) -> PathBuf {
    folder.path().join("queue.sqlite")
}
