//! 200,000 ready items, a handler that does nothing, one process.

use super::{Scale, drains, ready};
use crate::contend::{bare_set_up, naive_set_up};
use crate::plan::{DRAIN_FIGURES, Expected, Plan};

/// The number of items after which the naive contenders are stopped: all of them would take minutes and hours. The
/// remaining items keep the table as full as it was.
const NAIVE_ITEMS: u32 = 10_000;
const NAIVE_NOINDEX_ITEMS: u32 = 1_000;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(200_000);
    let template = ready("drain", items);
    let bare = "select count(*) from bare where status = 'done'";
    Plan {
        workload: "drain",
        title: format!("drain: {items} ready items, one stage, one process"),
        rounds: scale.rounds(5),
        entries: vec![
            drains("raw", &template, items),
            drains("rowlock", &template, items),
            drains("rowlock-best", &template, items),
            drains("raw-one-trip", &template, items),
            drains("raw-pipelined", &template, items),
            drains("raw-bare", &template, items).set_up(bare_set_up()).check(bare, Expected::Number(items)),
            drains("naive", &template, items).set_up(naive_set_up(true)).take(scale.items(NAIVE_ITEMS)),
            drains("naive-noindex", &template, items)
                .set_up(naive_set_up(false))
                .take(scale.items(NAIVE_NOINDEX_ITEMS)),
        ],
        figures: DRAIN_FIGURES.to_vec(),
    }
}
