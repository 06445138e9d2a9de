//! The figures of a run: the contender's answer, and the run's cost.

use crate::child::Ended;
use crate::number::float;
use crate::plan::Entry;
use crate::protocol::{Figures, Work};
use crate::scene::HEARTBEAT_INTERVAL;
use crate::server::Sample;

/// The contenders' own measurements, and those that are possible from outside.
pub(crate) fn of_contender(ended: &[Ended], entry: &Entry) -> Figures {
    let mut figures = ended[0].answer.figures.clone();
    let handled = float(ended.iter().map(|end| end.answer.handled).sum());
    let started_at = ended.iter().map(|end| end.answer.started_at).fold(f64::INFINITY, f64::min);
    let ended_at = ended.iter().map(|end| end.answer.ended_at).fold(0.0, f64::max);
    let secs = ended_at - started_at;
    figures.insert("elapsed_s".into(), secs);
    if !matches!(entry.task.work, Work::Idle | Work::Alive | Work::Wake) {
        figures.insert("items_per_s".into(), handled / secs.max(1e-6));
        let cpu: f64 = ended.iter().map(|end| end.cpu_secs).sum();
        figures.insert("client_cpu_us_per_item".into(), cpu * 1e6 / handled.max(1.0));
    }
    let peak = ended.iter().map(|end| end.memory_peak_bytes).fold(0.0, f64::max);
    figures.insert("client_peak_mb".into(), peak / 1e6);
    if entry.processes > 1 {
        // One process of a fleet sees a part of the items: its tenths mean nothing.
        figures.remove("first_tenth_items_per_s");
        figures.remove("last_tenth_items_per_s");
    }
    if let (Some(first), Some(last)) =
        (figures.get("first_tenth_items_per_s").copied(), figures.get("last_tenth_items_per_s").copied())
    {
        figures.insert("last_over_first_tenth".into(), last / first);
    }
    figures
}

pub(crate) fn add_costs(figures: &mut Figures, before: &Sample, after: &Sample, entry: &Entry) {
    let secs = (after.at - before.at).as_secs_f64().max(1e-6);
    let items = float(entry.task.to_handle()).max(1.0);
    let table = (&before.table, &after.table);
    let updates = table.1.updates - table.0.updates;
    figures.insert("dead_tuples".into(), table.1.dead_tuples);
    figures.insert("hot_update_share".into(), (table.1.hot_updates - table.0.hot_updates) / updates.max(1.0));
    figures.insert("table_growth_share".into(), table.1.bytes / table.0.bytes.max(1.0) - 1.0);
    let mut add = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    let cpu = after.cpu_secs.zip(before.cpu_secs).map(|(after, before)| after - before);
    let statements = after.statements.zip(before.statements).map(|(after, before)| after - before);
    if matches!(entry.task.work, Work::Idle | Work::Alive) {
        let workers = f64::from(entry.task.workers);
        add("wal_bytes_per_s", (after.wal_bytes - before.wal_bytes) / secs);
        cpu.map(|cpu| add("server_cpu_ms_per_s", cpu * 1000.0 / secs));
        statements.map(|statements| add("statements_per_s", statements / secs));
        statements.map(|statements| add("statements_per_worker_s", statements / secs / workers));
        let renewals = after.renewals.zip(before.renewals).map(|(after, before)| after - before);
        // Zero is not a good value, but the sign of a run that was too short to measure.
        let renewals = renewals.filter(|renewals| *renewals > 0.0);
        let intervals = secs / HEARTBEAT_INTERVAL.as_secs_f64();
        statements.map(|statements| add("statements_per_worker_interval", statements / workers / intervals));
        renewals.map(|renewals| add("renewals_per_worker_interval", renewals / workers / intervals));
        return;
    }
    add("wal_bytes_per_item", (after.wal_bytes - before.wal_bytes) / items);
    add("commits_per_item", (after.commits - before.commits) / items);
    cpu.map(|cpu| add("server_cpu_us_per_item", cpu * 1e6 / items));
    statements.map(|statements| add("statements_per_item", statements / items));
}
