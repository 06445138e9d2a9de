//! `rowlock check`: finds what is wrong with a table that is used as a queue, whether Rowlock keeps it or not.
//!
//! A check only reads. It asks the catalogue, the statistics and the rows, each query with a time-out, and of a table
//! that is too large to be read a sample. What it could not ask it says; what it guessed it says as well.

mod ask;
mod checker;
mod command;
mod description;
mod finding;
mod guess;
mod inspected;
mod json;
mod queue;
mod report;
mod roles;
mod rules;
mod sarif;
mod sql_text;
mod template;
mod words;

pub use ask::{Connection, Limits};
pub use checker::check_table;
pub use command::run;
pub use finding::{Count, Finding, Remedy, Rule, Severity};
pub use guess::is_kept_by_rowlock;
pub use json::SCHEMA_VERSION;
pub use roles::{AttemptsMax, Lease, LeaseMeaning, Roles, State};
pub use rules::RULES;

use crate::ExitStatus;
use crate::survey::Database;

/// What a check found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The table, as it was asked for.
    pub table: String,
    /// The database's kind.
    pub database: Database,
    /// Its version.
    pub server_version: String,
    /// The number of rows; -1 if nothing tells it.
    pub rows: Count,
    /// Whether it was read as a queue at all, described or guessed: otherwise only the rules for any table were
    /// checked.
    pub is_read_as_queue: bool,
    /// The readings of the table that were guessed, one for each status column.
    pub guesses: Vec<String>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// Rules that were not checked, with the reason.
    pub not_checked: Vec<NotChecked>,
    /// Rules that were checked on a sample of the rows only.
    pub sampled: Vec<&'static str>,
}

/// A rule that could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotChecked {
    /// The rule's id.
    pub rule: &'static str,
    /// Why.
    pub reason: String,
    /// Whether the database refused the query: then the check is incomplete by no choice of its own.
    pub is_refusal: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs, as `schema.json` describes it.
    Json,
    /// SARIF 2.1.0, for what collects findings of linters.
    Sarif,
}

impl Report {
    /// The report as text, without a line break at its end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => report::render(self),
            Format::Json => json::render(self),
            Format::Sarif => sarif::render(self),
        }
    }

    /// Whether a finding is at least as severe as this, or the database refused a query: a table that could not be read
    /// is not clean. Without a severity no finding counts.
    pub fn exit_status(&self, fail_on: Option<Severity>) -> ExitStatus {
        if self.findings.iter().any(|finding| fail_on.is_some_and(|fail_on| finding.severity >= fail_on)) {
            ExitStatus::Findings
        } else if self.not_checked.iter().any(|rule| rule.is_refusal) {
            ExitStatus::CouldNotRun
        } else {
            ExitStatus::Ok
        }
    }
}

#[cfg(test)]
mod tests;
