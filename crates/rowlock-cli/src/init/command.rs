//! The command: which table is meant, what it is, and the file about it.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rowlock::TableName;

use super::{Options, Subject, write};
use crate::ExitStatus;
use crate::cli::InitOptions;
use crate::config;
use crate::database::{Connection, Opening, Target, limit_statement};
use crate::output::print;
use crate::survey::{self, Candidate, Survey};

/// The longest run of a statement: each reads a bounded number of rows.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Candidates that are shown where no table is named.
const SHOWN_MAX: usize = 20;

/// Writes the description of the table that is named, or of the only one that looks like a queue.
///
/// # Errors
///
/// If the database cannot be read, if no table is named and not exactly one looks like a queue, or if the file cannot
/// be written.
pub async fn run(target: &Target, options: &InitOptions) -> Result<ExitStatus> {
    let named = options.table().map(config::table_name).transpose();
    let named = named.map_err(|problem| anyhow!("the name of the table is not understood: {problem}"))?;
    let written = Options {
        name: options.name.clone(),
        status_column: None,
        output: options.output.clone(),
        force: options.force,
    };
    let mut told = Vec::new();
    match named {
        Some(table) if options.new => write(Subject::New(&table), &written, &mut told)?,
        None if options.new => bail!("--new needs the name of the table: rowlock init --new TABLE"),
        named => {
            let mut connection = target.open(&Opening::read_only(STATEMENT_TIMEOUT)).await?;
            if let Connection::Sqlite(connection) = &mut connection {
                limit_statement(connection, STATEMENT_TIMEOUT).await?;
            }
            let table = match named {
                Some(table) => table,
                None => only_candidate(candidates(&mut connection).await?)?,
            };
            let survey = survey_of(&mut connection, &table).await?;
            write(Subject::Found(&survey), &written, &mut told)?;
        }
    }
    print(format_args!("{}", String::from_utf8_lossy(&told).trim_end()))?;
    Ok(ExitStatus::Ok)
}

async fn survey_of(connection: &mut Connection, table: &TableName) -> Result<Survey> {
    match connection {
        Connection::Postgres(connection) => survey::postgres::survey(connection, table).await,
        Connection::Sqlite(connection) => survey::sqlite::survey(connection, table).await,
    }
}

async fn candidates(connection: &mut Connection) -> Result<Vec<Candidate>> {
    match connection {
        Connection::Postgres(connection) => survey::postgres::tables(connection).await,
        Connection::Sqlite(connection) => survey::sqlite::tables(connection).await,
    }
}

/// The only table that looks like a queue; otherwise an error that lists them.
fn only_candidate(candidates: Vec<Candidate>) -> Result<TableName> {
    let candidates = match <[Candidate; 1]>::try_from(candidates) {
        Ok([only]) => return Ok(only.table),
        Err(candidates) => candidates,
    };
    if candidates.is_empty() {
        bail!("no table has a column that looks like a state: name the table, as in `rowlock init TABLE`");
    }
    let shown = candidates.iter().take(SHOWN_MAX);
    let lines: Vec<String> = shown.map(|found| format!("  {} ({})", found.table, found.columns.join(", "))).collect();
    let more = candidates.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    bail!(
        "name one of these tables, as in `rowlock init TABLE`; each has a column that looks like a state:\n{}{more}",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str) -> Candidate {
        Candidate { table: TableName::new(name), rows_estimate: -1, columns: vec!["status".to_owned()] }
    }

    #[test]
    fn a_table_need_not_be_named_if_only_one_looks_like_a_queue() {
        assert_eq!(only_candidate(vec![candidate("jobs")]).unwrap(), TableName::new("jobs"));
        let error = only_candidate(vec![candidate("jobs"), candidate("mails")]).unwrap_err().to_string();
        assert!(error.contains("  jobs (status)\n  mails (status)"), "{error}");
        assert!(only_candidate(Vec::new()).is_err());
    }
}
