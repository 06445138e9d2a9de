//! `rowlock init`: from a live table to a commented `rowlock.toml`.
//!
//! [`propose`] is pure: for each role and each state it proposes what the survey speaks for, with the evidence. What a
//! table cannot tell is a question, never a guess that takes effect. [`render`] writes the proposal as a file.

mod carrier;
mod command;
mod conditions;
mod constraints;
mod flags;
mod proposal;
mod propose;
mod render;
mod roles;
mod sql;
mod stages;
mod states;
mod times;
mod words;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use rowlock::TableName;

pub use self::command::run;
pub use self::proposal::{
    Assignment, ColumnProposal, ColumnValue, Confidence, Proposal, Proposed, StageProposal, State, Word,
};
pub use self::propose::{propose, propose_for};
pub use self::render::{render, render_new};
use crate::config::DEFAULT_FILE;
use crate::survey::Survey;

/// What the file describes.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A table that was surveyed.
    Found(&'a Survey),
    /// A table that does not exist yet.
    New(&'a TableName),
}

/// How the file is written.
#[derive(Debug, Clone)]
pub struct Options {
    /// The pipeline's name; by default made of the table's.
    pub name: Option<String>,
    /// The status column, if the table has several.
    pub status_column: Option<String>,
    /// Where the file is written.
    pub output: PathBuf,
    /// Whether an existing file is replaced.
    pub force: bool,
}

/// Writes the description of a table, and tells what to do next.
///
/// # Errors
///
/// If the file exists and is not to be replaced, if it cannot be written, if the table has no such status column, or if
/// the output is closed.
pub fn write(subject: Subject<'_>, options: &Options, output: &mut impl Write) -> Result<()> {
    let text = match subject {
        Subject::New(table) => render_new(table, options.name.as_deref().unwrap_or(table.name())),
        Subject::Found(survey) => {
            if let Some(name) = &options.status_column
                && survey.column(name).is_none()
            {
                bail!("the table {} has no column {name:?}", survey.table);
            }
            let mut proposal = propose_for(survey, options.status_column.as_deref());
            if let Some(name) = &options.name {
                proposal.pipeline.clone_from(name);
            }
            render(&proposal, survey)
        }
    };
    write_file(options, &text)?;
    let file = options.output.display();
    let questions = text.lines().filter(|line| line.contains("TODO: ")).count();
    let is_default = options.output.as_os_str() == DEFAULT_FILE;
    let with_file = if is_default { String::new() } else { format!(" --file {file}") };
    writeln!(output, "Wrote {file}.")?;
    match questions {
        0 => {}
        1 => writeln!(output, "One question in it is marked TODO: decide it first.")?,
        _ => writeln!(output, "{questions} questions in it are marked TODO: decide them first.")?,
    }
    writeln!(output, "Then:")?;
    if matches!(subject, Subject::Found(_)) {
        writeln!(output, "  rowlock check{with_file}     proves the description on the table, and changes nothing")?;
    }
    writeln!(output, "  rowlock attach{with_file}    prints what would be added, and why; --apply adds it")?;
    Ok(())
}

fn write_file(options: &Options, text: &str) -> Result<()> {
    let file = options.output.display();
    let mut open = OpenOptions::new();
    open.write(true);
    if options.force {
        open.create(true).truncate(true);
    } else {
        open.create_new(true);
    }
    let mut opened = match open.open(&options.output) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{file} exists: name another file by --output, or replace it by --force")
        }
        Err(error) => return Err(error).with_context(|| format!("{file} cannot be written")),
    };
    opened.write_all(text.as_bytes()).with_context(|| format!("{file} cannot be written"))
}

#[cfg(test)]
mod tests;
