//! Accounts for ended items: counts, log entries and the on-failed hook.

use std::collections::HashSet;

use super::completion::{Completion, Disposition, LossReason};
use super::hooks::{FailedBy, FailedItem};
use super::report::WorkerReport;
use super::supervisor::Supervisor;
use crate::pipeline::{StageId, Status};
use crate::store::Finished;
use crate::{Error, Outcome, Store};

/// Accounts for items that are over, and removes their leases from the lease table. `answers` has one answer, in order,
/// for each item that was to be written.
pub(crate) fn account<S: Store, R: Send + 'static>(
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
