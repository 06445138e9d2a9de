//! The lease table: the leases that this worker holds, for items that are queued, running or waiting to be finished.
//!
//! The first to end a lease (its handler's result, a timeout, a heartbeat that found it lost) calls [`Held::end`] and
//! alone reports it; what comes later is discarded.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::limits::FINISH_KEPT_FOR;
use crate::pipeline::Status;
use crate::{Error, FencingToken, Key, Lease, Settled};

/// The lease table of a worker.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: Mutex<ByClaim>,
    emptied: Notify,
}

/// The leases by claim: a claim brings up to a thousand, and an entry in a map for each of them would cost more than
/// the rest of its way through the worker.
#[derive(Debug, Default)]
struct ByClaim {
    claims: HashMap<FencingToken, OfClaim>,
    len: usize,
}

#[derive(Debug, Default)]
struct OfClaim {
    /// Each lease at its place; `None` where it is over.
    held: Vec<Option<Arc<Held>>>,
    len: usize,
    /// The place of each key. Built when a lease is looked up, which happens for handlers that finish items themselves.
    places: Option<HashMap<Key, usize>>,
}

/// One lease, and the state of the work under it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    /// Its position among the leases of its claim.
    place: usize,
    state: Mutex<HeldState>,
}

#[derive(Debug)]
struct HeldState {
    progress: Progress,
    /// When the claim, or the last renewal that succeeded, was sent.
    renewed_at: Instant,
    /// False past the stage's timeout: the lease of a handler that hangs is not renewed for ever.
    renewable: bool,
    /// When the work on the item ended. From then on its time runs out, whatever is renewed.
    ended_at: Option<Instant>,
    by_handler: ByHandler,
}

#[derive(Debug)]
enum Progress {
    Queued,
    Running(Arc<dyn Work>),
    Ended,
}

/// The work on the items of some leases.
pub(crate) trait Work: fmt::Debug + Send + Sync {
    /// One of the leases is lost.
    fn lose_item(&self);
}

/// This process stood still until a moment ago, so its leases are older than they may be. Until the end of the respite
/// they are renewed nevertheless: only the database can say whether someone else has taken an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Respite {
    pub(crate) since: Instant,
    pub(crate) until: Instant,
}

/// What the handler itself has done to its lease, through its context or its claim.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ByHandler {
    /// Nothing.
    Nothing,
    /// Its own finish has been running since then: until it is answered, it is unknown whether the lease still holds.
    Settling { since: Instant },
    /// It has finished the item.
    Settled { to: Status, outcome: &'static str, error: Option<String> },
    /// It learnt that the lease was lost.
    Lost,
    /// It learnt that the database refuses the row, and that the item is `FAILED` now.
    Refused { reason: String },
    /// It could not learn whether its finish was applied.
    Unknown,
}

impl Leases {
    /// Registers a lease by a claim or renewal that was sent at this time.
    pub(crate) fn hold(&self, lease: Lease, sent_at: Instant) -> Arc<Held> {
        let state = HeldState {
            progress: Progress::Queued,
            renewed_at: sent_at,
            renewable: true,
            ended_at: None,
            by_handler: ByHandler::Nothing,
        };
        let mut all = self.locked();
        all.len += 1;
        let of_claim = all.claims.entry(lease.token).or_default();
        of_claim.len += 1;
        let held = Arc::new(Held { lease, place: of_claim.held.len(), state: Mutex::new(state) });
        of_claim.held.push(Some(Arc::clone(&held)));
        of_claim.places = None;
        held
    }

