//! The drain on rows of 40 columns and 4 kB, with four more indexes of the user's.

use super::{Scale, drains};
use crate::plan::{DRAIN_FIGURES, Plan};
use crate::scene::{Template, ready_items};

/// The user's columns besides Rowlock's 13, and characters in each: together 40, and 4 kB.
const COLUMNS: usize = 27;
const MD5S_A_COLUMN: usize = 5;

/// The statements that make a table of ready items a wide one.
pub(super) fn widened(items: u64) -> Vec<String> {
    let columns: Vec<String> = (1..=COLUMNS).map(|n| format!("add column c{n} text")).collect();
    let values: Vec<String> = (1..=COLUMNS).map(|n| format!("c{n} = {}", incompressible(n))).collect();
    let mut statements = vec![
        format!("alter table items {}", columns.join(", ")),
        // Written in one statement, so that the table is not twice as large as its rows.
        ready_items(items),
        format!("update items set {}", values.join(", ")),
        "vacuum full items".to_owned(),
    ];
    statements.extend((1..=4).map(|n| format!("create index on items (left(c{n}, 20))")));
    statements
}

fn incompressible(column: usize) -> String {
    let parts: Vec<String> = (1..=MD5S_A_COLUMN).map(|n| format!("md5(id || '{column} {n}')")).collect();
    parts.join(" || ")
}

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(50_000);
    let template = Template { name: "wide", stages: 1, fill: widened(items) };
    Plan {
        workload: "wide",
        title: format!("wide: the drain of {items} rows of 40 columns and 4 kB, with four further indexes"),
        rounds: scale.rounds(7),
        entries: ["raw", "rowlock", "rowlock-best"].map(|name| drains(name, &template, items)).into(),
        figures: DRAIN_FIGURES.to_vec(),
    }
}
