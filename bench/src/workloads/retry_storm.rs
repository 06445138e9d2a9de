//! Every item fails three times, each time to be tried again in a second, then succeeds; and the same with four times
//! as many items: no statement may cost more because more wait.

use super::{Scale, ready};
use crate::plan::{DRAIN_FIGURES, Entry, Plan};
use crate::protocol::Work;

pub(super) fn plan(scale: Scale) -> Plan {
    let items = scale.items(25_000);
    let few = ready("retry_few", items);
    let many = ready("retry_many", items * 4);
    let mut figures = DRAIN_FIGURES.to_vec();
    figures.retain(|figure| *figure != "last_over_first_tenth");
    figures.insert(1, "worst_statement_blocks_per_row");
    Plan {
        workload: "retry-storm",
        title: format!(
            "retry-storm: {items} items, and four times as many, that fail three times; handler runs a second"
        ),
        rounds: scale.rounds(3),
        entries: vec![
            Entry::own("raw", Work::Retry, &few, items),
            Entry::own("rowlock", Work::Retry, &few, items),
            Entry::own("raw", Work::Retry, &many, items * 4).labelled("raw-many"),
            Entry::own("rowlock", Work::Retry, &many, items * 4).labelled("rowlock-many"),
        ],
        figures,
    }
}
