//! The checker is not blind: it notices each rule that is left out, by the property that the rule serves.

use rowlock_protocol::explore::{explore, look_for};
use rowlock_protocol::properties::{
    INNOCENT, LOST_MEANS_LOST, NEVER_STUCK, NEVER_TOO_MANY, NO_ZOMBIE_WRITES, NOTHING_LOST, OK_MEANS_COMMITTED, ONCE,
    ONE_HANDLER, ONE_HOLDER, ONLY_STALE_IS_SWEPT,
};
use rowlock_protocol::row::{Limits, Move, Row};
use rowlock_protocol::rules::{
    ClaimHeartbeat, ClaimShape, Doubt, Exhausted, Fence, LeaseClock, Look, LostClaim, Proof, Renewal, Rules, Suspects,
    SweepRule, TokenAfter, Tokens,
};
use rowlock_protocol::runs::follow_all;
use rowlock_protocol::setup::{Faults, Setup};
use rowlock_protocol::witnesses::SETTLED;

const ONE_PAUSE: Faults = Faults { pauses: 1, ..Faults::NONE };

/// Asserts that these rules break the property, and that the sound rules, in the same world, do not: so the rule makes
/// the difference.
#[track_caller]
fn assert_mistake(property: &'static str, rules: Rules, world: Setup) {
    let mistaken = look_for(Setup { rules, ..world.clone() }, property);
    println!("with the mistake: {mistaken}");
    let sound = look_for(Setup { rules: Rules::sound(), ..world }, property);
    println!("without it: {sound}");
    assert!(mistaken.breaks(property), "the mistake went unnoticed");
    assert!(!sound.breaks(property), "the sound rules break it too");
}

fn two_by_one(faults: Faults) -> Setup {
    Setup { faults, ..Setup::new(2, 1) }
}

fn with_moves(moves: &[Move], faults: Faults) -> Setup {
    Setup { moves: moves.to_vec(), ..two_by_one(faults) }
}

#[test]
fn a_finish_that_matches_key_and_status_lets_a_zombie_write() {
    let rules = Rules { fence: Fence::Status, ..Rules::sound() };
    assert_mistake(NO_ZOMBIE_WRITES, rules, two_by_one(ONE_PAUSE));
}

#[test]
fn a_finish_that_matches_the_key_alone_completes_twice() {
    let rules = Rules { fence: Fence::Key, ..Rules::sound() };
    assert_mistake(ONCE, rules, two_by_one(ONE_PAUSE));
}

#[test]
fn a_token_that_is_the_workers_name_lets_its_dead_predecessor_write() {
    let rules = Rules { tokens: Tokens::PerWorker, ..Rules::sound() };
    let faults = Faults { crashes: 1, ..Faults::NONE };
    assert_mistake(NO_ZOMBIE_WRITES, rules, two_by_one(faults));
}

#[test]
fn a_heartbeat_without_the_token_revives_a_lost_lease() {
    let rules = Rules { renewal: Renewal::Status, ..Rules::sound() };
    assert_mistake(ONE_HANDLER, rules, two_by_one(ONE_PAUSE));
}

#[test]
fn a_claim_in_two_statements_claims_twice() {
    let rules = Rules { claim_shape: ClaimShape::SelectThenUpdate, ..Rules::sound() };
    assert_mistake(ONE_HOLDER, rules, two_by_one(Faults::NONE));
}

#[test]
fn a_sweep_of_everything_steals_from_the_living() {
    let rules = Rules { sweep: SweepRule::Everything, ..Rules::sound() };
    assert_mistake(ONLY_STALE_IS_SWEPT, rules, two_by_one(Faults::NONE));
}

#[test]
fn a_missing_heartbeat_that_is_not_swept_strands_the_item() {
    let rules = Rules { claim_heartbeat: ClaimHeartbeat::LeftMissing, sweep: SweepRule::StaleOnly, ..Rules::sound() };
    let world = two_by_one(Faults { crashes: 1, ..Faults::NONE });
    assert_mistake(NOTHING_LOST, rules, world.clone());
    assert_mistake(NEVER_STUCK, rules, world);
}

