#![doc = include_str!("../README.md")]
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
    Backoff, Budget, Existing, IntoStage, KeyType, Pipeline, PipelineBuilder, RetryPolicy, Role, Stage, StageId,
    Status, TableName,
};
pub use repository::{Claims, Repository};
pub use store::{Outcome, Store};
pub use worker::{
    Context, DryRun, FailedBy, FailedItem, HandledItem, HandlerObserver, HeldBy, HeldStage, Remaining, StageItems,
    Waiting, Worker, WorkerReport,
};
