//! `rowlock-bench`: what Rowlock costs, beside the same work done by hand-written SQL in the same run.
//!
//! Contenders take turns, each round on a fresh table, and every final state is verified: a run in which an item was
//! lost is no result. Quote the medians of the ratios, never a single time.

mod drain;
mod measure;
mod raw;
mod scene;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    /// The server to measure on. It should be durable: fsync and synchronous_commit on.
    #[arg(long, env = "DATABASE_URL")]
    database: String,
    #[command(subcommand)]
    workload: Option<Workload>,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Ready items of one stage, a no-op handler, one process.
    Drain(drain::Drain),
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let workload = arguments.workload.unwrap_or(Workload::Drain(drain::Drain::default()));
    match workload {
        Workload::Drain(drain) => drain.run(&arguments.database).await.context("drain"),
    }
}