#[test]
fn a_claim_that_leaves_the_heartbeat_missing_is_swept_at_once() {
    let rules = Rules { claim_heartbeat: ClaimHeartbeat::LeftMissing, ..Rules::sound() };
    assert_mistake(ONLY_STALE_IS_SWEPT, rules, two_by_one(Faults::NONE));
}

#[test]
fn a_crash_loop_that_nobody_counts_never_ends() {
    let poison = Setup { poison: vec![0], ..Setup::new(1, 1) };
    let uncounted = Rules { counts_resets: false, ..Rules::sound() };
    let mistaken = follow_all(Setup { rules: uncounted, ..poison.clone() });
    let sound = follow_all(poison);
    println!("with the mistake: {mistaken:?}\nwithout it: {sound:?}");
    assert!(mistaken.endless > 0);
    assert_eq!(sound.endless, 0);
}

#[test]
fn a_claim_that_skips_exhausted_rows_leaves_them_for_ever() {
    let rules = Rules { exhausted: Exhausted::Skipped, ..Rules::sound() };
    let edited = Row { retries: 2, ..Row::new() };
    assert_mistake(NEVER_STUCK, rules, Setup { rows: vec![edited], ..Setup::new(1, 1) });
}

#[test]
fn a_token_kept_by_the_sweep_passes_for_a_finish() {
    let rules = Rules { sweep_token: TokenAfter::Kept, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, pauses: 1, ..Faults::NONE };
    assert_mistake(OK_MEANS_COMMITTED, rules, with_moves(&[Move::Retry], faults));
}

#[test]
fn a_token_kept_by_the_operator_passes_for_a_finish() {
    let rules = Rules { operator_token: TokenAfter::Kept, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, operator_moves: 1, ..Faults::NONE };
    assert_mistake(OK_MEANS_COMMITTED, rules, with_moves(&[Move::Complete], faults));
}

#[test]
fn a_token_cleared_by_the_holders_own_finish_leaves_every_lost_answer_unknown() {
    let world = two_by_one(Faults { lost_finishes: 1, ..Faults::NONE });
    let rules = Rules { own_finish_token: TokenAfter::Cleared, ..Rules::sound() };
    assert!(!explore(Setup { rules, ..world.clone() }).saw(SETTLED));
    assert!(explore(world).saw(SETTLED));
}

#[test]
fn a_lost_claim_that_nobody_looks_for_fails_an_item_that_never_ran() {
    let rules = Rules { lost_claim: LostClaim::Forgotten, ..Rules::sound() };
    let faults = Faults { lost_claims: 1, ..Faults::NONE };
    let once_reset = Row { resets: 1, ..Row::new() };
    assert_mistake(INNOCENT, rules, Setup { rows: vec![once_reset], faults, ..Setup::new(1, 1) });
}

#[test]
fn a_state_without_our_token_proves_nothing() {
    let rules = Rules { proof: Proof::State, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, pauses: 1, ..Faults::NONE };
    assert_mistake(OK_MEANS_COMMITTED, rules, with_moves(&[Move::Complete], faults));
}

#[test]
fn a_repeated_finish_that_matches_nothing_is_no_lost_lease() {
    let rules = Rules { proof: Proof::NoneMeansLost, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, ..Faults::NONE };
    assert_mistake(LOST_MEANS_LOST, rules, with_moves(&[Move::Complete], faults));
}

#[test]
fn a_doubt_that_an_error_wipes_out_turns_an_applied_move_into_a_lost_lease() {
    let rules = Rules { doubt: Doubt::Forgotten, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, refusals: 1, ..Faults::NONE };
    assert_mistake(LOST_MEANS_LOST, rules, with_moves(&[Move::Complete], faults));
}

#[test]
fn a_claim_in_doubt_that_is_finished_with_another_move_proves_the_wrong_one() {
    let rules = Rules { doubt: Doubt::AnyMove, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, refusals: 1, releases: 1, ..Faults::NONE };
    assert_mistake(OK_MEANS_COMMITTED, rules, with_moves(&[Move::Retry, Move::Release], faults));
}

