//! Continuing: items whose stage is done are taken on to the next one, where this worker has its handler, instead of being
//! given back and claimed again.
//!
//! Only as far as the crew of the next stage has space, and while nothing else is known to wait for it: whatever waits there,
//! of other workers or for another attempt, has its turn first.

use std::collections::HashSet;
use std::time::Instant;

use super::accounting::account;
use super::crew::Crew;
use super::engine::Engine;
use super::errors::Errors;
use super::part::Part;
use crate::decoding::Record;
use crate::dispatch::Dispatch;
use crate::pipeline::Status;
use crate::store::Finished;
use crate::{Key, Store};

/// Takes what may continue out of the part. What stays is to be finished.
pub(crate) async fn continue_items<S: Store, R: Record<S>>(
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    part: &mut Part,
    errors: &mut Errors,
) {
    if !engine.settings.continues {
        return;
    }
    let stages: Vec<_> = engine.pipeline().stage_ids().collect();
    for (done, next) in stages.iter().zip(stages.iter().skip(1)) {
        if let Some(crew) = engine.crews.iter().find(|crew| crew.stage == *next) {
            let places = part.completions(*done, crew.space(Instant::now()));
            if !places.is_empty() && engine.may_take_more() {
                continue_to(crew, engine, verbs, part, &places, errors).await;
            }
        }
    }
}

async fn continue_to<S: Store, R: Record<S>>(
    crew: &Crew<S, R>,
    engine: &Engine<S, R>,
    verbs: &Dispatch<S>,
    part: &mut Part,
    places: &[usize],
    errors: &mut Errors,
) {
    let done = part.ended()[places[0]].held.lease.stage;
    let holder = engine.floor.repository.holder();
    let sent_at = Instant::now();
    let rows = match verbs.continue_once(&mut part.settling, places, done, holder).await {
        Ok(rows) => {
            engine.pulse.answered(Instant::now());
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
        for row in rows {
            engine.release(&engine.floor.leases.hold(row.lease, sent_at));
        }
    }
    let over = part.take_all_but(&keep);
    let answer = Finished::Applied { to: Status::InProgress(crew.stage) };
    account(engine, &over, std::iter::repeat_n(answer, over.len()));
}
