//! Good items beside bad ones.

use super::*;

#[test]
fn a_time_in_which_nothing_is_completed() {
    let mut evidence = clean();
    evidence.no_standstill_of = Some(Duration::from_secs(10));
    assert_eq!(audit(&evidence).violations, []);
    // Its last stage is completed late, although nothing was harmed.
    let last = evidence.moves.last_mut().expect("moves");
    last.at += TimeDelta::seconds(11);
    finds(&evidence, |one| matches!(one, Violation::Standstill { for_ms: 13_000, .. }));
    evidence.no_standstill_of = None;
    assert_eq!(audit(&evidence).violations, []);
}

/// The suite waits for a while and then gives up: an item that is left then has waited as long.
#[test]
fn a_good_item_that_nobody_takes_to_its_end() {
    let mut evidence = clean();
    evidence.no_standstill_of = Some(Duration::from_secs(10));
    evidence.items[0].status = Some("TWO_COMPLETE".to_owned());
    evidence.moves.truncate(5);
    evidence.given_up_at = Some(at(15));
    finds(&evidence, |one| matches!(one, Violation::Standstill { before, for_ms: 11_000 } if before == "a"));
    evidence.given_up_at = Some(at(14));
    let is_it = |one: &Violation| matches!(one, Violation::Standstill { .. });
    assert!(!audit(&evidence).violations.iter().any(is_it), "it may take so long");
    evidence.given_up_at = Some(at(15));
    evidence.doomed = HashSet::from(["a".to_owned()]);
    assert!(!audit(&evidence).violations.iter().any(is_it), "a bad one may wait");
}
