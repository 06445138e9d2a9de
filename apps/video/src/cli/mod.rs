//! The command line: what can be asked for, and which database answers.

mod progress;
mod read;
mod run;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use rowlock_video::library::{PostgresLibrary, SqliteLibrary};
use rowlock_video::media::FrameCount;
use rowlock_video::pipeline::STALE_AFTER;

/// The database of `run` and of the commands that read, unless one is named.
const DEFAULT_DATABASE: &str = "sqlite://rowlock-video.sqlite";

/// Takes videos through extraction (ffmpeg) and embedding (an image model), and says which look alike.
#[derive(Debug, Parser)]
#[command(name = "rowlock-video", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add the videos under these paths and work until nothing is left.
    Run {
        /// Files and folders; folders are searched recursively, by content.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        work: Work,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work until told to stop, beside any number of other processes and machines.
    Work {
        /// The database to work on, e.g. postgres://user@host/name.
        #[arg(long)]
        database: String,
        #[command(flatten)]
        work: Work,
    },
    /// How many videos are in each state.
    Status(Reading),
    /// All videos.
    List(Reading),
    /// One video: what is known, why it is or is not worked on, its failures.
    Show {
        /// The video's id.
        id: String,
        #[command(flatten)]
        reading: Reading,
    },
    /// Which videos look like this one.
    Similar {
        /// The video's id.
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// For every video the one that is most like it.
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// How many to show.
        #[arg(long, default_value_t = 5)]
        top: usize,
        #[command(flatten)]
        reading: Reading,
    },
    /// Take stopped videos up again where they stopped.
    Retry {
        /// The videos' ids.
        #[arg(required_unless_present = "failed")]
        ids: Vec<String>,
        /// All that are FAILED.
        #[arg(long, conflicts_with = "ids")]
        failed: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Run the handlers on up to N videos that would be next, and write nothing.
    DryRun {
        /// How many videos.
        count: i64,
        #[command(flatten)]
        reading: Reading,
    },
}

#[derive(Debug, Args)]
struct Database {
    /// The database: sqlite://FILE or postgres://…; a file in the current folder unless one is named.
    #[arg(long, default_value = DEFAULT_DATABASE)]
    database: String,
}

#[derive(Debug, Args)]
struct Reading {
    #[command(flatten)]
    database: Database,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Work {
    /// Videos in each stage at once; one for each processor unless said otherwise.
    #[arg(long)]
    jobs: Option<usize>,
    /// Frames to take of each video.
    #[arg(long, default_value = "8")]
    frames: FrameCount,
    /// Age of a heartbeat after which a video is taken back from its holder, e.g. 30s or 5m.
    #[arg(long, value_parser = duration, default_value = "300s")]
    stale_after: Duration,
}

/// A number with its unit: ms, s, m or h.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no duration: write e.g. 30s or 5m"))?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} has no unit: write e.g. 30s or 5m")),
    };
    Ok(Duration::from_millis(number.saturating_mul(milliseconds)))
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,rowlock=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rowlock-video: no threads: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(answer(arguments.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rowlock-video: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs an expression with `$library` open on the database of a URL. Only `create` makes an SQLite file.
macro_rules! with_library {
    ($url:expr, $create:expr, $stale_after:expr, |$library:ident| $answer:expr) => {{
        let url: &str = $url;
        if url.starts_with("sqlite:") {
            let $library = SqliteLibrary::open(url, $create, $stale_after).await.context(opening(url))?;
            $answer
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let $library = PostgresLibrary::open(url, $stale_after).await.context(opening(url))?;
            $answer
        } else {
            bail!("--database {url}: write sqlite://FILE or postgres://USER@HOST/NAME");
        }
    }};
}

fn opening(url: &str) -> String {
    format!("cannot open the database {}", without_password(url))
}

/// A URL as it may be printed.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => match url[scheme + 3..at].split_once(':') {
            Some((user, _)) => format!("{}{user}:…{}", &url[..scheme + 3], &url[at..]),
            None => url.to_owned(),
        },
        _ => url.to_owned(),
    }
}

async fn answer(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run { paths, database, work, json } => {
            let database = database.database;
            // Tools first: without them nothing is made, not even the file.
            let tools = run::tools(work.frames).await?;
            if json {
                eprintln!("database: {}", without_password(&database));
            } else {
                println!("database: {}", without_password(&database));
            }
            with_library!(&database, true, work.stale_after, |library| {
                run::run(library, tools, &paths, jobs(&work), json).await
            })
        }
        Command::Work { database, work } => {
            let tools = run::tools(work.frames).await?;
            println!("database: {}", without_password(&database));
            with_library!(&database, true, work.stale_after, |library| run::work(library, tools, jobs(&work)).await)
        }
        Command::Status(reading) => {
            with_library!(&reading.database.database, false, STALE_AFTER, |library| {
                read::status(library, reading.json).await
            })
        }
        Command::List(reading) => {
            with_library!(&reading.database.database, false, STALE_AFTER, |library| {
                read::list(library, reading.json).await
            })
        }
        Command::Show { id, reading } => {
            with_library!(&reading.database.database, false, STALE_AFTER, |library| {
                read::show(library, &id, reading.json).await
            })
        }
        Command::Similar { id, top, reading, .. } => {
            with_library!(&reading.database.database, false, STALE_AFTER, |library| {
                read::similar(library, id.as_deref(), top, reading.json).await
            })
        }
        Command::Retry { ids, failed, database } => {
            with_library!(&database.database, false, STALE_AFTER, |library| run::retry(library, ids, failed).await)
        }
        Command::DryRun { count, reading } => {
            let tools = run::tools(FrameCount::default()).await?;
            with_library!(&reading.database.database, false, STALE_AFTER, |library| {
                run::dry_run(library, tools, count, reading.json).await
            })
        }
    }
}

fn jobs(work: &Work) -> usize {
    let processors = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    work.jobs.unwrap_or_else(processors).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert!(duration("30").is_err() && duration("s").is_err() && duration("-1s").is_err());
    }

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(without_password("postgres://me:secret@host/db"), "postgres://me:…@host/db");
        assert_eq!(without_password("sqlite://a.sqlite"), "sqlite://a.sqlite");
    }
}