    /// Forgets leases that are over.
    pub(crate) fn forget<'a>(&self, over: impl Iterator<Item = &'a Held>) {
        let mut all = self.locked();
        for held in over {
            all.remove(held);
        }
        if all.len == 0 {
            self.emptied.notify_waiters();
        }
    }

    pub(crate) fn get(&self, lease: &Lease) -> Option<Arc<Held>> {
        let mut all = self.locked();
        let held = all.claims.get_mut(&lease.token)?.get(&lease.key)?;
        (held.lease == *lease).then_some(held)
    }

    pub(crate) fn len(&self) -> usize {
        self.locked().len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns when no lease is held.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        self.locked().claims.values().flat_map(|of_claim| of_claim.held.iter().flatten()).cloned().collect()
    }

    fn locked(&self) -> MutexGuard<'_, ByClaim> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByClaim {
    fn remove(&mut self, held: &Held) {
        let token = held.lease.token;
        let Some(of_claim) = self.claims.get_mut(&token) else { return };
        let place = of_claim.held.get_mut(held.place);
        if place.and_then(|place| place.take_if(|other| std::ptr::eq(&**other, held))).is_none() {
            return;
        }
        of_claim.len -= 1;
        self.len -= 1;
        if of_claim.len == 0 {
            self.claims.remove(&token);
        }
    }
}

impl OfClaim {
    fn get(&mut self, key: &Key) -> Option<Arc<Held>> {
        let places = self.places.get_or_insert_with(|| {
            let held = self.held.iter().flatten();
            held.map(|held| (held.lease.key.clone(), held.place)).collect()
        });
        self.held.get(*places.get(key)?)?.clone()
    }
}

impl Held {
    /// A handler starts on the item. False if the lease ended while the item was queued.
    pub(crate) fn start<W: Work + 'static>(&self, work: &Arc<W>) -> bool {
        let mut state = self.locked();
        let queued = matches!(state.progress, Progress::Queued);
        if queued {
            let work: Arc<W> = Arc::clone(work);
            state.progress = Progress::Running(work);
        }
        queued
    }

    /// Ends the work under the lease. True for the one caller that has to report it.
    pub(crate) fn end(&self) -> bool {
        !matches!(self.locked().end(), Progress::Ended)
    }

    /// As [`Held::end`], for a lease that no longer holds, unless the handler is finishing the item itself: the answer
    /// to that says more. The handler is stopped if it has no other item.
    pub(crate) fn lose(&self) -> bool {
        let mut state = self.locked();
        if state.by_handler != ByHandler::Nothing {
            return false;
        }
        match state.end() {
            Progress::Ended => false,
            Progress::Queued => true,
            Progress::Running(work) => {
                drop(state);
                work.lose_item();
                true
            }
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.locked().progress, Progress::Ended)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.locked().progress, Progress::Running(_))
    }

    /// Whether the lease may be renewed now: not past its timeout, not past its life, not after the handler's own
    /// finish, and not once its outcome has been given up.
    pub(crate) fn is_renewable(&self, now: Instant, stale_after: Duration, respite: Option<Respite>) -> bool {
        let state = self.locked();
        let lives = match state.ended_at {
            None => !state.is_over_aged(now, stale_after, respite),
            Some(ended_at) => now < kept_until(ended_at, stale_after),
        };
        state.renewable && matches!(state.by_handler, ByHandler::Nothing | ByHandler::Settling { .. }) && lives
    }

    /// Until when its outcome is sent again; `None` until the work on it has ended.
    pub(crate) fn kept_until(&self, stale_after: Duration) -> Option<Instant> {
        self.locked().ended_at.map(|ended_at| kept_until(ended_at, stale_after))
    }

    /// Its outcome waits for others: its time starts again.
    pub(crate) fn keep(&self, now: Instant) {
        let mut state = self.locked();
        state.ended_at = state.ended_at.map(|ended_at| ended_at.max(now));
    }

    pub(crate) fn stop_renewing(&self) {
        self.locked().renewable = false;
    }

    pub(crate) fn renewed(&self, sent_at: Instant) {
        let mut state = self.locked();
        state.renewed_at = state.renewed_at.max(sent_at);
    }

    /// Whether it was not renewed within the life of a lease, and no other renewal is to be tried.
    pub(crate) fn is_over_aged(&self, now: Instant, stale_after: Duration, respite: Option<Respite>) -> bool {
        self.locked().is_over_aged(now, stale_after, respite)
    }

    /// This process stood still for this long. That does not count towards the time for which an outcome is sent again,
    /// or for which a handler waits for an answer.
    pub(crate) fn stood_still(&self, stood_still: Duration) {
        let mut state = self.locked();
        if let Some(ended_at) = &mut state.ended_at {
            *ended_at += stood_still;
        }
        if let ByHandler::Settling { since } = &mut state.by_handler {
            *since += stood_still;
        }
    }

    pub(crate) fn renewed_at(&self) -> Instant {
        self.locked().renewed_at
    }

    /// Whether a renewal's "lost" can be believed: the item's outcome is not being written at the moment.
    pub(crate) fn can_be_lost(&self) -> bool {
        let state = self.locked();
        state.by_handler == ByHandler::Nothing && !matches!(state.progress, Progress::Ended)
    }

    pub(crate) fn by_handler(&self) -> ByHandler {
        self.locked().by_handler.clone()
    }

    /// Since when the handler has been finishing the item itself, if it is doing so.
    pub(crate) fn settling_since(&self) -> Option<Instant> {
        match self.locked().by_handler {
            ByHandler::Settling { since } => Some(since),
            _ => None,
        }
    }

    /// The handler starts to finish the item itself.
    pub(crate) fn settling(self: &Arc<Self>) -> SettlingGuard {
        self.locked().by_handler = ByHandler::Settling { since: Instant::now() };
        SettlingGuard { held: Some(Arc::clone(self)) }
    }

    fn locked(&self) -> MutexGuard<'_, HeldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldState {
    fn is_over_aged(&self, now: Instant, stale_after: Duration, respite: Option<Respite>) -> bool {
        let is_spared = respite.is_some_and(|respite| self.renewed_at < respite.since && now < respite.until);
        !is_spared && now.saturating_duration_since(self.renewed_at) >= stale_after
    }

    fn end(&mut self) -> Progress {
        self.ended_at.get_or_insert_with(Instant::now);
        std::mem::replace(&mut self.progress, Progress::Ended)
    }
}

