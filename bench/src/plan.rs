//! A workload as data: the contenders, the tables, and what must be true at the end.

use crate::child::Program;
use crate::peers::Peer;
use crate::protocol::{Task, Work};
use crate::scene::Template;

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) workload: &'static str,
    /// What it measures, as the head of its table.
    pub(crate) title: String,
    pub(crate) rounds: u32,
    /// The others are compared with the first one.
    pub(crate) entries: Vec<Entry>,
    /// The figures in the table, in order; the ratios are those of the first.
    pub(crate) figures: Vec<&'static str>,
}

/// One contender in a workload.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) label: String,
    pub(crate) program: Program,
    pub(crate) task: Task,
    pub(crate) place: Place,
    /// Processes that do the task together.
    pub(crate) processes: u32,
    /// Takes no part in the rounds after this one.
    pub(crate) rounds_max: u32,
    /// A session holds a snapshot from before the run until its end.
    pub(crate) has_old_snapshot: bool,
    pub(crate) checks: Vec<Check>,
    /// The label of the entry that does the same with fewer items: their statements are compared.
    pub(crate) few: Option<&'static str>,
}

/// The place where a contender works.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A copy of the template, with this contender's own additions.
    Postgres { template: Template, set_up: Vec<String> },
    /// A separate file, indexed for statements by hand or as Rowlock leaves it.
    Sqlite { by_hand: bool },
}

/// The required value of a count at the end.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) query: String,
    pub(crate) expected: Expected,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Number(u64),
    /// As many as the contender reports as handled.
    Handled,
}

/// Workloads that every queue can do on its own tables.
const PEER_WORKLOADS: [&str; 6] = ["drain", "drain-small", "add", "wake", "snapshot", "memory"];

/// Rounds in which peers take part: they fill their tables themselves, which takes longer than the measured part.
const PEER_ROUNDS_MAX: u32 = 2;

/// Items that succeeded with no failure and no reset counted.
const SUCCEEDED: &str = "select count(*) from items where status = 'SUCCEEDED' and retry_count + reset_count = 0";

/// The figures of a drain.
pub(crate) const DRAIN_FIGURES: [&str; 9] = [
    "items_per_s",
    "wal_bytes_per_item",
    "server_cpu_us_per_item",
    "client_cpu_us_per_item",
    "commits_per_item",
    "statements_per_item",
    "dead_tuples",
    "client_peak_mb",
    "last_over_first_tenth",
];

impl Entry {
    /// A contender of this program that handles every item of a template's copy.
    pub(crate) fn own(contender: &'static str, work: Work, template: &Template, items: u64) -> Entry {
        let task =
            Task { work, database: String::new(), items, take: None, stages: template.stages, workers: 1, secs: 0.0 };
        let check = Check { query: SUCCEEDED.to_owned(), expected: Expected::Number(items) };
        Entry {
            label: contender.to_owned(),
            program: Program::Own(contender),
            task,
            place: Place::Postgres { template: template.clone(), set_up: Vec::new() },
            processes: 1,
            rounds_max: u32::MAX,
            has_old_snapshot: false,
            checks: vec![check],
            few: None,
        }
    }

    pub(crate) fn labelled(mut self, label: impl Into<String>) -> Entry {
        self.label = label.into();
        self
    }

    /// Statements that adapt the copy to this contender.
    pub(crate) fn set_up(mut self, statements: Vec<String>) -> Entry {
        if let Place::Postgres { set_up, .. } = &mut self.place {
            *set_up = statements;
        }
        self
    }

    pub(crate) fn with_more_than(mut self, few: &'static str) -> Entry {
        self.few = Some(few);
        self
    }

    /// Stops after this many items.
    pub(crate) fn take(mut self, items: u64) -> Entry {
        self.task.take = Some(items);
        self.check("select count(*) from items where status = 'SUCCEEDED'", Expected::Handled)
    }

    pub(crate) fn check(mut self, query: impl Into<String>, expected: Expected) -> Entry {
        self.checks = vec![Check { query: query.into(), expected }];
        self
    }

    pub(crate) fn processes(mut self, processes: u32) -> Entry {
        self.processes = processes;
        self
    }
}

impl Plan {
    /// Adds a program that is not this one to a workload that peers can do.
    ///
    /// It gets an empty database, in which it first creates its own tables and adds its items: its clock starts after
    /// that, at its first mark.
    pub(crate) fn add_peer(&mut self, peer: &Peer) {
        let Some(first) = self.entries.first() else { return };
        if !PEER_WORKLOADS.contains(&self.workload) || !peer.takes_part_in(self.workload) {
            return;
        }
        let template = Template { name: "peer", stages: 1, fill: Vec::new() };
        let mut entry = first.clone().labelled(peer.name.as_str());
        entry.rounds_max = PEER_ROUNDS_MAX;
        entry.program = Program::Foreign(peer.words.clone());
        entry.task.take = peer.take(entry.task.work, entry.task.items);
        entry.place = Place::Postgres { template, set_up: Vec::new() };
        // Only it knows its tables: the check uses its own counts of items left and handled.
        entry.checks = Vec::new();
        self.entries.push(entry);
    }
}
