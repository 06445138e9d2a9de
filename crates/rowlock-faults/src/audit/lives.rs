//! One item's moves as steps of known kinds. Pure.

use chrono::{DateTime, Utc};
use rowlock::{Pipeline, Status};

use super::evidence::Move;

/// A lease from its claim on.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The token that was drawn for it.
    pub token: Option<i64>,
    /// Its holder.
    pub holder: String,
    /// Its beginning.
    pub at: DateTime<Utc>,
}

/// The kind of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// The row was inserted.
    Insert,
    /// The row was deleted.
    Delete,
    /// It was claimed.
    Claim,
    /// The stage was completed.
    Complete,
    /// A failed attempt was counted.
    Retry,
    /// It was taken back and counted.
    Sweep,
    /// It returned to the queue uncounted.
    GiveBack,
    /// It failed at once, by its handler or because the database refused its row.
    Fail,
    /// It was at a limit.
    Exhaust,
    /// Not a move of the engine's.
    Illegal,
}

/// One move of one item.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// The move.
    pub row: &'a Move,
    /// Its kind.
    pub kind: StepKind,
    /// The stage in which it was made.
    pub stage: Option<usize>,
}

/// The steps of one item's moves.
pub(super) fn steps<'a>(pipeline: &Pipeline, moves: &[&'a Move]) -> Vec<Step<'a>> {
    let (mut retries, mut resets) = (0, 0);
    moves
        .iter()
        .map(|&row| {
            let now = (row.retries.unwrap_or(0), row.resets.unwrap_or(0));
            let kind = kind(pipeline, row, now.0 > retries, now.1 > resets);
            (retries, resets) = now;
            let word = row.was.as_deref().or(row.became.as_deref());
            let stage = word.and_then(|word| pipeline.status(word)).and_then(Status::stage);
            Step { row, kind, stage: stage.map(|stage| stage.index()) }
        })
        .collect()
}

fn kind(pipeline: &Pipeline, row: &Move, retried: bool, reset: bool) -> StepKind {
    let (was, became) = match (&row.was, &row.became) {
        (None, _) => return StepKind::Insert,
        (_, None) => return StepKind::Delete,
        (Some(was), Some(became)) => (pipeline.status(was), pipeline.status(became)),
    };
    let (Some(was), Some(became)) = (was, became) else { return StepKind::Illegal };
    match (was, became) {
        (Status::Ready(from), Status::InProgress(to)) if from == to => StepKind::Claim,
        (Status::InProgress(stage), to) if to == pipeline.completed(stage) => StepKind::Complete,
        (Status::InProgress(from), Status::Ready(to)) if from == to => match (retried, reset) {
            (true, false) => StepKind::Retry,
            (false, true) => StepKind::Sweep,
            (false, false) => StepKind::GiveBack,
            (true, true) => StepKind::Illegal,
        },
        (Status::InProgress(_), Status::Failed) => match (retried, reset) {
            (true, false) => StepKind::Retry,
            (false, true) => StepKind::Sweep,
            (false, false) => StepKind::Fail,
            (true, true) => StepKind::Illegal,
        },
        (Status::Ready(_), Status::Failed) => StepKind::Exhaust,
        _ => StepKind::Illegal,
    }
}
