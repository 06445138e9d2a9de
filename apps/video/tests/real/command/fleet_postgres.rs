//! Three workers on one server: one is killed, one is stopped for longer than its lease.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rowlock::{Repository, Status};
use rowlock_video::create_pool;
use rowlock_video::library::{Library as _, PostgresLibrary, Videos, add_videos};
use rowlock_video::media::{Links, discover};
use tempfile::TempDir;

use super::{holds, make_tiny_videos, rowlock_video, signal, wait_until};
use crate::database::TestDatabase;

const VIDEOS: usize = 200;

/// Long enough that a busy machine does not take live workers for stopped ones.
const STALE_AFTER: &str = "6s";

/// A `work` process and its log. Killed when the test ends, however it ends.
struct Fellow {
    child: Child,
    log: PathBuf,
}

impl Fellow {
    fn start(database: &str, logs: &Path, name: &str) -> Fellow {
        let log = logs.join(name);
        let arguments = ["work", "--jobs", "1", "--frames", "1", "--stale-after", STALE_AFTER];
        let mut command = rowlock_video(database, &arguments);
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Fellow { child, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Stops the process at a moment when it holds something.
    async fn stop_while_it_holds(&self, videos: &Videos<PostgresLibrary>) {
        wait_until("a held video", async || {
            signal(self.child.id(), "-STOP");
            // A statement that it has already sent is still executed.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let held = holds::<PostgresLibrary>(videos, self.child.id()).await;
            if !held {
                signal(self.child.id(), "-CONT");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            held
        })
        .await;
    }

    /// Asks the process to end, and waits for it.
    fn end(mut self) -> String {
        signal(self.child.id(), "-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Fellow {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_share_200_videos_though_one_is_killed_and_one_stops_for_longer_than_its_lease() {
    let (folder, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = TestDatabase::create().await;
    make_tiny_videos(folder.path(), VIDEOS);
    let library = PostgresLibrary::open(&database.url, Duration::from_secs(6)).await.unwrap();
    library.migrate().await.unwrap();
    let videos: Videos<PostgresLibrary> = Repository::new(library.store().clone());
    videos.prepare().await.unwrap();
    let found = discover(&[folder.path().to_path_buf()], Links::Inside).unwrap().videos;
    assert_eq!(add_videos(&videos, &library, &found).await.unwrap().new, VIDEOS);
    let pool = create_pool(&database.url).await.unwrap();
    // Every success leaves a mark, so that a second one of the same video would show.
    let marks = "create table successes (video_id text);
        create function mark() returns trigger language plpgsql as
          $$ begin insert into successes values (new.video_id); return null; end $$;
        create trigger mark after update of status on video_processing for each row
          when (new.status = 'SUCCEEDED') execute function mark()";
    sqlx::raw_sql(marks).execute(&pool).await.unwrap();

    let start = |name: &str| Fellow::start(&database.url, logs.path(), name);
    let (mut killed, stopped, steady) = (start("killed"), start("stopped"), start("steady"));
    for fellow in [&killed, &stopped, &steady] {
        wait_until("each takes its share", async || holds::<PostgresLibrary>(&videos, fellow.child.id()).await).await;
    }
    killed.stop_while_it_holds(&videos).await;
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    stopped.stop_while_it_holds(&videos).await;
    let (dead, asleep) = (killed.child.id(), stopped.child.id());
    wait_until("what both held is taken back", async || {
        !holds::<PostgresLibrary>(&videos, dead).await && !holds::<PostgresLibrary>(&videos, asleep).await
    })
    .await;
    signal(asleep, "-CONT");
    wait_until("the stopped one reports its lost leases", async || stopped.log().contains("lease lost")).await;
    wait_until("all videos are terminal", async || videos.counts_exact().await.unwrap().unfinished() == 0).await;

    let counts = videos.counts_exact().await.unwrap();
    assert_eq!(counts.count(Status::Succeeded), 200, "{counts:?}");
    let (woken, other) = (stopped.end(), steady.end());
    assert!(!woken.contains(" 0 leases lost"), "{woken}");
    assert!(woken.contains("taken back") || other.contains("taken back"), "{woken}\n{other}");
    let rows: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "select count(*), count(distinct video_id), (select count(*) from video_details),
                (select count(*) from video_embeddings), (select count(*) from video_frames)
         from successes",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(rows, (200, 200, 200, 200, 0), "each succeeded once");
}
