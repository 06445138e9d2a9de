//! Larger worlds, for a release build: minutes, not seconds.
//!
//! `cargo test --release -p rowlock-protocol --test deep -- --ignored --nocapture`

use rowlock_protocol::explore::explore;
use rowlock_protocol::row::Move;
use rowlock_protocol::setup::{Faults, Setup};

const ALL_MOVES: [Move; 4] = [Move::Complete, Move::Retry, Move::Fail, Move::Release];

fn assert_sound(setup: Setup) {
    let found = explore(setup);
    println!("{found}");
    found.assert_sound(&[]);
}

#[test]
#[ignore = "1.9 million states"]
fn all_holds_for_two_items_with_a_crash_a_pause_and_a_lost_answer() {
    let faults = Faults { crashes: 1, pauses: 1, lost_finishes: 1, ..Faults::NONE };
    assert_sound(Setup { faults, ..Setup::new(2, 2) });
}

#[test]
#[ignore = "1.5 million states"]
fn all_holds_for_two_items_with_retries_and_a_lost_answer() {
    let moves = vec![Move::Complete, Move::Retry];
    let faults = Faults { lost_finishes: 1, ..Faults::NONE };
    assert_sound(Setup { moves, faults, ..Setup::new(2, 2) });
}

#[test]
#[ignore = "0.6 million states"]
fn all_holds_for_one_worker_with_every_move_and_every_fault() {
    let faults =
        Faults { crashes: 1, pauses: 1, lost_claims: 1, lost_finishes: 1, refusals: 1, releases: 1, operator_moves: 1 };
    assert_sound(Setup { moves: ALL_MOVES.to_vec(), faults, ..Setup::new(1, 1) });
}

#[test]
#[ignore = "0.8 million states"]
fn all_holds_for_one_item_with_two_answers_lost() {
    let faults = Faults { pauses: 1, lost_finishes: 2, refusals: 1, releases: 1, ..Faults::NONE };
    assert_sound(Setup { moves: ALL_MOVES.to_vec(), faults, ..Setup::new(2, 1) });
}
