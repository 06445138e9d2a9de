//! The goals. Whether they are met: verdict.rs.

use crate::peers::{keepers, names};

/// A goal: a figure of one contender, or its ratio to another's, and its limit.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) measure: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) contender: &'static str,
    /// The contender and the workload by whose figure it is divided; without them the figure itself counts.
    pub(crate) over: Option<(&'static str, &'static str)>,
    pub(crate) limit: Limit,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// It has no limit, but a reader of the goals wants to see it beside them.
    ForTheRecord,
}

use Limit::{AtLeast, AtMost, ForTheRecord};

/// A ratio of two contenders.
const fn ratio(
    measure: &'static str,
    workload: &'static str,
    figure: &'static str,
    [contender, over]: [&'static str; 2],
    limit: Limit,
) -> Goal {
    Goal { measure, workload, figure, contender, over: Some((workload, over)), limit }
}

/// A figure of Rowlock's.
const fn own(measure: &'static str, workload: &'static str, figure: &'static str, limit: Limit) -> Goal {
    Goal { measure, workload, figure, contender: "rowlock", over: None, limit }
}

const RATE: &str = "items_per_s";
const WAL: &str = "wal_bytes_per_item";
const CPU: &str = "server_cpu_us_per_item";

/// In the order of the workloads. Defaults against hand-written SQL, unless a line says otherwise.
pub(crate) const GOALS: [Goal; 37] = [
    ratio("drain, of raw", "drain", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("drain, of raw in one round trip", "drain", RATE, ["rowlock", "raw-one-trip"], AtLeast(0.9)),
    ratio("drain, times naive with its best index", "drain", RATE, ["rowlock", "naive"], AtLeast(20.0)),
    ratio("drain, times naive without an index", "drain", RATE, ["rowlock", "naive-noindex"], AtLeast(200.0)),
    ratio("WAL an item, of raw", "drain", WAL, ["rowlock", "raw"], AtMost(1.1)),
    ratio("server CPU an item, of raw", "drain", CPU, ["rowlock", "raw"], AtMost(1.1)),
    ratio("drain of two stages, of raw", "drain-two", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("drain-small through the repository, of raw", "drain-small", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio(
        "drain-small through the repository, of raw with as few connections",
        "drain-small",
        RATE,
        ["rowlock", "raw-8"],
        ForTheRecord,
    ),
    ratio("drain-small through the worker, of raw", "drain-small", RATE, ["rowlock-worker", "raw"], AtLeast(0.9)),
    ratio(
        "drain-small through the worker, of raw with as few connections",
        "drain-small",
        RATE,
        ["rowlock-worker", "raw-8"],
        ForTheRecord,
    ),
    ratio("fleet, 8 processes of one", "fleet", RATE, ["rowlock-fleet", "rowlock"], AtLeast(0.9)),
    ratio("add to an empty table, of raw", "add", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("add to a full table, of raw", "add", RATE, ["rowlock-full", "raw-full"], AtLeast(0.9)),
    ratio("add, a tenth is there, of raw", "add", RATE, ["rowlock-conflict", "raw-conflict"], AtLeast(0.9)),
    ratio("wake p50, of raw", "wake", "wake_p50_ms", ["rowlock", "raw"], AtMost(1.5)),
    ratio("wake p99, of raw", "wake", "wake_p99_ms", ["rowlock", "raw"], AtMost(2.0)),
    ratio("growth, finished rows, of the empty table", "growth", RATE, ["rowlock-finished", "rowlock"], AtLeast(0.95)),
    ratio("growth, delayed rows, of the empty table", "growth", RATE, ["rowlock-delayed", "rowlock"], AtLeast(0.95)),
    own("snapshot, last tenth of the first", "snapshot", "last_over_first_tenth", AtLeast(0.9)),
    Goal {
        contender: "rowlock-many",
        ..own(
            "retry storm, blocks a row of the worst statement with 4 times the items",
            "retry-storm",
            "worst_statement_growth",
            AtMost(1.5),
        )
    },
    ratio(
        "retry storm, runs of the handler a busy second with 4 times the items",
        "retry-storm",
        "busy_items_per_s",
        ["rowlock-many", "rowlock"],
        ForTheRecord,
    ),
    ratio("wide, of raw", "wide", RATE, ["rowlock", "raw"], AtLeast(0.9)),
    ratio("wide, WAL an item, of raw", "wide", WAL, ["rowlock", "raw"], AtMost(1.1)),
    ratio("wide, server CPU an item, of raw", "wide", CPU, ["rowlock", "raw"], AtMost(1.1)),
    own("idle, statements a worker and second", "idle", "statements_per_worker_s", AtMost(0.2)),
    Goal {
        over: Some(("wake", "rowlock")),
        ..own("idle, wake p50 beside 200 idle workers, of wake's", "idle", "wake_p50_ms", AtMost(1.5))
    },
    ratio("idle, the same, of raw's where as many listen", "idle", "wake_p50_ms", ["rowlock", "raw"], ForTheRecord),
    own("alive, heartbeats a worker and interval", "alive", "renewals_per_worker_interval", AtMost(1.05)),
    own("alive, statements of any kind a worker and interval", "alive", "statements_per_worker_interval", ForTheRecord),
    own("alive, share of HOT updates", "alive", "hot_update_share", AtLeast(0.95)),
    own("alive, growth of the table once it has settled", "alive", "table_growth_share", AtMost(0.02)),
    own(
        "alive, growth until then: a page needs room for the heartbeats",
        "alive",
        "settling_growth_share",
        ForTheRecord,
    ),
    own("client memory, a million items, MB", "memory", "client_peak_mb", AtMost(64.0)),
    ratio("SQLite drain, of raw", "sqlite-drain", RATE, ["sqlite-rowlock", "sqlite-raw"], AtLeast(0.9)),
    ratio("videos, time of bare work", "overhead", "elapsed_s", ["rowlock-video", "video-bare"], AtMost(1.05)),
    ratio("videos on SQLite, of it", "overhead", "elapsed_s", ["rowlock-video-sqlite", "video-bare"], AtMost(1.05)),
];

/// Rowlock's drain over that of the fastest of some peers.
pub(crate) struct PeerGoal {
    pub(crate) measure: &'static str,
    pub(crate) peers: Vec<&'static str>,
    pub(crate) limit: Limit,
}

pub(crate) fn peer_goals() -> [PeerGoal; 2] {
    [
        PeerGoal {
            measure: "drain, times the fastest peer that keeps its rows",
            peers: keepers(),
            limit: AtLeast(2.0),
        },
        PeerGoal { measure: "drain, times the fastest peer", peers: names(), limit: AtLeast(1.0) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::{ALL, Scale};

    #[test]
    fn every_goal_names_contenders_and_a_figure_that_its_workload_has() {
        for goal in &GOALS {
            for (workload, contender) in [Some((goal.workload, goal.contender)), goal.over].into_iter().flatten() {
                let (_, plan) = ALL.iter().find(|(name, _)| *name == workload).expect(workload);
                let plan = plan(Scale { of_size: 1.0, rounds: None });
                assert!(plan.figures.contains(&goal.figure), "{goal:?}");
                assert!(plan.entries.iter().any(|entry| entry.label == contender), "{goal:?}");
            }
        }
    }
}
