//! The auditor against evidence with one thing wrong in it: it must see each.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::evidence::{Affliction, Answer, Effect, Evidence, ItemRow, Move, Verb, WorkerLog};
use super::judge::audit;
use super::violation::Violation;
use crate::subject::log::Event;
use crate::subject::{Database, pipeline};

const HOLDER: &str = "worker-0.1";
const OTHER: &str = "worker-1.1";

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a time")
}

/// A move of item `a`; its number is its place.
fn moved(evidence: &mut Evidence, was: &str, became: &str, token: i64, counts: (i32, i32)) {
    let n = i64::try_from(evidence.moves.len()).expect("few moves");
    evidence.moves.push(Move {
        n,
        item: "a".to_owned(),
        was: (!was.is_empty()).then(|| was.to_owned()),
        became: (!became.is_empty()).then(|| became.to_owned()),
        token: (token != 0).then_some(token),
        token_before: None,
        holder: Some(HOLDER.to_owned()),
        heartbeat_at: Some(at(n - 1)),
        retries: Some(counts.0),
        resets: Some(counts.1),
        error: None,
        at: at(n),
    });
}

fn said(evidence: &mut Evidence, event: Event) {
    evidence.logs[0].events.push(event);
}

fn effect(stage: &str, token: i64) -> Effect {
    Effect { item: "a".to_owned(), stage: stage.to_owned(), token, worker: HOLDER.to_owned() }
}

/// One item that went through all stages as it should, under the tokens 1, 2 and 3.
fn clean() -> Evidence {
    let mut evidence = Evidence {
        items_added: 1,
        stale_after: Duration::from_secs(1),
        timeout: Duration::from_secs(60),
        items: vec![ItemRow {
            id: "a".to_owned(),
            status: Some("SUCCEEDED".to_owned()),
            behaviour: "work".to_owned(),
            retry_count: Some(0),
            reset_count: Some(0),
            error_message: None,
        }],
        effects: vec![effect("ONE", 1), effect("THREE", 3)],
        logs: vec![WorkerLog { holder: HOLDER.to_owned(), events: Vec::new() }],
        ..Evidence::default()
    };
    said(&mut evidence, Event::Started { holder: HOLDER.to_owned(), wall_clock: at(0) });
    moved(&mut evidence, "", "PENDING", 0, (0, 0));
    let words = ["PENDING", "ONE_COMPLETE", "TWO_COMPLETE", "SUCCEEDED"];
    for (stage, name) in ["ONE", "TWO", "THREE"].into_iter().enumerate() {
        let token = i64::try_from(stage + 1).expect("a small number");
        let running = format!("{name}_IN_PROGRESS");
        moved(&mut evidence, words[stage], &running, token, (0, 0));
        moved(&mut evidence, &running, words[stage + 1], token, (0, 0));
        said(&mut evidence, Event::Claimed { limit: 1, claimed: 1 });
        said(&mut evidence, Event::Run { item: "a".to_owned(), stage, token });
        if stage != 1 {
            said(&mut evidence, Event::Acknowledged { item: "a".to_owned(), stage, token, told_to_stop: false });
        }
    }
    said(&mut evidence, ended(3, 0));
    evidence
}

fn ended(completed: u64, unknown: u64) -> Event {
    Event::Ended { completed, unknown, lost: 0, released: 0, swept: 0, errors: 0, leaked_slots: 0 }
}

/// One item that was taken back three times in its first stage.
fn crashed(excused: bool) -> Evidence {
    let mut evidence = clean();
    evidence.moves.truncate(1);
    evidence.effects.clear();
    evidence.logs.clear();
    for resets in 0..3 {
        moved(&mut evidence, "PENDING", "ONE_IN_PROGRESS", 10 + i64::from(resets), (0, resets));
        let became = if resets == 2 { "FAILED" } else { "PENDING" };
        moved(&mut evidence, "ONE_IN_PROGRESS", became, 10 + i64::from(resets), (0, resets + 1));
    }
    evidence.items[0].status = Some("FAILED".to_owned());
    evidence.items[0].error_message = Some("Max resets (3) exceeded".to_owned());
    evidence.explained = HashSet::from(["a".to_owned()]);
    if excused {
        evidence.afflictions.push(Affliction {
            holder: Some(HOLDER.to_owned()),
            from: at(0),
            until: None,
            dead_by: Some(at(0)),
        });
    }
    evidence
}

