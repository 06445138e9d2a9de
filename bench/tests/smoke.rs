//! Every workload at a hundredth of its size, once: the benchmark runs, every final state is right, and every figure is
//! present. No speed is asserted.

use std::path::Path;
use std::process::{Command, Stdio};

/// Figures that need what a server may lack: a counter of statements, and its processes on this machine.
const OPTIONAL_FIGURES: [&str; 10] = [
    "statements_per_item",
    "statements_per_s",
    "statements_per_worker_s",
    "statements_per_worker_interval",
    "renewals_per_worker_interval",
    "worst_statement_blocks_per_row",
    "worst_statement_growth",
    "slowest_statement_mean_ms",
    "server_cpu_us_per_item",
    "server_cpu_ms_per_s",
];

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlock-bench"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn database() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL names a PostgreSQL server; scripts/with-postgres makes one")
}

/// Workloads that mostly wait. They run beside the others, so that the test takes half as long.
const WAITING: [&str; 4] = ["wake", "retry-storm", "idle", "alive"];

#[test]
fn every_workload_runs_at_a_hundredth_of_its_size_and_has_every_figure() {
    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().to_str().expect("UTF-8");
    let list = bench(&["list"]).output().expect("it starts").stdout;
    let workloads: Vec<String> = String::from_utf8_lossy(&list).lines().map(str::to_owned).collect();
    assert!(workloads.len() >= 15, "{workloads:?}");
    let (waiting, working): (Vec<&str>, Vec<&str>) =
        workloads.iter().map(String::as_str).partition(|workload| WAITING.contains(workload));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&waiting, results));
        run(&working, results);
        waiting.join().expect("the waiting workloads run");
    });
    for workload in &workloads {
        check_result(folder.path(), workload);
    }
    let goals = bench(&["goals", "--results", results]).output().expect("it starts");
    let goals = String::from_utf8_lossy(&goals.stdout);
    let not_measured: Vec<&str> = goals.lines().filter(|line| line.contains("not measured")).collect();
    assert!(goals.contains("drain, of raw"), "{goals}");
    assert!(not_measured.len() == 2, "each goal's workload ran, but for the two of the peers:\n{goals}");
    assert!(not_measured.iter().all(|line| line.contains("the fastest peer")), "{goals}");
    assert!(!goals.contains("no result") && goals.contains("no verdict at scale 0.01"), "{goals}");
}

fn run(workloads: &[&str], results: &str) {
    let output = bench(&["run", "--scale", "0.01", "--rounds", "1", "--results", results])
        .args(workloads)
        .env("DATABASE_URL", database())
        .output()
        .expect("it starts");
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{workloads:?}\n{said}\n{told}");
}

/// The file of a workload's result: it says on what and how it was measured, and lacks no figure.
fn check_result(folder: &Path, workload: &str) {
    let suffix = format!("Z-{workload}.json");
    let mut files = std::fs::read_dir(folder).expect("the results").map(|entry| entry.expect("an entry").path());
    let file = files
        .find(|path| path.to_string_lossy().ends_with(&suffix))
        .unwrap_or_else(|| panic!("no result of {workload}"));
    let text = std::fs::read(&file).expect("a result");
    let record: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    for part in ["measured_at", "command", "machine", "versions", "server_settings"] {
        assert!(!record[part].is_null(), "{workload}: {part}");
    }
    let figures: Vec<&str> =
        record["figures"].as_array().expect("figures").iter().filter_map(|name| name.as_str()).collect();
    assert!(!figures.is_empty(), "{workload}");
    for contender in record["contenders"].as_array().expect("contenders") {
        let round = &contender["rounds"][0];
        for figure in figures.iter().filter(|figure| !OPTIONAL_FIGURES.contains(figure)) {
            // A fleet has no tenths: each of its processes sees a part.
            let is_fleet = contender["label"].as_str().is_some_and(|label| label.ends_with("-fleet"));
            let excused = is_fleet && *figure == "last_over_first_tenth";
            assert!(round[figure].is_number() || excused, "{workload}, {}: no {figure}", contender["label"]);
        }
    }
}
