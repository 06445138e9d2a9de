//! Comparisons with the ledger.

use super::*;

/// The clean item, cancelled before its first stage and requeued, as both verbs reported.
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

/// The count of a worker that gave a lease up is one too low if the handler's own finish still got through.
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
