//! Finishes, and the proof of their outcomes where answers were lost.

use std::mem;

use tracing::field;

use super::{Attempts, Dispatch, Resend, retrying, within};
use crate::pipeline::Status;
use crate::store::{Finish, FinishParams, Finished, LeaseState, Store};
use crate::{Error, Fault, Result};

/// A finish in progress: what is to be written, and to which items an earlier attempt may have been applied.
#[derive(Debug)]
pub(crate) struct Settling {
    finishing: FinishParams,
    uncertain: Vec<bool>,
}

impl Settling {
    pub(crate) fn new(finishing: FinishParams) -> Settling {
        let uncertain = vec![false; finishing.items.len()];
        Settling { finishing, uncertain }
    }

    pub(crate) fn len(&self) -> usize {
        self.finishing.items.len()
    }

    /// The answer for an item, by its place, that will not be sent again.
    pub(crate) fn given_up(&self, place: usize) -> Finished {
        if self.uncertain[place] { Finished::Unknown } else { Finished::LeaseLost }
    }

    /// Splits off the items from this place on, for a separate statement.
    pub(crate) fn split_off(&mut self, at: usize) -> Settling {
        let finishing = FinishParams {
            items: self.finishing.items.split_off(at),
            limits: self.finishing.limits,
            now: self.finishing.now,
        };
        Settling { finishing, uncertain: self.uncertain.split_off(at) }
    }

    /// Takes out the marked items, for a separate statement.
    pub(crate) fn extract(&mut self, out: &[bool]) -> Settling {
        let finishing = FinishParams {
            items: extract(&mut self.finishing.items, out),
            limits: self.finishing.limits,
            now: self.finishing.now,
        };
        Settling { finishing, uncertain: extract(&mut self.uncertain, out) }
    }

    /// Keeps the marked items, in order.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        retain(&mut self.finishing.items, keep);
        retain(&mut self.uncertain, keep);
    }

    /// Whether an earlier attempt may have been applied to one of the items.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.uncertain.contains(&true)
    }
}

/// Takes out the marked elements, in order.
fn extract<T>(items: &mut Vec<T>, out: &[bool]) -> Vec<T> {
    let mut out = out.iter();
    items.extract_if(.., |_| *out.next().unwrap_or(&false)).collect()
}

/// Keeps the marked elements, in order.
fn retain<T>(items: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    items.retain(|_| *keep.next().unwrap_or(&false));
}

impl<S: Store> Dispatch<S> {
    /// Sends a finish once and resolves what earlier attempts left open. After an error nothing is settled yet, and the
    /// same `Settling` may be sent again; so may the items that are answered [`Finished::Busy`].
    pub(crate) async fn finish_once(&self, settling: &mut Settling) -> Result<Vec<Finished>> {
        let span = verb_span!(self, "finish", items = settling.len(), applied_items = field::Empty);
        let work = async {
            settling.finishing.now = settling.finishing.now.or(self.clock.now());
            // Until the answer arrives, a dropped future leaves the outcome open.
            let everything = vec![true; settling.len()];
            let before = mem::replace(&mut settling.uncertain, everything);
            let mut answers = match self.store.finish(&settling.finishing).await {
                Ok(answers) => answers,
                Err(error) => {
                    if !error.may_have_been_applied() {
                        settling.uncertain = before;
                    }
                    return Err(error);
                }
            };
            let mut after = before;
            for ((item, answer), uncertain) in settling.finishing.items.iter().zip(&mut answers).zip(&mut after) {
                match answer {
                    // After an error, what this attempt wrote stays uncertain.
                    Finished::LeaseLost if *uncertain => *answer = self.settle(item).await?,
                    // The store lost the answer for this item alone. Sent again, the item is either written or proved.
                    Finished::Unknown => {
                        *uncertain = true;
                        *answer = Finished::Busy;
                    }
                    _ => {}
                }
            }
            settling.uncertain = after;
            Ok(answers)
        };
        let answers = within(span.clone(), work).await?;
        let applied = answers.iter().filter(|answer| matches!(answer, Finished::Applied { .. })).count();
        span.record("applied_items", applied);
        Ok(answers)
    }

