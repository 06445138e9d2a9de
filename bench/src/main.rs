//! `rowlock-bench`: the cost of Rowlock, beside the same work done by hand-written SQL in the same run.
//!
//! Each contender is a separate process, they take turns, each run has fresh tables, and every final state is verified:
//! a run in which an item was lost or done twice is not a result. Quote ratios from one run, never a single time.
//! bench/README.md has the workloads, and the requirements for a contender that is not part of this program.

mod child;
mod contend;
mod contest;
mod figures;
mod goals;
mod keys_seen;
mod number;
mod peers;
mod plan;
mod process;
mod protocol;
mod record;
mod scene;
mod server;
mod statements;
mod table;
mod verdict;
mod workloads;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::contest::Arena;
use crate::peers::Peer;
use crate::protocol::Task;
use crate::server::SMALL_SCALE;
use crate::verdict::{Measured, Results};
use crate::workloads::{ALL, Scale};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run workloads, print a table for each, and what of the goals is met. Ends with status 1 if a contender had no
    /// result.
    Run(Run),
    /// What of the goals is met by the latest result of each workload.
    Goals {
        /// Where results are.
        #[arg(long, default_value = ".local/bench")]
        results: PathBuf,
    },
    /// The names of the workloads.
    List,
    /// Be a contender.
    #[command(hide = true)]
    Contend {
        contender: String,
        #[command(flatten)]
        task: Task,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Workloads by name; every one without a name.
    workloads: Vec<String>,
    /// The server to measure on. It should be durable: fsync and synchronous_commit on.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: String,
    /// Sizes against those of a measurement: 0.01 only shows that everything works.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Rounds, instead of each workload's own number.
    #[arg(long)]
    rounds: Option<u32>,
    /// Only these contenders, and the first of each workload.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// More contenders for the workloads that they can do: `all`, names of bench/peers, or `name=command`, as
    /// bench/README.md has it.
    #[arg(long)]
    peer: Vec<String>,
    /// Where results go.
    #[arg(long, default_value = ".local/bench")]
    results: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Run(run) => run.all().await,
        Verb::Goals { results } => {
            verdict::print(&record::latest(&results)?);
            Ok(())
        }
        Verb::List => {
            ALL.iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
        Verb::Contend { contender, task } => contend::contend(&contender, &task).await,
    }
}

impl Run {
    async fn all(&self) -> Result<()> {
        ensure!(self.scale > 0.0, "--scale must be more than zero");
        for name in &self.workloads {
            ensure!(ALL.iter().any(|(known, _)| known == name), "no workload {name}; `list` names them");
        }
        let scale = Scale { of_size: self.scale, rounds: self.rounds };
        let mut peers = Vec::new();
        for text in &self.peer {
            peers.extend(Peer::parse(text).context("--peer")?);
        }
        peers.iter().try_for_each(Peer::ensure_built)?;
        let mut arena = Arena::new(&self.database).await?;
        if self.scale > SMALL_SCALE {
            let has_idle = self.workloads.is_empty() || self.workloads.iter().any(|name| name == "idle");
            arena.server.ensure_fit_to_measure(if has_idle { workloads::idle_workers(scale) } else { 0 })?;
        }
        let mut results = Results::new();
        let mut failures = Vec::new();
        for (name, plan) in ALL {
            if !self.workloads.is_empty() && !self.workloads.iter().any(|wanted| wanted == name) {
                continue;
            }
            let mut plan = plan(scale);
            peers.iter().for_each(|peer| plan.add_peer(peer));
            if !self.only.is_empty() {
                let first = plan.entries[0].label.clone();
                plan.entries.retain(|entry| entry.label == first || self.only.contains(&entry.label));
            }
            // An error in one workload says nothing about the next, and hours of measurement may be behind it.
            let outcomes = match arena.hold(&plan).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    eprintln!("{name}: no result: {error:#}");
                    failures.push(name.to_owned());
                    continue;
                }
            };
            let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some());
            failures.extend(failed.map(|outcome| format!("{} in {name}", outcome.label)));
            table::print(&plan, &outcomes);
            let file = record::write(&self.results, &plan, scale, &outcomes, &arena.server)?;
            println!("written to {}\n", file.display());
            results.insert(name.to_owned(), Measured { scale: Some(self.scale), outcomes });
        }
        verdict::print(&results);
        ensure!(failures.is_empty(), "no result: {}", failures.join(", "));
        Ok(())
    }
}
