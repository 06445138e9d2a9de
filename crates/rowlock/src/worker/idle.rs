//! The idle check: whether there is anything left to wait for. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::outage_detector::HeldStage;
use super::report::{Remaining, StageItems, Waiting};
use crate::Key;
use crate::pipeline::{Pipeline, StageId, Status};
use crate::store::Counts;

/// What the counts mean for a worker that holds nothing and whose claims came back empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NextStep {
    /// Items are due: claim again.
    Work,
    /// There is nothing to do now, but there will be.
    Wait(Waiting),
    /// Waiting changes nothing.
    Idle(Remaining),
}

/// The key of a row that the database refuses to change, and the state that it is stuck in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stuck {
    pub(crate) key: Key,
    pub(crate) reason: String,
    pub(crate) status: Option<Status>,
}

/// What a worker handles, and what it has met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook<'a> {
    /// The stages that it has handlers for.
    pub(crate) handled: &'a [StageId],
    pub(crate) stuck: &'a [Stuck],
    /// The stages that it holds.
    pub(crate) held: &'a [HeldStage],
    /// Whether it ends even if items become due later.
    pub(crate) until_nothing_is_due: bool,
}

/// Decides whether a worker is done.
pub(crate) fn next_step(pipeline: &Pipeline, counts: &Counts, outlook: Outlook<'_>) -> NextStep {
    let Outlook { handled, stuck, held: held_stages, until_nothing_is_due } = outlook;
    let held_stage = |stage: StageId| held_stages.iter().find(|held| held.stage == stage);
    let stuck_in = |status: Status| {
        let count = stuck.iter().filter(|stuck| stuck.status == Some(status)).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let mut remaining = Remaining::default();
    let mut waiting = Waiting::for_nothing(counts.at);
    for stage in &counts.stages {
        let ready = counts.count(Status::Ready(stage.stage)) - stuck_in(Status::Ready(stage.stage));
        let held = counts.count(Status::InProgress(stage.stage)) - stuck_in(Status::InProgress(stage.stage));
        if held > 0 {
            waiting.held_items += held;
            let lease = TimeDelta::from_std(pipeline.stale_after()).unwrap_or(TimeDelta::MAX);
            let ends_at = stage.oldest_heartbeat_at.and_then(|beat| beat.checked_add_signed(lease));
            waiting.lease_ends_at = earlier(waiting.lease_ends_at, ends_at);
        }
        if ready <= 0 {
            continue;
        }
        let name = pipeline.stage(stage.stage).name().to_owned();
        let items = StageItems { stage: stage.stage, name, items: ready };
        if !handled.contains(&stage.stage) {
            remaining.without_handler.push(items);
        } else if stage.paused {
            remaining.paused.push(items);
        } else if stage.oldest_ready_since.is_some() && stuck_in(Status::Ready(stage.stage)) == 0 {
            let Some(held) = held_stage(stage.stage) else { return NextStep::Work };
            waiting.held_stages.push(held.clone());
        } else {
            let is_held = held_stage(stage.stage).cloned();
            let never_due = stage.never_due.clamp(0, ready);
            // Both counts stop at the same limit: many items that are never due can hide how few others there are.
            let delayed = (ready - never_due).max(i64::from(stage.next_due_at.is_some()));
            waiting.never_due_items += never_due;
            remaining.never_due.extend(items.of(never_due));
            if until_nothing_is_due {
                remaining.delayed.extend(items.of(delayed));
                remaining.held_stages.extend(is_held.filter(|_| delayed > 0));
                remaining.next_due_at = earlier(remaining.next_due_at, stage.next_due_at);
            } else {
                waiting.delayed_items += delayed;
                waiting.held_stages.extend(is_held.filter(|_| delayed > 0));
                waiting.next_due_at = earlier(waiting.next_due_at, stage.next_due_at);
            }
        }
    }
    if waiting.delayed_items > 0 || waiting.held_items > 0 || !waiting.held_stages.is_empty() {
        return NextStep::Wait(waiting);
    }
    remaining.unknown_words = counts.unknown_words().map(|entry| (entry.word.clone(), entry.count)).collect();
    remaining.refused = stuck
        .iter()
        .filter(|stuck| !stuck.status.is_some_and(Status::is_terminal))
        .map(|stuck| (stuck.key.clone(), stuck.reason.clone()))
        .collect();
    NextStep::Idle(remaining)
}

/// Whether a change is worth a line in the log. Renewals by other workers are not.
pub(crate) fn is_news<'a>(before: Option<&'a Waiting>, now: &'a Waiting) -> bool {
    let reason = |held: &'a HeldStage| (held.stage, &held.reason);
    before.is_none_or(|before| {
        before.delayed_items != now.delayed_items
            || before.held_items != now.held_items
            || before.next_due_at != now.next_due_at
            || !before.held_stages.iter().map(reason).eq(now.held_stages.iter().map(reason))
    })
}

