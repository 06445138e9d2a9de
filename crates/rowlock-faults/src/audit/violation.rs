//! What must not be, and what is worth knowing.

use std::fmt;
use std::time::Duration;

/// Something that a guarantee says can never be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Violation {
    /// Items were added that are not there any more.
    Vanished { items: usize },
    /// An item that nobody will work on any more is not terminal.
    NotTerminal { item: String, status: String },
    /// A stage was completed and its effect is not there.
    EffectMissing { item: String, stage: String },
    /// A stage was completed and its effect is there twice.
    EffectTwice { item: String, stage: String },
    /// An effect was committed under a token that did not complete the stage.
    EffectOfNoHolder { item: String, stage: String, worker: String },
    /// An item was claimed while another lease on it had not ended.
    HeldTwice { item: String, first: String, second: String },
    /// A lease was ended under a token that was not its own.
    WrongToken { item: String, holder: String },
    /// A lease was taken back whose last heartbeat was younger than the age at which it is stale.
    SweptTooEarly { item: String, holder: String, age_ms: i64 },
    /// A lease was taken back although its holder lived and the database answered.
    SweptFromLiving { item: String, holder: String },
    /// Two claims had the same token.
    TokenReused { item: String },
    /// A move that does not exist.
    IllegalMove { item: String, was: String, became: String },
    /// A move between two others that nobody noted.
    BrokenChain { item: String, expected: String, found: String },
    /// An item past a limit was worked on.
    PastLimit { item: String, retries: i32, resets: i32 },
    /// An item failed although too few of its holders died or failed.
    InnocentFailed { item: String, error: String },
    /// An item ended at the limit of resets although its process never died of it: others dragged it down.
    DraggedDown { item: String, behaviour: String },
    /// An item that must fail did not.
    GuiltySucceeded { item: String },
    /// An item failed, and nobody can tell why.
    FailedWithoutReason { item: String },
    /// A failed attempt was counted that no handler reported.
    UnreportedRetry { item: String },
    /// A claim took more than it asked for.
    ClaimTooLarge { holder: String, limit: u64, claimed: u64 },
    /// A handler was told that its stage is complete, and the database does not know of it.
    AcknowledgedInVain { item: String, stage: String },
    /// A worker counts other completions than the database has of it.
    MiscountedCompletions { holder: String, reported: u64, unknown: u64, written: u64 },
    /// A handler ran without a claim of its worker's.
    RunWithoutClaim { item: String, holder: String },
    /// An item stayed with a dead holder for longer than a lease and the longest pause between two sweeps.
    TakenBackLate { item: String, holder: String, after_ms: u128 },
    /// An operator's verb said of an item something else than it did.
    AnsweredOtherwise { item: String, verb: String, answered: usize, moved: usize },
    /// Good items were there to be worked on, and for so long none was completed.
    Standstill { before: String, for_ms: u128 },
    /// Something was counted in a clean shutdown.
    CountedAtShutdown { item: String, retries: i32, resets: i32 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the variants and fields are the sentence.
        write!(f, "{self:?}")
    }
}

/// What the auditor found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Leases that were taken back.
    pub sweeps: usize,
    /// Leases that were taken from holders to whom nothing was done: on a busy machine, late heartbeats.
    pub unexplained_sweeps: usize,
    /// For each lease of a holder that had died: from the death to the sweep that took it back, where the others could
    /// sweep all that time.
    pub taken_back: Vec<Duration>,
    /// Runs of handlers.
    pub runs: usize,
    /// Stages that were completed.
    pub completions: usize,
    /// Those of them whose holder continued with the next stage.
    pub continued: usize,
}
