//! Writing what became of the items: while one statement is under way the next ones gather.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::ended::{Ended, LossReason, Verdict};
use super::engine::Engine;
use super::errors::Errors;
use super::hooks::{FailedBy, FailedItem};
use super::report::WorkerReport;
use crate::dispatch::{Dispatch, Settling};
use crate::limits::{
    BATCH_ITEMS_MAX, FINISH_GATHER_ITEMS_MIN, FINISH_GATHER_MAX, FINISH_KEPT_FOR, VERB_BACKOFF_MAX, VERB_BACKOFF_MIN,
};
use crate::pipeline::{StageId, Status};
use crate::store::{Finish, Finished, Finishing};
use crate::{Error, Outcome, Store};

/// Writes ended items for as long as it is polled.
pub(crate) async fn finish_ended<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>) {
    let mut errors = Errors::default();
    let mut last_batch = 0;
    loop {
        engine.floor.ended.some().await;
        gather(engine, last_batch).await;
        let mut batch = engine.floor.ended.take(BATCH_ITEMS_MAX);
        last_batch = batch.len();
        engine.floor.ended.put_back(split_off_repeated(&mut batch));
        let answers = send(engine, verbs, &batch, &mut errors).await;
        account(engine, &batch, answers);
        engine.floor.leases.forget(batch.iter().map(|ended| &ended.held.lease));
        engine.floor.wake.notify_one();
    }
}

/// When items end quickly, waits a moment for more of them.
async fn gather<S: Store, R>(engine: &Engine<S, R>, last_batch: usize) {
    if last_batch < FINISH_GATHER_ITEMS_MIN {
        return;
    }
    let until = Instant::now() + FINISH_GATHER_MAX;
    while engine.floor.ended.len() < BATCH_ITEMS_MAX.min(engine.floor.leases.len()) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A key may stand in a statement once; an item that was lost and claimed again waits for the next.
fn split_off_repeated(batch: &mut Vec<Ended>) -> Vec<Ended> {
    let mut keys = HashSet::with_capacity(batch.len());
    let repeated: Vec<bool> = batch.iter().map(|ended| !keys.insert(ended.held.lease.key.clone())).collect();
    if !repeated.contains(&true) {
        return Vec::new();
    }
    let (again, once): (Vec<_>, Vec<_>) = batch.drain(..).zip(repeated).partition(|(_, repeated)| *repeated);
    *batch = once.into_iter().map(|(ended, _)| ended).collect();
    again.into_iter().map(|(ended, _)| ended).collect()
}

/// Sends what is to be written until it is answered, or until nobody can hope any more that the leases hold. One
/// answer for each item that is to be written, in order.
async fn send<S: Store, R: Send + 'static>(
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    batch: &[Ended],
    errors: &mut Errors,
) -> Vec<Finished> {
    let finish = |ended: &Ended| {
        ended.verdict.outcome().map(|outcome| Finish { lease: ended.held.lease.clone(), outcome: outcome.clone() })
    };
    let items: Vec<Finish> = batch.iter().filter_map(finish).collect();
    if items.is_empty() {
        return Vec::new();
    }
    let first_sent_at = Instant::now();
    let mut settling = Settling::new(Finishing { items, limits: verbs.limits(), now: None });
    let mut backoff = VERB_BACKOFF_MIN;
    loop {
        match verbs.finish_once(&mut settling).await {
            Ok(answers) => {
                engine.pulse.answered(Instant::now());
                errors.passed("finish");
                if settling.note(answers) {
                    return settling.into_answers(Finished::Unknown);
                }
                if Instant::now() > kept_until(engine, batch, first_sent_at) {
                    return settling.into_answers(Finished::LeaseLost);
                }
            }
            Err(error) => {
                errors.met("finish", &error);
                engine.tally.count(|report| report.errors += 1);
                if Instant::now() > kept_until(engine, batch, first_sent_at) {
                    let unsent = if settling.is_uncertain() { Finished::Unknown } else { Finished::LeaseLost };
                    return settling.into_answers(unsent);
                }
            }
        }
        let pause = backoff.mul_f64(rand::rng().random_range(0.5..=1.0));
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(VERB_BACKOFF_MAX);
    }
}

fn kept_until<S: Store, R: Send + 'static>(engine: &Engine<S, R>, batch: &[Ended], first_sent_at: Instant) -> Instant {
    let stale_after = engine.pipeline().stale_after();
    let lives = batch.iter().map(|ended| ended.held.renewed_at() + stale_after).max();
    lives.map_or(first_sent_at, |life| life.max(first_sent_at)) + FINISH_KEPT_FOR
}

