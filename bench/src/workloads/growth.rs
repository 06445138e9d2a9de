//! The drain in a table that has grown: with finished rows that were kept, and rows that are due later.

use super::{Scale, drains};
use crate::plan::{DRAIN_FIGURES, Expected, Plan};
use crate::scene::{Template, ready_items};

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(200_000);
    let (finished, delayed) = (scale.items(10_000_000), scale.items(1_000_000));
    let template = |name, before: Option<String>| Template {
        name,
        stages: 1,
        fill: before.into_iter().chain([ready_items(items)]).collect(),
    };
    let empty = template("growth_empty", None);
    let after_finished = template(
        "growth_finished",
        Some(format!(
            "insert into items (id, status, created_at)
             select 'f' || md5(n::text), 'SUCCEEDED', now() - interval '1 day' from generate_series(1, {finished}) n"
        )),
    );
    let beside_delayed = template(
        "growth_delayed",
        Some(format!(
            "insert into items (id, created_at, retry_after)
             select 'd' || md5(n::text), now() - interval '1 day', now() + interval '1 day' + n * interval '1 ms'
             from generate_series(1, {delayed}) n"
        )),
    );
    // The others' keys are longer by a letter.
    let handled = "select count(*) from items
                   where status = 'SUCCEEDED' and length(id) = 32 and retry_count + reset_count = 0";
    let entry = |template: &Template, label: &str| {
        // Rows that are due in a day would keep `run_until_idle` waiting: the drain stops when its own items are done.
        drains(if label.starts_with("raw") { "raw" } else { "rowlock-until-done" }, template, items)
            .labelled(label)
            .check(handled, Expected::Number(items))
    };
    Plan {
        workload: "growth",
        title: format!(
            "growth: the drain of {items} items, beside {finished} finished ones, beside {delayed} that are due \
             tomorrow"
        ),
        rounds: scale.rounds(3),
        entries: vec![
            entry(&empty, "rowlock"),
            entry(&after_finished, "rowlock-finished"),
            entry(&beside_delayed, "rowlock-delayed"),
            entry(&empty, "raw"),
            entry(&after_finished, "raw-finished"),
            entry(&beside_delayed, "raw-delayed"),
        ],
        figures: DRAIN_FIGURES.to_vec(),
    }
}
