//! Every item fails three times, each time to be tried again after a time in which all of them come to wait, then
//! succeeds; and the same with four times as many items: no statement may cost more because more items wait.

use super::{Scale, ready};
use crate::plan::{DRAIN_FIGURES, Entry, Plan};
use crate::protocol::Work;
use crate::scene::Template;

/// Longer than a pass through all items takes, so that all of them wait at once.
const DELAY_SECS: f64 = 15.0;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(25_000);
    let few = ready("retry_few", items);
    let many = ready("retry_many", items * 4);
    let delay_secs = scale.secs(DELAY_SECS);
    let entry = |contender, template: &Template, items: u64| {
        let mut entry = Entry::own(contender, Work::Retry, template, items);
        entry.task.secs = delay_secs;
        entry
    };
    let mut figures = DRAIN_FIGURES.to_vec();
    figures.retain(|figure| *figure != "last_over_first_tenth");
    // Most of the time all items wait: the rate over the whole time means nothing.
    figures.splice(
        0..1,
        [
            "busy_items_per_s",
            "worst_statement_growth",
            "worst_statement_blocks_per_row",
            "slowest_statement_mean_ms",
            "elapsed_s",
        ],
    );
    Plan {
        workload: "retry-storm",
        title: format!(
            "retry-storm: {items} items, and four times as many, that fail three times and wait {delay_secs} s after \
             each; handler runs a second, without the time in which all wait"
        ),
        rounds: scale.rounds(2),
        entries: vec![
            entry("raw", &few, items),
            entry("rowlock", &few, items),
            entry("raw", &many, items * 4).labelled("raw-many").with_more_than("raw"),
            entry("rowlock", &many, items * 4).labelled("rowlock-many").with_more_than("rowlock"),
        ],
        figures,
    }
}
