//! A kit for tests of your own pipelines and handlers, on a real database: the feature `testing`.
//!
//! A [`TestQueue`] is a repository over a temporary SQLite file, or over a store of yours (on PostgreSQL, for instance,
//! [`PostgresStore::from_pool`](crate::store::postgres::PostgresStore::from_pool) with the pool of `#[sqlx::test]`).
//! Its clock is the database's, and you can move it on. [`Worker::run_one`](crate::Worker::run_one) takes one item
//! through one stage with the handlers of your real worker.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> rowlock::Result<()> {
//! use std::time::Duration;
//!
//! use rowlock::testing::TestQueue;
//! use rowlock::{Failure, Pipeline, RetryPolicy, SqliteRepository, Worker, store::sqlite::SqliteStore};
//!
//! #[derive(sqlx::FromRow)]
//! struct Page {
//!     url: String,
//! }
//!
//! // The application's own worker.
//! fn worker(pages: SqliteRepository<Page>) -> Worker<SqliteStore, Page> {
//!     Worker::new(pages).handle("FETCH", |_, page| async move {
//!         if page.url.starts_with("https:") { Ok(()) } else { Err(Failure::retryable("no TLS")) }
//!     })
//! }
//!
//! let pipeline = Pipeline::builder("pages").table("pages").key("url").stage("FETCH").stage("PARSE");
//! let queue = TestQueue::on_sqlite(pipeline.retry(RetryPolicy::constant(Duration::from_secs(60)))).await?;
//! queue.repository().add_many(["https://a.example", "http://b.example"]).await?;
//!
//! let run = worker(queue.repository().clone()).run_one("FETCH", "https://a.example").await?;
//! assert_eq!((run.word.as_str(), run.error), ("FETCH_COMPLETE", None));
//!
//! let run = worker(queue.repository().clone()).run_one("FETCH", "http://b.example").await?;
//! assert_eq!((run.word.as_str(), run.error.as_deref()), ("PENDING", Some("no TLS")));
//! assert_eq!(queue.repository().claim(9).await?.items.len(), 1, "only the first page, for PARSE");
//! queue.clock().advance(Duration::from_secs(80)); // past the delay and its jitter
//! assert_eq!(queue.repository().claim(9).await?.items.len(), 1, "the second one is due again");
//! queue.assert_word("http://b.example", "FETCH_IN_PROGRESS").await;
//! # Ok(())
//! # }
//! # #[cfg(feature = "sqlite")]
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```

use chrono::Utc;

#[cfg(feature = "sqlite")]
use crate::pipeline::PipelineBuilder;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::SqliteStore;
use crate::{Key, Repository, Result, Store};

pub use crate::dispatch::TestClock;
pub use crate::worker::TestRun;

/// A repository for a test, with a clock that is moved by hand. A temporary file is deleted with it.
pub struct TestQueue<S: Store, R> {
    repository: Repository<S, R>,
    clock: TestClock,
    _folder: Option<tempfile::TempDir>,
}

#[cfg(feature = "sqlite")]
impl<R> TestQueue<SqliteStore, R> {
    /// On a temporary SQLite file, in which the pipeline's table is created.
    ///
    /// # Errors
    /// Those of the pipeline and of the file.
    pub async fn on_sqlite(pipeline: PipelineBuilder) -> Result<TestQueue<SqliteStore, R>> {
        let folder = tempfile::tempdir().map_err(|error| crate::Error::InvalidArgument {
            argument: "the temporary folder",
            value: std::env::temp_dir().display().to_string(),
            rule: format!("a test must be able to create files there: {error}"),
        })?;
        let store = SqliteStore::open(folder.path().join("test.sqlite"), pipeline.build()?).await?;
        let queue = TestQueue::over(store).await?;
        Ok(TestQueue { _folder: Some(folder), ..queue })
    }
}

impl<S: Store, R> TestQueue<S, R> {
    /// On a store of yours, whose table is prepared. The clock is the database's until you move it.
    ///
    /// # Errors
    /// As [`Repository::prepare`].
    pub async fn over(store: S) -> Result<TestQueue<S, R>> {
        let repository = Repository::new(store);
        repository.prepare().await?;
        // Not behind the database's clock, by which the items that a test adds are due.
        let asked_at = Utc::now();
        let ahead = repository.now().await? - asked_at;
        let clock = TestClock::ahead_by(ahead);
        Ok(TestQueue { repository: repository.with_clock(clock.clone()), clock, _folder: None })
    }

    /// The repository: clone it for your worker.
    pub fn repository(&self) -> &Repository<S, R> {
        &self.repository
    }

    /// The clock.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// Panics unless the item has this word as its status.
    ///
    /// # Panics
    /// If it has another one, there is no such item, or the database fails.
    pub async fn assert_word(&self, key: impl Into<Key>, word: &str) {
        let key = key.into();
        let item = self.repository.get_row(key.clone()).await.expect("the database answers");
        let item = item.unwrap_or_else(|| panic!("there is no item {key}"));
        assert_eq!(item.word, word, "the status of {key}");
    }
}
