//! A server that goes away in the middle of a run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rowlock::{Repository, Status, Store as _};
use rowlock_video::library::{Library as _, PostgresLibrary, Videos};
use serde_json::Value;
use tempfile::TempDir;

use super::{make_tiny_videos, rowlock_video, text, wait_until};

const VIDEOS: usize = 16;

/// A separate server for this test; it ends with this value.
struct Server {
    folder: PathBuf,
    url: String,
}

impl Server {
    fn start(folder: PathBuf) -> Server {
        let url = cluster("start", &folder);
        Server { folder, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        cluster("remove", &self.folder);
    }
}

/// Runs `scripts/postgres-cluster`, and returns its output.
fn cluster(verb: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres-cluster");
    let output = Command::new(script).arg(verb).arg(folder).output().unwrap();
    assert!(output.status.success(), "postgres-cluster {verb}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_a_crash_of_its_server() {
    let (folder, servers) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    make_tiny_videos(folder.path(), VIDEOS);
    // The server may run as a separate user.
    std::fs::set_permissions(servers.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(servers.path().join("server"));
    let mut run = rowlock_video(&server.url, &["run", folder.path().to_str().unwrap(), "--frames", "1", "--json"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    wait_until("the first videos are done", async || {
        assert!(run.try_wait().unwrap().is_none(), "the run is over already");
        let Ok(library) = PostgresLibrary::open(&server.url, Duration::from_secs(30)).await else { return false };
        let videos: Videos<PostgresLibrary> = Repository::new(library.store().clone());
        let done = videos.counts_exact().await.map(|counts| counts.count(Status::Succeeded));
        library.store().close().await;
        done.is_ok_and(|done| done > 0)
    })
    .await;
    cluster("crash", &server.folder);
    std::thread::sleep(Duration::from_secs(1));
    assert!(run.try_wait().unwrap().is_none(), "the run was over before the crash: it needs more videos");
    assert_eq!(cluster("start", &server.folder), server.url, "it comes back where it was");

    let output = run.wait_with_output().unwrap();
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let videos = report["videos"].as_array().unwrap();
    assert_eq!(videos.len(), VIDEOS);
    for video in videos {
        // An item that a handler held at that moment is retried once.
        assert_eq!(video["status"], "SUCCEEDED", "{video}\n{log}");
        assert!(video["retry_count"].as_i64().unwrap() <= 1, "{video}\n{log}");
    }
}
