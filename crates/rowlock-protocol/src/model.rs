//! The protocol as stateright sees it.

use stateright::{Model, Property};

use crate::choices::choices;
use crate::properties::properties;
use crate::row::Move;
use crate::setup::Setup;
use crate::state::State;
use crate::statement::LeaseId;
use crate::step::Step;
use crate::witnesses::witnesses;
use crate::worker::{Phase, Report};

/// A world to explore, as a model.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// The world.
    pub setup: Setup,
}

impl Protocol {
    /// The state after a step that is possible in `state`.
    #[must_use]
    pub fn after(&self, state: &State, step: &Step) -> State {
        let mut next = state.clone();
        pay(&mut next, step);
        take(&mut next, &self.setup, step);
        next.normalise(&self.setup);
        next
    }

    /// The steps that are possible in `state`.
    #[must_use]
    pub fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        choices(&self.setup, state, &mut steps);
        steps
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.setup)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        choices(&self.setup, state, actions);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        Some(self.after(state, &step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = properties(&self.setup);
        all.extend(witnesses());
        all
    }
}

/// Takes the trouble that a step is out of the trouble that is left.
fn pay(state: &mut State, step: &Step) {
    let faults = &mut state.faults;
    let left = match step {
        Step::Crash { .. } => &mut faults.crashes,
        Step::Freeze { .. } | Step::StopItself { .. } => &mut faults.pauses,
        Step::LoseClaimAnswer { .. } => &mut faults.lost_claims,
        Step::LoseFinishAnswer { .. } => &mut faults.lost_finishes,
        Step::Refuse { .. } => &mut faults.refusals,
        Step::Release { .. } => &mut faults.releases,
        Step::Set { .. } => &mut faults.operator_moves,
        Step::SendClaim { .. }
        | Step::ApplyClaim { .. }
        | Step::HearClaim { .. }
        | Step::LookForLostClaim { .. }
        | Step::Start { .. }
        | Step::SendFinish { .. }
        | Step::ApplyFinish { .. }
        | Step::HearFinish { .. }
        | Step::SendFinishAgain { .. }
        | Step::Settle { .. }
        | Step::LeaveUnknown { .. }
        | Step::Renew { .. }
        | Step::Lapse { .. }
        | Step::GoStale { .. }
        | Step::Sweep { .. }
        | Step::Kill { .. } => return,
    };
    *left -= 1;
}

fn take(state: &mut State, setup: &Setup, step: &Step) {
    match *step {
        Step::SendClaim { worker, chosen } => state.send_claim(setup, worker, chosen),
        Step::ApplyClaim { ref statement, ref items } => {
            state.apply_claim(setup, statement, items);
        }
        Step::HearClaim { worker } => state.hear_claim(setup, worker),
        Step::LoseClaimAnswer { worker } => state.lose_claim_answer(setup, worker),
        Step::LookForLostClaim { worker, lost } => {
            state.look_for_lost_claim(setup, worker, lost);
        }
        Step::Start { worker, lease } => {
            if let Some(lease) = state.workers[worker].lease_mut(lease) {
                lease.phase = Phase::Running { in_doubt: false };
            }
        }
        Step::SendFinish { worker, lease, action } => state.send_finish(worker, lease, action),
        Step::Release { worker, lease } => state.send_finish(worker, lease, Move::Release),
        Step::SendFinishAgain { worker, lease } => send_again(state, worker, lease),
        Step::ApplyFinish { ref statement } => state.apply_finish(setup, statement),
        Step::Refuse { ref statement } => state.refuse_finish(statement),
        Step::HearFinish { worker, lease } => state.hear_finish(setup, worker, lease),
        Step::LoseFinishAnswer { worker, lease } => state.lose_finish_answer(worker, lease),
        Step::Settle { worker, lease } => state.settle(setup, worker, lease),
        Step::LeaveUnknown { worker, lease } => {
            state.report(worker, lease, Report::OutcomeUnknown);
        }
        Step::Renew { worker } => state.renew_all(setup, worker),
        Step::Lapse { statement } => state.end_statement(statement),
        Step::GoStale { item } | Step::Freeze { item } => state.go_stale(item),
        Step::StopItself { worker, lease } => state.workers[worker].forget(lease),
        Step::Sweep { item } => state.sweep(setup, item),
        Step::Crash { worker } | Step::Kill { worker, .. } => state.crash(worker),
        Step::Set { item, to } => state.set(setup, item, to),
    }
}

fn send_again(state: &mut State, worker: usize, id: LeaseId) {
    if let Some(lease) = state.workers[worker].lease(id)
        && let Phase::InDoubt { action } = lease.phase
    {
        state.send_finish(worker, id, action);
    }
}
