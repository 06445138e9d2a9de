//! Claims whose answers were lost: what they took is looked for by their tokens until they can no longer commit.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field;

use super::{Dispatch, Resend, retrying, within};
use crate::limits::{LOST_CLAIMS_MAX, VERB_DEADLINE};
use crate::pipeline::Pipeline;
use crate::store::{ClaimedRow, Finish, FinishParams, Finished, Outcome, Store};
use crate::{Error, FencingToken, Key, Lease, Result};

/// The list; its clones are one list.
#[derive(Debug, Clone, Default)]
pub(super) struct LostClaims {
    entries: Arc<Mutex<VecDeque<LostClaim>>>,
}

/// A claim whose answer was lost. Its token is never used again, and is kept until its time is over whatever was found
/// under it: a look passes over rows that somebody has locked just then.
#[derive(Debug)]
struct LostClaim {
    token: FencingToken,
    until: Instant,
    /// Rows that were handed over to somebody who adopts or releases them.
    found: HashSet<Key>,
}

/// What a look for the rows of lost claims brought.
#[derive(Debug)]
pub(crate) struct Recovered<Row> {
    /// Rows that nobody was given before. The caller adopts or releases them.
    pub(crate) rows: Vec<ClaimedRow<Row>>,
    /// What ended the look before its time.
    pub(crate) error: Option<Error>,
}

impl LostClaims {
    fn add(&self, lost: LostClaim) {
        let mut entries = self.locked();
        if entries.len() >= LOST_CLAIMS_MAX {
            entries.pop_front();
        }
        entries.push_back(lost);
    }

    fn tokens(&self) -> Vec<FencingToken> {
        self.locked().iter().map(|lost| lost.token).collect()
    }

    /// Those of the rows that were found for the first time. Forgets the claim if it was looked for after its time.
    fn hand_over<Row>(&self, token: FencingToken, sent_at: Instant, rows: &mut Vec<ClaimedRow<Row>>) {
        let mut entries = self.locked();
        let Some(at) = entries.iter().position(|lost| lost.token == token) else {
            rows.clear(); // another look came first, and saw the same
            return;
        };
        rows.retain(|row| entries[at].found.insert(row.lease.key.clone()));
        if sent_at > entries[at].until {
            entries.remove(at);
        }
    }

    /// Whoever these rows were handed over to could not give them back: they are to be found again.
    fn take_back(&self, leases: &[Lease]) {
        let mut entries = self.locked();
        for lease in leases {
            if let Some(lost) = entries.iter_mut().find(|lost| lost.token == lease.token) {
                lost.found.remove(&lease.key);
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<LostClaim>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Dispatch<S> {
    pub(super) async fn find_claimed_once(&self, token: FencingToken) -> Result<Vec<ClaimedRow<S::Row>>> {
        let span = verb_span!(self, "find_claimed", found_items = field::Empty);
        let rows = within(span.clone(), self.store.find_claimed(token)).await?;
        span.record("found_items", rows.len());
        Ok(rows)
    }

    /// The rows of a claim whose answer was lost by this error just now, for its caller to adopt; the error if there is none. The
    /// token is looked for later as well: a row that was locked just now was not found.
    pub(super) async fn adopt(
        &self,
        mut guard: LostClaimGuard<'_>,
        token: FencingToken,
        error: Error,
    ) -> Result<Vec<ClaimedRow<S::Row>>> {
        // An error of this look says no more than the first one.
        let found = self.find_claimed_once(token).await.unwrap_or_default();
        guard.found(&found);
        if found.is_empty() { Err(error) } else { Ok(found) }
    }

    /// The rows of claims whose answers were lost, if their statements took effect after all. Nothing is lost if the
    /// future is dropped.
    pub(crate) async fn recover_lost_claims(&self) -> Recovered<S::Row> {
        let mut looks = Vec::new();
        let mut error = None;
        for token in self.lost_claims.tokens() {
            let sent_at = Instant::now();
            match retrying(Resend::Always, || self.find_claimed_once(token)).await {
                Ok(rows) => looks.push((token, sent_at, rows)),
                Err(met) => {
                    error = Some(met);
                    break;
                }
            }
        }
        // From here on nothing is awaited: what is noted as handed over is returned.
        let mut found = Vec::new();
        for (token, sent_at, mut rows) in looks {
            self.lost_claims.hand_over(token, sent_at, &mut rows);
            found.append(&mut rows);
        }
        Recovered { rows: found, error }
    }

    /// Gives back what lost claims took, for a caller who knows nothing of those items. What cannot be given back now
    /// is found again by the next look.
    pub(crate) async fn release_lost_claims(&self) {
        if !self.has_lost_claims() {
            return;
        }
        let recovered = self.recover_lost_claims().await;
        if let Some(error) = recovered.error {
            tracing::warn!(%error, "items of a claim whose answer was lost could not be looked for");
        }
        if recovered.rows.is_empty() {
            return;
        }
        let leases: Vec<Lease> = recovered.rows.into_iter().map(|row| row.lease).collect();
        let mut guard = TakeBackGuard { lost_claims: &self.lost_claims, leases: &leases };
        let release = |lease: &Lease| Finish { lease: lease.clone(), outcome: Outcome::Release };
        let finishing = FinishParams { items: leases.iter().map(release).collect(), limits: self.limits(), now: None };
        match self.finish(finishing).await {
            Ok(answers) => {
                let released = answers.iter().filter(|answer| matches!(answer, Finished::Applied { .. })).count();
                tracing::info!(released, "claimed by a statement whose answer was lost: given back");
                guard.leases = &[];
            }
            Err(error) => tracing::warn!(%error, "items of a claim whose answer was lost could not be given back"),
        }
    }

    pub(crate) fn has_lost_claims(&self) -> bool {
        !self.lost_claims.locked().is_empty()
    }

    /// Whether one of them may still take something: nothing was found under it, and its time is not over.
    pub(crate) fn may_lost_claims_commit(&self) -> bool {
        self.lost_claims.locked().iter().any(|lost| lost.found.is_empty())
    }
}

/// Lets rows be found again unless they were given back.
struct TakeBackGuard<'a> {
    lost_claims: &'a LostClaims,
    leases: &'a [Lease],
}

impl Drop for TakeBackGuard<'_> {
    fn drop(&mut self) {
        self.lost_claims.take_back(self.leases);
    }
}

/// Remembers a claim's token if the claim ends in any way but with its answer.
pub(super) struct LostClaimGuard<'a> {
    list: &'a LostClaims,
    lost: Option<LostClaim>,
    pipeline: &'a Pipeline,
}

impl<'a> LostClaimGuard<'a> {
    pub(super) fn new(list: &'a LostClaims, token: FencingToken, pipeline: &'a Pipeline) -> LostClaimGuard<'a> {
        let lost = LostClaim { token, until: Instant::now(), found: HashSet::new() };
        LostClaimGuard { list, lost: Some(lost), pipeline }
    }

