//! Outage detector. The items of a held stage all need something that is unavailable, or the database refuses them all
//! for the same cause (see `refusals`). One item is claimed for it now and then, and nothing else, until one passes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backoff::RetryWait;
use crate::failure::{Outage, Until};
use crate::limits::{HELD_UNTRIED_MAX, OUTAGES_ALONE_MAX, OUTAGES_REMEMBERED_MAX, PUT_OFF_MAX};
use crate::pipeline::StageId;
use crate::{Failure, Key};

/// A stage that a worker holds or held: it tries one item now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldStage {
    /// The stage.
    pub stage: StageId,
    /// Its name.
    pub name: String,
    /// Why it is held.
    pub cause: HeldBy,
    /// The first error that showed it.
    pub reason: String,
    /// For how long it has been held.
    pub held_for: Duration,
    /// Whether the hold is over: a try has succeeded.
    pub is_over: bool,
}

/// Why a stage is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldBy {
    /// What its handlers need is unavailable: the database, or another service.
    Outage,
    /// The database refuses its items one after the other for the same cause, such as a trigger or a constraint that
    /// came with a deploy. At most ten of them become `FAILED`.
    Refusals,
}

impl fmt::Display for HeldStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldStage { name, reason, .. } = self;
        let seconds = self.held_for.as_secs();
        match (self.cause, self.is_over) {
            (HeldBy::Outage, false) => write!(f, "{name} held for {seconds} s by an outage: {reason}"),
            (HeldBy::Outage, true) => write!(f, "{name} goes on after {seconds} s of an outage: {reason}"),
            (HeldBy::Refusals, false) => {
                write!(f, "{name} held for {seconds} s: the database refuses its items: {reason}")
            }
            (HeldBy::Refusals, true) => write!(f, "{name} goes on after {seconds} s of refusals: {reason}"),
        }
    }
}

/// Shortest and longest pause between two tries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

/// Whether a stage is held. Cheap to check in normal operation.
#[derive(Debug)]
pub(crate) struct OutageDetector {
    pauses: Pauses,
    /// What the state remembers: [`NOTHING`], [`SOMETHING`] that a success clears, or that the stage is [`HELD`]. It is
    /// read without the lock, which few runs need.
    remembers: AtomicU8,
    /// Runs that succeeded.
    passed: AtomicU64,
    state: Mutex<OutageState>,
}

const NOTHING: u8 = 0;
const SOMETHING: u8 = 1;
const HELD: u8 = 2;

#[derive(Debug, Default)]
struct OutageState {
    outage: Option<Since>,
    items: HashMap<Key, OfItem>,
    news: Vec<News>,
}

/// News of a hold that began or ended, for the log and the on-hold callback.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct News {
    pub(crate) cause: HeldBy,
    pub(crate) reason: String,
    pub(crate) held_for: Duration,
    pub(crate) is_over: bool,
}

/// Since when a stage is held, and when it is tried.
#[derive(Debug)]
pub(crate) struct Since {
    pub(crate) began_at: Instant,
    pub(crate) reason: String,
    backoff: RetryWait,
    /// The last pause.
    pub(crate) pause: Duration,
    pub(crate) next_try_at: Instant,
    /// When the outage will be over, if a handler said so.
    over_at: Option<Instant>,
    /// How many tries are running, and when the last one was started.
    pub(crate) tries: usize,
    tried_at: Instant,
}

/// The outages of one item.
#[derive(Debug, Clone, Copy)]
struct OfItem {
    /// Outages that it met although others had succeeded since its previous one.
    alone: u32,
    /// How many runs had succeeded when it met its last one.
    passed: u64,
}

impl OutageDetector {
    pub(crate) fn new(pauses: Pauses) -> OutageDetector {
        let (remembers, passed) = (AtomicU8::new(NOTHING), AtomicU64::default());
        OutageDetector { pauses, remembers, passed, state: Mutex::default() }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.remembers.load(Ordering::Acquire) == HELD
    }

