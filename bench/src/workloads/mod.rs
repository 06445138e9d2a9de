//! The workloads, one file each.

mod add;
mod alive;
mod drain;
mod drain_small;
mod drain_two;
mod fleet;
mod growth;
mod idle;
mod memory;
mod overhead;
mod retry_storm;
mod snapshot;
mod sqlite_drain;
mod wake;
mod wide;

pub(crate) use self::idle::workers as idle_workers;
use crate::plan::{Entry, Plan};
use crate::protocol::Work;
use crate::scene::{Template, ready_items};

/// The size of everything relative to a measurement, and the number of rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) of_size: f64,
    /// Requested rounds; otherwise each workload has its own number.
    pub(crate) rounds: Option<u32>,
}

impl Scale {
    /// This many items, scaled; never so few that nothing could be seen.
    fn items(self, items: u32) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of items")]
        let scaled = (f64::from(items) * self.of_size).round() as u64;
        scaled.max(20)
    }

    /// This long, scaled.
    fn secs(self, secs: f64) -> f64 {
        (secs * self.of_size).max(1.0)
    }

    fn rounds(self, rounds: u32) -> u32 {
        self.rounds.unwrap_or(rounds).max(1)
    }
}

/// Makes a workload of that size.
type Planner = fn(Scale) -> Plan;

/// Every workload by its name, in the order in which they run.
pub(crate) const ALL: [(&str, Planner); 15] = [
    ("drain", drain::plan),
    ("drain-two", drain_two::plan),
    ("drain-small", drain_small::plan),
    ("fleet", fleet::plan),
    ("add", add::plan),
    ("wake", wake::plan),
    ("growth", growth::plan),
    ("snapshot", snapshot::plan),
    ("retry-storm", retry_storm::plan),
    ("wide", wide::plan),
    ("idle", idle::plan),
    ("alive", alive::plan),
    ("memory", memory::plan),
    ("sqlite-drain", sqlite_drain::plan),
    ("overhead", overhead::plan),
];

/// A table of ready items.
fn ready(name: &'static str, items: u64) -> Template {
    Template { name, stages: 1, fill: vec![ready_items(items)] }
}

/// A contender that drains a template.
fn drains(contender: &'static str, template: &Template, items: u64) -> Entry {
    Entry::own(contender, Work::Drain, template, items)
}
