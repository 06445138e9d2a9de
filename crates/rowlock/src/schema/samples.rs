//! Values that moves write, used to try constraints: a constraint on one column that refuses such a value refuses it in
//! every row.

use crate::limits::{COUNTS_TRIED_MAX, ERROR_MESSAGE_BYTES_MAX, HOLDER_COLUMN_CHARS_MIN};
use crate::pipeline::{Pipeline, Role, Status, Word};

/// A constraint on the column of one role alone, with the values that it refuses; `None` is null.
#[derive(Debug, Clone)]
pub(crate) struct ForbiddenValues {
    pub(crate) constraint: String,
    pub(crate) role: Role,
    pub(crate) values: Vec<Option<String>>,
}

/// The values that moves write to the column of a role, as text.
pub(crate) fn samples(pipeline: &Pipeline, role: Role) -> Vec<Option<String>> {
    let counts = |max: u32| -> Vec<Option<String>> {
        (0..=max.min(COUNTS_TRIED_MAX)).chain([max]).map(|count| Some(count.to_string())).collect()
    };
    match role {
        Role::Status => {
            let signs = pipeline.statuses().map(|status| pipeline.sign(status));
            let written = signs.filter_map(|sign| sign.words().first().cloned());
            written.map(|word| (word != Word::Null).then(|| word.shown())).collect()
        }
        Role::ResumeStatus => {
            let ready = pipeline.stages().iter().map(|stage| Some(stage.ready_word().to_owned()));
            ready.chain([None]).collect()
        }
        Role::RetryCount => counts(pipeline.max_retries()),
        Role::ResetCount => counts(pipeline.max_resets()),
        Role::ErrorMessage => vec![Some("x".repeat(ERROR_MESSAGE_BYTES_MAX))],
        Role::ClaimedBy => vec![Some("x".repeat(HOLDER_COLUMN_CHARS_MIN))],
        Role::RetryAfter | Role::ClaimToken => vec![None],
        Role::Heartbeat | Role::ClaimedAt | Role::CreatedAt | Role::UpdatedAt => Vec::new(),
    }
}

impl ForbiddenValues {
    /// The problem in a sentence. `None` if only `cancel` would be refused: `cancel` itself then says so, and names the
    /// constraint.
    pub(super) fn problem(&self, pipeline: &Pipeline) -> Option<String> {
        let (constraint, role) = (&self.constraint, self.role);
        let column = pipeline.columns().name(role);
        let values: Vec<&str> = self.values.iter().map(|value| value.as_deref().unwrap_or("null")).collect();
        match role {
            Role::Status => {
                let cancelled = pipeline.word(Status::Cancelled);
                let words: Vec<&str> = values.into_iter().filter(|word| *word != cancelled).collect();
                (!words.is_empty())
                    .then(|| format!("the constraint {constraint:?} does not allow the status {words:?}: extend it"))
            }
            Role::ErrorMessage | Role::ClaimedBy => {
                let chars = values.iter().map(|value| value.chars().count()).max().unwrap_or(0);
                Some(format!(
                    "the constraint {constraint:?} does not allow {chars} characters in {column:?} ({role:?}): extend \
                     it"
                ))
            }
            _ => (!values.is_empty()).then(|| {
                format!(
                    "the constraint {constraint:?} does not allow {values:?} in {column:?} ({role:?}), which moves \
                     write: extend it"
                )
            }),
        }
    }
}
