//! Your table is the queue: crash-safe work in several stages, on a PostgreSQL or SQLite table that you already own.
//!
//! A row is an item. A [`Pipeline`] names the table, its key and its stages. A [`Repository`] over a store,
//! [`PostgresStore`](store::postgres::PostgresStore) or [`SqliteStore`](store::sqlite::SqliteStore), reads and moves
//! the items. A [`Worker`] claims them in batches, runs your handlers, renews the leases, retries, and takes back the
//! items of dead workers.
//!
//! ```no_run
//! use rowlock::store::sqlite::SqliteStore;
//! use rowlock::{Pipeline, Repository, SqliteRepository, Worker};
//!
//! #[derive(sqlx::FromRow)]
//! struct Page {
//!     url: String,
//! }
//!
//! # async fn example() -> rowlock::Result<()> {
//! let pipeline = Pipeline::builder("pages").table("pages").key("url").stage("FETCH").stage("PARSE").build()?;
//! let pages: SqliteRepository<Page> = Repository::new(SqliteStore::open("pages.sqlite", pipeline).await?);
//! pages.prepare().await?; // creates the table, or adds what yours lacks
//! pages.add_many(["https://a.example", "https://b.example"]).await?; // or any INSERT, from any language
//! let report = Worker::new(pages)
//!     .handle("FETCH", |_, page| async move {
//!         println!("fetching {}", page.url);
//!         Ok(()) // any error, by `?`, is a failed attempt: the item is tried again later
//!     })
//!     .handle("PARSE", |context, page| async move {
//!         let transaction = context.begin().await?; // your writes in it are committed once,
//!         Ok(page.complete_in(transaction).await?) // together with the move
//!     })
//!     .run_until_idle()
//!     .await?;
//! println!("{} stages completed, {} items failed", report.completed, report.failed);
//! # Ok(())
//! # }
//! ```
//!
//! - Describing a table: [`PipelineBuilder`], [`Stage`], [`RetryPolicy`], [`Role`], [`Existing`].
//! - Handlers: [`Claim`], [`Context`], [`Failure`], [`HandlerObserver`]; their records: [`Record`], [`JsonRecord`].
//! - Without a worker: [`Repository::claim`], [`Claim::complete`], [`Claim::renew`], [`Repository::sweep`].
//! - For operators: [`Repository::counts`], [`Repository::explain`], [`Repository::failures`],
//!   [`Repository::requeue`], [`Repository::pause`].
//! - What goes wrong: [`Error`]; the limits: [`limits`]; a store of your own: [`Store`].
//!
//! The README has the features, the guarantees and the settings; the repository's folder `docs` says what a table must
//! have, and how to run workers.

#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    expect(dead_code, reason = "what one dialect needs is idle in a build without it")
)]

mod aliases;
mod backoff;
mod claim;
#[cfg(feature = "conformance")]
pub mod conformance;
mod decoding;
mod dispatch;
mod error;
mod failure;
mod json_record;
mod key;
mod lease;
pub mod limits;
mod outage;
pub mod pipeline;
mod repository;
mod schema;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod worker;

// Compiles the README's program, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "postgres")]
pub use aliases::{PgContext, PgRepository};
#[cfg(feature = "sqlite")]
pub use aliases::{SqliteContext, SqliteRepository};
pub use claim::{Claim, FinishError, Settled};
pub use decoding::{Item, Items, Record};
pub use error::{Error, Fault, Result};
pub use failure::{Failure, Handled, IntoHandled};
pub use json_record::JsonRecord;
pub use key::Key;
pub use lease::{FencingToken, Holder, Lease};
pub use pipeline::{
    Backoff, Budget, ColumnSpec, Event, Existing, Form, IntoStage, KeyType, Pipeline, PipelineBuilder, RetryPolicy,
    Role, Sign, Stage, StageId, Status, StatusType, TableName, Word,
};
pub use repository::{Claims, Repository};
pub use store::{Outcome, Store};
pub use worker::{
    Context, DryRun, FailedBy, FailedItem, HandledItem, HandlerObserver, HeldBy, HeldStage, Remaining, StageItems,
    Waiting, Worker, WorkerReport,
};