    /// Whether one more item may be claimed: always if nothing holds the stage, otherwise when a try is due. A try that
    /// lasts longer than the longest pause has come further than those before it, and others may follow.
    pub(crate) fn may_try(&self, now: Instant) -> bool {
        self.locked().outage.as_ref().is_none_or(|since| {
            let is_trying = since.tries > 0 && now.saturating_duration_since(since.tried_at) < self.pauses.max;
            now >= since.next_try_at && !is_trying
        })
    }

    /// When to check whether a try is due.
    pub(crate) fn next_try_at(&self) -> Option<Instant> {
        if !self.is_held() {
            return None;
        }
        self.locked().outage.as_ref().map(|since| since.next_try_at)
    }

    /// A claim of one item is sent: if it brings none, the next one is sent after another pause.
    pub(crate) fn asked(&self, now: Instant) {
        if self.is_held()
            && let Some(since) = &mut self.locked().outage
        {
            since.next_try_at = now + since.pause;
        }
    }

    /// Whether rows that were asked for at this time are to be released: the stage was not held then, so more than one
    /// was asked for.
    pub(crate) fn turns_back(&self, asked_at: Instant) -> bool {
        self.is_held() && self.locked().outage.as_ref().is_some_and(|since| asked_at < since.began_at)
    }

    /// Starts a try if one may start; false if the item has to stay in the queue.
    pub(crate) fn start_try(&self, now: Instant) -> bool {
        let mut state = self.locked();
        let Some(since) = &mut state.outage else { return true };
        if since.tries > 0 && now.saturating_duration_since(since.tried_at) < self.pauses.max {
            return false;
        }
        since.tries += 1;
        since.tried_at = now;
        true
    }

    /// Ends a try without a success. The next one is due at once if this one says nothing about the outage, otherwise
    /// after the same pause.
    pub(crate) fn end_try(&self, started_at: Instant, says_nothing: bool) {
        if !self.is_held() {
            return;
        }
        let now = Instant::now();
        if let Some(since) = self.locked().outage.as_mut().filter(|since| since.began_at <= started_at) {
            since.tries = since.tries.saturating_sub(1);
            since.next_try_at = if says_nothing { now } else { now + since.pause };
        }
    }

