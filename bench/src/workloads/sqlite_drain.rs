//! The drain on SQLite.

use super::{Scale, drains, ready};
use crate::plan::{Place, Plan};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(100_000);
    let contenders = ["sqlite-raw", "sqlite-rowlock", "sqlite-rowlock-best"];
    let entries = contenders.map(|name| {
        let mut entry = drains(name, &ready("sqlite", items), items);
        entry.place = Place::Sqlite { by_hand: name == "sqlite-raw" };
        entry
    });
    Plan {
        workload: "sqlite-drain",
        title: format!("sqlite-drain: {items} ready items, one process, commits reach the disk"),
        rounds: scale.rounds(5),
        entries: entries.into(),
        figures: vec!["items_per_s", "client_cpu_us_per_item", "client_peak_mb", "last_over_first_tenth"],
    }
}
