//! The auditor against evidence with one violation in it: it must find each.

mod comparisons;
mod ends;
mod leases;
mod standstill;

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

/// A move of item `a`; its number is its position.
fn moved(evidence: &mut Evidence, was: &str, became: &str, token: i64, counts: (i32, i32)) {
    let n = i64::try_from(evidence.moves.len()).expect("few moves");
    evidence.moves.push(Move {
        n,
        item: "a".to_owned(),
        was: (!was.is_empty()).then(|| was.to_owned()),
        became: (!became.is_empty()).then(|| became.to_owned()),
        token: (token != 0).then_some(token),
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

/// One item that went through all stages as intended, under the tokens 1, 2 and 3.
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
