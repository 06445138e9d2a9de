//! Everything in one file: a queue of two stages on SQLite, a failure, and how an operator finds the reason and
//! requeues the item.
//!
//! Run it by `cargo run --example sqlite`. It works on an SQLite file in a temporary folder.

use anyhow::Context as _;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Claim, Failure, Pipeline, Repository, SqliteContext, SqliteRepository, Worker};

#[derive(sqlx::FromRow)]
struct Photo {
    name: String,
}

/// What the handlers share.
struct Rules {
    extensions: &'static [&'static str],
}

/// A handler is a plain function. Any error by `?` is a failed attempt; `Failure::permanent` is the last one.
async fn resize(context: SqliteContext<Photo, Rules>, photo: Claim<Photo>) -> Result<(), Failure> {
    let (_, extension) = photo.name.rsplit_once('.').ok_or("a name without an extension")?;
    if !context.state().extensions.contains(&extension) {
        return Err(Failure::permanent(format!("{extension} is no picture")));
    }
    Ok(())
}

async fn publish(_: SqliteContext<Photo, Rules>, photo: Claim<Photo>) -> Result<(), Failure> {
    println!("published {}", photo.name);
    Ok(())
}

fn worker(photos: &SqliteRepository<Photo>, rules: Rules) -> Worker<SqliteStore, Photo, Rules> {
    Worker::new(photos.clone()).with_state(rules).handle("RESIZING", resize).handle("PUBLISHING", publish)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let pipeline =
        Pipeline::builder("photos").table("photos").key("name").stage("RESIZING").stage("PUBLISHING").build()?;
    let store = SqliteStore::open(folder.path().join("photos.sqlite"), pipeline).await?;
    let photos: SqliteRepository<Photo> = Repository::new(store);
    photos.prepare().await?;
    photos.add_many(["beach.jpg", "forest.webp", "village.jpg"]).await?;

    let report = worker(&photos, Rules { extensions: &["jpg"] }).run_until_idle().await?;
    println!("{} stages completed, {} photo failed", report.completed, report.failed);

    // An operator looks at the table, and at one item.
    for state in photos.counts().await?.statuses {
        if state.count > 0 {
            println!("{}: {}", state.word, state.count);
        }
    }
    let facts = photos.explain("forest.webp").await?.context("the item is in the table")?;
    println!("forest.webp: {}", facts.verdict(photos.pipeline()));
    for failure in photos.failures("forest.webp").await? {
        println!("at {}, {}: {}", failure.word, failure.cause, failure.error);
    }

    // The program learned a format: the item goes on at the stage where it stopped.
    photos.requeue("forest.webp").await?;
    let report = worker(&photos, Rules { extensions: &["jpg", "webp"] }).run_until_idle().await?;
    println!("after the requeue: {} stages completed, {} failed", report.completed, report.failed);
    Ok(())
}
