//! Every run ends, and ends with every item terminal.
//!
//! Stronger than a way out of every state: no schedule, however unkind, avoids the end, because
//! the graph of states has no cycle. (The steps that would make one, a claim with nothing to take
//! and a renewal of a fresh lease, change nothing and are left out.)

use rowlock_protocol::row::{Limits, Move};
use rowlock_protocol::runs::follow_all;
use rowlock_protocol::setup::{Faults, Setup};

const NONE: Faults = Faults::NONE;

fn assert_all_end_well(setup: Setup) {
    let runs = follow_all(setup);
    println!("{runs:?}");
    runs.assert_all_end_well();
}

#[test]
fn every_run_ends_with_crashes_and_pauses() {
    let faults = Faults { crashes: 1, pauses: 1, ..NONE };
    assert_all_end_well(Setup { faults, ..Setup::new(2, 1) });
    assert_all_end_well(Setup { faults: Faults { crashes: 1, ..NONE }, ..Setup::new(2, 2) });
}

#[test]
fn every_run_ends_with_answers_lost_and_finishes_refused() {
    let faults = Faults { lost_claims: 1, lost_finishes: 1, refusals: 1, ..NONE };
    let moves = vec![Move::Complete, Move::Retry];
    assert_all_end_well(Setup { moves, faults, ..Setup::new(2, 1) });
}

#[test]
fn every_run_ends_after_releases_and_the_operators_moves() {
    let limits = Limits { stages: 2, ..Setup::new(2, 1).limits };
    let moves = vec![Move::Complete, Move::Release];
    let faults = Faults { releases: 1, operator_moves: 1, ..NONE };
    assert_all_end_well(Setup { limits, moves, faults, ..Setup::new(2, 1) });
}

#[test]
fn every_run_ends_with_poison() {
    let limits = Limits { max_resets: 3, ..Setup::new(2, 1).limits };
    assert_all_end_well(Setup { poison: vec![0], limits, ..Setup::new(2, 1) });
    assert_all_end_well(Setup { poison: vec![0], ..Setup::new(2, 2) });
}