fn finds(evidence: &Evidence, is_it: impl Fn(&Violation) -> bool) {
    let found = audit(evidence).violations;
    assert!(found.iter().any(is_it), "not found among {found:?}");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let findings = audit(&clean());
    assert_eq!(findings.violations, []);
    assert_eq!((findings.runs, findings.completions, findings.sweeps), (3, 3, 0));
    assert_eq!(audit(&crashed(true)).violations, []);
}

/// The clean item, cancelled before its first stage and requeued, as both verbs said.
fn operated() -> Evidence {
    let mut evidence = clean();
    let work = evidence.moves.split_off(1);
    moved(&mut evidence, "PENDING", "CANCELLED", 0, (0, 0));
    moved(&mut evidence, "CANCELLED", "PENDING", 0, (0, 0));
    evidence.moves.extend(work);
    evidence.edited = HashSet::from(["a".to_owned()]);
    for (verb, moved) in [(Verb::Requeue, false), (Verb::Cancel, true), (Verb::Requeue, true)] {
        evidence.answers.push(Answer { item: "a".to_owned(), verb, moved });
    }
    evidence
}

#[test]
fn an_operators_verb_that_says_something_else_than_it_did() {
    assert_eq!(audit(&operated()).violations, []);
    for place in 0..3 {
        let mut evidence = operated();
        evidence.answers[place].moved = !evidence.answers[place].moved;
        finds(&evidence, |one| matches!(one, Violation::AnsweredOtherwise { .. }));
    }
}

#[test]
fn an_item_that_is_gone() {
    let mut evidence = clean();
    evidence.items.clear();
    finds(&evidence, |one| matches!(one, Violation::Vanished { items: 1 }));
}

#[test]
fn an_item_that_is_not_terminal() {
    let mut evidence = clean();
    evidence.items[0].status = Some("TWO_IN_PROGRESS".to_owned());
    finds(&evidence, |one| matches!(one, Violation::NotTerminal { .. }));
}

#[test]
fn an_effect_that_is_missing_or_there_twice() {
    let mut evidence = clean();
    evidence.effects.remove(0);
    finds(&evidence, |one| matches!(one, Violation::EffectMissing { .. }));
    let mut evidence = clean();
    evidence.effects.push(effect("ONE", 1));
    finds(&evidence, |one| matches!(one, Violation::EffectTwice { .. }));
}

#[test]
fn an_effect_under_a_token_that_was_not_the_holders() {
    let mut evidence = clean();
    evidence.effects.push(effect("ONE", 99));
    finds(&evidence, |one| matches!(one, Violation::EffectOfNoHolder { .. }));
    let mut evidence = clean();
    evidence.effects[0].worker = OTHER.to_owned();
    finds(&evidence, |one| matches!(one, Violation::EffectOfNoHolder { .. }));
}

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
    // In another stage of the item, too.
    let mut evidence = clean();
    (evidence.moves[3].token, evidence.moves[4].token) = (Some(1), Some(1));
    finds(&evidence, |one| matches!(one, Violation::TokenReused { .. }));
}

/// One item that continued from the second stage to the third, under the tokens 1, 2 and 3.
fn continued() -> Evidence {
    let mut evidence = clean();
    let claim = evidence.moves.remove(5);
    let done = &mut evidence.moves[4];
    (done.became, done.token, done.token_before) = (claim.became, claim.token, Some(2));
    evidence
}

#[test]
fn nothing_is_found_where_an_item_continued() {
    let findings = audit(&continued());
    assert_eq!(findings.violations, []);
    assert_eq!((findings.runs, findings.completions, findings.continued), (3, 3, 1));
}

#[test]
fn continuing_under_a_token_that_was_not_the_holders() {
    let mut evidence = continued();
    evidence.moves[4].token_before = Some(1);
    finds(&evidence, |it| matches!(it, Violation::WrongToken { .. }));
}

#[test]
fn continuing_by_another_than_the_holder() {
    let mut evidence = continued();
    evidence.moves[4].holder = Some(OTHER.to_owned());
    finds(&evidence, |it| matches!(it, Violation::WrongToken { .. }));
}

#[test]
fn continuing_under_the_token_that_it_had() {
    let mut evidence = continued();
    evidence.moves[4].token = Some(2);
    finds(&evidence, |it| matches!(it, Violation::TokenReused { .. }));
}

