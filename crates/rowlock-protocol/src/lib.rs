//! Rowlock's protocol as a model, explored exhaustively.
//!
//! The engine promises that no crash, pause, lost answer or late commit makes two workers write to one item, loses an
//! item, or reports what did not happen. Tests of the engine sample schedules; this crate visits *all* of them, in
//! worlds small enough for that: two or three workers, one to three items, one or two of each kind of trouble. It
//! contains no SQL and does no I/O. If engine and model disagree, one of them is wrong.
//!
//! # The parts of the model
//!
//! | here | there |
//! |---|---|
//! | [`row`] | the columns that the protocol writes, and every move on them |
//! | [`statement`] | a claim or a finish on its way: applied at any later point, or never |
//! | [`worker`] | what a process remembers, and loses when it dies |
//! | [`rules`] | each decision of the protocol, beside the mistakes that it prevents |
//! | [`setup`] | the size of a world, and how much may go wrong in it |
//! | [`step`] | everything that can happen, one step at a time |
//! | [`auditor`] | an observer that no rule reads: it knows who really holds which item |
//! | [`properties`] | what must hold in every state |
//! | [`witnesses`] | what must be reachable, so that no property holds only for want of trouble |
//! | [`explore`], [`runs`] | visiting all states; following all runs to their end |
//!
//! `tests/guarantees.rs` and `tests/innocents.rs` check the rules as they are, `tests/endings.rs` that every run ends,
//! and `tests/mistakes.rs` that each rule is needed: it leaves one out, and the checker has to find a way to break the
//! property that the rule serves, in a world where the sound rules hold. `tests/deep.rs` has larger worlds, for a
//! release build.
//!
//! # The abstractions, and why they are sound
//!
//! - **Time.** There is no clock. The heartbeat of an item is fresh, stale or missing, and `stale_after` may pass at
//!   any moment, on one item alone. If no worker would renew the lease (its holder died or dropped it), that is an
//!   ordinary step; if a live worker would, it is a fault, because it means that the process was frozen. Every real
//!   schedule has its steps in some order, and every order is explored, so that whatever holds here holds for all
//!   clocks. The worker's own clock matters in one place: a lease that went stale before its holder received it is
//!   dropped, because the worker counts from the sending, which is never later than the database's stamp.
//! - **Order and locks.** A claim may take any of the ready items that fit its limit: a locked row is skipped, ties
//!   come in any order, due times pass whenever they pass. A suspect comes alone.
//! - **Lost statements.** In a database crash or fail-over, each statement on its way ends without an effect, and each
//!   answer is lost.
//! - **Single steps.** Sweep, renewal, the operator's moves, and the look at a row or for a lost claim happen in one
//!   step. No conclusion is drawn from a lost answer to one of them. A batch of finishes is one statement for each
//!   item: the outcomes of a batch are independent.
//! - **Processes.** A process that dies is replaced at once by one that remembers nothing. A zombie needs no separate
//!   state: a frozen process is one that takes no step.
//! - **Tokens.** A fresh token is one that nothing remembers. So are random bits, except with a probability that is too
//!   small to matter.
//! - **Trouble is bounded**, or no run would end. The bounds are small, and so are the worlds: this is proof for these
//!   sizes, and evidence for larger ones.
//!
//! Not modelled: a restored backup or a fail-over that loses commits; how long a suspect waits while new work keeps
//! coming (there is no inflow); constraint and trigger failures in batches, beyond a finish that is refused; paused
//! stages, timeouts, snooze (a release with a due time).
//!
//! # How to read a counterexample
//!
//! A failing test prints, for each broken property, a shortest list of [`step::Step`]s from the start. Statements are
//! printed whole, with the claim and token that they carry; `heard: false` means that the sender gave up or died.
//! Workers are interchangeable and are sorted after each step, so that the worker called 0 in one step may be called 1
//! in the next: follow the lease ids.
//!
//! # Example
//!
//! ```
//! use rowlock_protocol::explore::look_for;
//! use rowlock_protocol::properties::NO_ZOMBIE_WRITES;
//! use rowlock_protocol::rules::{Fence, Rules};
//! use rowlock_protocol::setup::{Faults, Setup};
//!
//! let faults = Faults { pauses: 1, ..Faults::NONE };
//! let world = Setup { faults, ..Setup::new(2, 1) };
//! assert!(!look_for(world.clone(), NO_ZOMBIE_WRITES).breaks(NO_ZOMBIE_WRITES));
//!
//! let rules = Rules { fence: Fence::Status, ..Rules::sound() };
//! let unfenced = Setup { rules, ..world };
//! assert!(look_for(unfenced, NO_ZOMBIE_WRITES).breaks(NO_ZOMBIE_WRITES));
//! ```

pub mod auditor;
mod choices;
mod database;
pub mod explore;
pub mod model;
mod process;
pub mod properties;
pub mod row;
pub mod rules;
pub mod runs;
pub mod setup;
pub mod state;
pub mod statement;
pub mod step;
pub mod witnesses;
pub mod worker;
