//! The drain while another session holds an old snapshot, so that no dead rows can be removed.

use super::{Scale, drains, ready};
use crate::plan::{DRAIN_FIGURES, Plan};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(500_000);
    let template = ready("snapshot", items);
    let mut entries = vec![drains("raw", &template, items), drains("rowlock", &template, items)];
    for entry in &mut entries {
        entry.has_old_snapshot = true;
    }
    let mut figures = vec!["last_over_first_tenth", "first_tenth_items_per_s", "last_tenth_items_per_s"];
    figures.extend(DRAIN_FIGURES.iter().filter(|figure| **figure != "last_over_first_tenth"));
    Plan {
        workload: "snapshot",
        title: format!("snapshot: the drain of {items} items while another session holds a snapshot"),
        rounds: scale.rounds(3),
        entries,
        figures,
    }
}
