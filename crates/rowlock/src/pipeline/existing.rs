//! What the rows are that a table had before it became a queue.

use super::{Pipeline, Status};

/// What the rows of a table are that has no status yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Existing {
    /// Work: they are ready for the first stage.
    Ready,
    /// Done already: nobody works on them.
    Succeeded,
    /// Left out: nobody works on them until somebody requeues them.
    Cancelled,
}

impl Existing {
    /// The word of such a row.
    pub(crate) fn word(self, pipeline: &Pipeline) -> &str {
        match self {
            Existing::Ready => pipeline.stages()[0].ready_word(),
            Existing::Succeeded => pipeline.word(Status::Succeeded),
            Existing::Cancelled => pipeline.word(Status::Cancelled),
        }
    }
}
