//! The command: from a database's URL to a printed report.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::ask::{Connection, Limits};
use super::checker::{check_table, put_in_order};
use super::finding::{Finding, Severity};
use super::inspected::{self, INSPECTED};
use super::{Format, NotChecked, Report, Roles};
use crate::ExitStatus;
use crate::cli::{CheckOptions, FailOn};
use crate::config::{Description, table_name};
use crate::database::{self, Opening, Target};
use crate::output::{in_words, json_for_terminals, print, shown};
use crate::survey;

/// All queries together may take as long as so many of the longest.
const QUERIES_MAX: u32 = 30;

/// Checks a table and prints what was found: as a description says it, or else as its names and words let guess.
///
/// # Errors
///
/// The database cannot be reached, or has no such table. That a table is too large to be read, or that a query is
/// refused, is no error: the report says what was not checked.
pub async fn run(target: &Target, description: Option<&Description>, options: &CheckOptions) -> Result<ExitStatus> {
    target.check_file(false)?;
    let table = match (description, options.table()) {
        (Some(description), _) => description.table.clone(),
        (None, Some(name)) => table_name(name).map_err(|problem| anyhow!("{name:?} names no table: {problem}"))?,
        (None, None) => return Err(anyhow!("name the table that is to be checked")),
    };
    let mut connection = target.open(&Opening::read_only(options.timeout)).await?;
    let survey = match &mut connection {
        database::Connection::Postgres(connection) => survey::postgres::survey(connection, &table).await,
        database::Connection::Sqlite(connection) => survey::sqlite::survey(connection, &table).await,
    };
    let survey = survey.with_context(|| format!("the table {table} cannot be looked at"))?;
    let roles = match description {
        Some(description) => vec![Roles::from_description(description, &survey)],
        None => Roles::guess(&survey),
    };
    let asked = match &mut connection {
        database::Connection::Postgres(connection) => Connection::Postgres(connection),
        database::Connection::Sqlite(connection) => Connection::Sqlite(connection),
    };
    let mut report = check_table(asked, &survey, &roles, limits(options.timeout))
        .await
        .with_context(|| format!("the connection to {target} was lost"))?;
    drop(connection);
    if let Some(description) = description {
        let is_attached = roles.iter().any(|roles| roles.is_kept_by_rowlock);
        add_inspected(&mut report, inspected::ask(target, description, &survey, is_attached).await);
    }
    write(&report, options)?;
    Ok(report.exit_status(fail_on(options.fail_on)))
}

fn add_inspected(report: &mut Report, inspected: Result<Option<Vec<Finding>>>) {
    let (reason, is_refusal) = match inspected {
        Ok(Some(findings)) => {
            report.findings.extend(findings);
            return put_in_order(report);
        }
        Ok(None) => ("the file is not attached yet, and the library would change it by opening it".to_owned(), false),
        Err(error) => (in_words(&error), true),
    };
    report.not_checked.push(NotChecked { rule: INSPECTED.id, reason, is_refusal });
}

fn write(report: &Report, options: &CheckOptions) -> Result<()> {
    let format = match (options.json, options.sarif) {
        (true, _) => Format::Json,
        (false, true) => Format::Sarif,
        (false, false) => Format::Text,
    };
    let text = report.render(format);
    if format != Format::Text {
        return print(format_args!("{}", json_for_terminals(&text)));
    }
    // Names and values of the table are in it, and may contain what a terminal obeys.
    for line in text.lines() {
        print(format_args!("{}", shown(line)))?;
    }
    Ok(())
}

fn limits(query: Duration) -> Limits {
    Limits { query, total: query.saturating_mul(QUERIES_MAX) }
}

fn fail_on(fail_on: FailOn) -> Option<Severity> {
    match fail_on {
        FailOn::Note => Some(Severity::Note),
        FailOn::Warning => Some(Severity::Warning),
        FailOn::Error => Some(Severity::Error),
        FailOn::Never => None,
    }
}