#[test]
fn continuing_past_a_stage() {
    let mut evidence = continued();
    evidence.moves.drain(3..=4);
    evidence.moves[2].became = Some("THREE_IN_PROGRESS".to_owned());
    finds(&evidence, |it| matches!(it, Violation::HeldTwice { .. }));
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

/// The holder dies at second 0 and its leases end at 2, 4 and 6; while all were cut off, none of it is timed.
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
fn an_innocent_item_that_failed() {
    finds(&crashed(false), |one| matches!(one, Violation::InnocentFailed { .. }));
}

#[test]
fn a_lease_that_is_taken_back_while_it_lives() {
    let mut evidence = crashed(true);
    evidence.stale_after = Duration::from_millis(1_100);
    finds(&evidence, |one| matches!(one, Violation::SweptTooEarly { age_ms: 1_000, .. }));
    // Without a heartbeat it is stale, and a rounded millisecond is none too early.
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

/// What was over before the last heartbeat excuses no sweep.
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

/// Three deaths of its holders earn a failure where the suite kills, and not where only other items do.
#[test]
fn an_item_that_others_drag_down() {
    for behaviour in ["work", "hang", "fail", "panic", "block"] {
        let mut evidence = crashed(true);
        evidence.items[0].behaviour = behaviour.to_owned();
        assert_eq!(audit(&evidence).violations, []);
        evidence.only_items_harm = true;
        finds(&evidence, |one| matches!(one, Violation::DraggedDown { .. }));
    }
    let mut evidence = crashed(true);
    evidence.only_items_harm = true;
    evidence.items[0].behaviour = "abort".to_owned();
    assert_eq!(audit(&evidence).violations, []);
}

/// A person who moves an item on takes its holder's place, and owes no effect; a holder of an edited item owes its own.
#[test]
fn an_effect_is_owed_for_an_edited_item_unless_a_hand_moved_it() {
    let mut evidence = clean();
    evidence.edited = HashSet::from(["a".to_owned()]);
    evidence.effects.remove(0);
    finds(&evidence, |one| matches!(one, Violation::EffectMissing { .. }));
    evidence.moves_by_hand = HashSet::from([2]);
    evidence.logs[0].events.retain(|event| !matches!(event, Event::Acknowledged { stage: 0, .. }));
    *evidence.logs[0].events.last_mut().expect("events") = ended(2, 0);
    assert_eq!(audit(&evidence).violations, []);
}

#[test]
fn a_guilty_item_that_succeeded() {
    let mut evidence = clean();
    evidence.items[0].behaviour = "abort".to_owned();
    finds(&evidence, |one| matches!(one, Violation::GuiltySucceeded { .. }));
}

#[test]
fn an_item_that_failed_without_a_reason() {
    let mut evidence = crashed(true);
    evidence.items[0].error_message = None;
    finds(&evidence, |one| matches!(one, Violation::FailedWithoutReason { .. }));
    let mut evidence = crashed(true);
    evidence.explained.clear();
    finds(&evidence, |one| matches!(one, Violation::FailedWithoutReason { .. }));
}

#[test]
fn a_retry_that_no_handler_reported() {
    let mut evidence = clean();
    evidence.moves.truncate(2);
    moved(&mut evidence, "ONE_IN_PROGRESS", "PENDING", 1, (1, 0));
    finds(&evidence, |one| matches!(one, Violation::UnreportedRetry { .. }));
    // In a stage that was completed later, too; and not if the run took as long as one may.
    let mut evidence = clean();
    let ends = evidence.moves.split_off(2);
    moved(&mut evidence, "ONE_IN_PROGRESS", "PENDING", 1, (1, 0));
    moved(&mut evidence, "PENDING", "ONE_IN_PROGRESS", 4, (1, 0));
    evidence.moves.extend(ends);
    evidence.moves[4].token = Some(4);
    evidence.effects[0].token = 4;
    said(&mut evidence, Event::Run { item: "a".to_owned(), stage: 0, token: 4 });
    evidence.logs[0].events.retain(|event| !matches!(event, Event::Acknowledged { stage: 0, .. }));
    assert_eq!(audit(&evidence).violations, [Violation::UnreportedRetry { item: "a".to_owned() }]);
    evidence.timeout = Duration::from_secs(1);
    assert_eq!(audit(&evidence).violations, []);
}

/// The ledger's own trigger sees a lease that passes from one holder to the next without a move between.
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
    // A heartbeat is no move.
    database
        .execute("update items set heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")
        .await
        .expect("a heartbeat");
    let evidence = Evidence::of_tables(&database).await.expect("evidence");
    assert_eq!(evidence.moves.len(), 3);
    finds(&evidence, |one| matches!(one, Violation::HeldTwice { second, .. } if second == OTHER));
    database.close().await;
}

/// A worker that gave a lease up is one behind if the handler's own finish got through all the same.
#[test]
fn a_success_after_the_worker_gave_up_may_be_uncounted_and_no_other() {
    for (told_to_stop, lost, is_clean) in [(true, 1, true), (false, 1, false), (true, 0, false)] {
        let mut evidence = clean();
        for event in &mut evidence.logs[0].events {
            match event {
                Event::Acknowledged { stage: 2, told_to_stop: told, .. } => *told = told_to_stop,
                Event::Ended { completed, lost: counted, .. } => (*completed, *counted) = (2, lost),
                _ => {}
            }
        }
        if is_clean {
            assert_eq!(audit(&evidence).violations, []);
        } else {
            finds(&evidence, |one| matches!(one, Violation::MiscountedCompletions { .. }));
        }
    }
}

#[test]
fn a_claim_larger_than_asked_for() {
    let mut evidence = clean();
    said(&mut evidence, Event::Claimed { limit: 4, claimed: 5 });
    finds(&evidence, |one| matches!(one, Violation::ClaimTooLarge { .. }));
}

#[test]
fn a_success_that_is_not_in_the_database() {
    let mut evidence = clean();
    said(&mut evidence, Event::Acknowledged { item: "a".to_owned(), stage: 2, token: 99, told_to_stop: false });
    finds(&evidence, |one| matches!(one, Violation::AcknowledgedInVain { .. }));
    let mut evidence = clean();
    *evidence.logs[0].events.last_mut().expect("events") = ended(4, 0);
    finds(&evidence, |one| matches!(one, Violation::MiscountedCompletions { .. }));
    let mut evidence = clean();
    *evidence.logs[0].events.last_mut().expect("events") = ended(2, 0);
    finds(&evidence, |one| matches!(one, Violation::MiscountedCompletions { .. }));
    let mut evidence = clean();
    *evidence.logs[0].events.last_mut().expect("events") = ended(2, 1);
    assert_eq!(audit(&evidence).violations, []);
}

#[test]
fn a_run_without_a_claim() {
    let mut evidence = clean();
    said(&mut evidence, Event::Run { item: "a".to_owned(), stage: 0, token: 99 });
    finds(&evidence, |one| matches!(one, Violation::RunWithoutClaim { .. }));
}

#[test]
fn something_counted_in_a_clean_shutdown() {
    let mut evidence = clean();
    evidence.nothing_counted = true;
    assert_eq!(audit(&evidence).violations, []);
    evidence.moves[2].retries = Some(1);
    finds(&evidence, |one| matches!(one, Violation::CountedAtShutdown { .. }));
}

#[test]
fn a_time_in_which_nothing_is_completed() {
    let mut evidence = clean();
    evidence.no_standstill_of = Some(Duration::from_secs(10));
    assert_eq!(audit(&evidence).violations, []);
    // Its last stage is completed late, though nothing was done to anybody.
    let last = evidence.moves.last_mut().expect("moves");
    last.at += TimeDelta::seconds(11);
    finds(&evidence, |one| matches!(one, Violation::Standstill { for_ms: 13_000, .. }));
    evidence.no_standstill_of = None;
    assert_eq!(audit(&evidence).violations, []);
}

#[test]
fn an_item_whose_failure_the_log_does_not_have_where_the_log_is_harmed() {
    let mut evidence = clean();
    evidence.items[0].status = Some("FAILED".to_owned());
    evidence.items[0].error_message = Some("a reason".to_owned());
    finds(&evidence, |one| matches!(one, Violation::FailedWithoutReason { .. }));
    evidence.log_of_failures_is_harmed = true;
    let found = audit(&evidence).violations;
    assert!(!found.iter().any(|one| matches!(one, Violation::FailedWithoutReason { .. })), "{found:?}");
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
