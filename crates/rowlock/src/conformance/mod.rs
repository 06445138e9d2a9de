//! One suite over [`Store`]: what every database must do, each behaviour once.
//!
//! A store is complete when the suite passes on it. Its tests call [`conformance_tests!`](crate::conformance_tests)
//! with an expression that creates a [`Harness`]; each behaviour becomes one `#[tokio::test]` of the calling module, on
//! a separate database:
//!
//! ```ignore
//! mod mine {
//!     use super::MyHarness;
//!
//!     rowlock::conformance_tests!(MyHarness::new().await);
//! }
//! ```
//!
//! The calling crate needs `tokio` with the features `macros` and `rt-multi-thread`.
#![expect(missing_docs, reason = "a behaviour is a sentence: its name says all that there is to say")]

mod harness;
mod model;
mod scene;
mod shape;

pub mod adopting;
pub mod altering;
pub mod bad_rows;
pub mod brakes;
pub mod claims;
pub mod dry;
pub mod errors;
pub mod exhausted;
pub mod finishes;
pub mod heartbeats;
pub mod keys;
pub mod names;
pub mod operators;
pub mod pauses;
pub mod pitfalls;
pub mod racing;
pub mod reading;
pub mod refusals;
pub mod retries;
pub mod schema;
pub mod sequences;
pub mod shapes;
pub mod spellings;
pub mod suspects;
pub mod sweeps;
pub mod times;
pub mod transactions;
pub mod words;
pub mod workers;

pub use harness::{Harness, Refusal, Refusing};
pub use shape::Shape;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

#[cfg(doc)]
use crate::Store;

/// Runs one behaviour, and deletes the database whether it passes or not.
pub async fn run<H: Harness, F: AsyncFnOnce(&H)>(harness: H, behaviour: F) {
    let outcome = AssertUnwindSafe(behaviour(&harness)).catch_unwind().await;
    harness.close().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

mod list;
