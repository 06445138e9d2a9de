//! `rowlock-bench`: what Rowlock costs, beside the same work done by hand-written SQL in the same run.
//!
//! Each contender is a process of its own, they take turns, each run has fresh tables, and every final state is
//! verified: a run in which an item was lost or done twice is no result. Quote ratios from one run, never a single
//! time. bench/README.md has the workloads, and what a contender must be that is not part of this program.

mod child;
mod contend;
mod contest;
mod figures;
mod goals;
mod number;
mod peers;
mod plan;
mod process;
mod protocol;
mod record;
mod scene;
mod server;
mod table;
mod workloads;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::contest::Arena;
use crate::peers::Peer;
use crate::protocol::Task;
use crate::workloads::{ALL, Scale};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run workloads, print a table for each, and what of the goals is met.
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
            goals::print(&record::latest(&results)?);
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
        let mut arena = Arena::new(&self.database).await?;
        let mut results = BTreeMap::new();
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
            let outcomes = arena.hold(&plan).await?;
            table::print(&plan, &outcomes);
            let file = record::write(&self.results, &plan, &outcomes, &arena.server)?;
            println!("written to {}\n", file.display());
            results.insert(name.to_owned(), outcomes);
        }
        goals::print(&results);
        Ok(())
    }
}
