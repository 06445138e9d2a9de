//! Foreign keys on the columns that moves write: a word that the other table lacks is refused in every row.

use crate::pipeline::{Pipeline, Role, Status};

/// A foreign key on the column of one role alone.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) role: Role,
    /// The other table.
    pub(crate) parent: String,
    /// The words of the pipeline that the other table does not have; empty if they were not looked up.
    pub(crate) missing: Vec<String>,
}

impl Reference {
    /// Whether it is on a column of words, all of which the other table may have.
    pub(crate) fn is_of_words(role: Role) -> bool {
        matches!(role, Role::Status | Role::ResumeStatus)
    }

    /// The problem in a sentence, unless only `cancel` would be refused.
    pub(super) fn problem(&self, pipeline: &Pipeline) -> Option<String> {
        let Reference { role, parent, .. } = self;
        let column = pipeline.columns().name(*role);
        if !Reference::is_of_words(*role) {
            return Some(format!(
                "the column {column:?} ({role:?}) refers to {parent}, but moves write what is not there: drop the \
                 foreign key, or map the role to another column"
            ));
        }
        let cancelled = pipeline.word(Status::Cancelled);
        let words: Vec<&String> = self.missing.iter().filter(|word| *word != cancelled).collect();
        (!words.is_empty()).then(|| {
            format!("the column {column:?} ({role:?}) refers to {parent}, which lacks {words:?}: insert them there")
        })
    }
}
