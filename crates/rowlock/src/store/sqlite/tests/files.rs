//! The file itself: one that cannot be opened, one that is not there any more, and who may read it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;

use super::*;
use crate::limits::FILE_CHECKED_EVERY;
use crate::{Fault, JsonRecord, Repository};

fn pipeline() -> Pipeline {
    builder().build().expect("a valid pipeline")
}

impl Scene {
    fn file(&self) -> PathBuf {
        self.directory.path().join("queue.db")
    }
}

fn names(error: &Error, file: &Path, what: &str) {
    let text = error.to_string();
    assert!(text.contains(&file.display().to_string()), "{text}");
    assert!(text.contains(what), "{text}");
}

/// By a rename, as a restored backup is.
fn replace(file: &Path) {
    let other = file.with_extension("other");
    std::fs::copy(file, &other).expect("copied");
    std::fs::rename(&other, file).expect("replaced");
}

async fn until_it_is_looked_at() {
    tokio::time::sleep(FILE_CHECKED_EVERY).await;
}

#[tokio::test]
async fn a_file_that_was_replaced_is_an_error_that_names_it() {
    let scene = Scene::new().await;
    scene.add(&["a"]).await;
    replace(&scene.file());
    until_it_is_looked_at().await;
    let error = scene.store.add_many(&["b".into()]).await.expect_err("it would be lost");
    names(&error, &scene.file(), "replaced");
    assert!(!error.is_transient());
    names(&scene.store.get(&Key::from("a")).await.expect_err("it is another one"), &scene.file(), "replaced");
    let claimed = scene.store.claim(&claiming(&scene.store, 1)).await;
    names(&claimed.expect_err("it is another one"), &scene.file(), "replaced");
    // Nor does a store of the same origin take the new one for the old one.
    names(&scene.store.fork().await.expect_err("it is another one"), &scene.file(), "replaced");
    // A new store does.
    scene.other().await.add_many(&["b".into()]).await.expect("add_many");
}

#[tokio::test]
async fn a_file_that_was_deleted_is_an_error_until_it_is_back() {
    let scene = Scene::new().await;
    let away = scene.file().with_extension("away");
    std::fs::rename(scene.file(), &away).expect("moved");
    until_it_is_looked_at().await;
    names(&scene.store.add_many(&["b".into()]).await.expect_err("it is gone"), &scene.file(), "deleted");
    std::fs::rename(&away, scene.file()).expect("moved");
    scene.store.add_many(&["b".into()]).await.expect("add_many");
}

/// A connection to the other file would take the log beside it for its own, write it there, and delete it.
#[tokio::test]
async fn a_file_that_another_one_was_renamed_over_keeps_its_log() {
    let scene = Scene::new().await;
    let (kept, other) = (scene.file().with_extension("kept"), scene.file().with_extension("other"));
    SqliteStore::open(&other, pipeline()).await.expect("opens").prepare().await.expect("prepares");
    std::fs::hard_link(scene.file(), &kept).expect("kept");
    // All of it is still in the log alone, and it was only just looked whether the file is the same.
    scene.add(&["a"]).await;
    std::fs::rename(&other, scene.file()).expect("renamed");

    let fork = scene.store.fork().await;

    names(&fork.expect_err("it is another one"), &scene.file(), "replaced");
    std::fs::rename(&kept, scene.file()).expect("renamed");
    assert!(scene.other().await.get(&Key::from("a")).await.expect("get").is_some(), "the log is gone");
}

