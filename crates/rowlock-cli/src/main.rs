//! `rowlock`: a table that you own as a crash-safe work queue.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use rowlock_cli::cli::{Arguments, Command};
use rowlock_cli::config::{self, Description};
use rowlock_cli::database::Target;
use rowlock_cli::output::{OutputLost, in_words, print, print_error};
use rowlock_cli::secrets::without_passwords;
use rowlock_cli::{ExitStatus, attach, check, drain, init, status};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return tell_usage(&told).into(),
    };
    start_to_log();
    match execute(arguments).await {
        Ok(status) => status.into(),
        Err(error) => {
            // A reader that has closed its end, as `head` does, wants no further messages.
            if !error.downcast_ref::<OutputLost>().is_some_and(OutputLost::is_closed) {
                print_error(format_args!("error: {}", in_words(&error)));
            }
            ExitStatus::CouldNotRun.into()
        }
    }
}

/// Help, the version, or the mistake in the arguments, one of which may be a URL in the wrong place.
fn tell_usage(told: &clap::Error) -> ExitStatus {
    let text = without_passwords(told.render().to_string().trim_end());
    if told.use_stderr() {
        print_error(format_args!("{text}"));
        return ExitStatus::CouldNotRun;
    }
    match print(format_args!("{text}")) {
        Ok(()) => ExitStatus::Ok,
        Err(_) => ExitStatus::CouldNotRun,
    }
}

/// The engine's warnings, on the standard error. `RUST_LOG` can choose other messages.
fn start_to_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    builder.with_ansi(false).without_time().with_target(false).init();
}

async fn execute(arguments: Arguments) -> Result<ExitStatus> {
    let Arguments { file, database, command } = arguments;
    let database = database.as_deref();
    match command {
        Command::Init(mut options) => {
            options.output = output(options.output, file)?;
            if options.new && options.table().is_none() {
                bail!("--new needs the name of the table: rowlock init --new TABLE");
            }
            // A new table may be the first in a new file: attach makes both.
            let target = Target::choose(database, None)?;
            target.check_file(options.new)?;
            init::run(&target, &options).await
        }
        Command::Check(options) if options.table().is_some() => {
            if let Some(file) = file {
                bail!("a table and --file {} are two descriptions: give one of them", file.display());
            }
            check::run(&Target::choose(database, None)?, None, &options).await
        }
        Command::Check(options) => {
            let (description, target) = described_or_no_table(file, database)?;
            check::run(&target, Some(&description), &options).await
        }
        Command::Attach(options) => {
            let (mut description, target) = described(file, database)?;
            if let Some(existing) = options.existing {
                description.existing = Some(existing.into());
            }
            attach::run(&target, &description, &options).await
        }
        Command::Detach(options) => {
            let (description, target) = described(file, database)?;
            attach::detach(&target, &description, &options).await
        }
        Command::Status(options) => {
            let (description, target) = described(file, database)?;
            status::run(&target, &description, &options).await
        }
        Command::Drain(options) => {
            let (description, target) = described(file, database)?;
            drain::run(&target, &description, &options).await
        }
    }
}

/// The file that `init` writes: that of `--output`, or that of `--file`, with which the next commands read it.
fn output(output: PathBuf, file: Option<PathBuf>) -> Result<PathBuf> {
    match file {
        Some(file) if output == Path::new(config::DEFAULT_FILE) || output == file => Ok(file),
        Some(file) => bail!("--output {} and --file {} name two files: give one", output.display(), file.display()),
        None => Ok(output),
    }
}

/// The description, and the database that holds its table.
fn described(file: Option<PathBuf>, database: Option<&str>) -> Result<(Description, Target)> {
    let file = file.unwrap_or_else(|| PathBuf::from(config::DEFAULT_FILE));
    let description = config::load(&file)?;
    let target = Target::choose(database, description.database.as_deref())?;
    Ok((description, target))
}

/// The same for a command that needs no description.
fn described_or_no_table(file: Option<PathBuf>, database: Option<&str>) -> Result<(Description, Target)> {
    if file.is_none() && !Path::new(config::DEFAULT_FILE).exists() {
        bail!(
            "there is no {}: name a table, as in `rowlock check TABLE`, or write a description by `rowlock init TABLE`",
            config::DEFAULT_FILE
        );
    }
    described(file, database)
}
