//! `rowlock.toml`: the description of a table that is used as a queue.
//!
//! [`load`] reads a file strictly: every mistake is reported, each with its line, the rule that it breaks, and what may
//! have been meant. [`Description::pipeline`] turns a description into the library's pipeline.

mod columns;
mod keys;
mod limits;
mod parse;
mod pipeline;
mod problem;
mod reader;
mod state;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rowlock::pipeline::{Event, Sign, StatusType, Word};
use rowlock::{Budget, Existing, KeyType, RetryPolicy, Role, TableName};

use self::problem::Span;
pub use self::problem::{Place, Problem, Problems, Source};
pub use self::values::{duration, table_name};

/// The file that is read unless `--file` names another, in the current folder.
pub const DEFAULT_FILE: &str = "rowlock.toml";

/// A larger file is none of these.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The content of a `rowlock.toml`: how one pipeline's table says what.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The pipeline's name.
    pub pipeline: String,
    /// The table whose rows are the items.
    pub table: TableName,
    /// The key's columns, at least one.
    pub key: Vec<String>,
    /// The type of the key's column, if the file names it.
    pub key_type: Option<KeyType>,
    /// The URL of the database, without a password.
    pub database: Option<String>,
    /// How the table says "past the last stage".
    pub succeeded: Sign,
    /// How it says "stopped by an error"; without it a column of Rowlock's own does.
    pub failed: Option<Sign>,
    /// How it says "stopped by an operator"; without it no item can be cancelled.
    pub cancelled: Option<Sign>,
    /// Words that are known and never touched.
    pub ignored: Vec<Word>,
    /// A condition that every item meets before it is claimed.
    pub claim_where: Option<String>,
    /// What comes before the age in the order of the queue.
    pub order: Vec<String>,
    /// What the rows are that are in the table before it has a status.
    pub existing: Option<Existing>,
    /// Nothing works any more on the rows that are in progress when the table is attached.
    pub existing_leases_are_stale: bool,
    /// The status column may have a default other than the first ready word.
    pub without_ready_default: bool,
    /// An item that succeeds keeps the error of an earlier attempt.
    pub keep_error_after_success: bool,
    /// The stages, in order; at least one.
    pub stages: Vec<StageDescription>,
    /// The columns that play a role, in the order of the file.
    pub columns: Vec<ColumnDescription>,
    /// How the words of the status column are compared.
    pub status_type: StatusType,
    /// What the names of added columns begin with.
    pub prefix: Option<String>,
    /// What else is written at which event.
    pub on: Vec<Assignment>,
    /// The limits, as far as the file sets them.
    pub limits: Limits,
    source: Source,
    places: BTreeMap<String, Span>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageDescription {
    /// Its name.
    pub name: String,
    /// How the table says "ready for it".
    pub ready: Sign,
    /// How it says "in progress in it".
    pub running: Sign,
    /// How long a handler may run, if the file says so.
    pub timeout: Option<Timeout>,
    /// The stage's own retry policy.
    pub retry: Option<RetryPolicy>,
}

/// How long a handler may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// No longer than this.
    After(Duration),
    /// For as long as its worker lives.
    Never,
}

/// A column that plays a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDescription {
    /// The role.
    pub role: Role,
    /// The column's name.
    pub name: String,
    /// How it holds the role's value.
    pub form: ColumnForm,
    /// The value that stands for none; without it, NULL does.
    pub none: Option<Word>,
    /// Whether a value is never replaced by none.
    pub keep: bool,
}

/// How a column holds the value of its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColumnForm {
    /// As a column of Rowlock's own would: `timestamptz`, text, integers; on SQLite times in ISO 8601, in UTC.
    #[default]
    Native,
    /// `timestamp` without a time zone, in UTC.
    TimestampUtc,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A text in ISO 8601, in UTC.
    IsoText,
    /// `YYYY-MM-DD HH:MM:SS` in UTC, as SQLite's `datetime()` writes it.
    SqliteDatetime,
    /// A JSON string.
    Json,
    /// The time at which a lease expires.
    Expiry,
}

/// What is written at an event, in the statement of the move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The event.
    pub event: Event,
    /// The column.
    pub column: String,
    /// The SQL of its value.
    pub value: String,
}

/// The limits that a file sets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Failures after which an item has failed.
    pub max_retries: Option<u32>,
    /// Times that it is taken back from stopped workers before it has failed.
    pub max_resets: Option<u32>,
    /// What the two are counted over.
    pub budget: Option<Budget>,
    /// Age of a heartbeat after which its lease may be swept.
    pub stale_after: Option<Duration>,
    /// Time between two heartbeats.
    pub heartbeat_interval: Option<Duration>,
    /// How long failed items wait.
    pub retry: Option<RetryPolicy>,
}

impl Description {
    /// Reads a description. The name of its file is for messages only.
    ///
    /// # Errors
    /// All mistakes in the text; of TOML itself, the first.
    pub fn parse(file: &str, text: &str) -> Result<Description, Problems> {
        parse::parse(Source { name: file.to_owned(), text: Arc::from(text) })
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Where the file says something, by its path, such as `stage[0].ready`, `columns.status` or `where`; if it does
    /// not say that, where it says the next larger thing that holds it.
    pub fn place(&self, path: &str) -> Option<Place> {
        self.span(path).map(|span| self.source.place(span.start))
    }

    fn span(&self, path: &str) -> Option<Span> {
        let mut path = path;
        loop {
            if let Some(span) = self.places.get(path) {
                return Some(span.clone());
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// The column that plays a role, if the file names one.
    pub fn column(&self, role: Role) -> Option<&ColumnDescription> {
        self.columns.iter().find(|column| column.role == role)
    }
}

/// Reads the description in a file.
///
/// # Errors
/// [`Problems`] for what is wrong in the file, and an error that says what to do if it cannot be read.
pub fn load(path: &Path) -> Result<Description> {
    let name = path.display().to_string();
    let size = match std::fs::metadata(path) {
        Ok(file) if file.is_dir() => bail!("{name} is a folder: name the file itself by --file"),
        Ok(file) => file.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no {name}: write one by `rowlock init TABLE --database URL`, or name another file by --file"
        ),
        Err(error) => return Err(error).with_context(|| format!("{name} cannot be read")),
    };
    if size > FILE_BYTES_MAX {
        bail!("{name} has {size} bytes, more than any description of a table: name the right file by --file");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read as text"))?;
    Ok(Description::parse(&name, &text)?)
}

#[cfg(test)]
mod tests;
