//! Adding many keys at once, to an empty table and to one that is full.

use super::Scale;
use crate::plan::{Entry, Expected, Plan};
use crate::protocol::Work;
use crate::scene::{Template, ready_items};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(500_000);
    let empty = Template { name: "add_empty", stages: 1, fill: Vec::new() };
    let full = Template { name: "add_full", stages: 1, fill: vec![ready_items(items)] };
    let entry = |contender, template: &Template, there: u64, label: &str| {
        Entry::own(contender, Work::Add, template, items)
            .labelled(label)
            .check("select count(*) from items where status = 'PENDING'", Expected::Number(there + items))
    };
    Plan {
        workload: "add",
        title: format!("add: {items} new keys to an empty table, and to one of {items} rows"),
        rounds: scale.rounds(3),
        entries: vec![
            entry("raw", &empty, 0, "raw"),
            entry("rowlock", &empty, 0, "rowlock"),
            entry("raw", &full, items, "raw-full"),
            entry("rowlock", &full, items, "rowlock-full"),
        ],
        figures: vec![
            "items_per_s",
            "wal_bytes_per_item",
            "server_cpu_us_per_item",
            "client_cpu_us_per_item",
            "client_peak_mb",
        ],
    }
}
