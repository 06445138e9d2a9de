//! The auditor: reads the database and each worker's own log, and names what must not be.

mod evidence;
mod judge;
mod lives;
#[cfg(test)]
mod tests;
mod violation;

pub use evidence::{Affliction, Effect, Evidence, ItemRow, Move, WorkerLog};
pub use judge::audit;
pub use lives::{Holding, Step, StepKind};
pub use violation::{Findings, Violation};
