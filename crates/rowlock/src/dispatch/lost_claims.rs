//! Claims whose answers were lost: their rows are looked up by token until the claim can no longer commit.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field;

use super::{Dispatch, Resend, retrying, within};
use crate::limits::LOST_CLAIMS_MAX;
use crate::pipeline::Pipeline;
use crate::store::{ClaimedRow, Finish, FinishParams, Finished, Outcome, Store};
use crate::{Error, FencingToken, Key, Lease, Result};

/// The list of lost claims, which all clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct LostClaims {
    entries: Arc<Mutex<VecDeque<LostClaim>>>,
}

/// A claim whose answer was lost. Its token is never used again. The entry is kept until its time is over, whatever was
/// found under the token: a lookup passes over rows that are locked at that moment.
#[derive(Debug)]
struct LostClaim {
    token: FencingToken,
    until: Instant,
    /// Rows that were handed over to a caller that adopts or releases them.
    found: HashSet<Key>,
}

/// The result of a lookup of the rows of lost claims.
#[derive(Debug)]
pub(crate) struct Recovered<Row> {
    /// Rows that no caller was given before. The caller adopts or releases them.
    pub(crate) rows: Vec<ClaimedRow<Row>>,
    /// The error that ended the lookup early.
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

    /// Keeps the rows that were found for the first time. Forgets the claim if the lookup was sent after its time.
    fn hand_over<Row>(&self, token: FencingToken, sent_at: Instant, rows: &mut Vec<ClaimedRow<Row>>) {
        let mut entries = self.locked();
        let Some(at) = entries.iter().position(|lost| lost.token == token) else {
            rows.clear(); // another lookup came first, and saw the same rows
            return;
        };
        rows.retain(|row| entries[at].found.insert(row.lease.key.clone()));
        if sent_at > entries[at].until {
            entries.remove(at);
        }
    }

    /// The caller could not release these rows: the next lookup finds them again.
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

    /// The rows of a claim whose answer was just lost with this error, for its caller to adopt; the error if there are
    /// none. The token is looked up again later, because this lookup misses rows that are locked.
    pub(super) async fn adopt(
        &self,
        mut guard: LostClaimGuard<'_>,
        token: FencingToken,
        error: Error,
    ) -> Result<Vec<ClaimedRow<S::Row>>> {
        // An error of this lookup adds nothing to the first one.
        let found = self.find_claimed_once(token).await.unwrap_or_default();
        guard.found(&found);
        if found.is_empty() { Err(error) } else { Ok(found) }
    }

    /// The rows of lost claims whose statements took effect after all. Dropping the future loses nothing.
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
        // No await from here on: the rows that are noted as handed over are returned.
        let mut found = Vec::new();
        for (token, sent_at, mut rows) in looks {
            self.lost_claims.hand_over(token, sent_at, &mut rows);
            found.append(&mut rows);
        }
        Recovered { rows: found, error }
    }

    /// Releases the rows that lost claims took, for a caller that knows nothing of those items. The next lookup finds
    /// again what cannot be released now.
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
                tracing::info!(released, "released: the answer to the statement that claimed them was lost");
                guard.leases = &[];
            }
            Err(error) => tracing::warn!(%error, "items of a claim whose answer was lost could not be released"),
        }
    }

    pub(crate) fn has_lost_claims(&self) -> bool {
        !self.lost_claims.locked().is_empty()
    }

    /// Whether a lost claim may still take rows: nothing was found under its token, and its time is not over.
    pub(crate) fn may_lost_claims_commit(&self) -> bool {
        self.lost_claims.locked().iter().any(|lost| lost.found.is_empty())
    }
}

/// Lets the next lookup find the rows again unless they were released.
struct TakeBackGuard<'a> {
    lost_claims: &'a LostClaims,
    leases: &'a [Lease],
}

impl Drop for TakeBackGuard<'_> {
    fn drop(&mut self) {
        self.lost_claims.take_back(self.leases);
    }
}

/// Remembers a claim's token unless the claim ends with its answer.
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

    /// The answer has arrived.
    pub(super) fn disarm(mut self) {
        self.lost = None;
    }

    /// These rows were found and are adopted.
    pub(super) fn found<Row>(&mut self, rows: &[ClaimedRow<Row>]) {
        if let Some(lost) = &mut self.lost {
            lost.found.extend(rows.iter().map(|row| row.lease.key.clone()));
        }
    }
}

impl Drop for LostClaimGuard<'_> {
    fn drop(&mut self) {
        if let Some(mut lost) = self.lost.take() {
            // The server ends the statement after the deadline; the same time again allows for what preceded the
            // statement.
            lost.until = Instant::now() + 2 * self.pipeline.verb_deadline();
            self.list.add(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::VERB_DEADLINE;
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
        // A row that was locked at the first lookup is found by the second.
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
