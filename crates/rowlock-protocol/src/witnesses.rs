//! What must be reachable, so that the properties do not hold only for want of trouble.

use stateright::Property;

use crate::model::Protocol;
use crate::row::Status;
use crate::state::State;
use crate::statement::Statement;
use crate::worker::Phase;

/// A finish is on its way from a holder whose lease is over.
pub const ZOMBIE: &str = "a zombie is about to write";
/// A finish whose answer no worker awaits is about to take effect.
pub const LATE_FINISH: &str = "a finish is about to commit after its sender gave up";
/// A claim whose answer no worker awaits is about to take items.
pub const LATE_CLAIM: &str = "a claim is about to commit after its sender gave up";
/// A claim is about to come back empty.
pub const EMPTY_CLAIM: &str = "a claim finds that others were faster";
/// A worker is about to find rows of a claim whose answer was lost.
pub const ADOPTION: &str = "a lost claim is about to be adopted";
/// A worker is about to drop a lease that went stale before it heard of it.
pub const OVERDUE_ANSWER: &str = "an answer to a claim is overdue";
/// A lost answer is about to be settled as applied.
pub const SETTLED: &str = "a lost answer can be settled";
/// A move was applied, and its sender cannot prove it.
pub const UNKNOWN_BUT_APPLIED: &str = "an unknown outcome that was applied";
/// A move was not applied, and its sender cannot prove it.
pub const UNKNOWN_NOT_APPLIED: &str = "an unknown outcome that was not applied";
/// A suspect runs.
pub const SUSPECT_RUNS: &str = "a suspect runs";
/// The sweep stopped an item.
pub const FAILED_BY_RESETS: &str = "an item failed at max_resets";

type Condition = fn(&Protocol, &State) -> bool;

/// Each witness, as a property of the kind *sometimes*.
#[must_use]
pub fn witnesses() -> Vec<Property<Protocol>> {
    let all: [(&'static str, Condition); 11] = [
        (ZOMBIE, |_, state| {
            state.statements.iter().any(|statement| match statement {
                Statement::Claim(_) => false,
                Statement::Finish(finish) => {
                    finish.heard
                        && !state.auditor.is_present(finish.lease)
                        && state.auditor.applied(finish.lease).is_none()
                }
            })
        }),
        (LATE_FINISH, |_, state| {
            state.statements.iter().any(|statement| match statement {
                Statement::Claim(_) => false,
                Statement::Finish(finish) => !finish.heard && state.auditor.is_present(finish.lease),
            })
        }),
        (LATE_CLAIM, |protocol, state| finds_rows(protocol, state, false) == Some(true)),
        (EMPTY_CLAIM, |protocol, state| finds_rows(protocol, state, true) == Some(false)),
        (ADOPTION, |_, state| {
            state
                .workers
                .iter()
                .flat_map(|worker| &worker.lost_claims)
                .any(|lost| state.rows.iter().any(|row| row.status.is_in_progress() && row.token == Some(lost.token)))
        }),
        (OVERDUE_ANSWER, |_, state| {
            let awaited = state.workers.iter().filter_map(|worker| worker.awaited.as_ref());
            awaited.filter_map(|awaited| awaited.answer.as_ref()).flatten().any(|row| row.aged)
        }),
        (SETTLED, |protocol, state| settles(protocol, state, true, true)),
        (UNKNOWN_BUT_APPLIED, |protocol, state| settles(protocol, state, false, true)),
        (UNKNOWN_NOT_APPLIED, |protocol, state| settles(protocol, state, false, false)),
        (SUSPECT_RUNS, |_, state| state.leases().any(|lease| lease.suspect && lease.is_running())),
        (FAILED_BY_RESETS, |protocol, state| {
            state.rows.iter().any(|row| row.status == Status::Failed && row.resets == protocol.setup.limits.max_resets)
        }),
    ];
    all.into_iter().map(|(name, condition)| Property::sometimes(name, condition)).collect()
}

/// Whether some claim whose answer is (or is not) awaited would find rows; `None` if there is no such claim.
fn finds_rows(protocol: &Protocol, state: &State, heard: bool) -> Option<bool> {
    state.statements.iter().find_map(|statement| match statement {
        Statement::Claim(claim) if claim.heard == heard => {
            Some(state.takes(&protocol.setup, claim).iter().any(|take| !take.is_empty()))
        }
        Statement::Claim(_) | Statement::Finish(_) => None,
    })
}

fn settles(protocol: &Protocol, state: &State, is_proved: bool, is_applied: bool) -> bool {
    state.leases().any(|lease| match lease.phase {
        Phase::Settling { action } => {
            state.is_proved(&protocol.setup, lease, action) == is_proved
                && state.auditor.applied(lease.id).is_some() == is_applied
        }
        Phase::Queued | Phase::Running { .. } | Phase::Finishing { .. } | Phase::InDoubt { .. } => false,
    })
}
