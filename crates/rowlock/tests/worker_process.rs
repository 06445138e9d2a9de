//! Workers as processes: signals, kill -9, and being stopped for longer than a lease lives.
//!
//! On SQLite, because nothing here depends on the database: this file starts itself as the worker's process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rowlock::pipeline::RetryPolicy;
use rowlock::store::Store;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Key, Pipeline, Repository, Stage, StageId, Status, Worker};

#[derive(sqlx::FromRow)]
struct Item {}

const STALE_AFTER: Duration = Duration::from_secs(3);

async fn open(file: &Path) -> Repository<SqliteStore, Item> {
    let pipeline = Pipeline::builder("process")
        .table("items")
        .key("id")
        .add_stage(Stage::new("ONE"))
        .retry(RetryPolicy::constant(Duration::ZERO))
        .stale_after(STALE_AFTER)
        .build()
        .expect("a valid pipeline");
    let store = SqliteStore::open(file, pipeline).await.expect("the file opens");
    store.prepare().await.expect("the table is created");
    Repository::new(store)
}

/// The worker's process: not a test, but started by the tests. A handler reports its start; then it waits for a file
/// named `go`, or, if it is the item's first attempt and a file named `hang` exists, until it is stopped.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests start it as a process of its own"]
async fn child() {
    let Some(folder) = std::env::var_os("ROWLOCK_WORKER_TEST_FOLDER") else { return };
    let folder = std::path::PathBuf::from(folder);
    let repository = open(&folder.join("queue.sqlite")).await;
    let until_idle = folder.join("hang").exists();
    let worker = Worker::new(repository)
        .shutdown_on_signals()
        .concurrency("ONE", 2)
        .handle("ONE", move |ctx, claim| {
            let folder = folder.clone();
            async move {
                println!("started {}", claim.key().as_str());
                if folder.join("hang").exists() && claim.reset_count() == 0 {
                    ctx.cancelled().await;
                    println!("cancelled {}", claim.key().as_str());
                }
                while !folder.join("go").exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(())
            }
        })
        .grace(Duration::from_secs(600));
    let report = if until_idle { worker.run_until_idle().await } else { worker.run().await };
    let report = report.expect("the worker ends well");
    println!("report completed={} released={} lost={}", report.completed, report.released, report.lost);
}

/// A started worker and its output.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(folder: &Path) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("a test has a file"))
            .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads", "1"])
            .env("ROWLOCK_WORKER_TEST_FOLDER", folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The test's own name precedes the first line.
                let _heard = sender.send(line.rsplit("... ").next().unwrap_or(&line).to_owned());
            }
        });
        Process { child, lines }
    }

    /// The next line with this beginning.
    fn says(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("the process says something");
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().expect("the process ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn scene(items: usize) -> (tempfile::TempDir, Repository<SqliteStore, Item>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let repository = open(&folder.path().join("queue.sqlite")).await;
    let keys: Vec<Key> = (0..items).map(|n| Key::from(format!("item-{n}"))).collect();
    repository.add_many(&keys).await.expect("added");
    (folder, repository)
}

async fn count(repository: &Repository<SqliteStore, Item>, status: Status) -> i64 {
    repository.counts_exact().await.expect("counted").count(status)
}

#[tokio::test]
async fn the_first_signal_lets_handlers_finish_on_sqlite() {
    let (folder, repository) = scene(10).await;
    let process = Process::start(folder.path());
    process.says("started");
    process.says("started");
    process.signal("-TERM");
    std::fs::write(folder.path().join("go"), "").expect("written");
    process.says("report completed=");
    // More handlers may have started before the signal arrived.
    let succeeded = count(&repository, Status::Succeeded).await;
    assert!(succeeded >= 2);
    assert_eq!(count(&repository, Status::Ready(StageId::FIRST)).await, 10 - succeeded);
}

#[tokio::test]
async fn the_second_signal_stops_at_once_and_counts_nothing_on_sqlite() {
    let (folder, repository) = scene(2).await;
    let mut process = Process::start(folder.path());
    process.says("started");
    process.says("started");
    process.signal("-INT");
    process.signal("-TERM");
    // If two signals meet before the process runs they may merge: then one more is the second.
    let status = loop {
        if let Some(status) = process.child.try_wait().expect("it can be asked") {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        process.signal("-TERM");
    };
    assert!(status.success());
    assert_eq!(process.says("report"), "report completed=0 released=2 lost=0");
    for key in ["item-0", "item-1"] {
        let facts = repository.explain(key).await.expect("read").expect("there");
        let ready = Some(Status::Ready(StageId::FIRST));
        assert_eq!((facts.status, facts.retry_count, facts.reset_count), (ready, 0, 0));
    }
}

#[tokio::test]
async fn a_worker_killed_with_kill_9_loses_nothing_on_sqlite() {
    let (folder, repository) = scene(4).await;
    let process = Process::start(folder.path());
    process.says("started");
    process.says("started");
    process.signal("-KILL");
    assert!(!process.end().success());
    assert_eq!(count(&repository, Status::InProgress(StageId::FIRST)).await, 2);
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let report = tokio::time::timeout(Duration::from_secs(60), worker.run_until_idle()).await;
    let report = report.expect("it ends").expect("it ends well");
    assert_eq!((report.completed, report.swept), (4, 2), "{report:?}");
}

#[tokio::test]
async fn a_worker_stopped_past_its_lease_notices_and_reports_its_lost_leases_on_sqlite() {
    let (folder, repository) = scene(2).await;
    for name in ["hang", "go"] {
        std::fs::write(folder.path().join(name), "").expect("written");
    }
    let process = Process::start(folder.path());
    process.says("started");
    process.says("started");
    process.signal("-STOP");
    let mut swept = 0;
    while swept < 2 {
        swept += repository.sweep().await.expect("swept").items.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.signal("-CONT");
    process.says("cancelled");
    process.says("cancelled");
    assert_eq!(process.says("report"), "report completed=2 released=0 lost=2");
    assert!(process.end().success());
    assert_eq!(count(&repository, Status::Succeeded).await, 2);
}
