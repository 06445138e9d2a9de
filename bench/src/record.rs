//! Each result as a file that says on which machine, from which commit and how it was measured; and reading the latest
//! files back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::contest::Outcome;
use crate::plan::Plan;
use crate::process::said;
use crate::server::Server;
use crate::verdict::{Measured, Results};
use crate::workloads::Scale;

/// One workload's result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) workload: String,
    pub(crate) title: String,
    /// The size relative to a full measurement. Older files do not have it.
    #[serde(default)]
    pub(crate) scale: Option<f64>,
    #[serde(default)]
    pub(crate) rounds: Option<u32>,
    pub(crate) measured_at: String,
    pub(crate) command: Vec<String>,
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) server_settings: BTreeMap<String, String>,
    /// The figures that the workload is about; the result may have more.
    pub(crate) figures: Vec<String>,
    pub(crate) contenders: Vec<Outcome>,
}

/// Writes a result into the folder, named after the time and the workload.
pub(crate) fn write(
    folder: &Path,
    plan: &Plan,
    scale: Scale,
    outcomes: &[Outcome],
    server: &Server,
) -> Result<PathBuf> {
    let now = chrono::Utc::now();
    let record = Record {
        workload: plan.workload.to_owned(),
        title: plan.title.clone(),
        scale: Some(scale.of_size),
        rounds: Some(plan.rounds),
        measured_at: now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        // The database's URL may contain a password.
        command: std::env::args().map(|word| if word.contains("://") { "…".to_owned() } else { word }).collect(),
        machine: machine(server),
        versions: versions(server),
        server_settings: server.settings.iter().cloned().collect(),
        figures: plan.figures.iter().map(|figure| (*figure).to_owned()).collect(),
        contenders: outcomes.to_vec(),
    };
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join(format!("{}-{}.json", now.format("%Y%m%dT%H%M%SZ"), plan.workload));
    fs::write(&file, serde_json::to_vec_pretty(&record)?).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// The latest result of each workload in a folder. A name begins with its time, so that names sort by it.
pub(crate) fn latest(folder: &Path) -> Result<Results> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut results = Results::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let record: Record =
            serde_json::from_slice(&fs::read(file)?).with_context(|| format!("reading {}", file.display()))?;
        results.insert(record.workload, Measured { scale: record.scale, outcomes: record.contenders });
    }
    Ok(results)
}

fn machine(server: &Server) -> BTreeMap<String, String> {
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
        ("server_file_system", server.file_system.clone()),
        // Also how busy the machine was otherwise.
        ("load_average", line("/proc/loadavg", "")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn versions(server: &Server) -> BTreeMap<String, String> {
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    [
        ("rowlock", env!("CARGO_PKG_VERSION").to_owned()),
        ("commit", commit()),
        ("rustc", said("rustc", &["--version"])),
        ("build", build.to_owned()),
        ("postgresql", server.version.clone()),
        ("sqlite", rusqlite::version().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The commit that is checked out, and whether files differ from it.
fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let commit = said("git", &["-C", folder, "rev-parse", "HEAD"]);
    let changed = said("git", &["-C", folder, "status", "--porcelain", "--untracked-files=no"]);
    if changed.is_empty() { commit } else { format!("{commit}, with changes") }
}
