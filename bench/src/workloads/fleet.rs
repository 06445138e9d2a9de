//! The drain by eight processes, and for comparison by one.

use super::{Scale, drains, ready};
use crate::plan::{DRAIN_FIGURES, Plan};

const PROCESSES: u32 = 8;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(200_000);
    let template = ready("fleet", items);
    Plan {
        workload: "fleet",
        title: format!(
            "fleet: {items} ready items, {PROCESSES} processes against one; from the first start to the last end"
        ),
        rounds: scale.rounds(5),
        entries: vec![
            drains("rowlock", &template, items),
            drains("rowlock", &template, items).processes(PROCESSES).labelled("rowlock-fleet"),
            drains("raw", &template, items),
            drains("raw", &template, items).processes(PROCESSES).labelled("raw-fleet"),
        ],
        figures: DRAIN_FIGURES.to_vec(),
    }
}
