//! Batches of completions: what one statement writes. And the retry lane: batches that could not be written with the
//! others are sent again apart, so that none of the others waits for them. Items that the database refuses one after
//! the other wait until one of them passes; one is tried now and then.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::completion::{Completion, Disposition};
use super::refusals::{Refusals, Refused};
use crate::dispatch::Settling;
use crate::limits::POLL_MAX;
use crate::pipeline::StageId;
use crate::store::{Finish, FinishParams, Finished, Limits, Outcome};

/// Completions that one statement writes. Never empty, except while it is taken apart.
#[derive(Debug)]
pub(crate) struct Batch {
    completions: Vec<Completion>,
    pub(crate) settling: Settling,
}

impl Batch {
    /// The batch of these items, each of which has an outcome to write.
    pub(crate) fn new(completions: Vec<Completion>, limits: Limits) -> Batch {
        let finish = |completion: &Completion| {
            completion
                .disposition
                .outcome()
                .map(|outcome| Finish { lease: completion.held.lease.clone(), outcome: outcome.clone() })
        };
        let items = completions.iter().filter_map(finish).collect();
        Batch { completions, settling: Settling::new(FinishParams { items, limits, now: None }) }
    }

    pub(crate) fn len(&self) -> usize {
        self.completions.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.completions.is_empty()
    }

    /// The stages that its items leave, each with the outcome.
    pub(crate) fn moves(&self) -> Vec<(StageId, &'static str)> {
        let mut moves: Vec<_> = self.completions.iter().filter_map(Completion::moves).collect();
        moves.sort_unstable();
        moves.dedup();
        moves
    }

    pub(crate) fn completions(&self) -> &[Completion] {
        &self.completions
    }

    /// Takes out the second half.
    pub(crate) fn halve(&mut self) -> Batch {
        let half = self.len().div_ceil(2);
        Batch { completions: self.completions.split_off(half), settling: self.settling.split_off(half) }
    }

    /// Takes out the items for which this holds, for a separate statement.
    pub(crate) fn extract(&mut self, is_out: impl Fn(&Completion) -> bool) -> Batch {
        let out: Vec<bool> = self.completions.iter().map(is_out).collect();
        let mut marked = out.iter();
        let completions = self.completions.extract_if(.., |_| *marked.next().unwrap_or(&false)).collect();
        Batch { completions, settling: self.settling.extract(&out) }
    }

    /// Keeps the first item and returns the rest.
    pub(crate) fn split_off_first(&mut self) -> Batch {
        Batch { completions: self.completions.split_off(1), settling: self.settling.split_off(1) }
    }

    /// The same items, to be released.
    pub(crate) fn into_release(self, limits: Limits) -> Batch {
        let release =
            |completion: Completion| Completion { disposition: Disposition::Write(Outcome::Release), ..completion };
        Batch::new(self.completions.into_iter().map(release).collect(), limits)
    }

    /// Takes out the items whose time to be written is over, each with its answer.
    pub(crate) fn take_given_up(&mut self, now: Instant, stale_after: Duration) -> (Vec<Completion>, Vec<Finished>) {
        let is_kept =
            |completion: &Completion| completion.held.kept_until(stale_after).is_none_or(|kept_until| now < kept_until);
        let keep: Vec<bool> = self.completions.iter().map(is_kept).collect();
        let answers =
            (0..self.len()).filter(|place| !keep[*place]).map(|place| self.settling.given_up(place)).collect();
        (self.take_all_but(&keep), answers)
    }

    /// Takes out the items that are not marked.
    pub(crate) fn take_all_but(&mut self, keep: &[bool]) -> Vec<Completion> {
        if !keep.contains(&true) {
            self.settling.retain(keep);
            return std::mem::take(&mut self.completions);
        }
        let mut out = Vec::new();
        let mut kept = Vec::with_capacity(self.len());
        for (completion, keep) in self.completions.drain(..).zip(keep) {
            if *keep { kept.push(completion) } else { out.push(completion) }
        }
        self.completions = kept;
        self.settling.retain(keep);
        out
    }
}

