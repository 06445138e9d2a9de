//! The command line: thin, over the library.

mod arguments;
mod database;
mod dry_run;
mod explain;
mod list;
mod logging;
mod output;
mod progress;
mod retry;
mod run;
mod secrets;
mod show;
mod similar;
mod status;
mod table;
mod terminal;
mod work;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use rowlock::{Record, Repository};
use rowlock_video::embedding::{Embedder, model_path};
use rowlock_video::library::{Library, PostgresLibrary, QueuedVideo, SqliteLibrary, Videos};
use rowlock_video::media::{Discovery, Ffmpeg, FrameCount};
use rowlock_video::pipeline::STALE_AFTER;
use rowlock_video::processing::Tools;

use arguments::{Arguments, Command, DATABASE_VARIABLE};
use database::Database;
use output::{OutputLost, in_words, print, print_error, print_json};

/// Exit status when some videos did not succeed.
const SOME_FAILED: u8 = 1;

/// Exit status of a usage or set-up error: nothing was done.
const SETUP_ERROR: u8 = 2;

/// Exit status when the standard output is closed or full.
const OUTPUT_LOST: u8 = 3;

/// The checks before the database is touched.
#[derive(Default)]
struct Setup {
    discovery: Option<Discovery>,
    tools: Option<Tools>,
}

/// Reads the arguments, carries them out, and returns the exit status.
pub(crate) async fn main() -> ExitCode {
    let texts = std::env::args_os().chain(std::env::var_os(DATABASE_VARIABLE));
    secrets::remember(texts.map(|text| text.to_string_lossy().into_owned()));
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return tell_usage(&told),
    };
    match execute(arguments).await {
        Ok(status) => status,
        Err(error) => {
            if !error.downcast_ref::<OutputLost>().is_some_and(OutputLost::is_closed) {
                print_error(format_args!("error: {}", in_words(&error)));
            }
            ExitCode::from(status_of(&error))
        }
    }
}

/// The exit status for an error.
fn status_of(error: &anyhow::Error) -> u8 {
    if error.is::<OutputLost>() {
        OUTPUT_LOST
    } else if error.is::<WorkStopped>() {
        SOME_FAILED
    } else {
        SETUP_ERROR
    }
}

/// A worker ended although there is work. What it did stays done.
#[derive(Debug, thiserror::Error)]
#[error("the work stopped; run the same command to go on")]
struct WorkStopped(#[from] rowlock::Error);

/// Help, the version, or the mistake in the arguments, one of which may be a URL in the wrong place.
fn tell_usage(told: &clap::Error) -> ExitCode {
    let text = secrets::scrubbed(&told.render().to_string());
    if told.use_stderr() {
        print_error(format_args!("{}", text.trim_end()));
        return ExitCode::from(SETUP_ERROR);
    }
    match print(format_args!("{}", text.trim_end())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(OUTPUT_LOST),
    }
}

/// Carries out the arguments. An error concerns the usage, the set-up, or the standard output.
async fn execute(arguments: Arguments) -> Result<ExitCode> {
    logging::start(&arguments.command);
    let database = database::named_or_default(arguments.database.as_deref())?;
    let command = arguments.command;
    match &command {
        // With --json the standard output is for the result only.
        Command::Run { json: true, .. } | Command::Work { .. } => print_error(format_args!("database: {database}")),
        Command::Run { .. } => print(format_args!("database: {}", terminal::shown(&database.to_string())))?,
        _ => {}
    }
    let (works, stale_after) = match &command {
        Command::Run { working, .. } | Command::Work { working } => (true, working.stale_after),
        _ => (false, STALE_AFTER),
    };
    // An unusable database is reported before folders are searched, which may take long; a new file is created only
    // after that.
    match &database {
        Database::Postgres(url) => {
            let library = opened(PostgresLibrary::open(url, stale_after).await, &database)?;
            let setup = set_up(&command).await?;
            perform(prepare(library, &database, works).await?, command, setup).await
        }
        Database::Sqlite { url, file } => {
            database::check_file(file, works)?;
            if file.exists() {
                opened(SqliteLibrary::open(url, false, stale_after).await, &database)?;
            }
            let setup = set_up(&command).await?;
            let library = opened(SqliteLibrary::open(url, works, stale_after).await, &database)?;
            perform(prepare(library, &database, works).await?, command, setup).await
        }
    }
}

fn opened<L>(library: rowlock_video::Result<L>, database: &Database) -> Result<L> {
    library.with_context(|| format!("the database {database} cannot be used"))
}

/// Finds the videos and the programs that a command needs.
async fn set_up(command: &Command) -> Result<Setup> {
    let mut setup = Setup::default();
    match command {
        Command::Run { paths, follow_links, working, .. } => {
            setup.tools = Some(find_tools(working.frames).await?);
            setup.discovery = Some(run::find_videos(paths.clone(), *follow_links).await?);
        }
        Command::Work { working } => setup.tools = Some(find_tools(working.frames).await?),
        Command::DryRun { frames, .. } => setup.tools = Some(find_tools(*frames).await?),
        Command::Status { .. }
        | Command::List { .. }
        | Command::Show { .. }
        | Command::Similar { .. }
        | Command::Retry { .. } => {}
    }
    Ok(setup)
}

async fn find_tools(frames: FrameCount) -> Result<Tools> {
    let ffmpeg = Ffmpeg::find().await?;
    let embedder = tokio::task::spawn_blocking(|| Embedder::load(&model_path())).await??;
    Ok(Tools { ffmpeg, embedder, frames })
}

/// A command that works creates the tables; the others only check that they exist.
async fn prepare<L: Library>(library: L, database: &Database, works: bool) -> Result<L> {
    if works {
        library.migrate().await.with_context(|| format!("the tables in {database} cannot be made"))?;
        let videos: Videos<L> = Repository::new(library.store().clone());
        videos.prepare().await.with_context(|| format!("the queue in {database} cannot be made"))?;
    } else if !library.is_migrated().await? {
        anyhow::bail!(
            "{database} holds no videos of this version yet: add some with \
             `rowlock-video run PATH --database {database}`"
        );
    }
    Ok(library)
}

async fn perform<L: Library>(library: L, command: Command, setup: Setup) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let videos: Videos<L> = Repository::new(library.store().clone());
    let tools = || setup.tools.clone().context("the programs were not looked for");
    match command {
        Command::Run { working, json, .. } => {
            let discovery = setup.discovery.as_ref().context("the videos were not looked for")?;
            run::run(&videos, &library, tools()?, discovery, &working, json).await
        }
        Command::Work { working } => work::work(videos, library, tools()?, &working).await,
        Command::Status { json } => status::status::<L>(&videos, json).await,
        Command::List { status, json } => list::list(&library, status, json).await,
        Command::Show { id, json } => show::show(&videos, &library, &id, json).await,
        Command::Similar { id, top, json, .. } => similar::similar(&library, id.as_deref(), top, json).await,
        Command::Retry { ids, .. } => retry::retry(&videos, &library, ids).await,
        Command::DryRun { count, json, .. } => dry_run::dry_run(videos, library, tools()?, count, json).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_stopped_is_told_from_work_that_never_began() {
        let lost = || rowlock::Error::Deadline { verb: "claim", deadline: std::time::Duration::from_secs(1) };
        assert_eq!(status_of(&WorkStopped(lost()).into()), SOME_FAILED);
        assert_eq!(status_of(&anyhow::Error::from(lost()).context("the database cannot be used")), SETUP_ERROR);
    }
}