#[test]
fn our_token_proves_no_particular_move_once_another_was_tried() {
    let rules = Rules { doubt: Doubt::AnyMove, proof: Proof::Token, ..Rules::sound() };
    let faults = Faults { lost_finishes: 1, refusals: 1, ..Faults::NONE };
    assert_mistake(OK_MEANS_COMMITTED, rules, with_moves(&[Move::Retry, Move::Complete], faults));
}

#[test]
fn a_claim_sent_again_with_its_token_lets_an_old_finish_end_a_new_lease() {
    let rules = Rules { lost_claim: LostClaim::SentAgain, ..Rules::sound() };
    let faults = Faults { lost_claims: 1, lost_finishes: 1, ..Faults::NONE };
    assert_mistake(NO_ZOMBIE_WRITES, rules, with_moves(&[Move::Retry], faults));
}

#[test]
fn a_claim_sent_again_with_its_token_takes_more_than_asked_for() {
    let rules = Rules { lost_claim: LostClaim::SentAgain, ..Rules::sound() };
    let faults = Faults { lost_claims: 1, ..Faults::NONE };
    let world = Setup { capacity: 1, faults, ..Setup::new(1, 2) };
    assert_mistake(NEVER_TOO_MANY, rules, world);
}

#[test]
fn a_lease_whose_age_is_counted_from_the_answer_is_believed_in_too_long() {
    let rules = Rules { lease_clock: LeaseClock::FromAnswer, ..Rules::sound() };
    assert_mistake(ONE_HANDLER, rules, two_by_one(ONE_PAUSE));
}

#[test]
fn a_lost_claim_that_is_looked_for_by_reading_is_believed_in_too_long() {
    let rules = Rules { look: Look::Reads, ..Rules::sound() };
    let faults = Faults { lost_claims: 1, pauses: 1, ..Faults::NONE };
    assert_mistake(ONE_HANDLER, rules, two_by_one(faults));
}

#[test]
fn without_the_suspect_rule_poison_fails_its_neighbour() {
    let rules = Rules { suspects: Suspects::Unknown, ..Rules::sound() };
    assert_mistake(INNOCENT, rules, Setup { poison: vec![0], ..Setup::new(1, 2) });
}

/// The suspect rule in its first version. The innocent item was in one crash before.
#[test]
fn a_suspect_that_is_claimed_while_others_still_run_is_failed_by_them() {
    let rules = Rules { suspects: Suspects::AfterTheOthers, ..Rules::sound() };
    let once_reset = Row { resets: 1, ..Row::new() };
    let rows = vec![Row::new(), once_reset];
    assert_mistake(INNOCENT, rules, Setup { poison: vec![0], rows, ..Setup::new(1, 2) });
}

#[test]
fn a_suspect_that_is_claimed_while_others_still_run_is_failed_even_from_a_fresh_table() {
    let rules = Rules { suspects: Suspects::AfterTheOthers, ..Rules::sound() };
    let world = Setup { poison: vec![0, 1], capacity: 2, ..Setup::new(1, 3) };
    assert_mistake(INNOCENT, rules, world);
}

#[test]
fn a_suspect_that_a_lost_claim_brings_later_is_failed_by_what_runs_by_then() {
    let rules = Rules { suspects: Suspects::OnlyWhenEmptyHanded, ..Rules::sound() };
    let once_reset = Row { resets: 1, ..Row::new() };
    let faults = Faults { lost_claims: 1, ..Faults::NONE };
    let rows = vec![Row::new(), once_reset];
    assert_mistake(INNOCENT, rules, Setup { poison: vec![0], rows, faults, ..Setup::new(1, 2) });
}

/// There can be no suspects if the first crash is also the last: the rule needs `max_resets` of two.
#[test]
fn a_limit_of_one_reset_protects_no_neighbour() {
    let limits = Limits { max_resets: 1, ..Setup::new(1, 2).limits };
    let found = look_for(Setup { poison: vec![0], limits, ..Setup::new(1, 2) }, INNOCENT);
    println!("{found}");
    assert!(found.breaks(INNOCENT));
}
