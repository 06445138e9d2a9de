//! The retry lane: items whose outcome could not be written with the others. They are sent again apart, so that none of
//! the others waits for them. Items that the database refuses one after the other wait until one of them passes; one is
//! tried now and then.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::engine::Engine;
use super::part::Part;
use super::refusals::Refused;
use crate::limits::POLL_MAX;
use crate::pipeline::StageId;
use crate::store::Limits;
use crate::{Outcome, Store};

/// The items that are sent again apart. The dispatcher limits their number: it claims nothing while there are many, and
/// nothing for a stage whose items wait.
#[derive(Debug, Default)]
pub(crate) struct SideLane {
    lanes: Mutex<Lanes>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Lanes {
    parts: VecDeque<Part>,
    /// Each is of one stage and one outcome.
    waiting: VecDeque<(Waiting, Part)>,
    /// The worker ends: items that would wait are released, within these limits.
    gives_back: Option<Limits>,
}

/// What items wait for: that a finish of this stage with this outcome passes.
pub(crate) type Waiting = (StageId, &'static str);

/// The part that is sent next.
pub(crate) enum Next {
    Part(Part),
    /// One item, to find out whether others of its kind would pass.
    Try(Waiting, Part),
}

impl SideLane {
    pub(crate) fn push(&self, part: Part) {
        self.locked().parts.push_back(part);
        self.some.notify_one();
    }

    /// Lets the part wait until an item of its kind passes.
    pub(crate) fn wait(&self, waiting: Waiting, part: Part) {
        if part.is_empty() {
            return;
        }
        let mut lanes = self.locked();
        match lanes.gives_back {
            Some(limits) if may_be_released(waiting, &part) => lanes.parts.push_back(part.into_release(limits)),
            _ => lanes.waiting.push_back((waiting, part)),
        }
        drop(lanes);
        self.some.notify_one();
    }

    /// The items that are to be sent soon.
    pub(crate) fn len(&self) -> usize {
        self.locked().parts.iter().map(Part::len).sum()
    }

    /// One has passed: all the others are sent at once.
    pub(crate) fn resume(&self, passed: Waiting) {
        let mut lanes = self.locked();
        let of_it = lanes.waiting.iter_mut().filter(|(waiting, _)| *waiting == passed);
        let parts: Vec<Part> = of_it.map(|(_, part)| part.extract(|_| true)).collect();
        lanes.waiting.retain(|(_, part)| !part.is_empty());
        lanes.parts.extend(parts);
        drop(lanes);
        self.some.notify_one();
    }

    /// Whether items wait for this kind of finish.
    pub(crate) fn has(&self, what: Waiting) -> bool {
        self.locked().waiting.iter().any(|(waiting, _)| *waiting == what)
    }

    /// Releases the waiting items, uncounted, because their worker ends: a sweep would count them. They are sent once
    /// more.
    pub(crate) fn give_back(&self, limits: Limits) {
        let mut lanes = self.locked();
        lanes.gives_back = Some(limits);
        for (waiting, part) in std::mem::take(&mut lanes.waiting) {
            let may_be_released = may_be_released(waiting, &part);
            lanes.parts.push_back(if may_be_released { part.into_release(limits) } else { part });
        }
        drop(lanes);
        self.some.notify_one();
    }

    /// Waits until there is something to send, and returns it. Parts that wait for nothing go first.
    pub(crate) async fn next<S: Store, R: Send + 'static>(&self, engine: &Engine<S, R>) -> Next {
        loop {
            let some = self.some.notified();
            let now = Instant::now();
            if let Some(part) = self.locked().parts.pop_front() {
                return Next::Part(part);
            }
            if let Some((waiting, part)) = self.locked().due(engine, now) {
                return Next::Try(waiting, part);
            }
            let next_try_at = engine.crews.iter().filter_map(|crew| crew.refusals.next_try_at()).min();
            let pause = next_try_at.map_or(POLL_MAX, |at| at.saturating_duration_since(now)).min(POLL_MAX);
            let _woken = tokio::time::timeout(pause.max(Duration::from_millis(1)), some).await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not if the part may have been written already, or is to be released anyway.
fn may_be_released(waiting: Waiting, part: &Part) -> bool {
    !part.settling.is_uncertain() && waiting.1 != Outcome::Release.name()
}

impl Lanes {
    /// The item that is to be tried now, a different one each time. All items that wait with it are kept: none of their
    /// leases is given up.
    fn due<S: Store, R: Send + 'static>(&mut self, engine: &Engine<S, R>, now: Instant) -> Option<(Waiting, Part)> {
        let is_due = |(stage, outcome): Waiting| {
            engine.crew(stage).is_none_or(|crew| {
                let what = Refused::Finishes(outcome);
                crew.refusals.is_due(what, now) || !crew.refusals.has(what)
            })
        };
        let at = self.waiting.iter().position(|(waiting, _)| is_due(*waiting))?;
        let (waiting, mut part) = self.waiting.remove(at)?;
        let rest = part.split_off_first();
        if !rest.is_empty() {
            self.waiting.push_back((waiting, rest));
        }
        let parts = self.waiting.iter().filter(|(other, _)| *other == waiting).map(|(_, part)| part);
        parts.chain([&part]).flat_map(Part::ended).for_each(|ended| ended.held.keep(now));
        if let Some(crew) = engine.crew(waiting.0) {
            crew.refusals.tried(Refused::Finishes(waiting.1), now);
        }
        Some((waiting, part))
    }
}
