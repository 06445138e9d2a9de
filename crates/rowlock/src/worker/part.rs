//! Batches of completions: ended items that one statement writes.

use std::time::{Duration, Instant};

use super::ended::{Ended, Verdict};
use crate::dispatch::Settling;
use crate::pipeline::StageId;
use crate::store::{Finish, FinishParams, Finished, Limits, Outcome};

/// Ended items that one statement writes. Never empty, except while it is taken apart.
#[derive(Debug)]
pub(crate) struct Part {
    ended: Vec<Ended>,
    pub(crate) settling: Settling,
}

impl Part {
    /// The part of these items, each of which has an outcome to write.
    pub(crate) fn new(ended: Vec<Ended>, limits: Limits) -> Part {
        let finish = |ended: &Ended| {
            ended.verdict.outcome().map(|outcome| Finish { lease: ended.held.lease.clone(), outcome: outcome.clone() })
        };
        let items = ended.iter().filter_map(finish).collect();
        Part { ended, settling: Settling::new(FinishParams { items, limits, now: None }) }
    }

    pub(crate) fn len(&self) -> usize {
        self.ended.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// The stages that its items leave, each with the outcome.
    pub(crate) fn moves(&self) -> Vec<(StageId, &'static str)> {
        let mut moves: Vec<_> = self.ended.iter().filter_map(Ended::moves).collect();
        moves.sort_unstable();
        moves.dedup();
        moves
    }

    pub(crate) fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// Takes out the second half.
    pub(crate) fn halve(&mut self) -> Part {
        let half = self.len().div_ceil(2);
        Part { ended: self.ended.split_off(half), settling: self.settling.split_off(half) }
    }

    /// Takes out the items for which this holds, for a separate statement.
    pub(crate) fn extract(&mut self, is_out: impl Fn(&Ended) -> bool) -> Part {
        let out: Vec<bool> = self.ended.iter().map(is_out).collect();
        let mut marked = out.iter();
        let ended = self.ended.extract_if(.., |_| *marked.next().unwrap_or(&false)).collect();
        Part { ended, settling: self.settling.extract(&out) }
    }

    /// Keeps the first item and returns the rest.
    pub(crate) fn split_off_first(&mut self) -> Part {
        Part { ended: self.ended.split_off(1), settling: self.settling.split_off(1) }
    }

    /// The same items, to be released.
    pub(crate) fn into_release(self, limits: Limits) -> Part {
        let release = |ended: Ended| Ended { verdict: Verdict::Write(Outcome::Release), ..ended };
        Part::new(self.ended.into_iter().map(release).collect(), limits)
    }

    /// Takes out the items whose time to be written is over, each with its answer.
    pub(crate) fn take_given_up(&mut self, now: Instant, stale_after: Duration) -> (Vec<Ended>, Vec<Finished>) {
        let is_kept = |ended: &Ended| ended.held.kept_until(stale_after).is_none_or(|kept_until| now < kept_until);
        let keep: Vec<bool> = self.ended.iter().map(is_kept).collect();
        let answers =
            (0..self.len()).filter(|place| !keep[*place]).map(|place| self.settling.given_up(place)).collect();
        (self.take_all_but(&keep), answers)
    }

    /// Takes out the items that are not marked.
    pub(crate) fn take_all_but(&mut self, keep: &[bool]) -> Vec<Ended> {
        if !keep.contains(&true) {
            self.settling.retain(keep);
            return std::mem::take(&mut self.ended);
        }
        let mut out = Vec::new();
        let mut kept = Vec::with_capacity(self.len());
        for (ended, keep) in self.ended.drain(..).zip(keep) {
            if *keep { kept.push(ended) } else { out.push(ended) }
        }
        self.ended = kept;
        self.settling.retain(keep);
        out
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

    fn part(keys: &[&str]) -> Part {
        let leases = Leases::default();
        let ended = |key: &&str| {
            let lease = Lease { key: Key::from(*key), token: FencingToken::draw(), stage: StageId::FIRST };
            let held = leases.hold(lease, Instant::now());
            held.end();
            Ended { held: Arc::clone(&held), verdict: Verdict::Write(Outcome::Complete) }
        };
        Part::new(keys.iter().map(ended).collect(), LIMITS)
    }

    fn keys(ended: &[Ended]) -> Vec<&str> {
        ended.iter().map(|ended| ended.held.lease.key.as_str()).collect()
    }

    #[test]
    fn is_halved_down_to_single_items() {
        let mut first = part(&["a", "b", "c"]);
        let second = first.halve();
        assert_eq!((keys(first.ended()), keys(second.ended())), (vec!["a", "b"], vec!["c"]));
        assert_eq!((first.settling.len(), second.settling.len()), (2, 1));
    }

    #[test]
    fn items_are_given_up_when_their_time_is_over_and_not_before() {
        let mut part = part(&["a", "b"]);
        let kept_until = part.ended()[1].held.kept_until(STALE).expect("it has ended");
        let (given_up, answers) = part.take_given_up(kept_until - Duration::from_secs(1), STALE);
        assert!(given_up.is_empty() && answers.is_empty());
        let (given_up, answers) = part.take_given_up(kept_until, STALE);
        assert_eq!((keys(&given_up), answers), (vec!["a", "b"], vec![Finished::LeaseLost; 2]));
        assert!(part.is_empty() && part.settling.len() == 0);
    }

    #[test]
    fn what_is_answered_is_taken_out_and_the_rest_stays_in_order() {
        let mut part = part(&["a", "b", "c", "d"]);
        let answered = part.take_all_but(&[false, true, false, true]);
        assert_eq!((keys(&answered), keys(part.ended())), (vec!["a", "c"], vec!["b", "d"]));
        assert_eq!(part.settling.len(), 2);
    }
}
