//! Other people's queues: those of bench/peers, which are built apart from this program, and any other by its command.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::protocol::Work;

/// A contender that is not this program, and that makes its tables itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// The words of its command line that come before the task.
    pub(crate) words: Vec<String>,
    patience: Patience,
}

/// Of how many items it does one: those that would take an hour are stopped while their table is still full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    drain_one_in: u64,
    small_one_in: u64,
    add_one_in: u64,
}

/// Fewer items than this say nothing.
const ITEMS_MIN: u64 = 20;

const WHOLE: Patience = Patience { drain_one_in: 1, small_one_in: 1, add_one_in: 1 };

/// The peers of bench/peers, each a program `peer-NAME`.
const BUILT: [(&str, Patience); 6] = [
    ("apalis", WHOLE),
    ("awa", WHOLE),
    ("graphile-worker", WHOLE),
    ("pgmq", WHOLE),
    ("sqlxmq", Patience { drain_one_in: 10, small_one_in: 3, add_one_in: 10 }),
    // It claims one job at a time, and sorts all for each.
    ("underway", Patience { drain_one_in: 500, small_one_in: 100, add_one_in: 1 }),
];

/// Their names.
pub(crate) const PEERS: [&str; 6] = ["apalis", "awa", "graphile-worker", "pgmq", "sqlxmq", "underway"];

/// Those that keep a finished job, as Rowlock does. The others delete it.
pub(crate) const KEEPERS: [&str; 3] = ["apalis", "awa", "underway"];

impl Peer {
    /// `all`, names of peers with spaces between them, or `name=command`.
    pub(crate) fn parse(text: &str) -> Result<Vec<Peer>> {
        if let Some((name, command)) = text.split_once('=') {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            ensure!(!words.is_empty(), "a peer has a command");
            return Ok(vec![Peer { name: name.to_owned(), words, patience: WHOLE }]);
        }
        if text.trim() == "all" {
            return Ok(BUILT.map(built).into());
        }
        text.split_whitespace()
            .map(|name| match BUILT.iter().find(|(known, _)| *known == name) {
                Some(known) => Ok(built(*known)),
                None => bail!("no peer {name}; there are all, {}", BUILT.map(|(name, _)| name).join(", ")),
            })
            .collect()
    }

    /// After how many items it is stopped; none if it does them all.
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

/// `make bench PEER=…` builds it there.
fn built((name, patience): (&str, Patience)) -> Peer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/target/release");
    let program = folder.join(format!("peer-{name}"));
    Peer { name: name.to_owned(), words: vec![program.to_string_lossy().into_owned()], patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_or_has_a_command() {
        let names = |text: &str| Peer::parse(text).map(|peers| peers.into_iter().map(|peer| peer.name).collect());
        assert_eq!(names("awa pgmq").ok(), Some(vec!["awa".to_owned(), "pgmq".to_owned()]));
        assert_eq!(names("all").ok(), Some(PEERS.map(str::to_owned).to_vec()));
        assert!(names("nobody").is_err());
        assert!(names("mine=").is_err());
        let mine = Peer::parse("mine=run --fast").expect("a peer");
        assert_eq!(mine[0].words, ["run", "--fast"]);
    }

    #[test]
    fn a_slow_peer_is_stopped_and_a_fast_one_is_not() {
        let take = |name: &str, items| Peer::parse(name).expect("a peer")[0].take(Work::Drain, items);
        assert_eq!(take("underway", 200_000), Some(400));
        assert_eq!(take("underway", 2_000), Some(ITEMS_MIN));
        assert_eq!(take("pgmq", 200_000), None);
    }
}
