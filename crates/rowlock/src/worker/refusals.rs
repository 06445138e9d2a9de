//! Refusal detector: a stage for which the database refuses every item for the same cause, such as a trigger or a
//! constraint that came with a deploy; what waits for it, and when one item is tried.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::demand::Load;
use super::outage_detector::{HeldBy, News, Pauses, Since};
use crate::pipeline::StageId;

/// A kind of call that the database refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Claims: one item is claimed now and then.
    Claims,
    /// Finishes with this outcome: those that could not be written wait, and one of them is tried now and then.
    Finishes(&'static str),
    /// Heartbeats: one item is claimed now and then, and renewed at once.
    Heartbeats,
    /// Sweeps: they are tried again at their usual interval, and nothing else waits.
    Sweeps,
}

impl Refused {
    /// The name that a store uses for it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Refused::Claims => "claim",
            Refused::Finishes(outcome) => outcome,
            Refused::Heartbeats => "renew",
            Refused::Sweeps => "sweep",
        }
    }
}

/// The refusals of each stage that has a handler.
#[derive(Debug)]
pub(crate) struct Refusals {
    stages: Vec<(StageId, StageRefusals)>,
}

/// The refusals of a stage.
#[derive(Debug)]
pub(crate) struct StageRefusals {
    pauses: Pauses,
    state: RefCell<RefusalState>,
}

#[derive(Debug, Default)]
struct RefusalState {
    refused: Vec<(Refused, Since)>,
    /// Consecutive tries that found nothing to claim.
    empty_tries: u32,
    news: Vec<News>,
    /// How often each was refused at the last check.
    seen: HashMap<&'static str, u64>,
}

/// After this many consecutive tries that find nothing to claim, nothing is held: after one, others may have had the
/// rows locked.
const EMPTY_TRIES: u32 = 2;

impl Refusals {
    pub(crate) fn new(stages: impl Iterator<Item = StageId>, pauses: Pauses) -> Refusals {
        Refusals { stages: stages.map(|stage| (stage, StageRefusals::new(pauses))).collect() }
    }

    /// Those of a stage that has a handler.
    pub(crate) fn of(&self, stage: StageId) -> Option<&StageRefusals> {
        self.stages.iter().find(|(other, _)| *other == stage).map(|(_, refusals)| refusals)
    }

    /// Whether this is refused for the stage.
    pub(crate) fn has(&self, stage: StageId, what: Refused) -> bool {
        self.of(stage).is_some_and(|refusals| refusals.has(what))
    }

    /// Whether anything is refused for any stage.
    pub(crate) fn is_any(&self) -> bool {
        self.stages.iter().any(|(_, refusals)| refusals.is_any())
    }

    /// When the next try of each stage is due.
    pub(crate) fn next_tries(&self) -> impl Iterator<Item = Instant> {
        self.stages.iter().filter_map(|(_, refusals)| refusals.next_try_at())
    }
}

impl StageRefusals {
    pub(crate) fn new(pauses: Pauses) -> StageRefusals {
        StageRefusals { pauses, state: RefCell::default() }
    }

    pub(crate) fn is_any(&self) -> bool {
        !self.state.borrow().refused.is_empty()
    }

    pub(crate) fn has(&self, what: Refused) -> bool {
        self.state_mut().find(what).is_some()
    }

    pub(crate) fn has_finishes(&self) -> bool {
        self.state.borrow().refused.iter().any(|(what, _)| matches!(what, Refused::Finishes(_)))
    }

    /// It was refused, or refused again in a try: the next try comes after a longer pause. True if the refusal is new.
    pub(crate) fn refused(&self, what: Refused, reason: &str, now: Instant) -> bool {
        let mut state = self.state_mut();
        if let Some(since) = state.find(what) {
            // What was sent before the last try says nothing new.
            if since.tries > 0 {
                since.tries = 0;
                since.put_off(now);
            }
            return false;
        }
        let reason = format!("{}: {reason}", what.verb());
        let since = Since::new(&reason, self.pauses, now);
        state.refused.push((what, since));
        state.empty_tries = 0;
        state.news.push(News { cause: HeldBy::Refusals, reason, held_for: Duration::ZERO, is_over: false });
        true
    }

    /// Whether it was refused again since the last check.
    pub(crate) fn is_news(&self, what: Refused, times: u64) -> bool {
        self.state_mut().seen.insert(what.verb(), times) != Some(times)
    }

    /// It passed, or there is nothing left to try it with.
    pub(crate) fn passed(&self, what: Refused) {
        let mut state = self.state_mut();
        if let Some(at) = state.refused.iter().position(|(other, _)| *other == what) {
            let (_, since) = state.refused.remove(at);
            let held_for = since.began_at.elapsed();
            state.news.push(News { cause: HeldBy::Refusals, reason: since.reason, held_for, is_over: true });
        }
    }

    /// Whether a try is due.
    pub(crate) fn is_due(&self, what: Refused, now: Instant) -> bool {
        self.state_mut().find(what).is_some_and(|since| now >= since.next_try_at)
    }

    /// A try is sent: if nothing is heard of it, the next one is sent after another pause.
    pub(crate) fn tried(&self, what: Refused, now: Instant) {
        if let Some(since) = self.state_mut().find(what) {
            since.tries = 1;
            since.next_try_at = now + since.pause;
        }
    }

    /// A claim found nothing.
    pub(crate) fn found_nothing(&self) {
        if !self.has(Refused::Claims) {
            return;
        }
        let mut state = self.state_mut();
        state.empty_tries += 1;
        let is_over = state.empty_tries >= EMPTY_TRIES;
        drop(state);
        if is_over {
            self.passed(Refused::Claims);
        }
    }