    /// The answer is here.
    pub(super) fn disarm(mut self) {
        self.lost = None;
    }

    /// These rows were found, and are adopted.
    pub(super) fn found<Row>(&mut self, rows: &[ClaimedRow<Row>]) {
        if let Some(lost) = &mut self.lost {
            lost.found.extend(rows.iter().map(|row| row.lease.key.clone()));
        }
    }
}

impl Drop for LostClaimGuard<'_> {
    fn drop(&mut self) {
        if let Some(mut lost) = self.lost.take() {
            // The server ends the statement after the deadline; as much again for what was under way before it.
            lost.until = Instant::now() + 2 * VERB_DEADLINE.min(self.pipeline.stale_after() / 3);
            self.list.add(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::StageId;

    fn row(token: FencingToken, key: &str) -> ClaimedRow<()> {
        let lease = Lease { key: Key::from(key), token, stage: StageId::FIRST };
        ClaimedRow { lease, retry_count: 0, reset_count: 0, suspect: false, row: () }
    }

    fn lose(claims: &LostClaims, token: FencingToken, until: Instant) {
        claims.add(LostClaim { token, until, found: HashSet::new() });
    }

    fn keys(rows: &[ClaimedRow<()>]) -> Vec<&str> {
        rows.iter().map(|row| row.lease.key.as_str()).collect()
    }

    #[test]
    fn a_row_is_handed_over_once_and_the_token_is_kept_until_its_time_is_over() {
        let (claims, token, now) = (LostClaims::default(), FencingToken::draw(), Instant::now());
        let until = now + VERB_DEADLINE;
        lose(&claims, token, until);

        let mut rows = vec![row(token, "a")];
        claims.hand_over(token, now, &mut rows);
        assert_eq!(keys(&rows), ["a"]);
        // A row that was locked at the first look is found by the second.
        let mut rows = vec![row(token, "a"), row(token, "locked")];
        claims.hand_over(token, now, &mut rows);
        assert_eq!(keys(&rows), ["locked"]);
        assert_eq!(claims.tokens(), [token]);

        claims.hand_over(token, until + VERB_DEADLINE, &mut rows);
        assert!(claims.tokens().is_empty());
    }

    #[test]
    fn a_row_that_could_not_be_given_back_is_found_again() {
        let (claims, token, now) = (LostClaims::default(), FencingToken::draw(), Instant::now());
        lose(&claims, token, now + VERB_DEADLINE);
        let mut rows = vec![row(token, "a")];
        claims.hand_over(token, now, &mut rows);
        claims.take_back(&[rows[0].lease.clone()]);
        claims.hand_over(token, now, &mut rows);
        assert_eq!(keys(&rows), ["a"]);
    }

    #[test]
    fn the_list_has_a_limit() {
        let (claims, now) = (LostClaims::default(), Instant::now());
        let tokens: Vec<FencingToken> = (0..=LOST_CLAIMS_MAX).map(|_| FencingToken::draw()).collect();
        for token in &tokens {
            lose(&claims, *token, now);
        }
        assert_eq!(claims.tokens(), tokens[1..]);
    }
}
