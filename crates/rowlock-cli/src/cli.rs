//! The arguments of the command.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rowlock::Existing;

use crate::config;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and nothing is wrong
  1  done, and something should be looked at
  2  it could not be done";

/// Turns a table that you own into a crash-safe work queue, on PostgreSQL or SQLite: describes it, finds what is wrong
/// with it, and attaches to it.
///
/// A new table to try: `init`, then `check`, then `attach`, then `status`. All but `attach --apply`, `detach --apply`
/// and `drain` only read.
#[derive(Debug, Parser)]
#[command(name = "rowlock", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The description of the table; by default rowlock.toml in the current folder.
    #[arg(long, global = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// postgres://… or sqlite://FILE; by default what the file names, or else $DATABASE_URL.
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at a table, and write a commented rowlock.toml with the best description of it, and with the evidence.
    Init(InitOptions),
    /// Find what is wrong with a table that is used as a queue. Only reads, and needs no rowlock.toml.
    Check(CheckOptions),
    /// Print what the table lacks and each statement that adds it; with --apply, run them.
    Attach(AttachOptions),
    /// Print how to take back what attach added; with --apply, do it.
    Detach(DetachOptions),
    /// How many items are ready, in progress and done, and how long the oldest has waited.
    Status(StatusOptions),
    /// Take every item through its stages with handlers that do nothing: for a trial, on a copy of the table. The items
    /// are then done in the table, although no work was.
    Drain(DrainOptions),
}

/// The arguments of `init`.
#[derive(Debug, Clone, Args)]
pub struct InitOptions {
    /// The table: "table" or "schema.table".
    #[arg(value_name = "TABLE", conflicts_with = "table")]
    pub positional: Option<String>,
    /// The table, as an option; [`InitOptions::table()`] is whichever was given.
    #[arg(long, value_name = "TABLE", help = "The same as an option")]
    pub table: Option<String>,
    /// Describe a table that does not exist yet, for attach to create.
    #[arg(long)]
    pub new: bool,
    /// The file to write; --file names it as well.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub output: PathBuf,
    /// Replace the file if there is one.
    #[arg(long)]
    pub force: bool,
    /// The pipeline's name; by default the table's.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

impl InitOptions {
    /// The table that was named, in whichever way.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref().or(self.positional.as_deref())
    }
}

/// The arguments of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckOptions {
    /// Check this table, without a rowlock.toml: "table" or "schema.table".
    #[arg(value_name = "TABLE", conflicts_with = "table")]
    pub positional: Option<String>,
    /// The table, as an option; [`CheckOptions::table()`] is whichever was given.
    #[arg(long, value_name = "TABLE", help = "The same as an option")]
    pub table: Option<String>,
    /// Print JSON.
    #[arg(long, conflicts_with = "sarif")]
    pub json: bool,
    /// Print SARIF, for tools that show findings of linters.
    #[arg(long)]
    pub sarif: bool,
    /// The least severity of a finding for which the exit code is 1.
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,
    /// The longest run of each query: 300ms, 5s, 1m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

impl CheckOptions {
    /// The table that was named, in whichever way.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref().or(self.positional.as_deref())
    }
}

/// From which severity on findings count for the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum FailOn {
    /// Any finding.
    Note,
    /// Warnings and errors.
    Warning,
    /// Errors alone.
    Error,
    /// None: the exit code is 0 whatever is found.
    Never,
}

/// The arguments of `attach`.
#[derive(Debug, Clone, Args)]
pub struct AttachOptions {
    /// Run the plan.
    #[arg(long)]
    pub apply: bool,
    /// What the rows are that are in the table now, if it has no status yet.
    #[arg(long, value_name = "STATE", value_enum)]
    pub existing: Option<ExistingRows>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What the rows of a table without a status are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExistingRows {
    /// Work to do.
    Ready,
    /// Done already.
    Succeeded,
    /// Left out.
    Cancelled,
}

impl From<ExistingRows> for Existing {
    fn from(rows: ExistingRows) -> Existing {
        match rows {
            ExistingRows::Ready => Existing::Ready,
            ExistingRows::Succeeded => Existing::Succeeded,
            ExistingRows::Cancelled => Existing::Cancelled,
        }
    }
}

/// The arguments of `detach`.
#[derive(Debug, Clone, Args)]
pub struct DetachOptions {
    /// Run the plan.
    #[arg(long)]
    pub apply: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusOptions {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `drain`.
#[derive(Debug, Clone, Default, Args)]
pub struct DrainOptions {
    /// Only this stage; may be given several times. By default all.
    #[arg(long, value_name = "STAGE")]
    pub stage: Vec<String>,
    /// Stop after this many runs of a handler.
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroU64>,
    /// Let each N-th run fail, to see how failures look.
    #[arg(long, value_name = "N")]
    pub fail_every: Option<NonZeroU64>,
}

/// A duration as in the file, longer than zero: a limit of zero would be none.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let rule = "write it as 300ms, 5s or 1m";
    match config::duration(text) {
        Ok(timeout) if timeout.is_zero() => Err(format!("it is longer than zero: {rule}")),
        Ok(timeout) => Ok(timeout),
        Err(problem) => Err(format!("{problem}: {rule}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_table_is_an_argument_or_an_option() {
        for arguments in [["rowlock", "init", "videos"].as_slice(), &["rowlock", "init", "--table", "videos"]] {
            let Command::Init(options) = Arguments::parse_from(arguments).command else { panic!("{arguments:?}") };
            assert_eq!(options.table(), Some("videos"));
        }
        assert!(Arguments::try_parse_from(["rowlock", "init", "videos", "--table", "videos"]).is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_timeout("5s"), Ok(Duration::from_secs(5)));
        assert!(parse_timeout("0s").is_err());
        assert!(parse_timeout("5").unwrap_err().contains("5s"));
    }
}
