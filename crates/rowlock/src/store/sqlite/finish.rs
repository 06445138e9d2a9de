//! `finish`.

use chrono::{DateTime, Utc};

use super::claim::spent;
use super::clock;
use super::items::BatchItem;
use super::plain::Ended;
use super::refusal::{Batch, SILENTLY_REFUSED, WhenRefused, Written};
use super::session::Verb;
use super::store::SqliteStore;
use crate::Result;
use crate::limits::RETRY_DELAY_MAX;
use crate::pipeline::Status;
use crate::store::error_text::stored_error;
use crate::store::params::budget_limit;
use crate::store::{Finish, FinishParams, Finished, Limit, Limits, Outcome};

impl SqliteStore {
    pub(super) async fn finish_items(&self, verb: &Verb, finishing: &FinishParams) -> Result<Vec<Finished>> {
        if finishing.items.is_empty() {
            return Ok(Vec::new());
        }
        let completions = self.completions(&finishing.items)?;
        let mut session = self.write(verb).await?;
        let mut moment = self.moment(&mut session, finishing.now).await?;
        if let Some(completions) = completions {
            let finished = self.finish_plain(&mut session, finishing, &moment, &completions).await?;
            match self.end_plain(verb, session, finished).await? {
                Ended::Committed(finished) => {
                    let is_applied =
                        |(_, finished): &(&Finish, &Finished)| matches!(finished, Finished::Applied { .. });
                    let applied = finishing.items.iter().zip(&finished).filter(is_applied);
                    self.brake.passed("complete", applied.map(|(finish, _)| finish.lease.stage));
                    return Ok(finished);
                }
                Ended::Undone(again) => session = again,
            }
            moment = self.moment(&mut session, finishing.now).await?;
        }
        let batch = self.finish_batch(&finishing.items, finishing.limits, moment.now)?;
        let written = self.write_or_repeat(verb, session, &batch).await?;
        Ok(written.into_iter().map(|outcome| self.finished(outcome)).collect())
    }

    pub(super) fn finish_batch(&self, items: &[Finish], limits: Limits, now: String) -> Result<Batch<'_>> {
        let at = clock::parse(&now).unwrap_or_default();
        Ok(Batch {
            sql: &self.statements.finish,
            items: items.iter().map(|finish| self.finish_item(finish, limits, at)).collect::<Result<_>>()?,
            now,
            binds: vec![budget_limit(limits.max_retries).into(), self.policies.as_ref().into()],
            when_refused: WhenRefused::Fail,
            cause: |item| item.step.filter(|step| ["retry", "fail"].contains(step)),
        })
    }

    fn finish_item(&self, finish: &Finish, limits: Limits, now: DateTime<Utc>) -> Result<BatchItem> {
        let mut item = self.leased_item(&finish.lease)?;
        item.step = Some(finish.outcome.name());
        item.stage = Some(finish.lease.stage.index());
        item.error = finish.outcome.error().map(stored_error);
        match &finish.outcome {
            Outcome::Retry { error, delay } => {
                item.spent_error = Some(spent(Limit::Retries(limits.max_retries), Some(error)));
                item.delay_ms = delay.map(|delay| clock::milliseconds(delay.min(RETRY_DELAY_MAX)));
            }
            Outcome::SnoozeUntil(time) => item.due = Some(clock::format(*time)),
            Outcome::SnoozeFor(wait) => {
                item.due = Some(clock::format(clock::after(now, (*wait).min(RETRY_DELAY_MAX))));
            }
            Outcome::Complete | Outcome::Fail { .. } | Outcome::Release => {}
        }
        Ok(item)
    }

    pub(super) fn finished(&self, outcome: Written) -> Finished {
        match outcome {
            Written::Applied { word, .. } => match self.pipeline.status(&word) {
                Some(to) => Finished::Applied { to },
                // Only a trigger writes a word that the pipeline does not know.
                None => Finished::Refused { reason: Written::rewritten(Some(&word)), failed: false },
            },
            Written::Rewritten { word } => Finished::Refused {
                reason: Written::rewritten(word.as_deref()),
                failed: word.as_deref() == Some(self.pipeline.word(Status::Failed)),
            },
            Written::Missing => Finished::LeaseLost,
            Written::Held => Finished::Busy,
            Written::Ignored => Finished::Refused { reason: SILENTLY_REFUSED.to_owned(), failed: false },
            Written::Refused { reason, failed } => Finished::Refused { reason, failed },
        }
    }
}