/// The items that are sent again apart. The producer limits their number: it claims nothing while there are many, and
/// nothing for a stage whose items wait.
#[derive(Debug, Default)]
pub(crate) struct RetryLane {
    lanes: RefCell<Lanes>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Lanes {
    batches: VecDeque<Batch>,
    /// Each is of one stage and one outcome.
    waiting: VecDeque<(Waiting, Batch)>,
    /// The worker ends: items that would wait are released, within these limits.
    gives_back: Option<Limits>,
}

/// What items wait for: that a finish of this stage with this outcome passes.
pub(crate) type Waiting = (StageId, &'static str);

/// The batch that is sent next.
pub(crate) enum Next {
    Batch(Batch),
    /// One item, to find out whether others of its kind would pass.
    Try(Waiting, Batch),
}

impl RetryLane {
    pub(crate) fn push(&self, batch: Batch) {
        self.lanes_mut().batches.push_back(batch);
        self.some.notify_one();
    }

    /// Lets the batch wait until an item of its kind passes.
    pub(crate) fn wait(&self, waiting: Waiting, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let mut lanes = self.lanes_mut();
        match lanes.gives_back {
            Some(limits) if may_be_released(waiting, &batch) => lanes.batches.push_back(batch.into_release(limits)),
            _ => lanes.waiting.push_back((waiting, batch)),
        }
        drop(lanes);
        self.some.notify_one();
    }

    /// The items that are to be sent soon.
    pub(crate) fn len(&self) -> usize {
        self.lanes_mut().batches.iter().map(Batch::len).sum()
    }

    /// One has passed: all the others are sent at once.
    pub(crate) fn resume(&self, passed: Waiting) {
        let mut lanes = self.lanes_mut();
        let of_it = lanes.waiting.iter_mut().filter(|(waiting, _)| *waiting == passed);
        let batches: Vec<Batch> = of_it.map(|(_, batch)| batch.extract(|_| true)).collect();
        lanes.waiting.retain(|(_, batch)| !batch.is_empty());
        lanes.batches.extend(batches);
        drop(lanes);
        self.some.notify_one();
    }

    /// Whether items wait for this kind of finish.
    pub(crate) fn has(&self, what: Waiting) -> bool {
        self.lanes_mut().waiting.iter().any(|(waiting, _)| *waiting == what)
    }

    /// Releases the waiting items, uncounted, because their worker ends: a sweep would count them. They are sent once
    /// more.
    pub(crate) fn give_back(&self, limits: Limits) {
        let mut lanes = self.lanes_mut();
        lanes.gives_back = Some(limits);
        for (waiting, batch) in std::mem::take(&mut lanes.waiting) {
            let may_be_released = may_be_released(waiting, &batch);
            lanes.batches.push_back(if may_be_released { batch.into_release(limits) } else { batch });
        }
        drop(lanes);
        self.some.notify_one();
    }

    /// Waits until there is something to send, and returns it. Batches that wait for nothing go first.
    pub(crate) async fn next(&self, refusals: &Refusals) -> Next {
        loop {
            let some = self.some.notified();
            let now = Instant::now();
            if let Some(batch) = self.lanes_mut().batches.pop_front() {
                return Next::Batch(batch);
            }
            if let Some((waiting, batch)) = self.lanes_mut().due(refusals, now) {
                return Next::Try(waiting, batch);
            }
            let next_try_at = refusals.next_tries().min();
            let pause = next_try_at.map_or(POLL_MAX, |at| at.saturating_duration_since(now)).min(POLL_MAX);
            let _woken = tokio::time::timeout(pause.max(Duration::from_millis(1)), some).await;
        }
    }

    fn lanes_mut(&self) -> RefMut<'_, Lanes> {
        self.lanes.borrow_mut()
    }
}

/// Not if the batch may have been written already, or is to be released anyway.
fn may_be_released(waiting: Waiting, batch: &Batch) -> bool {
    !batch.settling.is_uncertain() && waiting.1 != Outcome::Release.name()
}

impl Lanes {
    /// The item that is to be tried now, a different one each time. All items that wait with it are kept: none of their
    /// leases is given up.
    fn due(&mut self, refusals: &Refusals, now: Instant) -> Option<(Waiting, Batch)> {
        let is_due = |(stage, outcome): Waiting| {
            refusals.of(stage).is_none_or(|refusals| {
                let what = Refused::Finishes(outcome);
                refusals.is_due(what, now) || !refusals.has(what)
            })
        };
        let at = self.waiting.iter().position(|(waiting, _)| is_due(*waiting))?;
        let (waiting, mut batch) = self.waiting.remove(at)?;
        let rest = batch.split_off_first();
        if !rest.is_empty() {
            self.waiting.push_back((waiting, rest));
        }
        let batches = self.waiting.iter().filter(|(other, _)| *other == waiting).map(|(_, batch)| batch);
        batches.chain([&batch]).flat_map(Batch::completions).for_each(|completion| completion.held.keep(now));
        if let Some(refusals) = refusals.of(waiting.0) {
            refusals.tried(Refused::Finishes(waiting.1), now);
        }
        Some((waiting, batch))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::worker::leases::Leases;
    use crate::{FencingToken, Key, Lease};

    const STALE: Duration = Duration::from_secs(30);
    const LIMITS: Limits = Limits { max_retries: 5, max_resets: 3 };

    fn batch(keys: &[&str]) -> Batch {
        let leases = Leases::default();
        let completion = |key: &&str| {
            let lease = Lease { key: Key::from(*key), token: FencingToken::draw(), stage: StageId::FIRST };
            let held = leases.hold(lease, Instant::now());
            held.end();
            Completion { held: Arc::clone(&held), disposition: Disposition::Write(Outcome::Complete) }
        };
        Batch::new(keys.iter().map(completion).collect(), LIMITS)
    }

    fn keys(completions: &[Completion]) -> Vec<&str> {
        completions.iter().map(|completion| completion.held.lease.key.as_str()).collect()
    }

    #[test]
    fn is_halved_down_to_single_items() {
        let mut first = batch(&["a", "b", "c"]);
        let second = first.halve();
        assert_eq!((keys(first.completions()), keys(second.completions())), (vec!["a", "b"], vec!["c"]));
        assert_eq!((first.settling.len(), second.settling.len()), (2, 1));
    }

    #[test]
    fn items_are_given_up_when_their_time_is_over_and_not_before() {
        let mut batch = batch(&["a", "b"]);
        let kept_until = batch.completions()[1].held.kept_until(STALE).expect("it has ended");
        let (given_up, answers) = batch.take_given_up(kept_until - Duration::from_secs(1), STALE);
        assert!(given_up.is_empty() && answers.is_empty());
        let (given_up, answers) = batch.take_given_up(kept_until, STALE);
        assert_eq!((keys(&given_up), answers), (vec!["a", "b"], vec![Finished::LeaseLost; 2]));
        assert!(batch.is_empty() && batch.settling.len() == 0);
    }

    #[test]
    fn what_is_answered_is_taken_out_and_the_rest_stays_in_order() {
        let mut batch = batch(&["a", "b", "c", "d"]);
        let answered = batch.take_all_but(&[false, true, false, true]);
        assert_eq!((keys(&answered), keys(batch.completions())), (vec!["a", "c"], vec!["b", "d"]));
        assert_eq!(batch.settling.len(), 2);
    }
}
