//! One file takes no more than its share of memory and time, and a path that became something else is rejected.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rowlock::Repository;
use rowlock_video::embedding::{Embedder, model_path};
use rowlock_video::library::{Library as _, SqliteLibrary, Videos, add_videos};
use rowlock_video::media::{FrameCount, Links, MediaError, discover};
use rowlock_video::processing::{Tools, worker};
use tempfile::TempDir;

use crate::clips::{clip, ffmpeg, make, probe_and_extract};

fn make_black(output: &Path, side_px: u32, more: &[&str]) {
    let source = format!("color=size={side_px}x{side_px}:rate=1:duration=1");
    let arguments = [&["-f", "lavfi", "-i", &source, "-frames:v", "1"], more].concat();
    make(&arguments.iter().map(OsStr::new).collect::<Vec<_>>(), output);
}

#[tokio::test]
async fn a_small_file_of_a_huge_picture_is_refused_before_it_is_decoded() {
    let folder = TempDir::new().unwrap();
    for container in ["mkv", "mov", "avi"] {
        let path = folder.path().join("bomb").with_extension(container);
        make_black(&path, 9_000, &["-c:v", "png", "-pix_fmt", "rgb24", "-pred", "none", "-compression_level", "1"]);
        let error = probe_and_extract(&path).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        assert!(error.to_string().starts_with("9000×9000 pixels are more than the limit"), "{container}: {error}");
    }
}

#[tokio::test]
async fn the_widest_films_that_are_sold_are_within_the_limits() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wide.mp4");
    let source = "color=size=8192x4320:rate=4:duration=1";
    let arguments = ["-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-refs", "4"];
    make(&arguments.map(OsStr::new), &path);
    let (probe, extraction) = probe_and_extract(&path).await.unwrap();
    assert_eq!((probe.width_px, probe.height_px, extraction.frames.len()), (8192, 4320, 4));
}

#[tokio::test]
async fn pixels_that_are_said_to_be_a_mile_wide_are_not_drawn_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wide.mkv");
    let input = clip("carphone_distorted");
    let output = ["-an", "-c", "copy", "-aspect", "30000:1"].map(OsStr::new);
    make(&[&["-i".as_ref(), input.as_os_str()], &output[..]].concat(), &path);
    assert_eq!(probe_and_extract(&path).await.unwrap().1.frames.len(), 8);
}

#[tokio::test]
async fn a_path_that_became_a_pipe_or_a_device_is_refused_at_once_and_for_good() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let device = folder.path().join("device.mp4");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    let ffmpeg = ffmpeg().await;
    let probe = ffmpeg.probe(&clip("bikes")).await.unwrap();
    let started = Instant::now();
    for (path, reason) in [(&pipe, "is a pipe and no file"), (&device, "is a device and no file")] {
        let probing = ffmpeg.probe(path).await.unwrap_err();
        let extracting = ffmpeg.extract(path, &probe, FrameCount::default()).await.unwrap_err();
        for error in [probing, extracting] {
            assert!(!error.is_transient());
            assert_eq!(error.to_string(), reason);
        }
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_broken_file_named_like_a_trouble_of_the_machine_is_refused_for_good() {
    let folder = TempDir::new().unwrap();
    for trouble in ["No space left on device", "Cannot allocate memory", "Input/output error", "Too many open files"] {
        let path = folder.path().join(format!("{}.mp4", trouble.replace('/', " ")));
        fs::write(&path, trouble.repeat(100)).unwrap();
        let error = probe_and_extract(&path).await.unwrap_err();
        assert!(matches!(error, MediaError::Rejected { .. }), "{trouble}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_out_is_the_files_own() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::copy(clip("bikes"), folder.path().join("slow.mp4")).unwrap();
    let url = format!("sqlite://{}", queue.path().join("queue.sqlite").display());
    let library = SqliteLibrary::open(&url, true, Duration::from_secs(30)).await.unwrap();
    library.migrate().await.unwrap();
    let videos: Videos<SqliteLibrary> = Repository::new(library.store().clone());
    videos.prepare().await.unwrap();
    let found = discover(&[folder.path().to_path_buf()], Links::Inside).unwrap().videos;
    add_videos(&videos, &library, &found).await.unwrap();
    let ffmpeg = ffmpeg().await.with_time_limit(Duration::from_millis(1));
    let embedder = Embedder::load(&model_path()).unwrap();
    let tools = Tools { ffmpeg, embedder, frames: FrameCount::default() };
    let working = tokio::spawn(worker(videos.clone(), library.clone(), tools, 1).run_until_idle());

    let pool = sqlx::sqlite::SqlitePool::connect(&url).await.unwrap();
    let mut report = None;
    // Due at once each time: the engine decides how long the pause is.
    while !working.is_finished() {
        sqlx::query("update video_processing set retry_after = null where retry_after is not null")
            .execute(&pool)
            .await
            .unwrap();
        report = library.report(&found[0].video_id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    working.await.unwrap().unwrap();
    let last = library.report(&found[0].video_id).await.unwrap().or(report).unwrap();
    assert_eq!((last.status.as_str(), last.retry_count), ("FAILED", 1), "{last:?}");
    let error = last.error.unwrap();
    assert!(error.contains("did not finish within 1ms"), "{error}");
    assert!(error.contains("for the second time"), "{error}");
}
