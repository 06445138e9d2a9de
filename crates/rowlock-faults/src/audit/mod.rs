//! The auditor: reads the database and each worker's own log, and names each violation.

mod comparisons;
mod ends;
mod evidence;
mod judge;
mod lives;
mod standstill;
#[cfg(test)]
mod tests;
mod violation;

pub use evidence::{Affliction, Answer, Effect, Evidence, ItemRow, Move, Verb, WorkerLog};
pub use judge::audit;
pub use lives::{Holding, Step, StepKind};
pub use violation::{Findings, Violation};
