//! Violations, and facts that are worth knowing.

use std::fmt;
use std::time::Duration;

/// Something that a guarantee excludes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Violation {
    /// Items that were added no longer exist.
    Vanished { items: usize },
    /// An item on which no worker will work any more is not terminal.
    NotTerminal { item: String, status: String },
    /// A stage was completed, and its effect does not exist.
    EffectMissing { item: String, stage: String },
    /// A stage was completed, and its effect exists twice.
    EffectTwice { item: String, stage: String },
    /// An effect was committed under a token that did not complete the stage.
    EffectOfNoHolder { item: String, stage: String, worker: String },
    /// An item was claimed while another lease on it had not ended.
    HeldTwice { item: String, first: String, second: String },
    /// A lease was ended under a token other than its own.
    WrongToken { item: String, holder: String },
    /// A lease was taken back whose last heartbeat was younger than the age from which on it is stale.
    SweptTooEarly { item: String, holder: String, age_ms: i64 },
    /// A lease was taken back although its holder lived and the database answered.
    SweptFromLiving { item: String, holder: String },
    /// Two claims had the same token.
    TokenReused { item: String },
    /// A move that does not exist.
    IllegalMove { item: String, was: String, became: String },
    /// A move between two others that was not recorded.
    BrokenChain { item: String, expected: String, found: String },
    /// An item past a limit was worked on.
    PastLimit { item: String, retries: i32, resets: i32 },
    /// An item failed although too few of its holders died or failed.
    InnocentFailed { item: String, error: String },
    /// An item ended at the limit of resets although no process died of it: others dragged it down.
    DraggedDown { item: String, behaviour: String },
    /// An item that must fail did not.
    GuiltySucceeded { item: String },
    /// An item failed, and no reason was recorded.
    FailedWithoutReason { item: String },
    /// A failed attempt was counted that no handler reported.
    UnreportedRetry { item: String },
    /// A claim took more than it asked for.
    ClaimTooLarge { holder: String, limit: u64, claimed: u64 },
    /// A handler was told that its stage is complete, but the database has no such completion.
    AcknowledgedInVain { item: String, stage: String },
    /// A worker counts other completions than the database has of it.
    MiscountedCompletions { holder: String, reported: u64, unknown: u64, written: u64 },
    /// A handler ran without a claim by its worker.
    RunWithoutClaim { item: String, holder: String },
    /// An item stayed with a dead holder for longer than a lease and the longest pause between two sweeps.
    TakenBackLate { item: String, holder: String, after_ms: u128 },
    /// An operator's verb reported something other than it did for an item.
    AnsweredOtherwise { item: String, verb: String, answered: usize, moved: usize },
    /// Good items were ready, and for this long none was completed.
    Standstill { before: String, for_ms: u128 },
    /// Something was counted during a clean shutdown.
    CountedAtShutdown { item: String, retries: i32, resets: i32 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the variants and fields form the sentence.
        write!(f, "{self:?}")
    }
}

/// What the auditor found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The violations.
    pub violations: Vec<Violation>,
    /// Leases that were taken back.
    pub sweeps: usize,
    /// Leases that were taken from holders that were not harmed: on a busy machine, late heartbeats.
    pub unexplained_sweeps: usize,
    /// For each lease of a holder that had died: the time from the death to the sweep that took it back, if other
    /// workers could sweep all that time.
    pub taken_back: Vec<Duration>,
    /// Runs of handlers.
    pub runs: usize,
    /// Stages that were completed.
    pub completions: usize,
}