#[tokio::test]
async fn who_listens_notices_it_too() {
    use crate::store::Listener as _;

    let scene = Scene::new().await;
    let mut listener = scene.store.listen().await.expect("listens");
    replace(&scene.file());
    let error = loop {
        match listener.wait(Duration::from_secs(5)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    names(&error, &scene.file(), "replaced");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let rights = |file: &Path| std::fs::metadata(file).expect("it is there").permissions().mode() & 0o777;
    let directory = tempfile::tempdir().expect("a directory");
    for way in ["open", "connect", "with_options"] {
        let file = directory.path().join(way);
        let store = match way {
            "open" => SqliteStore::open(&file, pipeline()).await,
            "connect" => SqliteStore::connect(&format!("sqlite://{}?mode=rwc", file.display()), pipeline()).await,
            _ => {
                let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
                SqliteStore::with_options(options, pipeline()).await
            }
        };
        // The last connection takes the two other files with it.
        let store = store.expect("opens");
        store.prepare().await.expect("prepares");
        for suffix in ["", "-wal", "-shm"] {
            assert_eq!(rights(&directory.path().join(format!("{way}{suffix}"))), 0o600, "{way}{suffix}");
        }
        drop(store);
    }
    // One that is there keeps its rights.
    let file = directory.path().join("shared");
    std::fs::write(&file, "").expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("set");
    SqliteStore::open(&file, pipeline()).await.expect("opens");
    assert_eq!(rights(&file), 0o640);
}

#[tokio::test]
async fn an_error_of_opening_names_the_file_and_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("text");
    std::fs::write(&text, "this is no database of any kind, and long enough to be looked at. ".repeat(20))
        .expect("written");
    let missing = directory.path().join("none/such/queue.db");
    for (file, what) in
        [(missing.clone(), "folder"), (directory.path().to_owned(), "is a folder"), (text, "no SQLite database")]
    {
        let error = SqliteStore::open(&file, pipeline()).await.expect_err(what);
        names(&error, &file, what);
        assert!(!error.is_transient(), "{error:?}");
    }
    assert!(!missing.exists());
    let absent = directory.path().join("absent.db");
    let url = format!("sqlite://{}", absent.display());
    names(&SqliteStore::connect(&url, pipeline()).await.expect_err("it is absent"), &absent, "does not exist");
    assert!(!absent.exists());
}

#[tokio::test]
async fn a_file_that_is_locked_is_called_that_before_the_deadline() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("queue.db");
    // With a rollback journal, and somebody who reads it: it cannot be given a write-ahead log now.
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut reader = sqlx::ConnectOptions::connect(&options).await.expect("opens");
    for sql in ["create table t (a)", "insert into t values (1)", "begin", "select * from t"] {
        reader.execute(sql).await.expect(sql);
    }
    let impatient = builder().stale_after(Duration::from_secs(6)).build().expect("a valid pipeline");
    let asked = Instant::now();
    let error = SqliteStore::open(&file, impatient).await.expect_err("it is locked");
    names(&error, &file, "database is locked");
    assert!(matches!(error, Error::File { fault: Fault::NotApplied, .. }), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    reader.execute("commit").await.expect("commit");
    SqliteStore::open(&file, pipeline()).await.expect("opens");
}

#[tokio::test]
async fn a_database_of_another_kind_or_in_memory_is_refused_by_name() {
    for (url, shown) in [
        ("postgres://me:secret@host/videos", "postgres://me:…@host/videos"),
        ("postgres:me:secret@host/videos", "postgres:…"),
        ("mysql://me:secret@host/videos", "mysql://me:…@host/videos"),
        ("file::memory:?cache=shared", "memory"),
        ("file:queue.db?mode=memory", "memory"),
        (":memory:", "memory"),
        ("", "memory"),
    ] {
        for error in [
            SqliteStore::open(url, pipeline()).await.expect_err(url),
            SqliteStore::connect(url, pipeline()).await.expect_err(url),
        ] {
            let text = format!("{error} {error:?}");
            assert!(matches!(error, Error::InvalidArgument { .. }), "{text}");
            assert!(text.contains(shown) || text.contains("sqlite://FILE"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory", "sqlite://file::memory:?cache=shared"]
    {
        let error = SqliteStore::connect(url, pipeline()).await.expect_err(url);
        assert!(error.to_string().contains("outlive"), "{error}");
    }
    // A path is no URL, and the other way around.
    let error = SqliteStore::open("sqlite:///tmp/queue.db", pipeline()).await.expect_err("a URL");
    assert!(error.to_string().contains("connect"), "{error}");
}

/// As in a program that is not asynchronous, and makes a runtime for each call.
#[test]
fn a_repository_outlives_the_runtime_that_it_was_first_used_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scene = runtime().block_on(Scene::new());
    let videos: Repository<_, JsonRecord> = Repository::new(scene.store.clone());
    for number in 0..3 {
        runtime().block_on(async {
            videos.add_many(&[Key::from(number)]).await.expect("add_many");
            videos.counts_exact().await.expect("counts");
            let transaction = videos.begin().await.expect("begin");
            videos.store().rollback(transaction).await.expect("rollback");
        });
    }
}