    /// A run succeeded, with these items.
    pub(crate) fn passed<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        if self.remembers.load(Ordering::Acquire) == NOTHING {
            return;
        }
        let mut state = self.locked();
        for key in keys {
            state.items.remove(key);
        }
        if let Some(since) = state.outage.take() {
            let held_for = since.began_at.elapsed();
            state.news.push(News { cause: HeldBy::Outage, reason: since.reason, held_for, is_over: true });
        }
        self.note(&state);
    }

    /// A handler met an outage with this item, in a run that was started at this time. Returns the failure to be
    /// written for the item.
    pub(crate) fn outage(&self, key: &Key, failure: Failure, started_at: Instant, now: Instant) -> Failure {
        let Some(outage) = failure.as_outage() else { return failure };
        let passed = self.passed.load(Ordering::Relaxed);
        let mut state = self.locked();
        let alone = state.met(key, passed);
        let put_off = if alone > 0 && state.outage.is_none() {
            // Others have succeeded since its previous outage: this is no outage of the whole stage.
            let pause = self.pauses.min.saturating_mul(1 << alone.min(OUTAGES_ALONE_MAX * 4)).min(PUT_OFF_MAX);
            (outage.is_declared || alone < OUTAGES_ALONE_MAX).then_some(pause)
        } else {
            Some(state.hold(outage, failure.message(), self.pauses, started_at, now))
        };
        self.note(&state);
        failure.settled_by(put_off)
    }

    /// For how long the stage has been held since the predicted end of the outage, or since its beginning if no later
    /// end was predicted; and why.
    pub(crate) fn overdue(&self, now: Instant) -> Option<(Duration, String)> {
        if !self.is_held() {
            return None;
        }
        let state = self.locked();
        let since = state.outage.as_ref()?;
        let due_at = since.over_at.unwrap_or(since.began_at).max(since.began_at);
        Some((now.saturating_duration_since(due_at), since.reason.clone()))
    }

    /// The current hold, if there is one.
    pub(crate) fn current(&self, now: Instant) -> Option<News> {
        let state = self.locked();
        let since = state.outage.as_ref()?;
        let held_for = now.saturating_duration_since(since.began_at);
        Some(News { cause: HeldBy::Outage, reason: since.reason.clone(), held_for, is_over: false })
    }

    pub(crate) fn take_news(&self) -> Vec<News> {
        if self.remembers.load(Ordering::Acquire) == NOTHING {
            return Vec::new();
        }
        let mut state = self.locked();
        let news = std::mem::take(&mut state.news);
        self.note(&state);
        news
    }

    fn note(&self, state: &OutageState) {
        let remembers = match (state.outage.is_some(), state.items.is_empty() && state.news.is_empty()) {
            (true, _) => HELD,
            (false, false) => SOMETHING,
            (false, true) => NOTHING,
        };
        self.remembers.store(remembers, Ordering::Release);
    }

    fn locked(&self) -> MutexGuard<'_, OutageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutageState {
    /// Notes an outage of an item. Returns how many it has met alone.
    fn met(&mut self, key: &Key, passed: u64) -> u32 {
        if self.items.len() >= OUTAGES_REMEMBERED_MAX && !self.items.contains_key(key) {
            self.items.clear();
        }
        let of_item = self.items.entry(key.clone()).or_insert(OfItem { alone: 0, passed });
        of_item.alone += u32::from(of_item.passed < passed);
        of_item.passed = passed;
        of_item.alone
    }

    /// Holds the stage, or continues to. Returns for how long to put the item off: it comes back before the next try
    /// that could need it.
    fn hold(&mut self, outage: Outage, reason: &str, pauses: Pauses, started_at: Instant, now: Instant) -> Duration {
        if self.outage.is_none() {
            let reason = reason.to_owned();
            self.news.push(News { cause: HeldBy::Outage, reason, held_for: Duration::ZERO, is_over: false });
        } else if let Some(since) = self.outage.as_mut().filter(|since| started_at >= since.began_at) {
            // Runs that started before the hold say nothing new.
            since.tries = since.tries.saturating_sub(1);
            since.put_off(now);
        }
        let since = self.outage.get_or_insert_with(|| Since::new(reason, pauses, now));
        let said = match outage.until {
            Some(Until::In(duration)) => Some(duration),
            // Only the database's clock could say how far away that is: the stage is tried now and then.
            Some(Until::At(_)) | None => None,
        };
        if let Some(over_at) = said.and_then(|said| now.checked_add(said)) {
            since.over_at = since.over_at.max(Some(over_at));
            since.next_try_at = since.next_try_at.max(over_at.min(now + HELD_UNTRIED_MAX));
        }
        since.pause / 2
    }
}

impl Since {
    pub(crate) fn new(reason: &str, pauses: Pauses, now: Instant) -> Since {
        let backoff = RetryWait::between(pauses.min, pauses.max);
        let mut since = Since {
            began_at: now,
            reason: reason.to_owned(),
            backoff,
            pause: pauses.min,
            next_try_at: now,
            over_at: None,
            tries: 0,
            tried_at: now,
        };
        since.put_off(now);
        since
    }