/// Counted from the end, not from the last renewal: renewals would put it off for ever.
fn kept_until(ended_at: Instant, stale_after: Duration) -> Instant {
    ended_at + stale_after + FINISH_KEPT_FOR
}

/// A running finish by the handler. If it is dropped without an answer, the outcome is unknown.
#[derive(Debug)]
pub(crate) struct SettlingGuard {
    held: Option<Arc<Held>>,
}

impl SettlingGuard {
    pub(crate) fn answered_error(mut self, error: &Error) {
        self.answer(by_error(error));
    }

    pub(crate) fn answered_settled(mut self, settled: Settled, outcome: &'static str, error: Option<String>) {
        self.answer(ByHandler::Settled { to: settled.to, outcome, error });
    }

    fn answer(&mut self, by_handler: ByHandler) {
        if let Some(held) = self.held.take() {
            held.locked().by_handler = by_handler;
        }
    }
}

impl Drop for SettlingGuard {
    fn drop(&mut self) {
        self.answer(ByHandler::Unknown);
    }
}

fn by_error(error: &Error) -> ByHandler {
    match error {
        Error::LeaseLost { .. } => ByHandler::Lost,
        Error::OutcomeUnknown { .. } => ByHandler::Unknown,
        Error::Refused { reason, failed: true, .. } => ByHandler::Refused { reason: reason.clone() },
        _ => ByHandler::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::StageId;

    const STALE: Duration = Duration::from_secs(30);

    fn hold(leases: &Leases) -> Arc<Held> {
        hold_of(leases, "a", FencingToken::draw())
    }

    fn hold_of(leases: &Leases, key: &str, token: FencingToken) -> Arc<Held> {
        leases.hold(Lease { key: Key::from(key), token, stage: StageId::FIRST }, Instant::now())
    }

    #[test]
    fn each_lease_of_a_claim_is_found_by_its_key_until_it_is_forgotten() {
        let leases = Leases::default();
        let (one, other) = (FencingToken::draw(), FencingToken::draw());
        let mut all = vec![hold_of(&leases, "a", one), hold_of(&leases, "b", one), hold_of(&leases, "a", other)];
        let is_found = |held: &Arc<Held>| leases.get(&held.lease).is_some_and(|found| Arc::ptr_eq(&found, held));
        assert!(all.iter().all(is_found));
        all.push(hold_of(&leases, "c", one));
        assert!(all.iter().all(is_found), "also one that came after the first was asked for");

        let twice = [&*all[1], &*all[1]];
        leases.forget(twice.into_iter());
        assert!(!is_found(&all.remove(1)));
        assert!(all.iter().all(is_found) && leases.len() == 3 && leases.all().len() == 3);
        leases.forget(all.iter().map(|held| &**held));
        assert!(leases.is_empty() && !all.iter().any(is_found));

        let again = hold_of(&leases, "a", one);
        leases.forget(std::iter::once(&*all[0]));
        assert!(is_found(&again), "one that was forgotten before had its place");
    }

    #[test]
    fn an_ended_item_is_renewed_until_its_outcome_is_given_up_and_no_renewal_puts_that_off() {
        let held = hold(&Leases::default());
        assert_eq!(held.kept_until(STALE), None);
        assert!(held.end());
        let kept_until = held.kept_until(STALE).expect("it has ended");
        let last = kept_until - Duration::from_millis(1);
        assert!(held.is_renewable(last, STALE, None));
        held.renewed(last);
        assert!(!held.end());
        assert_eq!(held.kept_until(STALE), Some(kept_until));
        assert!(!held.is_renewable(kept_until, STALE, None));
    }

    #[test]
    fn an_item_that_somebody_works_on_is_renewed_for_as_long_as_its_lease_lives() {
        let held = hold(&Leases::default());
        let renewed_at = held.renewed_at();
        assert!(held.is_renewable(renewed_at + STALE / 2, STALE, None));
        assert!(!held.is_renewable(renewed_at + STALE, STALE, None));
    }

    #[test]
    fn a_lease_that_is_too_old_because_its_process_stood_still_is_renewed_until_others_may_sweep() {
        let held = hold(&Leases::default());
        let woke_at = held.renewed_at() + 5 * STALE;
        let respite = Some(Respite { since: woke_at, until: woke_at + STALE / 3 });
        assert!(held.is_over_aged(woke_at, STALE, None));
        assert!(!held.is_over_aged(woke_at, STALE, respite) && held.is_renewable(woke_at, STALE, respite));
        assert!(held.is_over_aged(woke_at + STALE / 3, STALE, respite), "nothing got through until others may sweep");

        held.renewed(woke_at - STALE);
        assert!(!held.is_over_aged(woke_at, STALE, respite), "that one was sent before");
        held.renewed(woke_at);
        assert!(!held.is_over_aged(woke_at + STALE / 2, STALE, respite));
        assert!(held.is_over_aged(woke_at + STALE, STALE, respite));
    }

    #[test]
    fn a_standstill_shortens_no_time_in_which_an_outcome_is_sent_again() {
        let held = hold(&Leases::default());
        assert!(held.end());
        let kept_until = held.kept_until(STALE).expect("it has ended");
        held.stood_still(10 * STALE);
        assert_eq!(held.kept_until(STALE), Some(kept_until + 10 * STALE));
    }

    #[test]
    fn a_refused_finish_of_the_handlers_own_ended_the_lease_only_if_the_item_failed() {
        let refused = |failed| Error::Refused { key: Key::from("a"), reason: "a check".to_owned(), failed };
        assert_eq!(by_error(&refused(true)), ByHandler::Refused { reason: "a check".to_owned() });
        assert_eq!(by_error(&refused(false)), ByHandler::Nothing);
    }
}