    /// How many items to claim together with other stages: all that are wanted if nothing is refused. Refused claims
    /// are tried by a separate claim.
    pub(crate) fn wanted(&self, load: &Load, wanted: usize, now: Instant) -> usize {
        let mut state = self.state_mut();
        let holds = |what: &Refused| matches!(what, Refused::Claims | Refused::Finishes(_));
        if state.refused.iter().any(|(what, _)| holds(what)) {
            return 0;
        }
        match state.find(Refused::Heartbeats) {
            Some(since) => usize::from(now >= since.next_try_at && load.idle == load.slots && load.queued == 0),
            None => wanted,
        }
    }

    /// Whether a claim of one item is due, to find out whether claims pass.
    pub(crate) fn is_claim_due(&self, load: &Load, now: Instant) -> bool {
        self.is_due(Refused::Claims, now) && !self.has_finishes() && load.idle > 0 && load.queued == 0
    }

    /// Whether rows that were asked for at this time are to be released.
    pub(crate) fn turns_back(&self, asked_at: Instant) -> bool {
        self.state.borrow().refused.iter().any(|(what, since)| match what {
            Refused::Finishes(_) => true,
            Refused::Heartbeats => asked_at < since.began_at,
            Refused::Claims | Refused::Sweeps => false,
        })
    }

    /// When the next try of the producer or of the retry lane is due.
    pub(crate) fn next_try_at(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let tried = state.refused.iter().filter(|(what, _)| *what != Refused::Sweeps);
        tried.map(|(_, since)| since.next_try_at).min()
    }

    /// The current refusals.
    pub(crate) fn current(&self, now: Instant) -> Vec<News> {
        let news = |(_, since): &(Refused, Since)| News {
            cause: HeldBy::Refusals,
            reason: since.reason.clone(),
            held_for: now.saturating_duration_since(since.began_at),
            is_over: false,
        };
        self.state.borrow().refused.iter().map(news).collect()
    }

    pub(crate) fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut self.state_mut().news)
    }

    fn state_mut(&self) -> RefMut<'_, RefusalState> {
        self.state.borrow_mut()
    }
}

impl RefusalState {
    fn find(&mut self, what: Refused) -> Option<&mut Since> {
        self.refused.iter_mut().find(|(other, _)| *other == what).map(|(_, since)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses { min: Duration::from_secs(1), max: Duration::from_secs(60) };

    fn load(idle: usize) -> Load {
        Load { slots: 4, idle, size: 1, queued: 0, youngest_run: None }
    }

    #[test]
    fn one_claim_is_tried_now_and_then_until_one_passes() {
        let (refusals, start) = (StageRefusals::new(PAUSES), Instant::now());
        assert_eq!(refusals.wanted(&load(4), 100, start), 100);
        assert!(refusals.refused(Refused::Claims, "a check", start));
        assert_eq!(refusals.wanted(&load(4), 100, start), 0);
        let (mut now, mut tries) = (start, 0);
        while now < start + Duration::from_secs(3600) {
            now = refusals.next_try_at().expect("held");
            assert!(refusals.is_claim_due(&load(1), now) && !refusals.is_claim_due(&load(0), now));
            refusals.tried(Refused::Claims, now);
            assert!(!refusals.is_claim_due(&load(1), now));
            assert!(!refusals.refused(Refused::Claims, "a check", now), "it is told once");
            tries += 1;
        }
        assert!((30..140).contains(&tries), "{tries} tries in an hour");
        refusals.passed(Refused::Claims);
        assert_eq!(refusals.wanted(&load(4), 100, now), 100);
        assert_eq!(refusals.take_news().iter().map(|news| news.is_over).collect::<Vec<_>>(), [false, true]);
        assert!(refusals.take_news().is_empty() && refusals.current(now).is_empty());
    }

    #[test]
    fn while_finishes_wait_nothing_is_claimed_and_sweeps_hold_nothing() {
        let (refusals, now) = (StageRefusals::new(PAUSES), Instant::now());
        refusals.refused(Refused::Sweeps, "a check", now);
        assert_eq!(refusals.wanted(&load(4), 100, now), 100);
        assert!(refusals.next_try_at().is_none());
        refusals.refused(Refused::Finishes("complete"), "a check", now);
        let later = now + PAUSES.max;
        assert_eq!(refusals.wanted(&load(4), 100, later), 0);
        assert!(refusals.turns_back(later) && refusals.has_finishes());
        assert!(refusals.is_due(Refused::Finishes("complete"), later));
        assert!(!refusals.is_due(Refused::Finishes("retry"), later));
        assert_eq!(refusals.current(later).len(), 2);
    }

    #[test]
    fn a_stage_without_heartbeats_has_one_item_at_a_time() {
        let (refusals, now) = (StageRefusals::new(PAUSES), Instant::now());
        refusals.refused(Refused::Heartbeats, "a check", now);
        let later = now + PAUSES.max;
        let wanted = |idle, at| refusals.wanted(&load(idle), 100, at);
        assert_eq!((wanted(4, now), wanted(3, later), wanted(4, later)), (0, 0, 1));
    }

    #[test]
    fn a_queue_that_is_empty_is_not_held() {
        let (refusals, now) = (StageRefusals::new(PAUSES), Instant::now());
        refusals.refused(Refused::Claims, "a check", now);
        refusals.found_nothing();
        assert!(refusals.is_any(), "others may have the rows");
        refusals.found_nothing();
        assert!(!refusals.is_any());
    }
}
