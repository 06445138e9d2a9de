//! ffmpeg never outlives the call that started it, nor the process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rowlock_video::media::{FrameCount, MediaError};
use tempfile::TempDir;

use crate::clips::{clip, ffmpeg, make, make_test_video};

/// A video of unknown length that takes minutes to decode, though it is small.
fn long_video(folder: &TempDir) -> PathBuf {
    let (second, path) = (folder.path().join("second.mp4"), folder.path().join("long.h264"));
    make_test_video(&second, 1.0, 25, &["-vf", "scale=1920:1080", "-preset", "ultrafast", "-crf", "51"]);
    let (looped, copy) = (["-stream_loop", "2000", "-i"].map(OsStr::new), ["-c", "copy", "-f", "h264"].map(OsStr::new));
    make(&[&looped[..], &[second.as_os_str()], &copy[..]].concat(), &path);
    path
}

/// The processes that were given this file to read.
pub(crate) fn processes_reading(path: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let readers = entries.filter(|entry| std::fs::read_link(entry.path().join("fd/0")).is_ok_and(|read| read == path));
    readers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Waits until the answer is as wanted. Other processes give no signal.
async fn wait_until_reading(path: &Path, wanted: bool) -> Vec<u32> {
    let waiting = async {
        loop {
            let reading = processes_reading(path);
            if reading.is_empty() != wanted {
                return reading;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("reading: {:?}", processes_reading(path)))
}

#[tokio::test]
async fn ffmpeg_is_killed_when_the_call_is_dropped() {
    let folder = TempDir::new().unwrap();
    let video = long_video(&folder);
    let ffmpeg = ffmpeg().await;
    let probe = ffmpeg.probe(&video).await.unwrap();
    let call = {
        let video = video.clone();
        tokio::spawn(async move { ffmpeg.extract(&video, &probe, FrameCount::default()).await })
    };
    assert_eq!(wait_until_reading(&video, true).await.len(), 1);
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    wait_until_reading(&video, false).await;
}

#[tokio::test]
async fn ffmpeg_is_killed_at_its_time_limit() {
    let folder = TempDir::new().unwrap();
    let video = long_video(&folder);
    let ffmpeg = ffmpeg().await;
    let probe = ffmpeg.probe(&video).await.unwrap();
    let limited = ffmpeg.with_time_limit(Duration::from_secs(1));
    let error = limited.extract(&video, &probe, FrameCount::default()).await.unwrap_err();
    assert!(matches!(error, MediaError::TimedOut { .. }), "{error:?}");
    assert!(error.is_transient() && error.is_the_files_own_when_repeated());
    assert_eq!(error.to_string(), "ffmpeg did not finish within 1s and was killed");
    wait_until_reading(&video, false).await;
}

#[tokio::test]
async fn ffprobe_has_a_time_limit_too() {
    let error = ffmpeg().await.with_time_limit(Duration::from_millis(1)).probe(&clip("bikes")).await.unwrap_err();
    assert_eq!(error.to_string(), "ffprobe did not finish within 1ms and was killed");
}

#[tokio::test]
async fn a_silent_ffmpeg_dies_with_its_killed_worker() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let video = long_video(&folder);
    let database = format!("sqlite://{}", queue.path().join("queue.sqlite").display());
    let mut run = Command::new(env!("CARGO_BIN_EXE_rowlock-video"));
    run.args(["run", video.to_str().unwrap(), "--database", &database]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let signal = |process: u32, signal: &str| Command::new("kill").args([signal, &process.to_string()]).status();
    // Stopped, it writes nothing, and so no broken pipe can end it.
    loop {
        let reading = wait_until_reading(&video, true).await;
        let is_ffmpeg = |process: &&u32| {
            std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "ffmpeg")
        };
        let Some(ffmpeg) = reading.iter().find(is_ffmpeg) else { continue };
        if signal(*ffmpeg, "-STOP").unwrap().success() {
            break;
        }
    }
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until_reading(&video, false).await;
}
