//! A handler that takes many items at once, for a model or a service that is cheaper by the batch, and returns one
//! result for each of them.
//!
//! Run it by `cargo run --example batch_handler`. It works on an SQLite file in a temporary folder.

use rowlock::store::sqlite::SqliteStore;
use rowlock::{Claim, Failure, Pipeline, Repository, SqliteContext, SqliteRepository, Worker};

#[derive(sqlx::FromRow)]
struct Page {
    url: String,
}

/// What the handler needs beside its items. It is shared, so that a model is loaded once.
struct Model {
    name: &'static str,
}

impl Model {
    /// A vector for each text, or none for a text that the model cannot read.
    fn embed(&self, texts: &[&str]) -> Vec<Option<[f32; 2]>> {
        println!("{}: one call for {} pages", self.name, texts.len());
        texts.iter().map(|text| text.starts_with("https://").then_some([0.5, 0.5])).collect()
    }
}

/// One result for each item, in order: one bad page fails alone.
async fn embed(context: SqliteContext<Page, Model>, pages: Vec<Claim<Page>>) -> Vec<Result<(), Failure>> {
    let texts: Vec<&str> = pages.iter().map(|page| page.url.as_str()).collect();
    let vectors = context.state().embed(&texts);
    let result = |vector: Option<[f32; 2]>| match vector {
        Some(_) => Ok(()),
        None => Err(Failure::permanent("the model cannot read this page")),
    };
    vectors.into_iter().map(result).collect()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pipeline = Pipeline::builder("pages").table("pages").key("url").stage("EMBEDDING").build()?;
    let store = SqliteStore::open(folder.path().join("pages.sqlite"), pipeline).await?;
    let pages: SqliteRepository<Page> = Repository::new(store);
    pages.prepare().await?;
    pages.add_many((1..=40).map(|page| format!("https://example.org/{page}"))).await?;
    pages.add_many(["file:///etc/hosts"]).await?;

    // A batch has the items that there are, at most 16: the worker never waits for it to fill.
    let report = Worker::new(pages)
        .with_state(Model { name: "a small model" })
        .handle_batch("EMBEDDING", 16, embed)
        .concurrency("EMBEDDING", 1)
        .run_until_idle()
        .await?;
    println!("{} pages embedded, {} failed", report.completed, report.failed);
    Ok(())
}
