//! The completer writes the outcomes of items. While one statement runs, the next outcomes gather. Items that cannot be
//! written with the others go to the retry lane (`side_lane`), so that one item never holds up the rest.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::accounting::account;
use super::ended::Ended;
use super::engine::{Engine, Phase};
use super::errors::Errors;
use super::part::Part;
use super::refusals::Refused;
use super::side_lane::Next;
use crate::backoff::Backoff;
use crate::dispatch::Dispatch;
use crate::limits::{
    BATCH_ITEMS_MAX, FINISH_GATHER_ITEMS_MIN, FINISH_GATHER_MAX, FINISH_HALVINGS_MAX, FINISH_OUTAGE_TRIES_MAX,
};
use crate::store::Finished;
use crate::{Error, Store};

/// Writes completions for as long as it is polled.
pub(crate) async fn finish_ended<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>) {
    let mut errors = Errors::default();
    let mut last = Last { items: 0, took: Duration::ZERO };
    loop {
        engine.floor.ended.some().await;
        gather(engine, last).await;
        let mut batch = engine.floor.ended.take(BATCH_ITEMS_MAX);
        last.items = batch.len();
        let started = Instant::now();
        engine.floor.ended.push_all(split_off_repeated(&mut batch));
        let (mut to_write, over): (Vec<Ended>, Vec<Ended>) =
            batch.into_iter().partition(|ended| ended.verdict.outcome().is_some());
        if !over.is_empty() {
            account(engine, &over, []);
        }
        if engine.is_anything_refused() {
            let_wait(engine, verbs, &mut to_write);
        }
        if !to_write.is_empty() {
            write(engine, verbs, Part::new(to_write, verbs.limits()), &mut errors).await;
        }
        last.took = started.elapsed();
    }
}

/// The previous batch.
#[derive(Debug, Clone, Copy)]
struct Last {
    items: usize,
    took: Duration,
}

/// Sends again what could not be written with the others, for as long as it is polled. It sends one part at a time, and
/// waits after a part that did not get through. A part that meets a lasting error is halved, as in `write`: items that
/// waited for others, or for the end of an outage, arrive here in large numbers.
pub(crate) async fn finish_apart<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>) {
    let mut errors = Errors::default();
    let mut backoff = Backoff::default();
    let mut failures_in_a_row = 0;
    loop {
        let (tries, mut part) = match engine.side_lane.next(engine).await {
            Next::Part(part) => (None, part),
            Next::Try(waiting, part) => (Some(waiting), part),
        };
        let before = part.len();
        let sent = send(engine, verbs, &mut part, &mut errors).await;
        let progress = sent.is_ok() && part.len() < before;
        let is_held = set_refused_aside(engine, verbs, &mut part);
        failures_in_a_row = if sent.is_ok() { 0 } else { failures_in_a_row + 1 };
        let is_to_be_halved = |error: Error| !error.is_transient() || failures_in_a_row > FINISH_OUTAGE_TRIES_MAX;
        if sent.is_err_and(is_to_be_halved) && part.len() > 1 && !is_held {
            engine.side_lane.push(part.halve());
        }
        match tries {
            Some(waiting) => {
                engine.side_lane.wait(waiting, part);
                // Items that are released because the worker ends have not passed.
                if engine.phase() < Phase::Stopping && !engine.side_lane.has(waiting) {
                    engine.note_passed(Refused::Finishes(waiting.1), waiting.0);
                }
                // The next try has a separate schedule.
                continue;
            }
            None if !part.is_empty() => engine.side_lane.push(part),
            None => {}
        }
        if progress {
            backoff = Backoff::default();
        } else {
            backoff.wait().await;
        }
    }
}

/// Sets aside the kinds of finishes (by stage and outcome) that the database refuses one after the other for the same
/// cause: they wait until one of the kind passes. True if there were any.
fn set_refused_aside<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>, part: &mut Part) -> bool {
    let before = part.len();
    if before > 0 && !verbs.store().refused_stages().is_empty() {
        for (stage, outcome) in part.moves() {
            engine.note_refused(verbs.store(), Refused::Finishes(outcome), &[stage]);
            if engine.waits(stage, outcome) {
                let is_of_it = |ended: &Ended| ended.moves() == Some((stage, outcome));
                let waiting = part.extract(is_of_it);
                waiting.ended().iter().for_each(|ended| ended.held.keep(Instant::now()));
                engine.side_lane.wait((stage, outcome), waiting);
            }
        }
    }
    part.len() < before
}

