//! The completer writes the outcomes of items. While one statement runs, the next outcomes gather. Items that cannot be
//! written with the others go to the retry lane (`batch`), so that one item never holds up the rest. What is over is
//! accounted for: counts, log entries and the on-failed hook.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::batch::{Batch, Next};
use super::completion::{Completion, Disposition, LossReason};
use super::hooks::{FailedBy, FailedItem};
use super::refusals::Refused;
use super::report::{Errors, WorkerReport};
use super::supervisor::{Phase, Supervisor};
use crate::backoff::RetryWait;
use crate::dispatch::Dispatch;
use crate::limits::{
    BATCH_ITEMS_MAX, FINISH_GATHER_ITEMS_MIN, FINISH_GATHER_MAX, FINISH_HALVINGS_MAX, FINISH_OUTAGE_TRIES_MAX,
};
use crate::pipeline::{StageId, Status};
use crate::store::Finished;
use crate::{Error, Outcome, Store};

/// Writes completions for as long as it is polled.
pub(crate) async fn write_completions<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, verbs: &Dispatch<S>) {
    let mut errors = Errors::default();
    let mut last = Last { items: 0, took: Duration::ZERO };
    loop {
        supervisor.shared.completions.some().await;
        gather(supervisor, last).await;
        let mut batch = supervisor.shared.completions.take(BATCH_ITEMS_MAX);
        last.items = batch.len();
        let started = Instant::now();
        supervisor.shared.completions.push_all(split_off_repeated(&mut batch));
        let (mut to_write, over): (Vec<Completion>, Vec<Completion>) =
            batch.into_iter().partition(|completion| completion.disposition.outcome().is_some());
        if !over.is_empty() {
            account(supervisor, &over, []);
        }
        if supervisor.refusals.is_any() {
            let_wait(supervisor, verbs, &mut to_write);
        }
        if !to_write.is_empty() {
            write(supervisor, verbs, Batch::new(to_write, verbs.limits()), &mut errors).await;
        }
        last.took = started.elapsed();
    }
}

/// The previous batch.
#[derive(Debug, Clone, Copy)]
struct Last {
    items: usize,
    took: Duration,
}

/// Sends again what could not be written with the others, for as long as it is polled. It sends one batch at a time,
/// and waits after a batch that did not get through. A batch that meets a lasting error is halved, as in `write`: items
/// that waited for others, or for the end of an outage, arrive here in large numbers.
pub(crate) async fn retry_apart<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, verbs: &Dispatch<S>) {
    let mut errors = Errors::default();
    let mut backoff = RetryWait::default();
    let mut failures_in_a_row = 0;
    loop {
        let (tries, mut batch) = match supervisor.retry_lane.next(&supervisor.refusals).await {
            Next::Batch(batch) => (None, batch),
            Next::Try(waiting, batch) => (Some(waiting), batch),
        };
        let before = batch.len();
        let sent = send(supervisor, verbs, &mut batch, &mut errors).await;
        let progress = sent.is_ok() && batch.len() < before;
        let is_held = set_refused_aside(supervisor, verbs, &mut batch);
        failures_in_a_row = if sent.is_ok() { 0 } else { failures_in_a_row + 1 };
        let is_to_be_halved = |error: Error| !error.is_transient() || failures_in_a_row > FINISH_OUTAGE_TRIES_MAX;
        if sent.is_err_and(is_to_be_halved) && batch.len() > 1 && !is_held {
            supervisor.retry_lane.push(batch.halve());
        }
        match tries {
            Some(waiting) => {
                supervisor.retry_lane.wait(waiting, batch);
                // Items that are released because the worker ends have not passed.
                if supervisor.phase() < Phase::Stopping && !supervisor.retry_lane.has(waiting) {
                    supervisor.note_passed(Refused::Finishes(waiting.1), waiting.0);
                }
                // The next try has a separate schedule.
                continue;
            }
            None if !batch.is_empty() => supervisor.retry_lane.push(batch),
            None => {}
        }
        if progress {
            backoff = RetryWait::default();
        } else {
            backoff.wait().await;
        }
    }
}

/// Sets aside the kinds of finishes (by stage and outcome) that the database refuses one after the other for the same
/// cause: they wait until one of the kind passes. True if there were any.
fn set_refused_aside<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    batch: &mut Batch,
) -> bool {
    let before = batch.len();
    if before > 0 && !verbs.store().refused_stages().is_empty() {
        for (stage, outcome) in batch.moves() {
            supervisor.note_refused(verbs.store(), Refused::Finishes(outcome), &[stage]);
            if supervisor.refusals.has(stage, Refused::Finishes(outcome)) {
                let is_of_it = |completion: &Completion| completion.moves() == Some((stage, outcome));
                let waiting = batch.extract(is_of_it);
                waiting.completions().iter().for_each(|completion| completion.held.keep(Instant::now()));
                supervisor.retry_lane.wait((stage, outcome), waiting);
            }
        }
    }
    batch.len() < before
}

