//! The whole world at one moment.

use crate::auditor::Auditor;
use crate::row::{Row, Token};
use crate::rules::Tokens;
use crate::setup::{Faults, Setup};
use crate::statement::{ClaimId, LeaseId, Statement};
use crate::worker::{Lease, Worker};

/// The whole world at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The table.
    pub rows: Vec<Row>,
    /// The fleet.
    pub workers: Vec<Worker>,
    /// Statements that may still take effect, in a fixed order, so that equal worlds compare equal.
    pub statements: Vec<Statement>,
    /// The trouble that is left.
    pub faults: Faults,
    /// The auditor's book.
    pub auditor: Auditor,
}

impl State {
    /// The world at the start.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        State {
            rows: setup.rows.clone(),
            workers: vec![Worker::default(); setup.workers],
            statements: Vec::new(),
            faults: setup.faults,
            auditor: Auditor::new(setup.rows.len()),
        }
    }

    /// Whether every item is terminal.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.rows.iter().all(|row| row.status.is_terminal())
    }

    /// Every lease that some worker believes it holds.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.workers.iter().flat_map(|worker| &worker.leases)
    }

    /// Whether a live worker would renew the present lease of this item if it could.
    #[must_use]
    pub fn has_living_holder(&self, item: usize) -> bool {
        self.auditor.live[item].is_some_and(|live| {
            let lease = LeaseId { item, claim: live.claim };
            self.workers.iter().any(|worker| worker.knows(lease, self.rows[item].token))
        })
    }

    /// A claim id, and with it a token, that nothing remembers.
    #[must_use]
    pub fn unused_claim(&self) -> ClaimId {
        (0..ClaimId::MAX).find(|id| !self.remembers(*id)).unwrap_or(ClaimId::MAX)
    }

    fn remembers(&self, id: ClaimId) -> bool {
        self.rows.iter().any(|row| row.token == Some(id))
            || self.auditor.live.iter().flatten().any(|live| live.claim == id)
            || self.statements.iter().any(|statement| match statement {
                Statement::Claim(claim) => claim.claim == id || claim.token == id,
                Statement::Finish(finish) => finish.lease.claim == id || finish.token == id,
            })
            || self.workers.iter().any(|worker| {
                worker.leases.iter().any(|lease| lease.id.claim == id || lease.token == id)
                    || worker.awaited.iter().any(|claim| claim.claim == id || claim.token == id)
                    || worker.lost_claims.iter().any(|lost| lost.claim == id || lost.token == id)
            })
    }

    /// Removes differences that no step and no property can see, so that there are fewer different worlds.
    pub fn normalise(&mut self, setup: &Setup) {
        self.statements.sort_unstable();
        let (workers, statements) = (&self.workers, &self.statements);
        self.auditor.keep_facts(|id| {
            workers.iter().any(|worker| worker.lease(id).is_some())
                || statements.iter().any(|statement| match statement {
                    Statement::Claim(_) => false,
                    Statement::Finish(finish) => finish.lease == id,
                })
        });
        match setup.rules.tokens {
            Tokens::PerClaim => {
                self.forget_old_tokens();
                // Workers differ only in what they remember.
                self.workers.sort_unstable();
            }
            Tokens::PerWorker => {}
        }
    }

    /// A token kept by a finish is compared only by workers that remember it: without them it means nothing.
    fn forget_old_tokens(&mut self) {
        let (workers, statements) = (&self.workers, &self.statements);
        let is_known = |token: Token| {
            workers.iter().any(|worker| {
                worker.leases.iter().any(|lease| lease.token == token)
                    || worker.lost_claims.iter().any(|lost| lost.token == token)
            }) || statements.iter().any(|statement| match statement {
                Statement::Claim(claim) => claim.token == token,
                Statement::Finish(finish) => finish.token == token,
            })
        };
        for row in &mut self.rows {
            if !row.status.is_in_progress() && row.token.is_some_and(|token| !is_known(token)) {
                row.token = None;
            }
        }
    }
}
