//! The harness's task for a peer, and the peer's answer.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde::Serialize;

/// The task of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Run every job, as fast as it can.
    Drain,
    /// The same, with one job a claim, 16 at a time.
    Small,
    /// Add jobs.
    Add,
    /// Wait for jobs that come one by one.
    Wake,
}

/// The command line.
#[derive(Debug, Clone, Parser)]
#[command(about = "A peer of the benchmark: see bench/README.md for the protocol", version)]
pub struct Task {
    /// The task.
    #[arg(long, value_enum)]
    pub work: Work,
    /// A new database, as a URL.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database: String,
    /// Jobs to add, and to run.
    #[arg(long)]
    pub items: u64,
    /// Stop after this many jobs.
    #[arg(long)]
    pub take: Option<u64>,
    /// For Rowlock: jobs of the peers have one stage.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    pub stages: u8,
    /// For Rowlock: each peer chooses the best number of workers for its process.
    #[arg(long, default_value_t = 1)]
    pub workers: u32,
    /// For workloads that peers do not take part in.
    #[arg(long, default_value_t = 0.0)]
    pub secs: f64,
}

impl Task {
    /// Jobs that are to run.
    pub fn to_handle(&self) -> u64 {
        self.take.unwrap_or(self.items).min(self.items)
    }
}

/// A peer's answer at its end.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) handled: u64,
    pub(crate) started_at: f64,
    pub(crate) ended_at: f64,
    pub(crate) figures: BTreeMap<&'static str, f64>,
    pub(crate) settings: String,
}

/// Says that the measured part begins, and waits until the harness has read its counters.
pub(crate) fn begin() -> Result<()> {
    write("{\"mark\":\"begin\"}")?;
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

pub(crate) fn say(answer: &Answer) -> Result<()> {
    write(&serde_json::to_string(answer)?)
}

/// Returns when the harness has read its figures for this process.
pub(crate) fn wait_for_dismissal() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn write(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