/// When items end quickly, waits a moment for more of them. The slower the database is, the longer this waits: many
/// small finishes would slow it down further.
async fn gather<S: Store, R>(supervisor: &Supervisor<S, R>, last: Last) {
    if last.items < FINISH_GATHER_ITEMS_MIN {
        return;
    }
    let until = Instant::now() + last.took.min(FINISH_GATHER_MAX);
    while supervisor.shared.completions.len() < BATCH_ITEMS_MAX.min(supervisor.shared.leases.len())
        && Instant::now() < until
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A key may appear in a statement once; an item that was lost and claimed again waits for the next one.
fn split_off_repeated(batch: &mut Vec<Completion>) -> Vec<Completion> {
    let mut keys = HashSet::with_capacity(batch.len());
    let repeated: Vec<bool> = batch.iter().map(|completion| !keys.insert(&completion.held.lease.key)).collect();
    if !repeated.contains(&true) {
        return Vec::new();
    }
    let (again, once): (Vec<_>, Vec<_>) = batch.drain(..).zip(repeated).partition(|(_, repeated)| *repeated);
    *batch = once.into_iter().map(|(completion, _)| completion).collect();
    again.into_iter().map(|(completion, _)| completion).collect()
}

/// Writes a batch. It waits for an outage to end, but only for a while if others wait, since the error may be one
/// item's own. Finishes that the database refuses for a common cause are set aside. After another lasting error the
/// batch is halved until the items that meet it are alone; these go to the retry lane, as do items whose rows are
/// locked.
async fn write<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    batch: Batch,
    errors: &mut Errors,
) {
    let mut batches = vec![batch];
    let mut failures_in_a_row = 0;
    let mut backoff = RetryWait::default();
    while let Some(mut batch) = batches.pop() {
        let sent = send(supervisor, verbs, &mut batch, errors).await;
        let is_held = set_refused_aside(supervisor, verbs, &mut batch);
        let Err(error) = sent else {
            failures_in_a_row = 0;
            backoff = RetryWait::default();
            if !batch.is_empty() {
                supervisor.retry_lane.push(batch);
            }
            continue;
        };
        if batch.is_empty() {
            continue;
        }
        if is_held {
            // The others have not been tried without the refused ones.
            batches.push(batch);
            continue;
        }
        failures_in_a_row += 1;
        let is_of_everything = error.is_transient() || failures_in_a_row > FINISH_HALVINGS_MAX;
        let others_wait = !batches.is_empty() || supervisor.shared.completions.len() > 0;
        if error.is_transient() && others_wait && failures_in_a_row > FINISH_OUTAGE_TRIES_MAX {
            supervisor.retry_lane.push(batch);
        } else if error.is_transient() {
            // Rows that all raise an error, some of them one that might pass, would keep one another for ever.
            if failures_in_a_row > FINISH_OUTAGE_TRIES_MAX && batch.len() > 1 {
                batches.push(batch.halve());
            }
            batches.push(batch);
        } else if batch.len() > 1 {
            let second = batch.halve();
            batches.extend([second, batch]);
        } else {
            for completion in batch.completions() {
                let key = &completion.held.lease.key;
                tracing::error!(%key, %error, "the outcome cannot be written; sent again apart");
            }
            supervisor.retry_lane.push(batch);
        }
        if is_of_everything {
            backoff.wait().await;
        }
    }
}

/// Sets aside at once the items that would be refused, as others of their kind were.
fn let_wait<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    completions: &mut Vec<Completion>,
) {
    let waits = |completion: &mut Completion| {
        completion.moves().is_some_and(|(stage, outcome)| supervisor.refusals.has(stage, Refused::Finishes(outcome)))
    };
    let waiting: Vec<Completion> = completions.extract_if(.., waits).collect();
    let mut batch = Batch::new(waiting, verbs.limits());
    for (stage, outcome) in batch.moves() {
        supervisor
            .retry_lane
            .wait((stage, outcome), batch.extract(|completion| completion.moves() == Some((stage, outcome))));
    }
}

/// Sends a batch once. Accounts for the items that were answered, and for those whose time to be written is over; the
/// rest stays in the batch.
async fn send<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    batch: &mut Batch,
    errors: &mut Errors,
) -> crate::Result<()> {
    let met = match verbs.finish_once(&mut batch.settling).await {
        Ok(answers) => {
            supervisor.disruptions.wrote(Instant::now());
            errors.passed("finish");
            let busy: Vec<bool> = answers.iter().map(|answer| *answer == Finished::Busy).collect();
            let over = batch.take_all_but(&busy);
            if supervisor.refusals.is_any() {
                note_written(supervisor, &over, &answers);
            }
            account(supervisor, &over, answers.into_iter().filter(|answer| *answer != Finished::Busy));
            Ok(())
        }
        Err(error) => {
            supervisor.met(errors, "finish", &error);
            Err(error)
        }
    };
    let (given_up, answers) = batch.take_given_up(Instant::now(), supervisor.pipeline().stale_after());
    if !given_up.is_empty() {
        account(supervisor, &given_up, answers);
    }
    met
}

