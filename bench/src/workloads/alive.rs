//! 50,000 items held for minutes by 50 workers: the cost of heartbeats.

use super::wide::widened;
use super::{Scale, ready};
use crate::plan::{Entry, Plan};
use crate::protocol::Work;
use crate::scene::Template;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(50_000);
    let secs = scale.secs(600.0);
    let narrow = ready("alive", items);
    let wide = Template { name: "alive_wide", stages: 1, fill: widened(items) };
    let entry = |template: &Template, label: &str, secs: f64| {
        let mut entry = Entry::own("rowlock", Work::Alive, template, items).labelled(label);
        let workers = (items / 1_000).clamp(1, 50) as u32;
        (entry.task.workers, entry.task.secs) = (workers, secs);
        entry
    };
    Plan {
        workload: "alive",
        title: format!("alive: {items} items held for {secs} s, a heartbeat every 10 s"),
        rounds: scale.rounds(1),
        // The wide ones are for the record, and half the time is enough for that.
        entries: vec![entry(&narrow, "rowlock", secs), entry(&wide, "rowlock-wide", scale.secs(300.0))],
        figures: vec![
            "hot_update_share",
            "renewals_per_worker_interval",
            "statements_per_worker_interval",
            "statements_per_worker_s",
            "server_cpu_ms_per_s",
            "wal_bytes_per_s",
            "table_growth_share",
            "settling_growth_share",
            "client_peak_mb",
        ],
    }
}
