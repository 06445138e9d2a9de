//! How large a world to explore, and how much may go wrong in it.

use crate::row::{Limits, Move, Row};
use crate::rules::Rules;

/// How often each thing may go wrong in one run.
///
/// The bounds make the model finite; the bound of one kind of trouble does not limit another, so that every
/// interleaving of the allowed troubles is explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Processes that die at any step, with their statements still on the way.
    pub crashes: u8,
    /// Leases that go stale although their holder lives: it was frozen, or it was cut off and stopped the handler
    /// itself.
    pub pauses: u8,
    /// Claims whose answer is lost.
    pub lost_claims: u8,
    /// Finishes whose answer is lost.
    pub lost_finishes: u8,
    /// Finishes that the database refuses and rolls back.
    pub refusals: u8,
    /// Items that are released at a shutdown.
    pub releases: u8,
    /// Moves by the operator.
    pub operator_moves: u8,
}

impl Faults {
    /// No trouble at all: the starting point of a test.
    pub const NONE: Faults =
        Faults { crashes: 0, pauses: 0, lost_claims: 0, lost_finishes: 0, refusals: 0, releases: 0, operator_moves: 0 };
}

/// A world to explore.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many workers there are.
    pub workers: usize,
    /// The rows at the start.
    pub rows: Vec<Row>,
    /// The pipeline's limits.
    pub limits: Limits,
    /// The most items that a worker holds, and so the most that it claims.
    pub capacity: usize,
    /// The items that kill the process that runs them.
    pub poison: Vec<usize>,
    /// How handlers may end. A release is a fault, so [`Faults::releases`] bounds it too.
    pub moves: Vec<Move>,
    /// What may go wrong.
    pub faults: Faults,
    /// The rules to follow.
    pub rules: Rules,
}

impl Setup {
    /// This many workers and items, one stage, no faults, handlers that succeed.
    #[must_use]
    pub fn new(workers: usize, items: usize) -> Self {
        Setup {
            workers,
            rows: vec![Row::new(); items],
            limits: Limits { stages: 1, max_retries: 2, max_resets: 2 },
            capacity: items,
            poison: Vec::new(),
            moves: vec![Move::Complete],
            faults: Faults::default(),
            rules: Rules::sound(),
        }
    }

    /// Whether a handler's start is a separate step. It matters only if handlers kill.
    #[must_use]
    pub fn starts_apart(&self) -> bool {
        !self.poison.is_empty()
    }

    /// Whether nothing but poison can make an item `FAILED`.
    ///
    /// A crash, a pause or a finish that was lost for good costs the current item a reset, and a suspect has only one
    /// left: such an item does end as `FAILED`, and poison is not to blame.
    #[must_use]
    pub fn only_poison_fails(&self) -> bool {
        let Faults { crashes, pauses, lost_finishes, operator_moves, .. } = self.faults;
        [crashes, pauses, lost_finishes, operator_moves] == [0; 4]
            && !self.moves.contains(&Move::Retry)
            && !self.moves.contains(&Move::Fail)
            && self.rows.iter().all(|row| !row.is_exhausted(self.limits))
    }
}
