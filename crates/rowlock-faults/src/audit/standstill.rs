//! Whether good items are completed in bounded time, whatever other items there are. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::evidence::{Evidence, ItemRow};
use super::violation::Violation;
use crate::subject::Behaviour;

/// An item was added, or one of its stages completed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) item: &'a str,
    pub(super) is_completion: bool,
}

/// Times between two completions that are too long. A fleet that is only slow completes something now and then; a fleet
/// that a bad row stops completes nothing, perhaps until the suite gives up. Before items that are added there may be
/// nothing to do.
pub(super) fn standstills(evidence: &Evidence, mut progress: Vec<Progress<'_>>) -> Vec<Violation> {
    let Some(limit) = evidence.no_standstill_of else { return Vec::new() };
    progress.sort_unstable_by_key(|one| one.at);
    let pause = |from: DateTime<Utc>, until: DateTime<Utc>| (until - from).to_std().unwrap_or(Duration::ZERO);
    let standstill = |before: &str, pause: Duration| {
        (pause > limit).then(|| Violation::Standstill { before: before.to_owned(), for_ms: pause.as_millis() })
    };
    let between = progress.windows(2).filter(|pair| pair[1].is_completion);
    let mut found: Vec<Violation> =
        between.filter_map(|pair| standstill(pair[1].item, pause(pair[0].at, pair[1].at))).collect();
    let waits = evidence.items.iter().find(|row| is_left_waiting(evidence, row));
    if let (Some(last), Some(row), Some(given_up_at)) = (progress.last(), waits, evidence.given_up_at) {
        found.extend(standstill(&row.id, pause(last.at, given_up_at)));
    }
    found
}

/// Whether this is a good item that was never finished.
fn is_left_waiting(evidence: &Evidence, row: &ItemRow) -> bool {
    let is_terminal = matches!(row.status.as_deref(), Some("SUCCEEDED" | "FAILED" | "CANCELLED"));
    let is_good = Behaviour::of_word(&row.behaviour).is_some_and(Behaviour::succeeds);
    is_good && !is_terminal && !evidence.edited.contains(&row.id) && !evidence.doomed.contains(&row.id)
}
