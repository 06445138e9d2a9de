//! The drain with one item a statement, 16 at a time: the speed for users who cannot wait for a batch.

use super::{Scale, ready};
use crate::plan::{DRAIN_FIGURES, Entry, Plan};
use crate::protocol::Work;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(30_000);
    let template = ready("drain_small", items);
    let contenders = ["raw", "rowlock", "rowlock-worker", "raw-8"];
    Plan {
        workload: "drain-small",
        title: format!("drain-small: {items} ready items, each claimed and completed by itself, 16 at a time"),
        rounds: scale.rounds(5),
        entries: contenders.map(|name| Entry::own(name, Work::Small, &template, items)).into(),
        figures: DRAIN_FIGURES.to_vec(),
    }
}
