//! Each result as a file, which says on what, of what and how it was measured; and reading the latest ones back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::contest::Outcome;
use crate::plan::Plan;
use crate::protocol::Figures;
use crate::server::Server;

/// One workload's result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) workload: String,
    pub(crate) title: String,
    pub(crate) measured_at: String,
    pub(crate) command: Vec<String>,
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) server_settings: BTreeMap<String, String>,
    /// The figures that the workload is about; there may be more.
    pub(crate) figures: Vec<String>,
    pub(crate) contenders: Vec<Contended>,
}

/// One contender's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Contended {
    pub(crate) label: String,
    pub(crate) settings: String,
    pub(crate) command: Vec<String>,
    pub(crate) rounds: Vec<Figures>,
}

impl Contended {
    /// The outcome, as goals and tables take it.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome {
            label: self.label.clone(),
            settings: self.settings.clone(),
            command: self.command.clone(),
            rounds: self.rounds.clone(),
        }
    }
}

/// Writes a result into the folder, named after the time and the workload.
pub(crate) fn write(folder: &Path, plan: &Plan, outcomes: &[Outcome], server: &Server) -> Result<PathBuf> {
    let now = chrono::Utc::now();
    let contender = |outcome: &Outcome| Contended {
        label: outcome.label.clone(),
        settings: outcome.settings.clone(),
        command: outcome.command.clone(),
        rounds: outcome.rounds.clone(),
    };
    let record = Record {
        workload: plan.workload.to_owned(),
        title: plan.title.clone(),
        measured_at: now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        // The database's URL may hold a password.
        command: std::env::args().map(|word| if word.contains("://") { "…".to_owned() } else { word }).collect(),
        machine: machine(),
        versions: versions(server),
        server_settings: server.settings.iter().cloned().collect(),
        figures: plan.figures.iter().map(|figure| (*figure).to_owned()).collect(),
        contenders: outcomes.iter().map(contender).collect(),
    };
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join(format!("{}-{}.json", now.format("%Y%m%dT%H%M%SZ"), plan.workload));
    fs::write(&file, serde_json::to_vec_pretty(&record)?).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// The latest result of each workload in a folder. A name begins with its time, so that names sort by it.
pub(crate) fn latest(folder: &Path) -> Result<BTreeMap<String, Vec<Outcome>>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut results = BTreeMap::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let record: Record =
            serde_json::from_slice(&fs::read(file)?).with_context(|| format!("reading {}", file.display()))?;
        results.insert(record.workload, record.contenders.iter().map(Contended::outcome).collect());
    }
    Ok(results)
}

fn machine() -> BTreeMap<String, String> {
    let line = |file: &str, start: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    [
        ("processor", line("/proc/cpuinfo", "model name")),
        ("processors", processors.to_string()),
        ("memory", line("/proc/meminfo", "MemTotal")),
        ("system", line("/proc/sys/kernel/osrelease", "")),
        // How busy it was with other things, too.
        ("load_average", line("/proc/loadavg", "")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn versions(server: &Server) -> BTreeMap<String, String> {
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    [
        ("rowlock", env!("CARGO_PKG_VERSION").to_owned()),
        ("build", build.to_owned()),
        ("postgresql", server.version.clone()),
        ("sqlite", rusqlite::version().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
