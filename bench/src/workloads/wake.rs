//! An idle worker and an insert from another connection: the time to the handler's start.

use super::Scale;
use crate::contend::raw_wake_set_up;
use crate::plan::{Entry, Plan};
use crate::protocol::Work;
use crate::scene::Template;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(200);
    let template = Template { name: "wake", stages: 1, fill: Vec::new() };
    Plan {
        workload: "wake",
        title: format!(
            "wake: {items} inserts, each into the sleep of an idle worker; milliseconds to the handler's start"
        ),
        rounds: scale.rounds(3),
        entries: vec![
            Entry::own("raw", Work::Wake, &template, items).set_up(raw_wake_set_up()),
            Entry::own("rowlock", Work::Wake, &template, items),
        ],
        figures: vec!["wake_p50_ms", "wake_p99_ms", "statements_per_item", "commits_per_item", "client_peak_mb"],
    }
}
