//! A run whose database is on a disk that fills up.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rowlock::{Repository, Status};
use rowlock_video::library::{Library as _, SqliteLibrary, Videos};
use serde_json::Value;
use tempfile::TempDir;

use super::{make_tiny_videos, result_rows, rowlock_video, sqlite_url, text, wait_until};

const VIDEOS: usize = 16;

/// A volume of 12 MB for as long as this value lives; `None` without the right to mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m", "rowlock-video"]).arg(folder.path());
        let output = mount.output().ok()?;
        if !output.status.success() {
            eprintln!("not run, for want of a volume of its own: {}", text(&output.stderr));
            return None;
        }
        Some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Uses up all remaining space.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    let mut piece = vec![1_u8; 64 << 10];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let folder = TempDir::new().unwrap();
    make_tiny_videos(folder.path(), VIDEOS);
    let database = sqlite_url(&disk.0);
    let mut run = rowlock_video(&database, &["run", folder.path().to_str().unwrap(), "--frames", "1", "--json"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    wait_until("the first videos are done", async || {
        assert!(run.try_wait().unwrap().is_none(), "the run is over already");
        let Ok(library) = SqliteLibrary::open(&database, false, Duration::from_secs(30)).await else { return false };
        let videos: Videos<SqliteLibrary> = Repository::new(library.store().clone());
        videos.counts_exact().await.is_ok_and(|counts| counts.count(Status::Succeeded) > 0)
    })
    .await;
    let ballast = disk.0.path().join("ballast");
    fill(&ballast);
    std::thread::sleep(Duration::from_secs(5));
    assert!(run.try_wait().unwrap().is_none(), "the run was over before the disk was full: it needs more videos");
    std::fs::remove_file(&ballast).unwrap();

    let output = run.wait_with_output().unwrap();
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("disk is full"), "nobody met the full disk:\n{log}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let videos = report["videos"].as_array().unwrap();
    assert_eq!(videos.len(), VIDEOS);
    for video in videos {
        assert_eq!(video["status"], "SUCCEEDED", "{video}\n{log}");
    }
    let each_once = i64::try_from(VIDEOS).unwrap();
    assert_eq!(result_rows(&super::file_of(&disk.0)).await, (each_once, each_once, 0));
}
