//! The steps that can be taken in a state.

use crate::row::{Heartbeat, Move, Status};
use crate::rules::{ClaimShape, Suspects};
use crate::setup::Setup;
use crate::state::State;
use crate::statement::Statement;
use crate::step::Step;
use crate::worker::{Lease, Phase, Worker};

/// All steps, in an order that depends on the state alone.
pub(crate) fn choices(setup: &Setup, state: &State, steps: &mut Vec<Step>) {
    for worker in 0..state.workers.len() {
        claim_choices(setup, state, worker, steps);
        for lease in &state.workers[worker].leases {
            lease_choices(setup, state, worker, lease, steps);
        }
        if is_renewal_useful(setup, state, worker) {
            steps.push(Step::Renew { worker });
        }
        if state.faults.crashes > 0 && !state.workers[worker].is_idle() {
            steps.push(Step::Crash { worker });
        }
    }
    statement_choices(setup, state, steps);
    for item in 0..state.rows.len() {
        item_choices(setup, state, item, steps);
    }
}

fn claim_choices(setup: &Setup, state: &State, worker: usize, steps: &mut Vec<Step>) {
    let own = &state.workers[worker];
    if may_claim(setup, own) {
        send_claim_choices(setup, state, worker, steps);
    }
    if let Some(awaited) = &own.awaited {
        if awaited.answer.is_some() {
            steps.push(Step::HearClaim { worker });
        }
        if state.faults.lost_claims > 0 {
            steps.push(Step::LoseClaimAnswer { worker });
        }
    }
    for (place, lost) in own.lost_claims.iter().enumerate() {
        if state.is_worth_looking(worker, lost) {
            steps.push(Step::LookForLostClaim { worker, lost: place });
        }
    }
}

fn may_claim(setup: &Setup, worker: &Worker) -> bool {
    let suspects_allow = match setup.rules.suspects {
        Suspects::OnlyWhenIdle => !worker.may_hold_suspect(),
        Suspects::OnlyWhenEmptyHanded | Suspects::AfterTheOthers => !worker.leases.iter().any(|lease| lease.suspect),
        Suspects::Unknown => true,
    };
    worker.awaited.is_none() && worker.leases.len() < setup.capacity && suspects_allow
}

/// A claim is sent only if it would find something. A fruitless one changes nothing but the number of claims sent,
/// which would make the model infinite; a claim may still come back empty, because others were faster.
fn send_claim_choices(setup: &Setup, state: &State, worker: usize, steps: &mut Vec<Step>) {
    let statement = state.next_claim(setup, worker, None);
    match setup.rules.claim_shape {
        ClaimShape::OneStatement => {
            if state.takes(setup, &statement).iter().any(|take| !take.is_empty()) {
                steps.push(Step::SendClaim { worker, chosen: None });
            }
        }
        ClaimShape::SelectThenUpdate => {
            steps.extend(
                (0..state.rows.len())
                    .filter(|item| state.is_claimable(setup, *item))
                    .map(|item| Step::SendClaim { worker, chosen: Some(item) }),
            );
        }
    }
}

fn lease_choices(setup: &Setup, state: &State, worker: usize, lease: &Lease, steps: &mut Vec<Step>) {
    let id = lease.id;
    let faults = &state.faults;
    match lease.phase {
        Phase::Queued => {
            if may_start(setup, &state.workers[worker], lease) {
                steps.push(Step::Start { worker, lease: id });
            }
        }
        Phase::Running { .. } if setup.poison.contains(&id.item) => {
            steps.push(Step::Kill { worker, lease: id });
        }
        Phase::Running { .. } => {
            for &action in &setup.moves {
                match action {
                    Move::Release if faults.releases > 0 => {
                        steps.push(Step::Release { worker, lease: id });
                    }
                    Move::Release => {}
                    Move::Complete | Move::Retry | Move::Fail => {
                        steps.push(Step::SendFinish { worker, lease: id, action });
                    }
                }
            }
        }
        Phase::Finishing { answer, .. } => {
            if answer.is_some() {
                steps.push(Step::HearFinish { worker, lease: id });
            }
            if faults.lost_finishes > 0 {
                steps.push(Step::LoseFinishAnswer { worker, lease: id });
            }
        }
        Phase::InDoubt { .. } => {
            steps.push(Step::SendFinishAgain { worker, lease: id });
            steps.push(Step::LeaveUnknown { worker, lease: id });
        }
        Phase::Settling { .. } => steps.push(Step::Settle { worker, lease: id }),
    }
    if faults.pauses > 0 && lease.is_working() {
        steps.push(Step::StopItself { worker, lease: id });
    }
}

fn may_start(setup: &Setup, worker: &Worker, lease: &Lease) -> bool {
    match setup.rules.suspects {
        Suspects::Unknown => true,
        Suspects::OnlyWhenIdle | Suspects::OnlyWhenEmptyHanded | Suspects::AfterTheOthers => {
            if lease.suspect {
                worker.leases.len() == 1
            } else {
                !worker.leases.iter().any(|other| other.suspect && other.is_running())
            }
        }
    }
}

fn is_renewal_useful(setup: &Setup, state: &State, worker: usize) -> bool {
    state.workers[worker].leases.iter().any(|lease| {
        if state.is_renewable(setup, lease) {
            state.rows[lease.id.item].heartbeat != Heartbeat::Fresh || !state.auditor.is_present(lease.id)
        } else {
            lease.is_working()
        }
    })
}

fn statement_choices(setup: &Setup, state: &State, steps: &mut Vec<Step>) {
    for statement in &state.statements {
        match *statement {
            Statement::Claim(statement) => {
                for items in state.takes(setup, &statement) {
                    steps.push(Step::ApplyClaim { statement, items });
                }
            }
            Statement::Finish(statement) => {
                steps.push(Step::ApplyFinish { statement });
                if state.faults.refusals > 0 && statement.heard {
                    steps.push(Step::Refuse { statement });
                }
            }
        }
        if !statement.is_heard() {
            steps.push(Step::Lapse { statement: *statement });
        }
    }
}

fn item_choices(setup: &Setup, state: &State, item: usize, steps: &mut Vec<Step>) {
    let row = &state.rows[item];
    if row.is_sweepable(&setup.rules) {
        steps.push(Step::Sweep { item });
    }
    if row.status.is_in_progress() && state.auditor.live[item].is_some_and(|live| !live.expired) {
        if !state.has_living_holder(item) {
            steps.push(Step::GoStale { item });
        } else if state.faults.pauses > 0 {
            steps.push(Step::Freeze { item });
        }
    }
    if state.faults.operator_moves > 0 {
        let ready = (0..setup.limits.stages).map(Status::Ready);
        let terminal = [Status::Succeeded, Status::Failed, Status::Cancelled];
        steps.extend(ready.chain(terminal).filter(|to| *to != row.status).map(|to| Step::Set { item, to }));
    }
}