    /// Finishes, and sends busy items and items that met a transient error again, a limited number of times. Items
    /// whose outcome cannot be proved after that are [`Finished::Unknown`]; items that are still locked are
    /// [`Finished::Busy`].
    pub(crate) async fn finish(&self, finishing: FinishParams) -> Result<Vec<Finished>> {
        let mut settling = Settling::new(finishing);
        let mut answers = vec![None; settling.len()];
        let mut open: Vec<usize> = (0..settling.len()).collect();
        let mut attempts = Attempts::default();
        loop {
            let error = match self.finish_once(&mut settling).await {
                Ok(answered) => {
                    let busy: Vec<bool> = answered.iter().map(|answer| *answer == Finished::Busy).collect();
                    for (place, answer) in open.iter().zip(answered) {
                        answers[*place] = Some(answer);
                    }
                    settling.retain(&busy);
                    retain(&mut open, &busy);
                    None
                }
                Err(error) => Some(error),
            };
            let again = !open.is_empty() && error.as_ref().is_none_or(Error::is_transient);
            if again && attempts.wait_for_another().await {
                continue;
            }
            return match error {
                // With this error nothing was written, and no item's outcome is known.
                Some(error) if open.len() == answers.len() && !settling.uncertain.contains(&true) => Err(error),
                _ => {
                    for (place, uncertain) in open.iter().zip(&settling.uncertain) {
                        answers[*place] = Some(if *uncertain { Finished::Unknown } else { Finished::Busy });
                    }
                    Ok(answers.into_iter().map(|answer| answer.unwrap_or(Finished::Unknown)).collect())
                }
            };
        }
    }

    /// Writes the move in the user's transaction and commits it. If the answer to the commit is lost, the row is read:
    /// the statement cannot be sent again without the user's own writes.
    pub(crate) async fn finish_in(&self, transaction: S::Transaction, finish: &Finish) -> Result<Finished> {
        let span = verb_span!(self, "finish_in", outcome = finish.outcome.name());
        let work = async {
            let error = match self.store.finish_in(transaction, finish, self.limits()).await {
                Err(error) if error.may_have_been_applied() => error,
                answer => return answer,
            };
            let mut attempts = Attempts::default();
            loop {
                let state = self.store.renew(std::slice::from_ref(&finish.lease), None).await;
                match state.as_deref() {
                    // Renewed: no other transaction has locked the row, and the lease is still ours, so our transaction
                    // was rolled back.
                    Ok([LeaseState::Held]) => return Err(not_applied(error)),
                    Ok([LeaseState::Cancelled | LeaseState::Lost]) => return self.settle(finish).await,
                    _ => {}
                }
                if !attempts.wait_for_another().await {
                    return Ok(Finished::Unknown);
                }
            }
        };
        within(span, work).await
    }

    /// Reads whether a finish whose answer was lost was applied: the row has our token and a state that the outcome
    /// leads to. Every other writer that ends a lease clears the token, so none of them can have written that state.
    async fn settle(&self, finish: &Finish) -> Result<Finished> {
        let row = retrying(Resend::Always, || self.store.get(&finish.lease.key)).await?;
        let Some(row) = row else { return Ok(Finished::Unknown) };
        let ours = row.token == Some(finish.lease.token.as_i64());
        Ok(match row.status {
            Some(to) if ours && self.leads_to(finish, to) => Finished::Applied { to },
            _ => Finished::Unknown,
        })
    }

    /// Whether the finish may have led to this state. The row does not say whether a retry was the last one.
    fn leads_to(&self, finish: &Finish, to: Status) -> bool {
        let from = Status::InProgress(finish.lease.stage);
        [false, true].into_iter().any(|spent| self.pipeline().after(from, finish.outcome.to_move(spent)) == Ok(to))
    }
}

/// The error of a write that was proved not to have been applied.
fn not_applied(error: Error) -> Error {
    match error {
        Error::Database { verb, source, .. } => Error::Database { verb, fault: Fault::NotApplied, source },
        other => other,
    }
}
