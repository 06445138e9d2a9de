//! Final states of items.

use super::*;

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
fn an_innocent_item_that_failed() {
    finds(&crashed(false), |one| matches!(one, Violation::InnocentFailed { .. }));
}

/// Three deaths of its holders justify a failure if the suite kills, but not if only other items do.
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
    // Also in a stage that was completed later; but not if the run took as long as one may.
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

#[test]
fn something_counted_in_a_clean_shutdown() {
    let mut evidence = clean();
    evidence.nothing_counted = true;
    assert_eq!(audit(&evidence).violations, []);
    evidence.moves[2].retries = Some(1);
    finds(&evidence, |one| matches!(one, Violation::CountedAtShutdown { .. }));
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

/// One item that failed after five retries of its first stage, each after this many seconds.
fn retried(seconds: i64) -> Evidence {
    let mut evidence = clean();
    evidence.moves.truncate(1);
    evidence.effects.clear();
    evidence.logs[0].events.clear();
    for retry in 1..=5 {
        moved(&mut evidence, "PENDING", "ONE_IN_PROGRESS", 10 + i64::from(retry), (retry - 1, 0));
        let became = if retry == 5 { "FAILED" } else { "PENDING" };
        moved(&mut evidence, "ONE_IN_PROGRESS", became, 10 + i64::from(retry), (retry, 0));
    }
    for row in &mut evidence.moves {
        row.at = at(row.n * seconds);
    }
    evidence.items[0].status = Some("FAILED".to_owned());
    evidence.items[0].error_message = Some("no connection".to_owned());
    evidence.explained = HashSet::from(["a".to_owned()]);
    evidence
}

/// As when the database was away, and the worker counted that.
#[test]
fn an_item_that_failed_for_a_cause_that_its_handler_did_not_report() {
    finds(&retried(1), |one| matches!(one, Violation::InnocentFailed { .. }));
    let mut evidence = retried(1);
    for token in 11..=15 {
        said(&mut evidence, Event::Failing { item: "a".to_owned(), stage: 0, token });
    }
    let is_it = |one: &Violation| matches!(one, Violation::InnocentFailed { .. });
    assert!(!audit(&evidence).violations.iter().any(is_it), "its handler said so each time");
    assert!(!audit(&retried(60)).violations.iter().any(is_it), "each run took as long as one may");
}