/// Lets items resume that waited for one of these to pass.
fn note_written<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, over: &[Completion], answers: &[Finished]) {
    let answers = answers.iter().filter(|answer| **answer != Finished::Busy);
    for (completion, answer) in over.iter().zip(answers) {
        if let (Some((stage, outcome)), Finished::Applied { .. }) = (completion.moves(), answer)
            && supervisor.refusals.has(stage, Refused::Finishes(outcome))
        {
            supervisor.note_passed(Refused::Finishes(outcome), stage);
            supervisor.retry_lane.resume((stage, outcome));
        }
    }
}

/// Accounts for items that are over, and removes their leases from the lease table. `answers` has one answer, in order,
/// for each item that was to be written.
fn account<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    over: &[Completion],
    answers: impl IntoIterator<Item = Finished>,
) {
    let mut answers = answers.into_iter();
    let mut counts = WorkerReport::default();
    let mut moved_on = HashSet::new();
    for completion in over {
        let stage = completion.held.lease.stage;
        let end = match &completion.disposition {
            Disposition::Settled { to, outcome, error } => {
                End::Moved { to: *to, outcome: *outcome, error: error.clone() }
            }
            Disposition::Refused { reason } => End::Refused { reason: reason.clone(), failed: true },
            Disposition::Lost(reason) => End::Lost(*reason),
            disposition => {
                count_cause(&mut counts, disposition);
                let outcome = disposition.outcome();
                match answers.next().unwrap_or(Finished::Unknown) {
                    Finished::Applied { to } => End::Moved {
                        to,
                        outcome: outcome.map(Outcome::name),
                        error: error_of(disposition).map(str::to_owned),
                    },
                    Finished::LeaseLost if matches!(disposition, Disposition::WriteAfterUnknown(_)) => End::Unknown,
                    Finished::LeaseLost => End::Lost(LossReason::Ended),
                    Finished::Busy | Finished::Unknown => End::Unknown,
                    Finished::Refused { reason, failed } => End::Refused { reason, failed },
                }
            }
        };
        if let End::Moved { to: Status::Ready(next), outcome: Some("complete") | None, .. } = end {
            moved_on.extend((next != stage).then_some(next));
        }
        tell(supervisor, &mut counts, completion, end);
    }
    supervisor.tally.count(|report| add(report, &counts));
    supervisor.nudge(moved_on);
    supervisor.shared.leases.forget(over.iter().map(|completion| &*completion.held));
    supervisor.shared.wake.notify_one();
}

/// What went wrong with an item.
fn error_of(disposition: &Disposition) -> Option<&str> {
    match disposition {
        Disposition::Outage { error, .. } => Some(error),
        disposition => disposition.outcome().and_then(Outcome::error),
    }
}

/// How an item's lease actually ended.
enum End {
    Moved { to: Status, outcome: Option<&'static str>, error: Option<String> },
    Lost(LossReason),
    Unknown,
    Refused { reason: String, failed: bool },
}

fn count_cause(counts: &mut WorkerReport, disposition: &Disposition) {
    match disposition {
        Disposition::TimedOut(_) => counts.timed_out += 1,
        Disposition::Panicked(_) => counts.panicked += 1,
        Disposition::Undecodable(_) => counts.undecodable += 1,
        Disposition::Outage { .. } => counts.outages += 1,
        Disposition::Write(_)
        | Disposition::WriteAfterUnknown(_)
        | Disposition::Settled { .. }
        | Disposition::Refused { .. }
        | Disposition::Lost(_) => {}
    }
}

fn tell<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    counts: &mut WorkerReport,
    completion: &Completion,
    end: End,
) {
    let key = &completion.held.lease.key;
    let stage = completion.held.lease.stage;
    let name = supervisor.pipeline().stage(stage).name();
    let failed = |cause, error: String| FailedItem { key: key.clone(), stage: Some(stage), cause, error };
    match end {
        End::Moved { to: Status::Failed, error, .. } => {
            let error = error.unwrap_or_default();
            tracing::warn!(%key, stage = name, error, "failed for good");
            counts.failed += 1;
            supervisor.failed.tell(|| failed(FailedBy::Handler, error));
        }
        End::Moved { to, outcome, error } => match kind_of(stage, to, outcome) {
            "retry" => {
                tracing::warn!(%key, stage = name, error, "attempt failed; will be tried again");
                counts.retried += 1;
            }
            "release" => counts.released += 1,
            "snooze" => {
                if let Some(error) = error {
                    tracing::info!(%key, stage = name, error, "put off by an outage; no attempt is counted");
                }
                counts.snoozed += 1;
            }
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
                supervisor.failed.tell(|| failed(FailedBy::Refused, reason));
            }
        }
    }
}

/// The name of the move, or the name that its effect suggests if the outcome is not known.
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
    report.outages += counts.outages;
}
