//! A million items through one process: its memory must not depend on how many there are.

use super::{Scale, drains, ready};
use crate::plan::{DRAIN_FIGURES, Plan};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(1_000_000);
    let template = ready("memory", items);
    let mut figures = vec!["client_peak_mb"];
    figures.extend(DRAIN_FIGURES.iter().filter(|figure| **figure != "client_peak_mb"));
    Plan {
        workload: "memory",
        title: format!("memory: {items} ready items through one process"),
        rounds: scale.rounds(1),
        entries: ["raw", "rowlock", "rowlock-best"].map(|name| drains(name, &template, items)).into(),
        figures,
    }
}
