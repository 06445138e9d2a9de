//! What must hold in every reachable state, and what must be reachable.

use stateright::Property;

use crate::auditor::Violation;
use crate::model::Protocol;
use crate::row::{Heartbeat, Status};
use crate::rules::SweepRule;
use crate::setup::Setup;
use crate::state::State;
use crate::worker::Lease;

/// No item is claimed while another lease on it is unexpired.
pub const ONE_HOLDER: &str = "no item is claimed while it is held";
/// No two workers both act as the holder of an item, unless one was frozen past the end of its
/// lease, or the operator ended it.
pub const ONE_HANDLER: &str = "no two workers work on one item in good faith";
/// Only a stale lease is swept.
pub const ONLY_STALE_IS_SWEPT: &str = "no live worker's item is swept";
/// An accepted write comes from the present holder.
pub const NO_ZOMBIE_WRITES: &str = "every accepted write is by the present holder";
/// A finish takes effect at most once, and so does the completion of a stage.
pub const ONCE: &str = "no finish and no stage is applied twice";
/// A reported success was applied.
pub const OK_MEANS_COMMITTED: &str = "done means applied";
/// A reported lost lease was not, and will not be, applied.
pub const LOST_MEANS_LOST: &str = "lease lost means never applied";
/// A claim takes no more rows than asked for.
pub const NEVER_TOO_MANY: &str = "a claim takes no more than asked for";
/// Counts stay at or below their limits, and an item that is ready can be run or failed.
pub const WITHIN_LIMITS: &str = "no count exceeds its limit";
/// Every row is terminal, ready, or in progress under a lease that can end.
pub const NOTHING_LOST: &str = "an item in progress has a token and a lease that can end";
/// Without any trouble from outside, something can be done until every item is terminal.
pub const NEVER_STUCK: &str = "the protocol is stuck only when every item is terminal";
/// An item that kills nobody is not `FAILED` because of one that does.
pub const INNOCENT: &str = "poison never makes a neighbour FAILED";

/// The properties of a setup. All are of the kind *always*: stateright checks them in every reachable state. Its
/// *eventually* is not used: it misses counterexamples where paths join. [`crate::runs`] proves instead that there are
/// no cycles, so that every run reaches a state to which [`NEVER_STUCK`] applies.
#[must_use]
pub fn properties(setup: &Setup) -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::<Protocol>::always(ONE_HOLDER, |_, state| never(state, Violation::ClaimedWhileHeld)),
        Property::<Protocol>::always(ONE_HANDLER, |_, state| has_one_handler(state)),
        Property::<Protocol>::always(ONLY_STALE_IS_SWEPT, |_, state| never(state, Violation::SweptWhileHeld)),
        Property::<Protocol>::always(NO_ZOMBIE_WRITES, |_, state| never(state, Violation::ZombieWrite)),
        Property::<Protocol>::always(ONCE, |_, state| {
            never(state, Violation::FinishedTwice) && never(state, Violation::CompletedTwice)
        }),
        Property::<Protocol>::always(OK_MEANS_COMMITTED, |_, state| never(state, Violation::DoneButNotApplied)),
        Property::<Protocol>::always(LOST_MEANS_LOST, |_, state| never(state, Violation::LostButApplied)),
        Property::<Protocol>::always(NEVER_TOO_MANY, |_, state| never(state, Violation::TookTooMany)),
        Property::<Protocol>::always(WITHIN_LIMITS, is_within_limits),
        Property::<Protocol>::always(NOTHING_LOST, is_nothing_lost),
        Property::<Protocol>::always(NEVER_STUCK, |protocol, state| {
            state.is_over() || protocol.steps(state).iter().any(|step| !step.is_fault())
        }),
    ];
    if setup.only_poison_fails() {
        properties.push(Property::<Protocol>::always(INNOCENT, is_innocent_unharmed));
    }
    properties
}

fn never(state: &State, violation: Violation) -> bool {
    !state.auditor.violations.contains(&violation)
}

fn has_one_handler(state: &State) -> bool {
    let good_faith = |lease: &&Lease| lease.is_working() && !lease.excused;
    (0..state.rows.len())
        .all(|item| state.leases().filter(good_faith).filter(|lease| lease.id.item == item).count() <= 1)
}

fn is_within_limits(protocol: &Protocol, state: &State) -> bool {
    let limits = protocol.setup.limits;
    state.rows.iter().all(|row| {
        let may_run = !row.status.is_in_progress() || !row.is_exhausted(limits);
        row.retries <= limits.max_retries && row.resets <= limits.max_resets && may_run
    })
}

/// The lease on an item in progress is fresh, and then it ends or goes stale; or it is stale, or its heartbeat is
/// missing, and then the sweep has to see that.
fn is_nothing_lost(protocol: &Protocol, state: &State) -> bool {
    state.rows.iter().zip(&state.auditor.live).all(|(row, live)| match row.status {
        Status::InProgress(_) => {
            row.token.is_some()
                && live.is_some()
                && match (row.heartbeat, protocol.setup.rules.sweep) {
                    (Heartbeat::Fresh | Heartbeat::Stale, _) => true,
                    (Heartbeat::Missing, SweepRule::StaleOrMissing | SweepRule::Everything) => true,
                    (Heartbeat::Missing, SweepRule::StaleOnly) => false,
                }
        }
        Status::Ready(_) | Status::Succeeded | Status::Failed | Status::Cancelled => live.is_none(),
    })
}

fn is_innocent_unharmed(protocol: &Protocol, state: &State) -> bool {
    state
        .rows
        .iter()
        .enumerate()
        .all(|(item, row)| row.status != Status::Failed || protocol.setup.poison.contains(&item))
}
