//! Continuing with the next stage: a finish and a claim in one, so that a lost answer is looked for as that of a claim and
//! settled as that of a finish.

use tracing::field;

use super::lost_claims::LostClaimGuard;
use super::{Dispatch, Settling, within};
use crate::store::{ClaimedRow, ContinueParams, Store};
use crate::{FencingToken, Holder, Result};

impl<S: Store> Dispatch<S> {
    /// Takes the items of a finish, all of which completed one stage, on to the next one. What is not in the answer is still to be
    /// finished.
    pub(crate) async fn continue_once(
        &self,
        settling: &mut Settling,
        holder: &Holder,
    ) -> Result<Vec<ClaimedRow<S::Row>>> {
        let leases = settling.leases();
        let Some(stage) = leases.first().map(|lease| lease.stage) else { return Ok(Vec::new()) };
        let span = verb_span!(self, "continue_items", items = leases.len(), continued_items = field::Empty);
        let token = FencingToken::draw();
        let continuing =
            ContinueParams { stage, leases, token, holder: holder.clone(), limits: self.limits(), now: None };
        let work = async {
            let guard = LostClaimGuard::new(&self.lost_claims, token, self.pipeline());
            match self.store.continue_items(&continuing).await {
                Err(error) if error.may_have_been_applied() => {
                    settling.may_have_continued(token);
                    self.adopt(guard, token, error).await
                }
                answer => {
                    guard.disarm();
                    answer
                }
            }
        };
        let rows = within(span.clone(), work).await?;
        span.record("continued_items", rows.len());
        Ok(rows)
    }
}
