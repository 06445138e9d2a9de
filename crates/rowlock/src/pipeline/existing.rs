//! The state of rows that a table had before it became a queue.

use super::{Pipeline, Status};

/// The state of rows in a table that has no status column yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Existing {
    /// Work to do: they are ready for the first stage.
    Ready,
    /// Done already: no worker takes them.
    Succeeded,
    /// Left out: no worker takes them until they are requeued.
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
