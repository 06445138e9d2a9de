//! A disk that is away: its videos wait and spend no attempt. A video that is gone from a present disk has failed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rowlock::{Record, Repository, WorkerReport};
use rowlock_video::library::{Library, PostgresLibrary, QueuedVideo, SqliteLibrary, VideoReport, Videos, add_videos};
use rowlock_video::media::{FrameCount, Links, discover};
use rowlock_video::processing::{Tools, worker};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::clips::{clip, embedder, ffmpeg};
use crate::database::TestDatabase;

const STALE_AFTER: Duration = Duration::from_secs(30);

async fn sqlite(folder: &TempDir) -> SqliteLibrary {
    let url = format!("sqlite://{}", folder.path().join("queue.sqlite").display());
    SqliteLibrary::open(&url, true, STALE_AFTER).await.unwrap()
}

/// A queue with all videos below a folder.
async fn queue<L: Library>(library: &L, folder: &Path) -> Videos<L> {
    library.migrate().await.unwrap();
    let videos: Videos<L> = Repository::new(library.store().clone());
    videos.prepare().await.unwrap();
    let found = discover(&[folder.to_path_buf()], Links::Inside).unwrap().videos;
    add_videos(&videos, library, &found).await.unwrap();
    videos
}

/// A running worker, and the reasons for which it holds a stage.
struct Working {
    running: JoinHandle<rowlock::Result<WorkerReport>>,
    held: Receiver<String>,
}

impl Working {
    async fn start<L: Library>(videos: &Videos<L>, library: &L) -> Working
    where
        QueuedVideo: Record<L::Store>,
    {
        let tools = Tools { ffmpeg: ffmpeg().await, embedder: embedder(), frames: FrameCount::new(1).unwrap() };
        let (tell, held) = channel();
        let worker = worker(videos.clone(), library.clone(), tools, 2)
            .hold_between(Duration::from_millis(10), Duration::from_millis(100))
            .on_hold(move |stage| {
                if !stage.is_over {
                    // No one receives any more when the test is over.
                    let _told = tell.send(stage.reason.clone());
                }
            });
        Working { running: tokio::spawn(worker.run_until_idle()), held }
    }

    /// Waits until the stage is held; returns the reason.
    async fn is_held(&mut self) -> String {
        loop {
            if let Ok(reason) = self.held.try_recv() {
                return reason;
            }
            assert!(!self.running.is_finished(), "the work ended, and nothing was held");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn reports<L: Library>(library: &L) -> Vec<VideoReport> {
    library.reports(None, "", 100).await.unwrap()
}

/// Takes a folder away and brings it back; the caller defines how.
async fn assert_that_nobody_pays<L: Library>(
    library: &L,
    folder: &Path,
    away: impl FnOnce(),
    back: impl FnOnce(),
    why: &str,
) where
    QueuedVideo: Record<L::Store>,
{
    let videos = queue(library, folder).await;
    away();
    let mut working = Working::start(&videos, library).await;
    assert_eq!(working.is_held().await, format!("the folder {} {why}: is its disk mounted?", folder.display()));
    back();
    let report = working.running.await.unwrap().unwrap();
    assert_eq!((report.failed, report.retried), (0, 0), "{report:?}");
    let reports = reports(library).await;
    assert_eq!(reports.len(), 3);
    for video in reports {
        assert_eq!((video.status.as_str(), video.retry_count, video.error.as_deref()), ("SUCCEEDED", 0, None));
        assert!(videos.failures(video.video_id.as_str()).await.unwrap().is_empty(), "nothing failed");
    }
}

fn copy_clips(folder: &Path) {
    for name in ["a.mp4", "b.mp4", "deep/c.mp4"] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(clip("carphone_distorted"), path).unwrap();
    }
}

/// A folder that goes away and comes back, and its place in between.
fn removable(parent: &TempDir) -> (std::path::PathBuf, std::path::PathBuf) {
    let parent = parent.path().canonicalize().unwrap();
    copy_clips(&parent.join("disk"));
    (parent.join("disk"), parent.join("elsewhere"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_folder_that_is_gone_spends_no_attempt_sqlite() {
    let (parent, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (disk, elsewhere) = removable(&parent);
    let (away, back) = (|| fs::rename(&disk, &elsewhere).unwrap(), || fs::rename(&elsewhere, &disk).unwrap());
    assert_that_nobody_pays(&sqlite(&queue).await, &disk, away, back, "is not there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_folder_that_is_gone_spends_no_attempt_postgres() {
    let (parent, database) = (TempDir::new().unwrap(), TestDatabase::create().await);
    let (disk, elsewhere) = removable(&parent);
    let (away, back) = (|| fs::rename(&disk, &elsewhere).unwrap(), || fs::rename(&elsewhere, &disk).unwrap());
    let library = PostgresLibrary::open(&database.url, STALE_AFTER).await.unwrap();
    assert_that_nobody_pays(&library, &disk, away, back, "is not there").await;
}

/// A folder mounted at another place, for as long as this value lives; `None` without the right to mount.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn at<'a>(point: &'a Path, folder: &Path) -> Option<Mounted<'a>> {
        let output = Command::new("mount").arg("--bind").args([folder, point]).output().ok()?;
        if !output.status.success() {
            eprintln!("not run, for want of the right to mount: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Mounted(point))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_not_mounted_spends_no_attempt() {
    let (parent, point, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let ((disk, _), point) = (removable(&parent), point.path().canonicalize().unwrap());
    let Some(mounted) = Mounted::at(&point, &disk) else { return };
    let mut again = None;
    let back = || again = Mounted::at(&point, &disk);
    assert_that_nobody_pays(&sqlite(&queue).await, &point, || drop(mounted), back, "is empty").await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_gone_from_a_folder_that_is_there_has_failed() {
    let (parent, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (disk, _) = removable(&parent);
    let library = sqlite(&other).await;
    let videos = queue(&library, &disk).await;
    fs::remove_dir_all(disk.join("deep")).unwrap();
    let report = Working::start(&videos, &library).await.running.await.unwrap().unwrap();
    assert_eq!((report.failed, report.retried), (1, 0), "{report:?}");
    let reports = reports(&library).await;
    let failed = reports.iter().find(|video| video.status == "FAILED").unwrap();
    assert!(failed.path.as_deref().unwrap().ends_with("deep/c.mp4"));
    assert_eq!(failed.error.as_deref(), Some("cannot open the video: No such file or directory (os error 2)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_named_itself_and_is_gone_has_failed() {
    let (parent, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = parent.path().join("one.mp4");
    fs::copy(clip("carphone_distorted"), &path).unwrap();
    let library = sqlite(&other).await;
    let videos = queue(&library, &path).await;
    fs::remove_file(&path).unwrap();
    let report = Working::start(&videos, &library).await.running.await.unwrap().unwrap();
    assert_eq!((report.failed, report.retried), (1, 0), "{report:?}");
}
