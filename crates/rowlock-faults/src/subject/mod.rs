//! The target of the attacks: a pipeline of three stages, and a separate process with a worker for it.

mod database;
pub mod log;
mod points;
mod worker;

use std::time::Duration;

use rowlock::pipeline::RetryPolicy;
use rowlock::{Pipeline, Stage};

pub use database::{Database, Effects};
pub use points::{KillAt, Point};
pub use worker::{Assignment, work};

/// The stages. The handlers of the first and the last complete in their own transaction, with an effect in it; the
/// worker writes the outcomes of the middle one, many items in one statement.
pub const STAGES: [&str; 3] = ["ONE", "TWO", "THREE"];

/// Whether a stage's handler writes an effect.
pub fn has_effect(stage: &str) -> bool {
    stage != "TWO"
}

/// Failures that handlers may report, and times that an item may be taken back, in each stage. Signed, as the counts in
/// the table are with which they are compared.
pub const MAX_RETRIES: i32 = 5;
/// See [`MAX_RETRIES`].
pub const MAX_RESETS: i32 = 3;

/// The pipeline under attack.
///
/// # Errors
/// A lease duration that no pipeline can have.
pub fn pipeline(stale_after: Duration, timeout: Duration) -> rowlock::Result<Pipeline> {
    let soon = RetryPolicy::constant(Duration::from_millis(200)).with_floor(Duration::ZERO);
    STAGES
        .iter()
        .fold(Pipeline::builder("faults").table("items").key("id"), |builder, stage| {
            builder.add_stage(Stage::new(*stage).with_timeout(timeout))
        })
        .retry(soon)
        .max_retries(MAX_RETRIES.unsigned_abs())
        .max_resets(MAX_RESETS.unsigned_abs())
        .stale_after(stale_after)
        .build()
}

/// What the handler of the middle stage does with an item; the column `behaviour`. The other stages always work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// Works.
    Work,
    /// Ends the process.
    Abort,
    /// Never returns, but can be stopped.
    Hang,
    /// Never returns, and blocks its thread.
    Block,
    /// Panics.
    Panic,
    /// Allocates until its process may have no more.
    Hog,
    /// Reports a failure that is worth another attempt.
    Fail,
    /// Reports a failure for good.
    FailForGood,
    /// Keeps a processor busy.
    Burn,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Behaviour; 9] = [
        Behaviour::Work,
        Behaviour::Abort,
        Behaviour::Hang,
        Behaviour::Block,
        Behaviour::Panic,
        Behaviour::Hog,
        Behaviour::Fail,
        Behaviour::FailForGood,
        Behaviour::Burn,
    ];

    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Behaviour::Work => "work",
            Behaviour::Abort => "abort",
            Behaviour::Hang => "hang",
            Behaviour::Block => "block",
            Behaviour::Panic => "panic",
            Behaviour::Hog => "hog",
            Behaviour::Fail => "fail",
            Behaviour::FailForGood => "fail for good",
            Behaviour::Burn => "burn",
        }
    }

    /// The behaviour of a word.
    pub fn of_word(word: &str) -> Option<Behaviour> {
        Behaviour::ALL.into_iter().find(|behaviour| behaviour.word() == word)
    }

    /// Whether an item with it can succeed.
    pub fn succeeds(self) -> bool {
        matches!(self, Behaviour::Work | Behaviour::Burn)
    }

    /// Whether it kills its process.
    pub fn kills(self) -> bool {
        matches!(self, Behaviour::Abort | Behaviour::Hog)
    }
}
