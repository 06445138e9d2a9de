//! Leases, tokens and sweeps.

use super::*;

#[test]
fn two_holdings_that_overlap() {
    let mut evidence = clean();
    evidence.moves.truncate(2);
    moved(&mut evidence, "ONE_IN_PROGRESS", "ONE_IN_PROGRESS", 9, (0, 0));
    finds(&evidence, |one| matches!(one, Violation::HeldTwice { .. }));
    let mut evidence = clean();
    evidence.moves.truncate(2);
    moved(&mut evidence, "PENDING", "ONE_IN_PROGRESS", 9, (0, 0));
    finds(&evidence, |one| matches!(one, Violation::HeldTwice { .. }));
    finds(&evidence, |one| matches!(one, Violation::BrokenChain { .. }));
}

#[test]
fn a_finish_under_another_token() {
    let mut evidence = clean();
    evidence.moves[2].token = Some(99);
    finds(&evidence, |one| matches!(one, Violation::WrongToken { .. }));
}

#[test]
fn a_token_that_is_used_twice() {
    let mut evidence = clean();
    evidence.moves.truncate(1);
    for _ in 0..2 {
        moved(&mut evidence, "PENDING", "ONE_IN_PROGRESS", 7, (0, 0));
        moved(&mut evidence, "ONE_IN_PROGRESS", "PENDING", 7, (0, 0));
    }
    finds(&evidence, |one| matches!(one, Violation::TokenReused { .. }));
    // Also in another stage of the item.
    let mut evidence = clean();
    (evidence.moves[3].token, evidence.moves[4].token) = (Some(1), Some(1));
    finds(&evidence, |one| matches!(one, Violation::TokenReused { .. }));
}

/// No worker may take an item from one stage in progress to another without giving it back.
#[test]
fn an_item_that_goes_straight_to_another_stage() {
    for to in ["TWO_IN_PROGRESS", "THREE_IN_PROGRESS"] {
        let mut evidence = clean();
        evidence.moves.truncate(2);
        moved(&mut evidence, "ONE_IN_PROGRESS", to, 2, (0, 0));
        finds(&evidence, |it| matches!(it, Violation::HeldTwice { .. }));
    }
}

/// One claim takes many items under one token; a token of two holders was drawn twice.
#[test]
fn a_token_of_two_holders() {
    let mut evidence = clean();
    let mut second = evidence.items[0].clone();
    second.id = "b".to_owned();
    evidence.items.push(second);
    evidence.items_added = 2;
    let moves: Vec<Move> = evidence.moves.iter().cloned().map(|row| Move { item: "b".to_owned(), ..row }).collect();
    evidence.moves.extend(moves);
    let effects: Vec<Effect> =
        evidence.effects.iter().cloned().map(|row| Effect { item: "b".to_owned(), ..row }).collect();
    evidence.effects.extend(effects);
    *evidence.logs[0].events.last_mut().expect("events") = ended(6, 0);
    assert_eq!(audit(&evidence).violations, []);
    evidence.moves.iter_mut().rev().take(6).for_each(|row| row.holder = Some(OTHER.to_owned()));
    finds(&evidence, |one| matches!(one, Violation::TokenReused { .. }));
}

#[test]
fn a_move_that_does_not_exist() {
    let mut evidence = clean();
    moved(&mut evidence, "SUCCEEDED", "PENDING", 0, (0, 0));
    finds(&evidence, |one| matches!(one, Violation::IllegalMove { .. }));
}

#[test]
fn an_item_past_a_limit() {
    let mut evidence = crashed(true);
    evidence.moves.last_mut().expect("moves").resets = Some(4);
    finds(&evidence, |one| matches!(one, Violation::PastLimit { .. }));
    let mut evidence = crashed(true);
    evidence.moves.last_mut().expect("moves").became = Some("PENDING".to_owned());
    finds(&evidence, |one| matches!(one, Violation::PastLimit { .. }));
}

/// The holder dies at second 0 and its leases end at 2, 4 and 6; while all were cut off, nothing is timed.
#[test]
fn an_item_that_stays_with_a_dead_holder() {
    let mut evidence = crashed(true);
    evidence.taken_back_within = Some(Duration::from_secs(6));
    let findings = audit(&evidence);
    assert_eq!(findings.violations, []);
    assert_eq!(findings.taken_back, [2, 4, 6].map(Duration::from_secs));
    evidence.taken_back_within = Some(Duration::from_secs(5));
    finds(&evidence, |one| matches!(one, Violation::TakenBackLate { after_ms: 6_000, .. }));
    evidence.afflictions.push(Affliction { holder: None, from: at(1), until: Some(at(2)), dead_by: None });
    assert_eq!(audit(&evidence).violations, []);
    assert_eq!(audit(&evidence).taken_back, []);
}

