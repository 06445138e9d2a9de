//! The video application, and the same work without a queue. Both are separate programs; a contender here creates the
//! folder of videos, runs one of the programs on it, and counts the results.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::number::float;
use crate::protocol::{Answer, Mark, Task, mark, unix_now};

/// One video: half a second of work for a processor, and as long again for the model.
const VIDEO: &str = "testsrc2=size=640x360:rate=24:duration=5";

/// The program that takes the videos through both stages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// `apps/video/examples/without_queue.rs`.
    Nothing,
    /// `rowlock-video run`, on the task's database.
    Postgres,
    /// The same on a file.
    Sqlite,
}

pub(crate) async fn run(task: &Task, by: By) -> Result<Answer> {
    // Not /tmp, which may be held in memory, where durability costs nothing.
    let folder = tempfile::Builder::new().prefix("rowlock-bench-").tempdir_in("/var/tmp")?;
    let videos = folder.path().join("videos");
    make_videos(&videos, task.items).await?;
    mark(Mark::Begin)?;
    let started_at = unix_now();
    let handled = match by {
        By::Nothing => {
            let said = output(Command::new(program("examples/without_queue")?).arg(&videos)).await?;
            said.trim().parse().with_context(|| format!("without_queue said {said:?}"))?
        }
        By::Postgres => by_rowlock(&videos, &task.database).await?,
        By::Sqlite => {
            by_rowlock(&videos, &format!("sqlite://{}", folder.path().join("videos.sqlite").display())).await?
        }
    };
    let ended_at = unix_now();
    mark(Mark::End)?;
    let figures = [("videos_per_s".to_owned(), float(handled) / (ended_at - started_at))].into();
    Ok(Answer { handled, keys_seen: None, started_at, ended_at, figures, settings: "the defaults".to_owned() })
}

/// How many succeeded.
async fn by_rowlock(videos: &Path, database: &str) -> Result<u64> {
    let mut command = Command::new(program("rowlock-video")?);
    let said = output(command.arg("run").arg(videos).args(["--database", database, "--json"])).await?;
    let result: serde_json::Value = serde_json::from_str(&said).with_context(|| format!("it said {said:?}"))?;
    let reports = result["videos"].as_array().context("a list of videos")?;
    Ok(reports.iter().filter(|report| report["status"] == "SUCCEEDED").count() as u64)
}

/// A program that is built beside this one.
fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.parent().context("a folder")?.join(name);
    ensure!(
        program.is_file(),
        "{} is missing: please build it first, by `cargo build --package rowlock-video --bins --examples`, with \
         --release if this is a release build; `make bench` does",
        program.display()
    );
    Ok(program)
}

async fn make_videos(folder: &Path, count: u64) -> Result<()> {
    std::fs::create_dir(folder)?;
    let first = folder.join("video-0.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", VIDEO]).arg(&first);
    output(&mut ffmpeg).await.context("making a video")?;
    for number in 1..count {
        std::fs::copy(&first, folder.join(format!("video-{number}.mp4")))?;
    }
    Ok(())
}

/// The output of a program; if it fails, the error contains its standard error.
async fn output(command: &mut Command) -> Result<String> {
    let ended = command.stdin(Stdio::null()).output().await.with_context(|| format!("starting {command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    Ok(String::from_utf8(ended.stdout)?)
}
