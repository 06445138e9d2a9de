//! Other projects' queues: those of bench/peers, which are built apart from this program, and any other by its command.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::protocol::Work;

/// A contender that is not this program, and that creates its tables itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// The words of its command line that come before the task.
    pub(crate) words: Vec<String>,
    patience: Patience,
}

/// It does one in this many of the items: contenders that would take an hour are stopped while their table is still
/// full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    drain_one_in: u64,
    small_one_in: u64,
    add_one_in: u64,
    /// Workloads from which it is excluded: even a part of them would take too long.
    left_out_of: &'static [&'static str],
}

/// Fewer items than this show nothing.
const ITEMS_MIN: u64 = 20;

const WHOLE: Patience = Patience { drain_one_in: 1, small_one_in: 1, add_one_in: 1, left_out_of: &[] };

/// A peer of bench/peers: a program `peer-NAME`.
struct Known {
    name: &'static str,
    /// It keeps a finished job, as Rowlock does. The others delete it.
    keeps_rows: bool,
    patience: Patience,
}

const KNOWN: [Known; 6] = [
    Known { name: "apalis", keeps_rows: true, patience: WHOLE },
    // With one job a claim it does some 50 a second.
    Known { name: "awa", keeps_rows: true, patience: Patience { small_one_in: 30, ..WHOLE } },
    Known { name: "graphile-worker", keeps_rows: false, patience: Patience { small_one_in: 10, ..WHOLE } },
    Known { name: "pgmq", keeps_rows: false, patience: WHOLE },
    Known {
        name: "sqlxmq",
        keeps_rows: false,
        patience: Patience { drain_one_in: 10, small_one_in: 10, add_one_in: 10, ..WHOLE },
    },
    // It claims one job at a time and sorts all for each: 200 items of a drain take half a minute, and with more
    // waiting rows it reaches about one a second.
    Known {
        name: "underway",
        keeps_rows: true,
        patience: Patience {
            drain_one_in: 1_000,
            small_one_in: 150,
            add_one_in: 10,
            left_out_of: &["snapshot", "memory"],
        },
    },
];

/// Their names.
pub(crate) fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|known| known.name).collect()
}

/// Those that keep their rows.
pub(crate) fn keepers() -> Vec<&'static str> {
    KNOWN.iter().filter(|known| known.keeps_rows).map(|known| known.name).collect()
}

impl Peer {
    /// `all`, names of peers with spaces between them, or `name=command`.
    pub(crate) fn parse(text: &str) -> Result<Vec<Peer>> {
        if let Some((name, command)) = text.split_once('=') {
            let name = name.trim();
            ensure!(
                !name.contains(char::is_whitespace),
                "{text:?} is neither names nor one name=command: please give each command a --peer of its own"
            );
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            ensure!(!name.is_empty() && !words.is_empty(), "a peer has a name and a command");
            return Ok(vec![Peer { name: name.to_owned(), words, patience: WHOLE }]);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.contains(&"all") {
            return Ok(KNOWN.iter().map(built).collect());
        }
        words
            .into_iter()
            .map(|name| match KNOWN.iter().find(|known| known.name == name) {
                Some(known) => Ok(built(known)),
                None => bail!("no peer {name}; there are all, {}", names().join(", ")),
            })
            .collect()
    }

    /// Reports a missing program before an hour is spent on the others.
    pub(crate) fn ensure_built(&self) -> Result<()> {
        let program = Path::new(&self.words[0]);
        ensure!(
            program.components().count() == 1 || program.is_file(),
            "{} is missing: please build it first, as bench/peers/README.md has it; `make bench` does",
            program.display()
        );
        Ok(())
    }

    pub(crate) fn takes_part_in(&self, workload: &str) -> bool {
        !self.patience.left_out_of.contains(&workload)
    }

    /// The number of items after which it is stopped; `None` if it does them all.
    pub(crate) fn take(&self, work: Work, items: u64) -> Option<u64> {
        let one_in = match work {
            Work::Drain => self.patience.drain_one_in,
            Work::Small => self.patience.small_one_in,
            Work::Add => self.patience.add_one_in,
            Work::Wake | Work::Retry | Work::Idle | Work::Alive | Work::Videos => 1,
        };
        (one_in > 1).then(|| (items / one_in).max(ITEMS_MIN).min(items))
    }
}

/// `make bench` builds it there.
fn built(known: &Known) -> Peer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/target/release");
    let program = folder.join(format!("peer-{}", known.name));
    let words = vec![program.to_string_lossy().into_owned()];
    Peer { name: known.name.to_owned(), words, patience: known.patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_or_has_a_command() {
        let names = |text: &str| Peer::parse(text).map(|peers| peers.into_iter().map(|peer| peer.name).collect());
        assert_eq!(names("awa pgmq").ok(), Some(vec!["awa".to_owned(), "pgmq".to_owned()]));
        assert_eq!(names("all").ok(), Some(super::names().into_iter().map(str::to_owned).collect()));
        assert!(names("nobody").is_err());
        assert!(names("awa mine=run").is_err(), "names and a command are two arguments");
        assert!(names("mine=").is_err());
        let mine = Peer::parse("mine=run --fast").expect("a peer");
        assert_eq!(mine[0].words, ["run", "--fast"]);
    }

    #[test]
    fn a_slow_peer_is_stopped_and_a_fast_one_is_not() {
        let take = |name: &str, items| Peer::parse(name).expect("a peer")[0].take(Work::Drain, items);
        assert_eq!(take("underway", 200_000), Some(200));
        assert_eq!(take("underway", 2_000), Some(ITEMS_MIN));
        assert_eq!(take("pgmq", 200_000), None);
    }
}
