//! The database's side: each function is one statement taking effect.

use crate::auditor::Violation;
use crate::row::{Heartbeat, Row, Status};
use crate::rules::{Exhausted, Fence, Renewal, Suspects};
use crate::setup::Setup;
use crate::state::State;
use crate::statement::{ClaimStatement, FinishStatement, LeaseId, Statement};
use crate::worker::{ClaimedRow, Lease, Outcome, Phase};

impl State {
    /// Whether a claim would look at this row at all.
    #[must_use]
    pub fn is_claimable(&self, setup: &Setup, item: usize) -> bool {
        let row = &self.rows[item];
        matches!(row.status, Status::Ready(_))
            && match setup.rules.exhausted {
                Exhausted::Failed => true,
                Exhausted::Skipped => !row.is_exhausted(setup.limits),
            }
    }

    /// Whether the rules keep this row away from others.
    #[must_use]
    pub fn is_suspect(&self, setup: &Setup, item: usize) -> bool {
        match setup.rules.suspects {
            Suspects::OnlyWhenIdle | Suspects::OnlyWhenEmptyHanded | Suspects::AfterTheOthers => {
                self.rows[item].is_suspect(setup.limits)
            }
            Suspects::Unknown => false,
        }
    }

    /// The sets of rows that a claim may take now.
    ///
    /// Any sets that fit the limit, instead of an order: a locked row is skipped, ties come in any order, and which
    /// item is first depends on times that the model does not have. A suspect is taken only if it comes first, and then
    /// alone. Nothing is taken only if there is nothing.
    #[must_use]
    pub fn takes(&self, setup: &Setup, statement: &ClaimStatement) -> Vec<Vec<usize>> {
        if let Some(item) = statement.chosen {
            return vec![vec![item]];
        }
        let mut takes = vec![Vec::new()];
        for item in (0..self.rows.len()).filter(|item| self.is_claimable(setup, *item)) {
            if self.is_suspect(setup, item) {
                continue;
            }
            for place in 0..takes.len() {
                if takes[place].len() < statement.limit {
                    let mut longer = takes[place].clone();
                    longer.push(item);
                    takes.push(longer);
                }
            }
        }
        if statement.suspects {
            let is_suspect = |item: &usize| self.is_claimable(setup, *item) && self.is_suspect(setup, *item);
            takes.extend((0..self.rows.len()).filter(is_suspect).map(|item| vec![item]));
        }
        if takes.len() > 1 {
            takes.remove(0);
        }
        takes
    }

    /// The claim statement.
    pub fn apply_claim(&mut self, setup: &Setup, statement: &ClaimStatement, items: &[usize]) {
        self.end_statement(Statement::Claim(*statement));
        let mut taken = Vec::new();
        for &item in items {
            let suspect = self.is_suspect(setup, item);
            if self.rows[item].is_exhausted(setup.limits) {
                self.rows[item].exhaust();
                continue;
            }
            self.rows[item].claim(statement.token, &setup.rules);
            self.auditor.claimed(LeaseId { item, claim: statement.claim });
            if let Status::InProgress(stage) = self.rows[item].status {
                taken.push(ClaimedRow { item, stage, suspect, aged: false, revoked: false });
            }
        }
        let stamped = |row: &&Row| row.status.is_in_progress() && row.token == Some(statement.token);
        if items.len() > statement.limit || self.rows.iter().filter(stamped).count() > setup.capacity {
            self.auditor.violations.insert(Violation::TookTooMany);
        }
        for worker in &mut self.workers {
            if let Some(awaited) = &mut worker.awaited
                && awaited.claim == statement.claim
            {
                awaited.answer = Some(taken.clone());
            }
        }
    }

    /// The finish statement.
    pub fn apply_finish(&mut self, setup: &Setup, statement: &FinishStatement) {
        self.end_statement(Statement::Finish(*statement));
        let row = &mut self.rows[statement.lease.item];
        let matches = match setup.rules.fence {
            Fence::Token => row.status.is_in_progress() && row.token == Some(statement.token),
            Fence::Status => row.status.is_in_progress(),
            Fence::Key => true,
        };
        if matches {
            row.finish(statement.action, statement.stage, setup.limits, &setup.rules);
            self.auditor.finished(statement.lease, statement.action, statement.stage);
        }
        self.answer_finish(statement, if matches { Outcome::Applied } else { Outcome::NoMatch });
    }

    /// The finish statement, refused.
    pub fn refuse_finish(&mut self, statement: &FinishStatement) {
        self.end_statement(Statement::Finish(*statement));
        self.answer_finish(statement, Outcome::Refused);
    }

    fn answer_finish(&mut self, statement: &FinishStatement, outcome: Outcome) {
        if !statement.heard {
            return;
        }
        for worker in &mut self.workers {
            if let Some(lease) = worker.lease_mut(statement.lease)
                && let Phase::Finishing { answer, .. } = &mut lease.phase
            {
                *answer = Some(outcome);
            }
        }
    }

    /// Removes a statement that has ended.
    pub fn end_statement(&mut self, statement: Statement) {
        if let Some(place) = self.statements.iter().position(|other| *other == statement) {
            self.statements.remove(place);
        }
    }

    /// Whether a renewal of this lease would match.
    #[must_use]
    pub fn is_renewable(&self, setup: &Setup, lease: &Lease) -> bool {
        let row = &self.rows[lease.id.item];
        row.status.is_in_progress()
            && match setup.rules.renewal {
                Renewal::Token => row.token == Some(lease.token),
                Renewal::Status => true,
            }
    }

    /// The renewal of one lease that matches.
    pub fn renew(&mut self, lease: LeaseId) {
        self.rows[lease.item].heartbeat = Heartbeat::Fresh;
        self.auditor.renewed(lease);
    }

    /// `stale_after` passes on one item.
    pub fn go_stale(&mut self, item: usize) {
        if self.rows[item].heartbeat == Heartbeat::Fresh {
            self.rows[item].heartbeat = Heartbeat::Stale;
        }
        let Some(live) = &mut self.auditor.live[item] else {
            return;
        };
        live.expired = true;
        let id = LeaseId { item, claim: live.claim };
        for worker in &mut self.workers {
            if let Some(lease) = worker.lease_mut(id) {
                lease.excused = true;
            }
            if let Some(row) = worker.awaited_row_mut(id) {
                row.aged = true;
            }
        }
    }

    /// The sweep, of one row.
    pub fn sweep(&mut self, setup: &Setup, item: usize) {
        self.rows[item].sweep(setup.limits, &setup.rules);
        self.auditor.swept(item);
    }

    /// The operator's set, cancel and requeue.
    pub fn set(&mut self, setup: &Setup, item: usize, to: Status) {
        if let Some(live) = self.auditor.live[item] {
            let id = LeaseId { item, claim: live.claim };
            for worker in &mut self.workers {
                if let Some(lease) = worker.lease_mut(id) {
                    lease.excused = true;
                }
                if let Some(row) = worker.awaited_row_mut(id) {
                    row.revoked = true;
                }
            }
        }
        self.rows[item].set(to, &setup.rules);
        self.auditor.set(
            item,
            match to {
                Status::Ready(stage) => Some(stage),
                Status::InProgress(_) | Status::Succeeded | Status::Failed | Status::Cancelled => None,
            },
        );
    }
}
