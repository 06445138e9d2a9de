//! ffmpeg never outlives the call that started it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rowlock_video::media::{FrameCount, MediaError};
use tempfile::TempDir;

use crate::clips::{clip, ffmpeg};

/// A video that never comes: whoever opens it waits until somebody writes.
fn endless_video(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("endless.mp4");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// The processes that were started with `path` on their command line.
fn processes_reading(path: &Path) -> Vec<String> {
    let needle = path.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let command_lines = entries.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(format!("{:?} {}", entry.file_name(), String::from_utf8_lossy(&line)))
    });
    command_lines.filter(|line| line.contains(&needle)).collect()
}

/// Opens the pipe for writing, which returns when ffmpeg has opened it for reading.
async fn wait_for_reader(path: &Path) -> File {
    let path = path.to_path_buf();
    tokio::task::spawn_blocking(move || File::options().write(true).open(path).unwrap()).await.unwrap()
}

/// Nothing is written to the pipe meanwhile: a live ffmpeg would wait for it, and could not end by itself.
async fn wait_until_nothing_reads(path: &Path) {
    let gone = async {
        while !processes_reading(path).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
    assert!(gone.is_ok(), "survived: {:?}", processes_reading(path));
}

#[tokio::test]
async fn ffmpeg_is_killed_when_the_call_is_dropped() {
    let folder = TempDir::new().unwrap();
    let video = endless_video(&folder);
    let ffmpeg = ffmpeg().await;
    let probe = ffmpeg.probe(&clip("bikes")).await.unwrap();
    let call = {
        let video = video.clone();
        tokio::spawn(async move { ffmpeg.extract(&video, &probe, FrameCount::default()).await })
    };
    let pipe = wait_for_reader(&video).await;
    assert_eq!(processes_reading(&video).len(), 1, "{:?}", processes_reading(&video));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    wait_until_nothing_reads(&video).await;
    drop(pipe);
}

#[tokio::test]
async fn ffprobe_is_killed_at_its_time_limit() {
    let folder = TempDir::new().unwrap();
    let video = endless_video(&folder);
    let limit = Duration::from_millis(500);
    let error = ffmpeg().await.with_time_limit(limit).probe(&video).await.unwrap_err();
    assert!(matches!(error, MediaError::TimedOut { .. }), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(error.to_string(), "ffprobe did not finish within 500ms and was killed");
    wait_until_nothing_reads(&video).await;
}
