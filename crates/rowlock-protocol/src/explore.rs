//! Running the checker, and reporting its findings.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, DiscoveryClassification, HasDiscoveries, Model, Path};

use crate::model::Protocol;
use crate::setup::Setup;
use crate::step::Step;

/// The result of an exploration.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// How many different worlds were reached.
    pub states: usize,
    /// How many steps between them were taken.
    pub steps: usize,
    /// The number of steps to the world that is farthest away.
    pub depth: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// The properties that do not hold, each with a shortest way to break it.
    pub broken: Vec<(&'static str, Vec<Step>)>,
    /// The [witnesses](crate::witnesses) that were seen.
    pub seen: Vec<&'static str>,
}

impl Exploration {
    /// Asserts that nothing is broken, and that all these witnesses were seen.
    ///
    /// # Panics
    ///
    /// Otherwise, with the shortest way to break each property: this is for tests.
    #[track_caller]
    pub fn assert_sound(&self, witnesses: &[&str]) {
        assert!(self.broken.is_empty(), "{self}");
        for witness in witnesses {
            assert!(self.saw(witness), "never seen: {witness}");
        }
    }

    /// Whether this witness was seen.
    #[must_use]
    pub fn saw(&self, witness: &str) -> bool {
        self.seen.contains(&witness)
    }

    /// Whether this property was found not to hold.
    #[must_use]
    pub fn breaks(&self, property: &str) -> bool {
        self.broken.iter().any(|(name, _)| *name == property)
    }
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exploration { states, steps, depth, elapsed, broken, seen: _ } = self;
        write!(f, "{states} states, {steps} steps, depth {depth}, {elapsed:.1?}")?;
        for (property, path) in broken {
            write!(f, "\nbroken: {property}")?;
            for step in path {
                write!(f, "\n  {step:?}")?;
            }
        }
        Ok(())
    }
}

/// Visits every reachable world.
#[must_use]
pub fn explore(setup: Setup) -> Exploration {
    run(setup, HasDiscoveries::All)
}

/// Looks for a way to break one property, and stops there.
#[must_use]
pub fn look_for(setup: Setup, property: &'static str) -> Exploration {
    run(setup, HasDiscoveries::AllOf(BTreeSet::from([property])))
}

fn run(setup: Setup, until: HasDiscoveries) -> Exploration {
    let start = Instant::now();
    // One thread, so that the same counterexample is found every time.
    let checker = Protocol { setup: setup.clone() }.checker().finish_when(until).spawn_bfs().join();
    let (mut broken, mut seen) = (Vec::new(), Vec::new());
    for (property, path) in checker.discoveries() {
        match checker.discovery_classification(property) {
            DiscoveryClassification::Counterexample => {
                broken.push((property, shorten(&setup, property, path.into_actions())));
            }
            DiscoveryClassification::Example => seen.push(property),
        }
    }
    broken.sort_unstable_by_key(|(property, _)| *property);
    seen.sort_unstable();
    Exploration {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        elapsed: start.elapsed(),
        broken,
        seen,
    }
}

/// Looks for ever shorter ways to break a property.
///
/// stateright works in blocks of states and keeps the last counterexample of a block, which is
/// longer than need be.
fn shorten(setup: &Setup, property: &'static str, mut steps: Vec<Step>) -> Vec<Step> {
    loop {
        // The first state is at depth 1, and a state at the target itself is not looked at.
        let checker = Protocol { setup: setup.clone() }
            .checker()
            .target_max_depth(steps.len() + 1)
            .finish_when(HasDiscoveries::AllOf(BTreeSet::from([property])))
            .spawn_bfs()
            .join();
        match checker.discovery(property).map(Path::into_actions) {
            Some(shorter) if shorter.len() < steps.len() => steps = shorter,
            Some(_) | None => return steps,
        }
    }
}