#[test]
fn a_lease_that_is_taken_back_while_it_lives() {
    let mut evidence = crashed(true);
    evidence.stale_after = Duration::from_millis(1_100);
    finds(&evidence, |one| matches!(one, Violation::SweptTooEarly { age_ms: 1_000, .. }));
    // Without a heartbeat it is stale, and a rounded millisecond is not too early.
    evidence.moves.iter_mut().for_each(|row| row.heartbeat_at = None);
    assert_eq!(audit(&evidence).violations, []);
    let mut evidence = crashed(true);
    evidence.stale_after = Duration::from_millis(1_001);
    assert_eq!(audit(&evidence).violations, []);
}

#[test]
fn a_lease_that_is_taken_from_a_holder_who_lives() {
    let is_it = |one: &Violation| matches!(one, Violation::SweptFromLiving { holder, .. } if holder == HOLDER);
    let mut evidence = crashed(false);
    assert!(!audit(&evidence).violations.iter().any(is_it), "a heartbeat may be late on a busy machine");
    evidence.the_living_keep_their_leases = true;
    finds(&evidence, is_it);
    let mut evidence = crashed(true);
    evidence.the_living_keep_their_leases = true;
    assert_eq!(audit(&evidence).violations, [], "somebody had died or was held up");
}

#[test]
fn a_heartbeat_that_is_far_ahead_may_be_swept() {
    let mut evidence = crashed(true);
    evidence.moves.iter_mut().for_each(|row| row.heartbeat_at = Some(row.at + TimeDelta::hours(1)));
    assert_eq!(audit(&evidence).violations, []);
}

/// Harm that ended before the last heartbeat excuses no sweep.
#[test]
fn an_affliction_before_the_last_heartbeat() {
    let mut evidence = crashed(false);
    evidence.afflictions.push(Affliction { holder: None, from: at(0), until: Some(at(6)), dead_by: None });
    assert_eq!(audit(&evidence).unexplained_sweeps, 0);
    for row in &mut evidence.moves {
        (row.heartbeat_at, row.at) = (Some(at(row.n + 10)), at(row.n + 11));
    }
    evidence.moves[1].at = at(1);
    let findings = audit(&evidence);
    assert_eq!(findings.unexplained_sweeps, 3);
    assert!(matches!(findings.violations[..], [Violation::InnocentFailed { .. }]));
}

/// The ledger's own trigger sees a lease that passes from one holder to the next without a move in between.
#[tokio::test]
async fn two_holdings_that_overlap_in_a_real_ledger_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("items.sqlite").display());
    let database = Database::lazy(&url).expect("a database");
    let times = (Duration::from_secs(3), Duration::from_secs(60));
    database.prepare(&url, pipeline(times.0, times.1).expect("a pipeline")).await.expect("tables");
    database.execute("insert into items (id) values ('a')").await.expect("an item");
    for (token, holder) in [(1, HOLDER), (2, OTHER)] {
        let claim = format!(
            "update items set status = 'ONE_IN_PROGRESS', claim_token = {token}, claimed_by = '{holder}',
             heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
        );
        database.execute(claim).await.expect("a claim");
    }
    // A heartbeat is not a move.
    database
        .execute("update items set heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")
        .await
        .expect("a heartbeat");
    let evidence = Evidence::of_tables(&database).await.expect("evidence");
    assert_eq!(evidence.moves.len(), 3);
    finds(&evidence, |one| matches!(one, Violation::HeldTwice { second, .. } if second == OTHER));
    database.close().await;
}

#[test]
fn an_affliction_excuses_its_holder_in_its_time() {
    let one = Affliction { holder: Some(HOLDER.to_owned()), from: at(10), until: Some(at(20)), dead_by: None };
    assert!(one.touches(Some(HOLDER), at(15), at(16)));
    assert!(one.touches(Some(HOLDER), at(0), at(10)));
    assert!(!one.touches(Some(HOLDER), at(21), at(30)));
    assert!(!one.touches(Some(OTHER), at(15), at(16)));
    let everyone = Affliction { holder: None, from: at(10), until: None, dead_by: None };
    assert!(everyone.touches(Some(OTHER), at(500), at(600)));
    assert!(everyone.touches(None, at(11), at(11) + TimeDelta::seconds(1)));
}