fn account<S: Store, R: Send + 'static>(engine: &Engine<S, R>, batch: &[Ended], answers: Vec<Finished>) {
    let mut answers = answers.into_iter();
    let mut counts = WorkerReport::default();
    let mut moved_on = HashSet::new();
    for ended in batch {
        let stage = ended.held.lease.stage;
        let end = match &ended.verdict {
            Verdict::Settled { to, outcome, error } => End::Moved { to: *to, outcome: *outcome, error: error.clone() },
            Verdict::Lost(reason) => End::Lost(*reason),
            verdict => {
                count_cause(&mut counts, verdict);
                let outcome = verdict.outcome();
                match answers.next().unwrap_or(Finished::Unknown) {
                    Finished::Applied { to } => End::Moved {
                        to,
                        outcome: outcome.map(Outcome::name),
                        error: outcome.and_then(Outcome::error).map(str::to_owned),
                    },
                    Finished::LeaseLost if matches!(verdict, Verdict::WriteAfterUnknown(_)) => End::Unknown,
                    Finished::LeaseLost => End::Lost(LossReason::Ended),
                    Finished::Busy | Finished::Unknown => End::Unknown,
                    Finished::Refused { reason, failed } => End::Refused { reason, failed },
                }
            }
        };
        if let End::Moved { to: Status::Ready(next), outcome: Some("complete") | None, .. } = end {
            moved_on.extend((next != stage).then_some(next));
        }
        tell(engine, &mut counts, ended, end);
    }
    engine.tally.count(|report| add(report, &counts));
    engine.nudge(moved_on);
}

/// How an item's lease ended in fact.
enum End {
    Moved { to: Status, outcome: Option<&'static str>, error: Option<String> },
    Lost(LossReason),
    Unknown,
    Refused { reason: String, failed: bool },
}

fn count_cause(counts: &mut WorkerReport, verdict: &Verdict) {
    match verdict {
        Verdict::TimedOut(_) => counts.timed_out += 1,
        Verdict::Panicked(_) => counts.panicked += 1,
        Verdict::Undecodable(_) => counts.undecodable += 1,
        Verdict::Write(_) | Verdict::WriteAfterUnknown(_) | Verdict::Settled { .. } | Verdict::Lost(_) => {}
    }
}

fn tell<S: Store, R: Send + 'static>(engine: &Engine<S, R>, counts: &mut WorkerReport, ended: &Ended, end: End) {
    let key = &ended.held.lease.key;
    let stage = ended.held.lease.stage;
    let name = engine.pipeline().stage(stage).name();
    let failed = |cause, error: String| FailedItem { key: key.clone(), stage: Some(stage), cause, error };
    match end {
        End::Moved { to: Status::Failed, error, .. } => {
            let error = error.unwrap_or_default();
            tracing::warn!(%key, stage = name, error, "failed for good");
            counts.failed += 1;
            engine.failed.tell(|| failed(FailedBy::Handler, error));
        }
        End::Moved { to, outcome, error } => match kind_of(stage, to, outcome) {
            "retry" => {
                tracing::warn!(%key, stage = name, error, "attempt failed; will be tried again");
                counts.retried += 1;
            }
            "release" => counts.released += 1,
            "snooze" => counts.snoozed += 1,
            _ => {
                tracing::debug!(%key, stage = name, "completed");
                counts.completed += 1;
            }
        },
        End::Lost(reason) => {
            match reason {
                LossReason::Cancelled => counts.cancelled += 1,
                LossReason::Ended | LossReason::NotRenewed => counts.lost += 1,
            }
            tracing::warn!(%key, stage = name, reason = loss(reason), "lease lost");
        }
        End::Unknown => {
            tracing::warn!("{}", Error::OutcomeUnknown { key: key.clone() });
            counts.unknown += 1;
        }
        End::Refused { reason, failed: is_failed } => {
            tracing::error!(%key, stage = name, reason, is_failed, "the database refuses the write");
            counts.refused += 1;
            if is_failed {
                engine.failed.tell(|| failed(FailedBy::Refused, reason));
            }
        }
    }
}

/// The name of the move; where the handler did not say, what its effect looks like.
fn kind_of(stage: StageId, to: Status, outcome: Option<&'static str>) -> &'static str {
    match outcome {
        Some(name) => name,
        None if to == Status::Ready(stage) => "retry",
        None => "complete",
    }
}

fn loss(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Ended => "it was ended by somebody else",
        LossReason::Cancelled => "the item was cancelled",
        LossReason::NotRenewed => "no renewal got through for as long as a lease lives",
    }
}

fn add(report: &mut WorkerReport, counts: &WorkerReport) {
    report.completed += counts.completed;
    report.retried += counts.retried;
    report.failed += counts.failed;
    report.released += counts.released;
    report.snoozed += counts.snoozed;
    report.lost += counts.lost;
    report.cancelled += counts.cancelled;
    report.unknown += counts.unknown;
    report.refused += counts.refused;
    report.timed_out += counts.timed_out;
    report.panicked += counts.panicked;
    report.undecodable += counts.undecodable;
}
