//! `rowlock-faults`: attacks real workers and real servers, and audits the result.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rowlock_faults::arena::{Round, Size};
use rowlock_faults::faults::{ALL, Arena, Fault};
use rowlock_faults::report::{Line, Report};
use rowlock_faults::subject::{Assignment, work};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the faults and writes a report.
    Run {
        /// Repeats the run with this seed; by default a new one is drawn.
        #[arg(long)]
        seed: Option<u64>,
        /// Only these faults.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// A short round of each, as in the tests.
        #[arg(long)]
        short: bool,
        /// How many faults are run at once: each waits most of its time, but what takes the processor takes it from
        /// all.
        #[arg(long, default_value = "1")]
        at_once: NonZeroUsize,
        /// The folder for the report and the workers' logs.
        #[arg(long, default_value = ".local/faults")]
        folder: PathBuf,
    },
    /// Names the faults.
    List,
    /// A worker's process, started by the suite.
    #[command(hide = true)]
    Worker {
        /// What it is to do, as JSON.
        assignment: String,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Worker { assignment } => {
            let assignment: Assignment = serde_json::from_str(&assignment).context("the assignment")?;
            work(&assignment)
        }
        Command::List => {
            ALL.iter().for_each(|fault| println!("{}", fault.name));
            Ok(())
        }
        Command::Run { seed, only, short, at_once, folder } => {
            let seed = seed.unwrap_or_else(rand::random);
            let size = if short { Size::SHORT } else { Size::FULL };
            tokio::runtime::Runtime::new()?.block_on(run(seed, &only, size, at_once.get(), folder))
        }
    }
}

async fn run(seed: u64, only: &[String], size: Size, at_once: usize, folder: PathBuf) -> Result<()> {
    for name in only {
        ensure!(ALL.iter().any(|fault| fault.name == name), "there is no fault {name:?}: see `rowlock-faults list`");
    }
    let folder = std::path::absolute(folder)?.join(seed.to_string());
    println!("seed {seed}; logs in {}", folder.display());
    let arena = Arena::open();
    let is_whole = only.is_empty() && size.is_long;
    let wanted = ALL.iter().filter(|fault| only.is_empty() || only.iter().any(|name| name == fault.name));
    let lines = stream::iter(wanted)
        .map(async |fault| {
            let outcome = run_one(fault, &arena, seed, size, folder.join(fault.name)).await?;
            let line = Line { fault: fault.name.to_owned(), outcome };
            println!("{}", line.in_short());
            anyhow::Ok(line)
        })
        .buffered(at_once)
        .try_collect()
        .await?;
    let report = Report { seed, is_whole, lines };
    let text = report.to_markdown();
    std::fs::write(folder.join("report.md"), &text)?;
    std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    println!("\n{text}");
    ensure!(report.is_clean(), "not clean: see {}", folder.join("report.md").display());
    Ok(())
}

async fn run_one(
    fault: &Fault,
    arena: &Arena,
    seed: u64,
    size: Size,
    folder: PathBuf,
) -> Result<rowlock_faults::report::Outcome> {
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder {}", folder.display()))?;
    let round = Round { seed, size, program: std::env::current_exe()?, folder };
    Ok(fault.run(arena, &round).await)
}
