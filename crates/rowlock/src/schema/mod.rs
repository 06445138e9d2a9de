//! What a pipeline's table needs, and what a table that was found lacks. The DDL itself is SQL and lives in
//! `store/<dialect>/sql`.

use crate::limits::{ERROR_MESSAGE_BYTES_MAX, HOLDER_COLUMN_CHARS_MIN};
use crate::pipeline::{KeyType, Pipeline, Role};
use crate::{Error, Result};

/// The version of Rowlock's own tables that this library makes and knows.
pub(crate) const SCHEMA_VERSION: i32 = 1;

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
    Time,
}

/// A column that the table has.
#[derive(Debug, Clone)]
pub(crate) struct FoundColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) kinds: Vec<ColumnKind>,
    pub(crate) not_null: bool,
    /// Characters that it holds at most; `None` if there is no such limit.
    pub(crate) chars_max: Option<usize>,
    /// Whether no two rows can have the same value in it.
    pub(crate) is_unique: bool,
}

/// The columns that the table has; none if there is no such table.
#[derive(Debug)]
pub(crate) struct TableFacts {
    pub(crate) columns: Vec<FoundColumn>,
    /// Constraints on the status alone, each with the words of the pipeline that it refuses.
    pub(crate) forbidden_words: Vec<(String, Vec<String>)>,
}

impl TableFacts {
    /// The roles for which the table has no column.
    pub(crate) fn missing_roles(&self, pipeline: &Pipeline) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.column(pipeline.columns().name(*role)).is_none()).collect()
    }

    /// Why the table cannot be used, in sentences.
    pub(crate) fn problems(&self, pipeline: &Pipeline) -> Vec<String> {
        let mut problems = Vec::new();
        let key = pipeline.key();
        match self.column(key) {
            None => problems.push(format!("there is no key column {key:?}: name an existing one")),
            Some(column) => {
                let kind = match pipeline.key_type() {
                    KeyType::Text => ColumnKind::IndexedText,
                    KeyType::Uuid => ColumnKind::Uuid,
                    KeyType::Int => ColumnKind::Int,
                    KeyType::BigInt => ColumnKind::BigInt,
                };
                if !column.kinds.contains(&kind) {
                    let (found, asked) = (&column.type_name, pipeline.key_type());
                    problems.push(format!(
                        "the key column {key:?} is of type {found}, but the pipeline says {asked:?}: give the \
                         pipeline the key's type"
                    ));
                }
                if !column.is_unique {
                    problems.push(format!("the key column {key:?} is not unique by itself: add a unique index"));
                }
            }
        }
        for role in Role::ALL {
            let name = pipeline.columns().name(role);
            let (kind, wanted) = wanted(role);
            match self.column(name) {
                None => problems.push(format!("there is no column {name:?} ({role:?}): run prepare")),
                Some(column) if !column.kinds.contains(&kind) => problems.push(format!(
                    "the column {name:?} ({role:?}) is of type {}, but it must be {wanted}: change its type, or map \
                     the role to another column",
                    column.type_name
                )),
                Some(column) if column.not_null && must_take_null(role) => problems.push(format!(
                    "the column {name:?} ({role:?}) is not null, but moves set it to null: drop the constraint, or \
                     map the role to another column"
                )),
                Some(column) => problems.extend(too_short(pipeline, role, column)),
            }
        }
        for (constraint, words) in &self.forbidden_words {
            problems.push(format!("the constraint {constraint:?} does not allow the status {words:?}: extend it"));
        }
        problems
    }

    fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Why a text column cannot hold what is written to it. Each row would be refused, one by one, until all are failed.
fn too_short(pipeline: &Pipeline, role: Role, column: &FoundColumn) -> Option<String> {
    let needed = match role {
        Role::Status | Role::ResumeStatus => pipeline.words().iter().map(|word| word.chars().count()).max()?,
        Role::ErrorMessage => ERROR_MESSAGE_BYTES_MAX,
        Role::ClaimedBy => HOLDER_COLUMN_CHARS_MIN,
        Role::RetryCount
        | Role::ResetCount
        | Role::ClaimToken
        | Role::RetryAfter
        | Role::Heartbeat
        | Role::ClaimedAt
        | Role::CreatedAt
        | Role::UpdatedAt => return None,
    };
    let found = column.chars_max.filter(|found| *found < needed)?;
    Some(format!(
        "the column {:?} ({role:?}) holds {found} characters, but up to {needed} are written: make it text",
        column.name
    ))
}

fn wanted(role: Role) -> (ColumnKind, &'static str) {
    match role {
        Role::Status => (ColumnKind::IndexedText, "text"),
        Role::ErrorMessage | Role::ClaimedBy | Role::ResumeStatus => (ColumnKind::Text, "text"),
        Role::RetryCount | Role::ResetCount => (ColumnKind::Count, "an integer"),
        Role::ClaimToken => (ColumnKind::BigInt, "a 64-bit integer"),
        Role::RetryAfter | Role::Heartbeat | Role::ClaimedAt | Role::CreatedAt | Role::UpdatedAt => {
            (ColumnKind::Time, "a time (timestamptz; text on SQLite)")
        }
    }
}

/// Roles that a move sets to null.
pub(crate) fn must_take_null(role: Role) -> bool {
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

/// Refuses the tables of a newer library.
pub(crate) fn check_version(found: &str) -> Result<()> {
    match found.parse::<i32>() {
        Ok(found) if found > SCHEMA_VERSION => Err(Error::SchemaTooNew { found, known: SCHEMA_VERSION }),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Schema {
            table: "rowlock_meta".to_owned(),
            problem: format!("its schema_version is {found:?}, which is not a number"),
        }),
    }
}
