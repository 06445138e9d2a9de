//! What a worker process does: sending, receiving, giving up, dying.

use crate::row::{Move, Status, Token};
use crate::rules::{Doubt, LeaseClock, Look, LostClaim as LostClaimRule, Proof, Rules, Suspects, Tokens};
use crate::setup::Setup;
use crate::state::State;
use crate::statement::{ClaimStatement, FinishStatement, LeaseId, Statement};
use crate::worker::{AwaitedClaim, Lease, LostClaim, Outcome, Phase, Report, Worker};

/// Tokens by worker name start here, so that they never meet a claim id.
const FIRST_NAME: Token = 100;

impl State {
    /// The claim that this worker would send now.
    #[must_use]
    pub fn next_claim(&self, setup: &Setup, worker: usize, chosen: Option<usize>) -> ClaimStatement {
        let claim = self.unused_claim();
        let token = match setup.rules.tokens {
            Tokens::PerClaim => claim,
            Tokens::PerWorker => FIRST_NAME.saturating_add(u8::try_from(worker).unwrap_or(0)),
        };
        ClaimStatement {
            claim,
            token,
            limit: setup.capacity - self.workers[worker].leases.len(),
            suspects: setup.rules.may_ask_for_suspects(&self.workers[worker]),
            chosen,
            heard: true,
        }
    }

    /// A worker sends a claim.
    pub fn send_claim(&mut self, setup: &Setup, worker: usize, chosen: Option<usize>) {
        let statement = self.next_claim(setup, worker, chosen);
        self.await_claim(worker, statement);
    }

    fn await_claim(&mut self, worker: usize, statement: ClaimStatement) {
        self.workers[worker].awaited = Some(AwaitedClaim {
            claim: statement.claim,
            token: statement.token,
            suspects: statement.suspects,
            answer: None,
        });
        self.statements.push(Statement::Claim(statement));
    }

    /// The answer to a claim arrives.
    pub fn hear_claim(&mut self, setup: &Setup, worker: usize) {
        let Some(awaited) = self.workers[worker].awaited.take() else {
            return;
        };
        for row in awaited.answer.unwrap_or_default() {
            match setup.rules.lease_clock {
                // By the worker's own clock the lease is over: it leaves the item to the sweep.
                LeaseClock::FromSending if row.aged => continue,
                LeaseClock::FromSending | LeaseClock::FromAnswer => {}
            }
            self.workers[worker].hold(Lease {
                id: LeaseId { item: row.item, claim: awaited.claim },
                token: awaited.token,
                stage: row.stage,
                suspect: row.suspect,
                phase: first_phase(setup),
                excused: row.revoked,
            });
        }
    }

    /// The answer to a claim is lost.
    pub fn lose_claim_answer(&mut self, setup: &Setup, worker: usize) {
        let Some(awaited) = self.workers[worker].awaited.take() else {
            return;
        };
        self.stop_hearing_claim(awaited.claim);
        let AwaitedClaim { claim, token, suspects, .. } = awaited;
        match setup.rules.lost_claim {
            LostClaimRule::LookedFor => {
                self.workers[worker].lost_claims.push(LostClaim { claim, token, suspects });
                self.workers[worker].lost_claims.sort_unstable();
            }
            LostClaimRule::SentAgain => {
                let again = ClaimStatement { token, ..self.next_claim(setup, worker, None) };
                self.await_claim(worker, again);
            }
            LostClaimRule::Forgotten => {}
        }
    }

    /// Whether looking for a lost claim would find something, or end the search.
    #[must_use]
    pub fn is_worth_looking(&self, worker: usize, lost: &LostClaim) -> bool {
        !self.may_commit(lost) || self.lost_items(worker, lost).next().is_some()
    }

    fn may_commit(&self, lost: &LostClaim) -> bool {
        self.statements.iter().any(|statement| match statement {
            Statement::Claim(claim) => claim.claim == lost.claim,
            Statement::Finish(_) => false,
        })
    }

    fn lost_items(&self, worker: usize, lost: &LostClaim) -> impl Iterator<Item = usize> {
        let holds = move |item: usize| self.workers[worker].lease(LeaseId { item, claim: lost.claim }).is_some();
        (0..self.rows.len()).filter(move |item| {
            let row = &self.rows[*item];
            row.status.is_in_progress() && row.token == Some(lost.token) && !holds(*item)
        })
    }

    /// A worker looks for the rows of a lost claim by token, and adopts what it finds.
    pub fn look_for_lost_claim(&mut self, setup: &Setup, worker: usize, place: usize) {
        let lost = self.workers[worker].lost_claims[place];
        for item in self.lost_items(worker, &lost).collect::<Vec<_>>() {
            let id = LeaseId { item, claim: lost.claim };
            match setup.rules.look {
                Look::Renews => self.renew(id),
                Look::Reads => {}
            }
            let stage = match self.rows[item].status {
                Status::InProgress(stage) => stage,
                Status::Ready(_) | Status::Succeeded | Status::Failed | Status::Cancelled => continue,
            };
            let suspect = self.is_suspect(setup, item);
            self.workers[worker].hold(Lease {
                id,
                token: lost.token,
                stage,
                suspect,
                phase: first_phase(setup),
                excused: false,
            });
        }
        if !self.may_commit(&lost) {
            self.workers[worker].lost_claims.remove(place);
        }
    }

