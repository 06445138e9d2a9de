//! Logs, spans and metrics: Rowlock reports by `tracing`, and an observer hears of each run of a handler.
//!
//! Run it by `cargo run --example with_tracing`; `RUST_LOG=rowlock=debug` also shows a span for each call to the
//! database, with its figures. It works on an SQLite file in a temporary folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rowlock::store::sqlite::SqliteStore;
use rowlock::{Failure, HandledItem, HandlerObserver, Pipeline, Repository, SqliteRepository, Worker};
use tracing::Span;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(sqlx::FromRow)]
struct Page {
    url: String,
}

/// Metrics of your own: counters here, the client of your metrics system in a real program.
#[derive(Clone, Default)]
struct Metrics {
    succeeded: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl HandlerObserver for Metrics {
    /// The handler runs in this span, so that its own events carry the stage.
    fn span(&self, items: &[HandledItem<'_>]) -> Span {
        items.first().map_or_else(Span::none, |item| tracing::info_span!("handler", stage = item.stage_name))
    }

    fn on_success(&self, _: &HandledItem<'_>, _took: Duration) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    fn on_failure(&self, item: &HandledItem<'_>, took: Duration, error: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(key = %item.key, ?took, error, "counted");
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Without a subscriber a failing handler looks like a program that hangs: its item waits between attempts.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .init();

    let folder = tempfile::tempdir()?;
    let pipeline = Pipeline::builder("pages").table("pages").key("url").stage("FETCHING").build()?;
    let store = SqliteStore::open(folder.path().join("pages.sqlite"), pipeline).await?;
    let pages: SqliteRepository<Page> = Repository::new(store);
    pages.prepare().await?;
    pages.add_many(["https://a.example", "https://b.example", "gopher://c.example"]).await?;

    let metrics = Metrics::default();
    let report = Worker::new(pages)
        .observe(metrics.clone())
        .on_failed(|item| async move { eprintln!("a person should look at {}: {}", item.key, item.error) })
        .handle("FETCHING", |_, page| async move {
            tracing::info!(url = %page.url, "fetching");
            if page.url.starts_with("https:") { Ok(()) } else { Err(Failure::permanent("no TLS")) }
        })
        .run_until_idle()
        .await?;
    let (succeeded, failed) = (metrics.succeeded.load(Ordering::Relaxed), metrics.failed.load(Ordering::Relaxed));
    println!("the observer heard of {succeeded} successes and {failed} failure; remaining: {}", report.remaining);
    Ok(())
}
