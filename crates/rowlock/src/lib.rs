//! Your table is the queue.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod key;
mod lease;
pub mod limits;
pub mod pipeline;
pub mod store;

pub use error::{Error, Fault, Result};
pub use key::Key;
pub use lease::{FencingToken, Holder, Lease};
pub use pipeline::{
    Backoff, Budget, KeyType, Pipeline, PipelineBuilder, RetryPolicy, Role, Stage, StageId, Status, TableName,
};
pub use store::{Outcome, Store};