    /// A worker sends a finish, for the first time or again.
    pub fn send_finish(&mut self, worker: usize, id: LeaseId, action: Move) {
        let Some(lease) = self.workers[worker].lease_mut(id) else {
            return;
        };
        let in_doubt = match lease.phase {
            Phase::Running { in_doubt } => in_doubt,
            Phase::InDoubt { .. } => true,
            Phase::Queued | Phase::Finishing { .. } | Phase::Settling { .. } => false,
        };
        lease.phase = Phase::Finishing { action, in_doubt, answer: None };
        self.statements.push(Statement::Finish(FinishStatement {
            lease: id,
            token: lease.token,
            stage: lease.stage,
            action,
            heard: true,
        }));
    }

    /// The answer to a finish arrives.
    pub fn hear_finish(&mut self, setup: &Setup, worker: usize, id: LeaseId) {
        let Some(lease) = self.workers[worker].lease_mut(id) else {
            return;
        };
        let Phase::Finishing { action, in_doubt, answer: Some(outcome) } = lease.phase else {
            return;
        };
        match (outcome, in_doubt) {
            (Outcome::Applied, _) => self.report(worker, id, Report::Done(action)),
            (Outcome::NoMatch, false) => self.report(worker, id, Report::LeaseLost),
            (Outcome::NoMatch, true) => match setup.rules.proof {
                Proof::TokenAndState | Proof::State | Proof::Token => {
                    lease.phase = Phase::Settling { action };
                }
                Proof::NoneMeansLost => self.report(worker, id, Report::LeaseLost),
            },
            (Outcome::Refused, false) => lease.phase = Phase::Running { in_doubt: false },
            (Outcome::Refused, true) => {
                lease.phase = match setup.rules.doubt {
                    Doubt::SameMoveOnly => Phase::InDoubt { action },
                    Doubt::AnyMove => Phase::Running { in_doubt: true },
                    Doubt::Forgotten => Phase::Running { in_doubt: false },
                };
            }
        }
    }

    /// The answer to a finish is lost.
    pub fn lose_finish_answer(&mut self, worker: usize, id: LeaseId) {
        self.stop_hearing_finish(id);
        if let Some(lease) = self.workers[worker].lease_mut(id)
            && let Phase::Finishing { action, .. } = lease.phase
        {
            lease.phase = Phase::InDoubt { action };
        }
    }

    /// A worker reads the row of a finish in doubt, and reports.
    pub fn settle(&mut self, setup: &Setup, worker: usize, id: LeaseId) {
        if let Some(lease) = self.workers[worker].lease(id)
            && let Phase::Settling { action } = lease.phase
        {
            let is_proved = self.is_proved(setup, lease, action);
            self.report(worker, id, if is_proved { Report::Done(action) } else { Report::OutcomeUnknown });
        }
    }

    /// Whether the row proves that this finish was applied.
    #[must_use]
    pub fn is_proved(&self, setup: &Setup, lease: &Lease, action: Move) -> bool {
        let row = &self.rows[lease.id.item];
        let is_ours = row.token == Some(lease.token);
        let is_as_asked = row.stands_as_asked(action, lease.stage, setup.limits);
        match setup.rules.proof {
            Proof::TokenAndState => is_ours && is_as_asked,
            Proof::State => is_as_asked,
            Proof::Token => is_ours,
            Proof::NoneMeansLost => false,
        }
    }

    /// A worker tells its caller how a finish ended, and forgets the lease.
    pub fn report(&mut self, worker: usize, id: LeaseId, report: Report) {
        self.auditor.reported(id, report);
        self.workers[worker].forget(id);
    }

    /// A worker renews all its leases; the handlers of lost ones are stopped.
    pub fn renew_all(&mut self, setup: &Setup, worker: usize) {
        for lease in self.workers[worker].leases.clone() {
            if self.is_renewable(setup, &lease) {
                self.renew(lease.id);
                if let Some(lease) = self.workers[worker].lease_mut(lease.id) {
                    lease.excused = false;
                }
            } else if lease.is_working() {
                self.report(worker, lease.id, Report::LeaseLost);
            }
        }
    }

    /// A process dies: its answers are never received, and its successor remembers nothing.
    pub fn crash(&mut self, worker: usize) {
        let dead = std::mem::take(&mut self.workers[worker]);
        if let Some(awaited) = dead.awaited {
            self.stop_hearing_claim(awaited.claim);
        }
        for lease in dead.leases {
            self.stop_hearing_finish(lease.id);
        }
    }

    fn stop_hearing_claim(&mut self, id: u8) {
        for statement in &mut self.statements {
            match statement {
                Statement::Claim(claim) if claim.claim == id => claim.heard = false,
                Statement::Claim(_) | Statement::Finish(_) => {}
            }
        }
    }

    fn stop_hearing_finish(&mut self, id: LeaseId) {
        for statement in &mut self.statements {
            match statement {
                Statement::Finish(finish) if finish.lease == id => finish.heard = false,
                Statement::Claim(_) | Statement::Finish(_) => {}
            }
        }
    }
}

impl Rules {
    /// Whether a claim of this worker may return a suspect.
    #[must_use]
    pub fn may_ask_for_suspects(&self, worker: &Worker) -> bool {
        match self.suspects {
            Suspects::OnlyWhenIdle => worker.is_idle(),
            Suspects::OnlyWhenEmptyHanded => worker.leases.is_empty(),
            Suspects::AfterTheOthers | Suspects::Unknown => true,
        }
    }
}

/// If handlers cannot kill, waiting for a slot and running are the same to the protocol.
fn first_phase(setup: &Setup) -> Phase {
    if setup.starts_apart() { Phase::Queued } else { Phase::Running { in_doubt: false } }
}