    pub(crate) fn put_off(&mut self, now: Instant) {
        self.pause = self.backoff.next();
        self.next_try_at = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    const PAUSES: Pauses = Pauses { min: Duration::from_secs(1), max: Duration::from_secs(60) };

    fn key(number: usize) -> Key {
        Key::from(format!("item-{number}"))
    }

    /// A try at the time when one is due, and the outcome for its item.
    fn fail(detector: &OutageDetector, number: usize, now: &mut Instant) -> Outcome {
        if let Some(next_try_at) = detector.next_try_at() {
            *now = next_try_at;
            assert!(detector.may_try(*now) && detector.start_try(*now) && !detector.may_try(*now));
        }
        detector.outage(&key(number), Failure::outage("away"), *now, *now).into_outcome()
    }

    #[test]
    fn the_pause_grows_up_to_its_limit_for_as_long_as_the_outage_lasts() {
        let (detector, start) = (OutageDetector::new(PAUSES), Instant::now());
        let mut now = start;
        assert!(!detector.is_held() && detector.may_try(now));
        let mut tries = 0;
        while now.duration_since(start) < Duration::from_secs(3600) {
            let outcome = fail(&detector, tries, &mut now);
            assert!(matches!(outcome, Outcome::SnoozeFor(pause) if pause <= PAUSES.max), "{outcome:?}");
            tries += 1;
        }
        assert!((60..140).contains(&tries), "{tries} tries in an hour");
        detector.passed([key(0)].iter());
        assert!(!detector.is_held() && detector.may_try(now));
        assert_eq!(detector.take_news().iter().map(|news| news.is_over).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_ran_before_the_stage_was_held_does_not_make_the_pause_longer() {
        let (detector, now) = (OutageDetector::new(PAUSES), Instant::now());
        let before = now.checked_sub(Duration::from_secs(5)).expect("the machine is up for longer");
        for number in 0..100 {
            detector.outage(&key(number), Failure::outage("away"), before, now);
        }
        assert!(detector.next_try_at().expect("held") <= now + PAUSES.min);
        assert!(detector.turns_back(before) && !detector.turns_back(now));
    }

    #[test]
    fn an_item_that_alone_says_so_holds_nobody_up_and_is_put_off_for_longer_each_time() {
        let (detector, now) = (OutageDetector::new(PAUSES), Instant::now());
        let poison = key(0);
        let mut put_off = Vec::new();
        for _ in 0..20 {
            put_off.push(detector.outage(&poison, Failure::outage("away"), now, now).into_outcome());
            detector.passed([key(1)].iter());
            assert!(!detector.is_held());
        }
        let seconds = put_off[1..].iter().map(|outcome| match outcome {
            Outcome::SnoozeFor(pause) => pause.as_secs(),
            other => panic!("it pays nothing: {other:?}"),
        });
        let seconds: Vec<u64> = seconds.collect();
        assert_eq!(seconds[..4], [2, 4, 8, 16]);
        assert_eq!(seconds.last(), Some(&PUT_OFF_MAX.as_secs()));
    }

    #[test]
    fn an_outage_that_is_found_in_the_errors_of_one_item_alone_or_suspected_is_its_own_in_the_end() {
        for failure in [Failure::from(sqlx::Error::WorkerCrashed), Failure::suspected_outage("the disk")] {
            let (detector, now) = (OutageDetector::new(PAUSES), Instant::now());
            let outcome = || {
                let outcome = detector.outage(&key(0), failure.clone(), now, now).into_outcome();
                detector.passed([key(1)].iter());
                outcome
            };
            let outcomes: Vec<Outcome> = (0..=OUTAGES_ALONE_MAX).map(|_| outcome()).collect();
            let counts: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, Outcome::Retry { .. })).collect();
            assert_eq!(counts, [false, false, false, false, false, true], "{failure:?}");
        }
    }

    #[test]
    fn a_time_that_is_far_away_holds_the_stage_for_an_hour_at_a_time_and_is_waited_for() {
        let (detector, now) = (OutageDetector::new(PAUSES), Instant::now());
        let said = Duration::from_secs(10 * 3600);
        let outcome = detector.outage(&key(0), Failure::outage_for("away", said), now, now).into_outcome();
        assert_eq!(outcome, Outcome::SnoozeFor(said));
        assert_eq!(detector.next_try_at(), Some(now + HELD_UNTRIED_MAX));
        let lasted = |hours: u64| detector.overdue(now + Duration::from_secs(hours * 3600)).expect("held").0;
        assert_eq!((lasted(9), lasted(11)), (Duration::ZERO, Duration::from_secs(3600)));
        let for_ever = Failure::outage_for("away", Duration::MAX);
        detector.outage(&key(1), for_ever, now, now);
    }

    #[test]
    fn a_try_that_lasts_lets_others_follow_and_one_that_fails_in_its_own_way_the_next_at_once() {
        let (detector, now) = (OutageDetector::new(PAUSES), Instant::now());
        detector.outage(&key(0), Failure::outage("away"), now, now);
        let later = now + PAUSES.max;
        assert!(detector.start_try(later) && !detector.may_try(later) && !detector.start_try(later));
        assert!(detector.may_try(later + PAUSES.max));
        detector.end_try(later, true);
        assert!(detector.is_held() && detector.may_try(later + PAUSES.max));
    }
}
