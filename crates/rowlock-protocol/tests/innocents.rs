//! Poison never makes a neighbour `FAILED`.
//!
//! In these worlds nothing else can, so that poison is the cause if any innocent item fails.

use rowlock_protocol::explore::explore;
use rowlock_protocol::row::{Limits, Row};
use rowlock_protocol::setup::{Faults, Setup};
use rowlock_protocol::witnesses::{ADOPTION, FAILED_BY_RESETS, LATE_CLAIM, SUSPECT_RUNS};

fn assert_unharmed(setup: Setup, witnesses: &[&str]) {
    assert!(setup.only_poison_fails());
    let found = explore(setup);
    println!("{found}");
    found.assert_sound(witnesses);
    found.assert_sound(&[SUSPECT_RUNS, FAILED_BY_RESETS]);
}

#[test]
fn a_neighbour_of_poison_is_unharmed() {
    let limits = Limits { max_resets: 3, ..Setup::new(2, 2).limits };
    assert_unharmed(Setup { poison: vec![0], limits, ..Setup::new(2, 2) }, &[LATE_CLAIM]);
}

#[test]
fn a_neighbour_of_poison_is_unharmed_when_the_answer_to_a_claim_is_lost() {
    let faults = Faults { lost_claims: 1, ..Faults::NONE };
    let world = Setup { poison: vec![0], faults, ..Setup::new(2, 2) };
    assert_unharmed(world, &[ADOPTION, LATE_CLAIM]);
}

#[test]
fn a_neighbour_of_two_poison_items_is_unharmed() {
    let world = Setup { poison: vec![0, 1], capacity: 2, ..Setup::new(1, 3) };
    assert_unharmed(world, &[LATE_CLAIM]);
}

#[test]
fn a_neighbour_with_one_reset_left_is_unharmed() {
    let once_reset = Row { resets: 1, ..Row::new() };
    let faults = Faults { lost_claims: 1, releases: 1, refusals: 1, ..Faults::NONE };
    let rows = vec![Row::new(), once_reset];
    assert_unharmed(Setup { poison: vec![0], rows, faults, ..Setup::new(2, 2) }, &[LATE_CLAIM]);
}
