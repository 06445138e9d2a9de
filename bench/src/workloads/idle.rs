//! 200 workers with nothing to do.

use super::Scale;
use crate::contend::raw_wake_set_up;
use crate::plan::{Entry, Expected, Plan};
use crate::protocol::Work;
use crate::scene::Template;

/// How many workers are idle.
pub(crate) fn workers(scale: Scale) -> u32 {
    u32::try_from(scale.items(200)).unwrap_or(u32::MAX)
}

pub(super) fn plan(scale: Scale) -> Plan {
    let template = Template { name: "idle", stages: 1, fill: Vec::new() };
    let (workers, secs) = (workers(scale), scale.secs(60.0));
    let entry = |contender| {
        let mut entry = Entry::own(contender, Work::Idle, &template, 0)
            .check("select count(*) from items where status = 'SUCCEEDED'", Expected::Handled);
        entry.task.workers = workers;
        entry.task.secs = secs;
        entry
    };
    Plan {
        workload: "idle",
        title: format!("idle: {workers} idle workers for {secs} s, then 30 inserts"),
        rounds: scale.rounds(1),
        entries: vec![entry("raw").set_up(raw_wake_set_up()), entry("rowlock")],
        figures: vec![
            "statements_per_worker_s",
            "statements_per_s",
            "server_cpu_ms_per_s",
            "wal_bytes_per_s",
            "wake_p50_ms",
            "wake_p99_ms",
            "client_peak_mb",
        ],
    }
}