/// When items end quickly, waits a moment for more of them. The slower the database is, the longer this waits: many
/// small finishes would slow it down further.
async fn gather<S: Store, R>(engine: &Engine<S, R>, last: Last) {
    if last.items < FINISH_GATHER_ITEMS_MIN {
        return;
    }
    let until = Instant::now() + last.took.min(FINISH_GATHER_MAX);
    while engine.floor.ended.len() < BATCH_ITEMS_MAX.min(engine.floor.leases.len()) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A key may appear in a statement once; an item that was lost and claimed again waits for the next one.
fn split_off_repeated(batch: &mut Vec<Ended>) -> Vec<Ended> {
    let mut keys = HashSet::with_capacity(batch.len());
    let repeated: Vec<bool> = batch.iter().map(|ended| !keys.insert(&ended.held.lease.key)).collect();
    if !repeated.contains(&true) {
        return Vec::new();
    }
    let (again, once): (Vec<_>, Vec<_>) = batch.drain(..).zip(repeated).partition(|(_, repeated)| *repeated);
    *batch = once.into_iter().map(|(ended, _)| ended).collect();
    again.into_iter().map(|(ended, _)| ended).collect()
}

/// Writes a batch. It waits for an outage to end, but only for a while if others wait, since the error may be one
/// item's own. Finishes that the database refuses for a common cause are set aside. After another lasting error the
/// batch is halved until the items that meet it are alone; these go to the retry lane, as do items whose rows are
/// locked.
async fn write<S: Store, R: Send + 'static>(
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    batch: Part,
    errors: &mut Errors,
) {
    let mut parts = vec![batch];
    let mut failures_in_a_row = 0;
    let mut backoff = Backoff::default();
    while let Some(mut part) = parts.pop() {
        let sent = send(engine, verbs, &mut part, errors).await;
        let is_held = set_refused_aside(engine, verbs, &mut part);
        let Err(error) = sent else {
            failures_in_a_row = 0;
            backoff = Backoff::default();
            if !part.is_empty() {
                engine.side_lane.push(part);
            }
            continue;
        };
        if part.is_empty() {
            continue;
        }
        if is_held {
            // The others have not been tried without the refused ones.
            parts.push(part);
            continue;
        }
        failures_in_a_row += 1;
        let is_of_everything = error.is_transient() || failures_in_a_row > FINISH_HALVINGS_MAX;
        let others_wait = !parts.is_empty() || engine.floor.ended.len() > 0;
        if error.is_transient() && others_wait && failures_in_a_row > FINISH_OUTAGE_TRIES_MAX {
            engine.side_lane.push(part);
        } else if error.is_transient() {
            // Rows that all raise an error, some of them one that might pass, would keep one another for ever.
            if failures_in_a_row > FINISH_OUTAGE_TRIES_MAX && part.len() > 1 {
                parts.push(part.halve());
            }
            parts.push(part);
        } else if part.len() > 1 {
            let second = part.halve();
            parts.extend([second, part]);
        } else {
            for ended in part.ended() {
                tracing::error!(key = %ended.held.lease.key, %error, "the outcome cannot be written; sent again apart");
            }
            engine.side_lane.push(part);
        }
        if is_of_everything {
            backoff.wait().await;
        }
    }
}

/// Sets aside at once the items that would be refused, as others of their kind were.
fn let_wait<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>, batch: &mut Vec<Ended>) {
    let waits = |ended: &mut Ended| ended.moves().is_some_and(|(stage, outcome)| engine.waits(stage, outcome));
    let waiting: Vec<Ended> = batch.extract_if(.., waits).collect();
    let mut part = Part::new(waiting, verbs.limits());
    for (stage, outcome) in part.moves() {
        engine.side_lane.wait((stage, outcome), part.extract(|ended| ended.moves() == Some((stage, outcome))));
    }
}

/// Sends a part once. Accounts for the items that were answered, and for those whose time to be written is over; the
/// rest stays in the part.
async fn send<S: Store, R: Send + 'static>(
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    part: &mut Part,
    errors: &mut Errors,
) -> crate::Result<()> {
    let met = match verbs.finish_once(&mut part.settling).await {
        Ok(answers) => {
            engine.pulse.wrote(Instant::now());
            errors.passed("finish");
            let busy: Vec<bool> = answers.iter().map(|answer| *answer == Finished::Busy).collect();
            let over = part.take_all_but(&busy);
            if engine.is_anything_refused() {
                note_written(engine, &over, &answers);
            }
            account(engine, &over, answers.into_iter().filter(|answer| *answer != Finished::Busy));
            Ok(())
        }
        Err(error) => {
            engine.met(errors, "finish", &error);
            Err(error)
        }
    };
    let (given_up, answers) = part.take_given_up(Instant::now(), engine.pipeline().stale_after());
    if !given_up.is_empty() {
        account(engine, &given_up, answers);
    }
    met
}

/// Lets items resume that waited for one of these to pass.
fn note_written<S: Store, R: Send + 'static>(engine: &Engine<S, R>, over: &[Ended], answers: &[Finished]) {
    let answers = answers.iter().filter(|answer| **answer != Finished::Busy);
    for (ended, answer) in over.iter().zip(answers) {
        if let (Some((stage, outcome)), Finished::Applied { .. }) = (ended.moves(), answer)
            && engine.waits(stage, outcome)
        {
            engine.note_passed(Refused::Finishes(outcome), stage);
            engine.side_lane.resume((stage, outcome));
        }
    }
}