fn earlier(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{StageCounts, StatusCount};
    use crate::worker::outage_detector::HeldBy;

    fn pipeline() -> Pipeline {
        Pipeline::builder("p").table("t").key("k").stage("ONE").stage("TWO").build().unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    /// Counts that are all zero.
    fn counts(pipeline: &Pipeline) -> Counts {
        let status = |status| StatusCount {
            status: Some(status),
            word: pipeline.word(status).to_owned(),
            count: 0,
            at_least: false,
        };
        let stage = |stage| StageCounts {
            stage,
            paused: false,
            oldest_ready_since: None,
            next_due_at: None,
            never_due: 0,
            oldest_heartbeat_at: None,
        };
        Counts {
            at: at(0),
            statuses: pipeline.statuses().map(status).collect(),
            stages: pipeline.stage_ids().map(stage).collect(),
        }
    }

    /// The next step of a worker that has handlers for these stages and met nothing unusual.
    fn judged(counts: &Counts, handled: &[StageId]) -> NextStep {
        next_step(&pipeline(), counts, Outlook { handled, stuck: &[], held: &[], until_nothing_is_due: false })
    }

    fn put(counts: &mut Counts, status: Status, count: i64) {
        counts.statuses.iter_mut().find(|entry| entry.status == Some(status)).unwrap().count = count;
    }

    #[test]
    fn terminal_items_leave_nothing_to_wait_for() {
        let pipeline = pipeline();
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::Succeeded, 3);
        put(&mut counts, Status::Failed, 1);
        put(&mut counts, Status::Cancelled, 1);
        let stages: Vec<_> = pipeline.stage_ids().collect();
        assert_eq!(judged(&counts, &stages), NextStep::Idle(Remaining::default()));
    }

    #[test]
    fn due_items_are_work_and_delayed_ones_are_waited_for() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::Ready(stages[1]), 2);
        counts.stages[1].next_due_at = Some(at(60));
        let NextStep::Wait(waiting) = judged(&counts, &stages) else { panic!("something is delayed") };
        assert_eq!((waiting.delayed_items, waiting.next_due_at), (2, Some(at(60))));
        counts.stages[1].oldest_ready_since = Some(at(-1));
        assert_eq!(judged(&counts, &stages), NextStep::Work);
    }

    #[test]
    fn what_is_never_due_is_named_and_not_waited_for() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::Ready(stages[0]), 3);
        counts.stages[0].never_due = 3;
        let NextStep::Idle(remaining) = judged(&counts, &stages) else { panic!("nothing will be due") };
        assert_eq!(remaining.to_string(), "3 ready for ONE that are never due");
        assert!(!remaining.is_empty());

        put(&mut counts, Status::Ready(stages[0]), 5);
        counts.stages[0].next_due_at = Some(at(60));
        let NextStep::Wait(waiting) = judged(&counts, &stages) else { panic!("two are delayed") };
        assert_eq!((waiting.delayed_items, waiting.never_due_items), (2, 3));
        assert_eq!(
            waiting.to_string(),
            "2 delayed, the first at 2027-01-15 08:01:00Z; 3 never due, and not waited for"
        );

        // Both counts stopped at a limit of 3.
        put(&mut counts, Status::Ready(stages[0]), 3);
        let NextStep::Wait(waiting) = judged(&counts, &stages) else { panic!("one is delayed") };
        assert_eq!(waiting.delayed_items, 1);
        counts.stages[0].oldest_ready_since = Some(at(-1));
        assert_eq!(judged(&counts, &stages), NextStep::Work);
    }

    #[test]
    fn a_worker_that_ends_when_nothing_is_due_names_what_will_be() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let outlook = Outlook { handled: &stages, stuck: &[], held: &[], until_nothing_is_due: true };
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::Ready(stages[0]), 2);
        put(&mut counts, Status::Ready(stages[1]), 1);
        counts.stages[0].next_due_at = Some(at(600));
        counts.stages[1].next_due_at = Some(at(60));
        let NextStep::Idle(remaining) = next_step(&pipeline, &counts, outlook) else { panic!("nothing is due") };
        assert_eq!(remaining.next_due_at, Some(at(60)));
        assert_eq!(
            remaining.to_string(),
            "2 delayed for ONE; 1 delayed for TWO; the next is due at 2027-01-15 08:01:00Z"
        );
        put(&mut counts, Status::InProgress(stages[0]), 1);
        let NextStep::Wait(waiting) = next_step(&pipeline, &counts, outlook) else {
            panic!("it may be due again soon")
        };
        assert_eq!((waiting.held_items, waiting.delayed_items), (1, 0));
        put(&mut counts, Status::InProgress(stages[0]), 0);
        counts.stages[0].oldest_ready_since = Some(at(-1));
        assert_eq!(next_step(&pipeline, &counts, outlook), NextStep::Work);
    }

    #[test]
    fn the_leases_of_others_are_waited_for_even_in_stages_without_a_handler() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::InProgress(stages[0]), 1);
        counts.stages[0].oldest_heartbeat_at = Some(at(-10));
        let NextStep::Wait(waiting) = judged(&counts, &stages[1..]) else { panic!("one is held") };
        assert_eq!((waiting.held_items, waiting.lease_ends_at), (1, Some(at(290))));
    }

    #[test]
    fn paused_stages_are_not_waited_for() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::Ready(stages[0]), 5);
        counts.stages[0].paused = true;
        counts.stages[0].oldest_ready_since = Some(at(-1));
        let NextStep::Idle(remaining) = judged(&counts, &stages) else { panic!("it is paused") };
        assert_eq!((remaining.paused.len(), remaining.paused[0].items), (1, 5));
        assert_eq!(remaining.to_string(), "5 ready for ONE, which is paused");
    }

    #[test]
    fn items_that_the_database_refuses_to_change_are_not_waited_for() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let mut counts = counts(&pipeline);
        put(&mut counts, Status::InProgress(stages[0]), 1);
        let status = Some(Status::InProgress(stages[0]));
        let stuck = [Stuck { key: Key::from("a"), reason: "a check".to_owned(), status }];
        let NextStep::Idle(remaining) = next_step(
            &pipeline,
            &counts,
            Outlook { handled: &stages, stuck: &stuck, held: &[], until_nothing_is_due: false },
        ) else {
            panic!("it is stuck")
        };
        assert_eq!(remaining.refused, [(Key::from("a"), "a check".to_owned())]);
    }

    #[test]
    fn a_held_stage_is_waited_for_and_named() {
        let pipeline = pipeline();
        let stages: Vec<_> = pipeline.stage_ids().collect();
        let held = [HeldStage {
            stage: stages[0],
            name: "ONE".to_owned(),
            cause: HeldBy::Outage,
            reason: "the API answers 503".to_owned(),
            held_for: Duration::from_secs(12),
            is_over: false,
        }];
        let outlook = Outlook { handled: &stages, stuck: &[], held: &held, until_nothing_is_due: false };
        let mut counts = counts(&pipeline);
        assert_eq!(
            next_step(&pipeline, &counts, outlook),
            NextStep::Idle(Remaining::default()),
            "nothing is left for it"
        );

        put(&mut counts, Status::Ready(stages[0]), 2);
        counts.stages[0].oldest_ready_since = Some(at(-1));
        let NextStep::Wait(due) = next_step(&pipeline, &counts, outlook) else { panic!("it is tried later") };
        assert_eq!(due.to_string(), "ONE held for 12 s by an outage: the API answers 503");
        counts.stages[0].oldest_ready_since = None;
        counts.stages[0].next_due_at = Some(at(60));
        let NextStep::Wait(waiting) = next_step(&pipeline, &counts, outlook) else { panic!("two are put off") };
        assert_eq!(waiting.held_stages, held);
        let longer = [HeldStage { held_for: Duration::from_secs(99), ..held[0].clone() }];
        assert!(!is_news(Some(&waiting), &Waiting { held_stages: longer.to_vec(), ..waiting.clone() }));
        assert!(is_news(Some(&waiting), &Waiting { held_stages: Vec::new(), ..waiting.clone() }));

        let ends = Outlook { until_nothing_is_due: true, ..outlook };
        let NextStep::Idle(remaining) = next_step(&pipeline, &counts, ends) else { panic!("nothing is due") };
        assert_eq!(
            remaining.to_string(),
            "2 delayed for ONE; the next is due at 2027-01-15 08:01:00Z; ONE held for 12 s by an outage: \
             the API answers 503"
        );
        put(&mut counts, Status::Ready(stages[1]), 1);
        counts.stages[1].oldest_ready_since = Some(at(-1));
        assert_eq!(next_step(&pipeline, &counts, outlook), NextStep::Work, "the other stage is not held");
    }

    #[test]
    fn renewals_of_others_are_no_news() {
        let waiting = Waiting { held_items: 1, lease_ends_at: Some(at(1)), ..Waiting::for_nothing(at(0)) };
        let renewed = Waiting { lease_ends_at: Some(at(9)), at: at(8), ..waiting.clone() };
        assert!(is_news(None, &waiting));
        assert!(!is_news(Some(&waiting), &renewed));
        assert!(is_news(Some(&waiting), &Waiting { held_items: 2, ..waiting.clone() }));
    }
}
