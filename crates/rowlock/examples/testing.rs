//! The test kit: one item through one stage, with the handlers of the real worker, on a real database, under a clock
//! that the test moves. What `main` does here is the body of a `#[tokio::test]` in your crate.
//!
//! Run it by `cargo run --example testing --features testing`.

use std::time::Duration;

use rowlock::store::sqlite::SqliteStore;
use rowlock::testing::TestQueue;
use rowlock::{Failure, Pipeline, PipelineBuilder, RetryPolicy, SqliteRepository, Worker};

// The program that is tested. Two functions of it are enough: its pipeline, and its worker over any repository.

#[derive(sqlx::FromRow)]
struct Page {
    url: String,
}

fn pipeline() -> PipelineBuilder {
    let pipeline = Pipeline::builder("pages").table("pages").key("url").stage("FETCHING").stage("PARSING");
    pipeline.retry(RetryPolicy::constant(Duration::from_secs(600)))
}

fn worker(pages: SqliteRepository<Page>) -> Worker<SqliteStore, Page> {
    Worker::new(pages)
        .handle("FETCHING", |_, page| async move {
            if page.url.starts_with("https:") { Ok(()) } else { Err(Failure::retryable("no TLS")) }
        })
        .handle("PARSING", |_, _| async move { Ok(()) })
}

// The test.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let queue: TestQueue<SqliteStore, Page> = TestQueue::on_sqlite(pipeline()).await?;
    let pages = queue.repository();
    pages.add_many(["https://a.example", "http://b.example"]).await?;

    // One item through one stage; all others stay where they are.
    let run = worker(pages.clone()).run_one("FETCHING", "https://a.example").await?;
    assert_eq!((run.word.as_str(), run.error), ("FETCHING_COMPLETE", None));
    queue.assert_word("http://b.example", "PENDING").await;

    // A failed attempt waits for ten minutes, which pass at once.
    let run = worker(pages.clone()).run_one("FETCHING", "http://b.example").await?;
    assert_eq!((run.word.as_str(), run.error.as_deref()), ("PENDING", Some("no TLS")));
    let too_early = worker(pages.clone()).run_one("FETCHING", "http://b.example").await;
    println!("before its time: {}", too_early.expect_err("it is not due"));
    queue.clock().advance(Duration::from_secs(800)); // past the delay and its jitter
    let run = worker(pages.clone()).run_one("FETCHING", "http://b.example").await?;
    assert_eq!(run.error.as_deref(), Some("no TLS"));

    let failures = pages.failures("http://b.example").await?;
    println!("tested: {} failed attempts of one page", failures.len());
    Ok(())
}
