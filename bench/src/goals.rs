//! What must be reached, and whether it is.

use std::collections::BTreeMap;

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;

use crate::contest::Outcome;
use crate::number::readable;
use crate::peers::{KEEPERS, PEERS};

/// A goal: a figure of one contender, or its ratio to another's, and its limit.
#[derive(Debug)]
struct Goal {
    measure: &'static str,
    workload: &'static str,
    figure: &'static str,
    contender: &'static str,
    /// Whose figure it is divided by; the figure itself counts without one.
    over: Option<&'static str>,
    limit: Limit,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

use Limit::{AtLeast, AtMost};

/// A ratio of two contenders.
const fn ratio(
    measure: &'static str,
    workload: &'static str,
    figure: &'static str,
    [contender, over]: [&'static str; 2],
    limit: Limit,
) -> Goal {
    Goal { measure, workload, figure, contender, over: Some(over), limit }
}

/// A figure of Rowlock's.
const fn own(measure: &'static str, workload: &'static str, figure: &'static str, limit: Limit) -> Goal {
    Goal { measure, workload, figure, contender: "rowlock", over: None, limit }
}

const RATE: &str = "items_per_s";
const WAL: &str = "wal_bytes_per_item";
const CPU: &str = "server_cpu_us_per_item";

/// In the order of the workloads. Defaults against hand-written SQL, unless a line says otherwise.
const GOALS: [Goal; 28] = [
    ratio("drain, of raw", "drain", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("drain, of raw in one round trip", "drain", RATE, ["rowlock", "raw-one-trip"], AtLeast(0.9)),
    ratio("drain, times naive with its best index", "drain", RATE, ["rowlock", "naive"], AtLeast(20.0)),
    ratio("drain, times naive without an index", "drain", RATE, ["rowlock", "naive-noindex"], AtLeast(200.0)),
    ratio("WAL an item, of raw", "drain", WAL, ["rowlock", "raw"], AtMost(1.1)),
    ratio("server CPU an item, of raw", "drain", CPU, ["rowlock", "raw"], AtMost(1.1)),
    ratio("drain of two stages, of raw", "drain-two", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("drain-small, of raw", "drain-small", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("fleet, 8 processes of one", "fleet", RATE, ["rowlock-fleet", "rowlock"], AtLeast(0.9)),
    ratio("add to an empty table, of raw", "add", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("add to a full table, of raw", "add", RATE, ["rowlock-full", "raw-full"], AtLeast(0.9)),
    ratio("wake p50, of raw", "wake", "wake_p50_ms", ["rowlock", "raw"], AtMost(1.5)),
    ratio("wake p99, of raw", "wake", "wake_p99_ms", ["rowlock", "raw"], AtMost(2.0)),
    ratio("growth, finished rows, of the empty table", "growth", RATE, ["rowlock-finished", "rowlock"], AtLeast(0.95)),
    ratio("growth, delayed rows, of the empty table", "growth", RATE, ["rowlock-delayed", "rowlock"], AtLeast(0.95)),
    own("snapshot, last tenth of the first", "snapshot", "last_over_first_tenth", AtLeast(0.9)),
    ratio(
        "retry storm, blocks a row with 4 times the items",
        "retry-storm",
        "worst_statement_blocks_per_row",
        ["rowlock-many", "rowlock"],
        AtMost(1.5),
    ),
    ratio("wide, of raw", "wide", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("wide, WAL an item, of raw", "wide", WAL, ["rowlock", "raw"], AtMost(1.1)),
    ratio("wide, server CPU an item, of raw", "wide", CPU, ["rowlock", "raw"], AtMost(1.1)),
    own("idle, statements a worker and second", "idle", "statements_per_worker_s", AtMost(0.2)),
    own("alive, statements a worker and interval", "alive", "renewals_per_worker_interval", AtMost(1.05)),
    own("alive, share of HOT updates", "alive", "hot_update_share", AtLeast(0.95)),
    own("alive, growth of the table", "alive", "table_growth_share", AtMost(0.02)),
    own("client memory, a million items, MB", "memory", "client_peak_mb", AtMost(64.0)),
    ratio("SQLite drain, of raw", "sqlite-drain", RATE, ["sqlite-rowlock", "sqlite-raw"], AtLeast(0.9)),
    ratio("videos, time of bare work", "overhead", "elapsed_s", ["rowlock-video", "video-bare"], AtMost(1.05)),
    ratio("videos on SQLite, of it", "overhead", "elapsed_s", ["rowlock-video-sqlite", "video-bare"], AtMost(1.05)),
];

impl Goal {
    /// The measured value; none if the workload did not run.
    fn measured(&self, results: &BTreeMap<String, Vec<Outcome>>) -> Option<f64> {
        let outcomes = results.get(self.workload)?;
        let median = |label: &str| Some(outcomes.iter().find(|outcome| outcome.label == label)?.median(self.figure));
        let value = median(self.contender)?;
        Some(match self.over {
            Some(over) => value / median(over)?,
            None => value,
        })
    }
}

impl Limit {
    fn is_met(self, value: f64) -> bool {
        match self {
            AtLeast(least) => value >= least,
            AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            AtLeast(least) => format!("≥ {}", readable(least)),
            AtMost(most) => format!("≤ {}", readable(most)),
        }
    }
}

/// Rowlock's drain over that of the fastest of these peers, at least. They only run when they are asked for.
const PEER_GOALS: [(&str, &[&str], f64); 2] = [
    ("drain, times the fastest peer that keeps its rows", &KEEPERS, 2.0),
    ("drain, times the fastest peer", &PEERS, 1.0),
];

/// The peer goals whose peers ran: measure, measured, limit.
fn against_peers(results: &BTreeMap<String, Vec<Outcome>>) -> Vec<(&'static str, f64, Limit)> {
    let outcomes = results.get("drain").map_or(&[][..], Vec::as_slice);
    let rate = |label: &str| Some(outcomes.iter().find(|outcome| outcome.label == label)?.median(RATE));
    let Some(own) = rate("rowlock") else { return Vec::new() };
    let fastest = |peers: &[&str]| peers.iter().filter_map(|peer| rate(peer)).reduce(f64::max);
    PEER_GOALS
        .iter()
        .filter_map(|(measure, peers, least)| Some((*measure, own / fastest(peers)?, AtLeast(*least))))
        .collect()
}

/// Every goal whose workload was measured: its value, its limit, met or not.
pub(crate) fn print(results: &BTreeMap<String, Vec<Outcome>>) {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["goal (ratios of medians)", "measured", "limit", ""]);
    for goal in &GOALS {
        let (measured, verdict) = match goal.measured(results) {
            None => ("not measured".to_owned(), ""),
            Some(value) if !value.is_finite() => ("could not be had".to_owned(), ""),
            Some(value) => (readable(value), if goal.limit.is_met(value) { "met" } else { "NOT MET" }),
        };
        table.add_row([goal.measure.to_owned(), measured, goal.limit.text(), verdict.to_owned()]);
    }
    for (measure, value, limit) in against_peers(results) {
        let verdict = if limit.is_met(value) { "met" } else { "NOT MET" };
        table.add_row([measure.to_owned(), readable(value), limit.text(), verdict.to_owned()]);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::{ALL, Scale};

    #[test]
    fn every_goal_names_contenders_and_a_figure_that_its_workload_has() {
        for goal in &GOALS {
            let (_, plan) = ALL.iter().find(|(name, _)| *name == goal.workload).expect(goal.workload);
            let plan = plan(Scale { of_size: 1.0, rounds: None });
            assert!(plan.figures.contains(&goal.figure), "{goal:?}");
            for contender in [Some(goal.contender), goal.over].into_iter().flatten() {
                assert!(plan.entries.iter().any(|entry| entry.label == contender), "{goal:?}");
            }
        }
    }
}
