//! What holds in every reachable state, whatever goes wrong within the bounds of each test.

use rowlock_protocol::explore::{Exploration, explore};
use rowlock_protocol::row::{Limits, Move};
use rowlock_protocol::setup::{Faults, Setup};
use rowlock_protocol::witnesses::{
    ADOPTION, EMPTY_CLAIM, FAILED_BY_RESETS, LATE_CLAIM, LATE_FINISH, OVERDUE_ANSWER, SETTLED, UNKNOWN_BUT_APPLIED,
    UNKNOWN_NOT_APPLIED, ZOMBIE,
};

const ALL_MOVES: [Move; 4] = [Move::Complete, Move::Retry, Move::Fail, Move::Release];
const NONE: Faults = Faults::NONE;

fn explored(setup: Setup) -> Exploration {
    let found = explore(setup);
    println!("{found}");
    found
}

#[test]
fn all_holds_for_one_item_and_one_of_each_fault() {
    let faults = Faults { crashes: 1, pauses: 1, lost_claims: 1, lost_finishes: 1, refusals: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(2, 1) }).assert_sound(&[
        ZOMBIE,
        LATE_FINISH,
        LATE_CLAIM,
        EMPTY_CLAIM,
        ADOPTION,
        OVERDUE_ANSWER,
        SETTLED,
        UNKNOWN_NOT_APPLIED,
        FAILED_BY_RESETS,
    ]);
}

#[test]
fn all_holds_for_one_item_and_every_way_to_finish_it_with_answers_lost() {
    let faults = Faults { pauses: 1, lost_finishes: 1, refusals: 1, releases: 1, ..NONE };
    let moves = ALL_MOVES.to_vec();
    explored(Setup { moves, faults, ..Setup::new(2, 1) }).assert_sound(&[
        ZOMBIE,
        LATE_FINISH,
        SETTLED,
        UNKNOWN_BUT_APPLIED,
        UNKNOWN_NOT_APPLIED,
    ]);
}

#[test]
fn all_holds_for_one_item_in_two_stages() {
    let limits = Limits { stages: 2, ..Setup::new(2, 1).limits };
    let faults = Faults { crashes: 1, lost_finishes: 1, ..NONE };
    let moves = vec![Move::Complete, Move::Retry];
    explored(Setup { limits, moves, faults, ..Setup::new(2, 1) }).assert_sound(&[
        LATE_FINISH,
        SETTLED,
        UNKNOWN_BUT_APPLIED,
    ]);
}

#[test]
fn all_holds_for_one_item_in_two_stages_while_the_operator_interferes() {
    let limits = Limits { stages: 2, ..Setup::new(2, 1).limits };
    let faults = Faults { pauses: 1, lost_finishes: 1, operator_moves: 1, ..NONE };
    explored(Setup { limits, faults, ..Setup::new(2, 1) }).assert_sound(&[ZOMBIE, SETTLED, UNKNOWN_BUT_APPLIED]);
}

#[test]
fn all_holds_for_two_items_with_a_crash_and_a_pause() {
    let faults = Faults { crashes: 1, pauses: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(2, 2) }).assert_sound(&[ZOMBIE, LATE_CLAIM, LATE_FINISH]);
}

#[test]
fn all_holds_for_two_items_with_a_pause_and_a_lost_answer() {
    let faults = Faults { pauses: 1, lost_finishes: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(2, 2) }).assert_sound(&[ZOMBIE, SETTLED]);
}

#[test]
fn all_holds_for_two_items_with_a_crash_and_a_lost_claim() {
    let faults = Faults { crashes: 1, lost_claims: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(2, 2) }).assert_sound(&[ADOPTION, LATE_CLAIM]);
}

#[test]
fn all_holds_for_two_items_while_the_operator_interferes() {
    let faults = Faults { operator_moves: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(2, 2) }).assert_sound(&[ZOMBIE, EMPTY_CLAIM]);
}

#[test]
fn all_holds_for_three_workers_and_one_item() {
    let faults = Faults { crashes: 1, pauses: 1, lost_finishes: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(3, 1) }).assert_sound(&[ZOMBIE, LATE_CLAIM, SETTLED]);
}

#[test]
fn all_holds_for_three_workers_and_two_items() {
    let faults = Faults { pauses: 1, ..NONE };
    explored(Setup { faults, ..Setup::new(3, 2) }).assert_sound(&[ZOMBIE, EMPTY_CLAIM]);
}
