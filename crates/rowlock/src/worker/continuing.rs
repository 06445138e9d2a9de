//! Continuing: items whose stage is done are taken on to the next one, where this worker has its handler, instead of being
//! given back and claimed again.
//!
//! Only as far as the crew of the next stage has space, and while nothing else is known to wait for it: whatever waits there,
//! of other workers or for another attempt, has its turn first.

use std::collections::HashSet;
use std::time::Instant;

use super::accounting::account;
use super::crew::Crew;
use super::ended::{Ended, Verdict};
use super::engine::Engine;
use super::errors::Errors;
use super::finishing::split_off_repeated;
use super::part::Part;
use crate::decoding::Record;
use crate::dispatch::Dispatch;
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{StageId, Status};
use crate::store::Finished;
use crate::{Key, Outcome, Store};

/// Takes the items out that may continue, and sends them on their way.
pub(crate) fn send_on<S: Store, R: Send + 'static>(engine: &Engine<S, R>, batch: &mut Vec<Ended>) {
    if !engine.settings.continues || !engine.may_take_more() {
        return;
    }
    let stages: Vec<StageId> = engine.pipeline().stage_ids().collect();
    for (done, next) in stages.iter().zip(stages.iter().skip(1)) {
        let Some(crew) = engine.crew(*next) else { continue };
        let mut space = crew.space(Instant::now());
        if space == 0 {
            continue;
        }
        let continues = |ended: &mut Ended| {
            let is_done = ended.held.lease.stage == *done && ended.verdict == Verdict::Write(Outcome::Complete);
            let continues = is_done && space > 0;
            space -= usize::from(continues);
            continues
        };
        let on_their_way: Vec<Ended> = batch.extract_if(.., continues).collect();
        crew.passage.enter(on_their_way.len());
        engine.continuing.push_all(on_their_way);
    }
}

/// Takes items on to the next stage for as long as it is polled, beside the finishes; while one statement is under way the next
/// ones gather.
pub(crate) async fn continue_ended<S: Store, R: Record<S>>(engine: &Engine<S, R>, verbs: &Dispatch<S>) {
    let mut errors = Errors::default();
    loop {
        engine.continuing.some().await;
        let mut batch = engine.continuing.take(BATCH_ITEMS_MAX);
        let Some(done) = batch.first().map(|ended| ended.held.lease.stage) else { continue };
        engine.continuing.push_all(batch.extract_if(.., |ended| ended.held.lease.stage != done).collect());
        engine.continuing.push_all(split_off_repeated(&mut batch));
        let Some(crew) = engine.pipeline().stage_after(done).and_then(|next| engine.crew(next)) else {
            engine.floor.ended.push_all(batch); // only what has a crew is sent on
            continue;
        };
        let items = batch.len();
        let mut part = Part::new(batch, verbs.limits());
        if engine.may_take_more() && !crew.passage.is_closed(Instant::now()) && !crew.hold.is_held() {
            continue_to(crew, engine, verbs, &mut part, &mut errors).await;
        }
        crew.passage.leave(items);
        if part.len() == items && !part.settling.is_uncertain() {
            // None continued, and none is sent on again soon: they are finished with the others.
            engine.floor.ended.push_all(part.into_ended());
        } else if !part.is_empty() {
            engine.side_lane.push(part);
        }
    }
}

/// Takes out of the part what continues. All of it completed the stage before this crew's.
async fn continue_to<S: Store, R: Record<S>>(
    crew: &Crew<S, R>,
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    part: &mut Part,
    errors: &mut Errors,
) {
    let holder = engine.floor.repository.holder();
    let sent_at = Instant::now();
    let rows = match verbs.continue_once(&mut part.settling, holder).await {
        Ok(rows) => {
            engine.pulse.wrote(Instant::now());
            errors.passed("continue_items");
            rows
        }
        Err(error) => {
            engine.met(errors, "continue_items", &error);
            Vec::new()
        }
    };
    if rows.is_empty() {
        crew.passage.close(Instant::now());
        return;
    }
    crew.passage.passed();
    let continued: HashSet<Key> = rows.iter().map(|row| row.lease.key.clone()).collect();
    let keep: Vec<bool> = part.ended().iter().map(|ended| !continued.contains(&ended.held.lease.key)).collect();
    // The new leases are held before the old ones are forgotten: at no time does it look as if nothing were. No suspect is
    // among them.
    if engine.may_take_more() {
        engine.take_in(rows, sent_at);
    } else {
        engine.give_back(rows, sent_at);
        engine.nudge([crew.stage]);
    }
    let over = part.take_all_but(&keep);
    let answer = Finished::Applied { to: Status::InProgress(crew.stage) };
    account(engine, &over, std::iter::repeat_n(answer, over.len()));
}
