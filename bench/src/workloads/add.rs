//! Adding many keys at once, to an empty table, to a full one, and with a tenth of them existing already.

use super::Scale;
use crate::contend::{insert_keys_there, keys_there};
use crate::plan::{Entry, Expected, Plan};
use crate::protocol::Work;
use crate::scene::{Template, ready_items};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(500_000);
    let empty = Template { name: "add_empty", stages: 1, fill: Vec::new() };
    let full = Template { name: "add_full", stages: 1, fill: vec![ready_items(items)] };
    let some = Template { name: "add_some", stages: 1, fill: vec![insert_keys_there(items)] };
    let entry = |contender, template: &Template, there: u64, label: &str| {
        Entry::own(contender, Work::Add, template, items)
            .labelled(label)
            .check("select count(*) from items where status = 'PENDING'", Expected::Number(there + items))
    };
    Plan {
        workload: "add",
        title: format!(
            "add: {items} new keys to an empty table, to one of {items} rows, and beside a tenth that are there"
        ),
        rounds: scale.rounds(3),
        entries: vec![
            entry("raw", &empty, 0, "raw"),
            entry("rowlock", &empty, 0, "rowlock"),
            entry("raw", &full, items, "raw-full"),
            entry("rowlock", &full, items, "rowlock-full"),
            entry("raw-conflict", &some, keys_there(items), "raw-conflict"),
            entry("rowlock-conflict", &some, keys_there(items), "rowlock-conflict"),
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
