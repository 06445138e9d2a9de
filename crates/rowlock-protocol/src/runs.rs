//! Whether every run ends.
//!
//! A run that goes on for ever in a finite world must return to an earlier state. So a finite graph of states without a
//! cycle has only finite runs, each of which ends in a state without a next step.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use stateright::Model;

use crate::model::Protocol;
use crate::setup::Setup;
use crate::state::State;

/// All runs of a world, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// How many different worlds were reached.
    pub states: usize,
    /// How many of them lie on a cycle, or behind one. Zero: every run ends.
    pub endless: usize,
    /// The worlds without a next step.
    pub ends: usize,
    /// Those among them where some item is not terminal.
    pub unfinished_ends: usize,
}

impl Runs {
    /// Asserts that every run ends, and that every end has every item terminal.
    ///
    /// # Panics
    ///
    /// Otherwise: this is for tests.
    #[track_caller]
    pub fn assert_all_end_well(&self) {
        assert_eq!(self.endless, 0, "{self:?}");
        assert_eq!(self.unfinished_ends, 0, "{self:?}");
        assert!(self.ends > 0, "{self:?}");
    }
}

/// Builds the whole graph of states, and removes states from the front: those that cannot be removed are on a cycle or
/// behind one.
#[must_use]
pub fn follow_all(setup: Setup) -> Runs {
    let protocol = Protocol { setup };
    let graph = Graph::of(&protocol);
    let mut arrivals = vec![0_usize; graph.next.len()];
    for &to in graph.next.iter().flatten() {
        arrivals[to] += 1;
    }
    let mut free: Vec<usize> = (0..arrivals.len()).filter(|place| arrivals[*place] == 0).collect();
    let mut taken_off = 0;
    while let Some(place) = free.pop() {
        taken_off += 1;
        for &to in &graph.next[place] {
            arrivals[to] -= 1;
            if arrivals[to] == 0 {
                free.push(to);
            }
        }
    }
    Runs {
        states: graph.next.len(),
        endless: graph.next.len() - taken_off,
        ends: graph.next.iter().filter(|next| next.is_empty()).count(),
        unfinished_ends: graph.unfinished_ends,
    }
}

struct Graph {
    /// For each state, those to which one step leads.
    next: Vec<Vec<usize>>,
    unfinished_ends: usize,
}

impl Graph {
    fn of(protocol: &Protocol) -> Self {
        let mut graph = Graph { next: Vec::new(), unfinished_ends: 0 };
        let mut places: HashMap<State, usize> = HashMap::new();
        let mut pending: VecDeque<State> = protocol.init_states().into();
        for (place, state) in pending.iter().enumerate() {
            places.insert(state.clone(), place);
        }
        while let Some(state) = pending.pop_front() {
            let mut next = Vec::new();
            for step in protocol.steps(&state) {
                let known = places.len();
                let place = match places.entry(protocol.after(&state, &step)) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        pending.push_back(entry.key().clone());
                        *entry.insert(known)
                    }
                };
                next.push(place);
            }
            graph.unfinished_ends += usize::from(next.is_empty() && !state.is_over());
            graph.next.push(next);
        }
        graph
    }
}
