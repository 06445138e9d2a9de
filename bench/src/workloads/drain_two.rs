//! The drain through two stages.

use super::{Scale, drains};
use crate::plan::{DRAIN_FIGURES, Plan};
use crate::scene::{Template, ready_items};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(200_000);
    let template = Template { name: "drain_two", stages: 2, fill: vec![ready_items(items)] };
    Plan {
        workload: "drain-two",
        title: format!("drain-two: {items} ready items, two stages, one process; an item counts once a stage"),
        rounds: scale.rounds(3),
        entries: ["raw", "rowlock", "rowlock-best"].map(|name| drains(name, &template, items)).into(),
        figures: DRAIN_FIGURES.to_vec(),
    }
}
