//! The command line: thin, over the library.

mod arguments;
mod database;
mod dry_run;
mod explain;
mod list;
mod logging;
mod progress;
mod retry;
mod run;
mod show;
mod similar;
mod status;
mod table;
mod work;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock::{Record, Repository};
use rowlock_video::embedding::{Embedder, model_path};
use rowlock_video::library::{Library, PostgresLibrary, QueuedVideo, SqliteLibrary, Videos};
use rowlock_video::media::{Discovery, Ffmpeg, FrameCount};
use rowlock_video::pipeline::STALE_AFTER;
use rowlock_video::processing::Tools;

pub(crate) use arguments::{Arguments, Command};
use database::Database;

/// Exit status when some videos did not succeed.
const SOME_FAILED: u8 = 1;

/// Exit status of a usage or set-up error: nothing was done.
pub(crate) const SETUP_ERROR: u8 = 2;

/// What is looked for before the database is touched.
#[derive(Default)]
struct Setup {
    discovery: Option<Discovery>,
    tools: Option<Tools>,
}

/// Does what the arguments say. An error is one of usage or of setting up.
pub(crate) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    logging::start(&arguments.command);
    let database: Database = arguments.database.parse()?;
    let command = arguments.command;
    match &command {
        // With --json the standard output is for the result alone.
        Command::Run { json: true, .. } | Command::Work { .. } => eprintln!("database: {database}"),
        Command::Run { .. } => println!("database: {database}"),
        _ => {}
    }
    let setup = set_up(&command).await?;
    let (works, stale_after) = match &command {
        Command::Run { working, .. } | Command::Work { working } => (true, working.stale_after),
        _ => (false, STALE_AFTER),
    };
    match &database {
        Database::Postgres(url) => {
            let library = PostgresLibrary::open(url, stale_after).await;
            perform(prepare(library, &database, works).await?, command, setup).await
        }
        Database::Sqlite { url, file } => {
            database::check_file(file, works)?;
            let library = SqliteLibrary::open(url, works, stale_after).await;
            perform(prepare(library, &database, works).await?, command, setup).await
        }
    }
}

/// Finds the videos and the programs that a command needs.
async fn set_up(command: &Command) -> Result<Setup> {
    let mut setup = Setup::default();
    match command {
        Command::Run { paths, working, .. } => {
            setup.tools = Some(find_tools(working.frames).await?);
            setup.discovery = Some(run::find_videos(paths.clone()).await?);
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

/// A command that works makes the tables; the others only look whether they are there.
async fn prepare<L: Library>(library: rowlock_video::Result<L>, database: &Database, works: bool) -> Result<L> {
    let library = library.with_context(|| format!("the database {database} cannot be used"))?;
    if works {
        library.migrate().await.with_context(|| format!("the tables in {database} cannot be made"))?;
        let videos: Videos<L> = Repository::new(library.store().clone());
        videos.prepare().await.with_context(|| format!("the queue in {database} cannot be made"))?;
    } else if !library.is_migrated().await? {
        anyhow::bail!("{database} holds no videos yet: add some with `rowlock-video run PATH --database {database}`");
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

/// Prints a value as JSON, for programs to read.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
