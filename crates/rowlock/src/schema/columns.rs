//! The requirements on a column, as the key and in each role.

use super::Reference;
use crate::limits::HOLDER_COLUMN_CHARS_MIN;
use crate::pipeline::{Form, KeyType, Pipeline, Role, StatusType};

/// What a column can be used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Text,
    /// A text that an index finds by a parameter of type text.
    IndexedText,
    Uuid,
    Int,
    BigInt,
    Count,
    Token,
    Time,
}

/// A column that the table has.
#[derive(Debug, Clone)]
pub(crate) struct FoundColumn {
    pub(crate) name: String,
    /// Whether its name is case-insensitive.
    pub(crate) ignores_case: bool,
    pub(crate) type_name: String,
    /// What it can be used as, by its type alone.
    pub(crate) kinds: Vec<ColumnKind>,
    pub(crate) not_null: bool,
    /// Whether the database computes it, so that it cannot be written.
    pub(crate) is_generated: bool,
    /// The most characters that it holds; `None` if there is no such limit.
    pub(crate) chars_max: Option<usize>,
    /// Whether no two rows can have the same value in it, at any time.
    pub(crate) is_unique: bool,
    /// Whether it equates texts that differ in case or by blanks.
    pub(crate) blurs_texts: bool,
}

impl FoundColumn {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || (self.ignores_case && self.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn problems_as_key(&self, pipeline: &Pipeline) -> Vec<String> {
        let mut problems = Vec::new();
        let key = pipeline.key();
        let kind = match pipeline.key_type() {
            KeyType::Text => ColumnKind::IndexedText,
            KeyType::Uuid => ColumnKind::Uuid,
            KeyType::Int => ColumnKind::Int,
            KeyType::BigInt => ColumnKind::BigInt,
        };
        let has_many = pipeline.key_columns().len() > 1;
        if has_many && !self.not_null {
            problems.push(format!("the key column {:?} may be null: make it not null", self.name));
        }
        if has_many {
            return problems;
        }
        if !self.kinds.contains(&kind) {
            problems.push(format!(
                "the key column {key:?} is of type {}, but the pipeline says {:?}: give the pipeline the key's type",
                self.type_name,
                pipeline.key_type()
            ));
        }
        if !self.is_unique {
            problems
                .push(format!("the key column {key:?} is not unique by itself: add a unique index, not deferrable"));
        }
        problems
    }

    pub(super) fn problems_as(&self, pipeline: &Pipeline, role: Role) -> Vec<String> {
        let (kinds, wanted) = wanted(role);
        let name = &self.name;
        let mut problems = Vec::new();
        if self.is_generated {
            problems.push(format!(
                "the column {name:?} ({role:?}) is generated, but Rowlock writes it: map the role to another column"
            ));
        }
        let spec = pipeline.columns().spec(role);
        // Another form, or another type of the status, is tried by the statements themselves.
        let is_native =
            spec.form == Form::Native && (role != Role::Status || pipeline.status_type() == StatusType::Text);
        if is_native && !kinds.iter().all(|kind| self.kinds.contains(kind)) {
            problems.push(format!(
                "the column {name:?} ({role:?}) is of type {}, but it must be {wanted}: say its form to the pipeline \
                 (column_as, or status_type), change its type, or map the role to another column",
                self.type_name
            ));
        } else if self.not_null && must_take_null(role) && spec.none.is_none() && !spec.keep {
            problems.push(format!(
                "the column {name:?} ({role:?}) is not null, but moves set it to null: drop the constraint, or map the \
                 role to another column"
            ));
        }
        if self.is_unique {
            problems.push(format!(
                "the column {name:?} ({role:?}) is unique, but moves write the same to several rows: drop the unique \
                 index, or map the role to another column"
            ));
        }
        if self.blurs_texts && Reference::is_of_words(role) {
            problems.push(format!(
                "the column {name:?} ({role:?}) takes for the same word what differs in case or by blanks: give it \
                 another collation"
            ));
        }
        problems.extend(self.too_short(pipeline, role));
        problems
    }

    /// Why a text column cannot hold the values written to it: each row would be refused. (An error is cut to its
    /// column.)
    fn too_short(&self, pipeline: &Pipeline, role: Role) -> Option<String> {
        let needed = match role {
            Role::Status => {
                let signs = pipeline.statuses().map(|status| pipeline.sign(status));
                let written = signs.filter_map(|sign| sign.words().first().and_then(|word| word.text()));
                written.map(|word| word.chars().count()).max()?
            }
            Role::ResumeStatus => pipeline.words().iter().map(|word| word.chars().count()).max()?,
            Role::ClaimedBy => HOLDER_COLUMN_CHARS_MIN,
            Role::ErrorMessage
            | Role::RetryCount
            | Role::ResetCount
            | Role::ClaimToken
            | Role::RetryAfter
            | Role::Heartbeat
            | Role::ClaimedAt
            | Role::CreatedAt
            | Role::UpdatedAt => return None,
        };
        let found = self.chars_max.filter(|found| *found < needed)?;
        Some(format!(
            "the column {:?} ({role:?}) holds {found} characters, but up to {needed} are written: make it text",
            self.name
        ))
    }
}

fn wanted(role: Role) -> (&'static [ColumnKind], &'static str) {
    match role {
        Role::Status => (&[ColumnKind::Text, ColumnKind::IndexedText], "text"),
        Role::ErrorMessage | Role::ClaimedBy | Role::ResumeStatus => (&[ColumnKind::Text], "text"),
        Role::RetryCount | Role::ResetCount => (&[ColumnKind::Count], "an integer"),
        Role::ClaimToken => (&[ColumnKind::Token], "a 64-bit integer"),
        Role::RetryAfter | Role::Heartbeat | Role::ClaimedAt | Role::CreatedAt | Role::UpdatedAt => {
            (&[ColumnKind::Time], "a time (timestamptz; text on SQLite)")
        }
    }
}

/// Roles that a move sets to null.
fn must_take_null(role: Role) -> bool {
    match role {
        Role::RetryAfter | Role::ClaimToken | Role::ResumeStatus => true,
        Role::Status
        | Role::RetryCount
        | Role::ResetCount
        | Role::ErrorMessage
        | Role::Heartbeat
        | Role::ClaimedBy
        | Role::ClaimedAt
        | Role::CreatedAt
        | Role::UpdatedAt => false,
    }
}
