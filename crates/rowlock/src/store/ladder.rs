//! Whose fault is an error that a batch met? To find out, the batch is tried in parts; the error's code does not
//! decide, because a trigger may choose it freely.
//!
//! Single items come first: the one at the head, then others from random places. Once one of them passes, the error
//! belongs to some of the items: the rest is halved until they stand alone, the largest part first, so that if time
//! runs out most of the good items have passed. An item that failed before anything passed may have failed for a cause
//! that is over: it is tried again. If none passes, the fault is everybody's, found with a few statements even for a
//! thousand items. If a batch is so small that all of its items were tried, each twice, and none passed, there is
//! nothing to compare with: the caller tries a statement that touches no item.

use std::cmp::Reverse;
use std::time::Instant;

use rand::seq::SliceRandom;

use crate::limits::{LADDER_PROBES_FOR, LADDER_PROBES_MAX, LADDER_QUICK_PROBES_MAX};

/// The parts of a batch that failed as a whole, as positions of its items.
#[derive(Debug)]
pub(super) struct Ladder<E> {
    items: usize,
    began_at: Instant,
    /// Single items that are tried before anything has passed; the next one is last.
    probes: Vec<usize>,
    /// All were tried once, and are now tried again.
    is_repeating: bool,
    /// Items that failed before anything had passed: whether the fault was their own is not known.
    unexplained: Vec<(usize, E)>,
    /// Parts to try once something has passed; among parts of one size the first comes first.
    waiting: Vec<Vec<usize>>,
    failed: Vec<(usize, E)>,
    has_passed: bool,
}

/// Whose fault the error was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AtFault<E> {
    /// The fault of these items, each with its own error; others passed.
    Items(Vec<(usize, E)>),
    /// All items were tried alone, each twice, and none passed.
    AllTried(Vec<(usize, E)>),
    /// No item from anywhere in the batch passed: nothing is known about any of them.
    Everybody,
}

impl<E> Ladder<E> {
    /// For a batch of this many items that failed as a whole.
    pub(super) fn new(items: usize) -> Ladder<E> {
        let mut probes: Vec<usize> = (0..items).collect();
        // In order: a caller that wants one of a few items gets the first that passes.
        if items > LADDER_PROBES_MAX {
            probes[1..].shuffle(&mut rand::rng());
            probes.truncate(LADDER_QUICK_PROBES_MAX);
        }
        probes.reverse();
        Ladder {
            items,
            began_at: Instant::now(),
            probes,
            is_repeating: false,
            unexplained: Vec::new(),
            waiting: Vec::new(),
            failed: Vec::new(),
            has_passed: false,
        }
    }

    /// The next part to try, never empty. The caller answers each part by [`Ladder::passed`] or [`Ladder::failed`].
    pub(super) fn next(&mut self) -> Option<Vec<usize>> {
        if self.has_passed {
            let largest = (0..self.waiting.len()).max_by_key(|at| (self.waiting[*at].len(), Reverse(*at)))?;
            return Some(self.waiting.remove(largest));
        }
        let are_few = self.items <= LADDER_PROBES_MAX;
        if are_few && self.probes.is_empty() && self.unexplained.len() == self.items && !self.is_repeating {
            self.is_repeating = true;
            self.probes = self.unexplained.iter().rev().map(|(item, _)| *item).collect();
        }
        let takes_long = self.unexplained.len() >= LADDER_PROBES_MAX && self.began_at.elapsed() > LADDER_PROBES_FOR;
        if takes_long && !self.is_repeating {
            return None;
        }
        self.probes.pop().map(|probe| vec![probe])
    }

    /// The next single item that failed before anything passed, for a caller that wants nothing more: the item blocked
    /// what was wanted, and blocks it again if the fault is its own.
    pub(super) fn next_unexplained(&mut self) -> Option<Vec<usize>> {
        if !self.has_passed {
            return None;
        }
        let is_unexplained =
            |part: &Vec<usize>| matches!(part[..], [item] if self.unexplained.iter().any(|(s, _)| *s == item));
        let at = self.waiting.iter().position(is_unexplained)?;
        Some(self.waiting.remove(at))
    }

    /// The part passed.
    pub(super) fn passed(&mut self, part: &[usize]) {
        if self.has_passed {
            return;
        }
        self.has_passed = true;
        self.unexplained.append(&mut self.failed);
        self.unexplained.retain(|(item, _)| !part.contains(item));
        self.unexplained.sort_by_key(|(item, _)| *item);
        let is_unexplained = |item: &usize| self.unexplained.iter().any(|(other, _)| other == item);
        let rest: Vec<usize> = (0..self.items).filter(|item| !part.contains(item) && !is_unexplained(item)).collect();
        self.waiting = self.unexplained.iter().map(|(item, _)| vec![*item]).collect();
        if !rest.is_empty() {
            self.waiting.push(rest);
        }
    }

    /// The part failed.
    pub(super) fn failed(&mut self, mut part: Vec<usize>, error: E) {
        if let [item] = part[..] {
            if self.has_passed || self.is_repeating {
                self.unexplained.retain(|(other, _)| *other != item);
                self.failed.push((item, error));
            } else {
                self.unexplained.push((item, error));
            }
            return;
        }
        let second = part.split_off(part.len().div_ceil(2));
        self.waiting.push(part);
        self.waiting.push(second);
    }

    /// Items about which nothing is known: parts that were not tried, or not to the end.
    pub(super) fn untried(&self) -> impl Iterator<Item = usize> {
        let waiting: Vec<usize> =
            if self.has_passed { self.waiting.iter().flatten().copied().collect() } else { Vec::new() };
        waiting.into_iter()
    }

    /// The items that failed alone.
    pub(super) fn failed_alone(&self) -> impl Iterator<Item = usize> {
        let unexplained = if self.has_passed { &[][..] } else { &self.unexplained[..] };
        self.failed.iter().chain(unexplained).map(|(item, _)| *item)
    }

    /// Whose fault it was, as far as the parts were tried.
    pub(super) fn at_fault(mut self) -> AtFault<E> {
        self.failed.sort_by_key(|(item, _)| *item);
        if self.has_passed || self.items == 0 {
            AtFault::Items(self.failed)
        } else if self.failed.len() == self.items {
            AtFault::AllTried(self.failed)
        } else {
            AtFault::Everybody
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a batch of this many items, and the number of parts that were tried.
    fn climb(items: usize, is_bad: impl Fn(usize) -> bool) -> (AtFault<()>, usize) {
        let mut ladder = Ladder::new(items);
        let mut tried = 0;
        let mut accepted = Vec::new();
        while let Some(part) = ladder.next() {
            tried += 1;
            if part.iter().any(|item| is_bad(*item)) {
                ladder.failed(part, ());
            } else {
                ladder.passed(&part);
                accepted.extend(part);
            }
        }
        let fault = ladder.at_fault();
        if let AtFault::Items(failed) = &fault {
            accepted.extend(failed.iter().map(|(item, ())| *item));
            accepted.sort_unstable();
            assert_eq!(accepted, (0..items).collect::<Vec<_>>(), "each item is accepted or at fault");
        }
        (fault, tried)
    }

    #[test]
    fn finds_exactly_the_items_at_fault() {
        let bad = |item: usize| item % 33 == 7;
        let (fault, _) = climb(100, bad);
        assert_eq!(fault, AtFault::Items(vec![(7, ()), (40, ()), (73, ())]));
        let (fault, tried) = climb(1_000, |item| item == 999);
        assert_eq!(fault, AtFault::Items(vec![(999, ())]));
        assert!(tried <= 25, "{tried} parts for one item of a thousand");
    }

    #[test]
    fn many_bad_items_side_by_side_are_not_everybody() {
        let (fault, _) = climb(1_000, |item| item < 400);
        assert!(matches!(fault, AtFault::Items(failed) if failed.len() == 400));
    }

    #[test]
    fn bad_items_at_any_even_distance_are_not_everybody() {
        for distance in 2..20 {
            let (fault, _) = climb(20 * distance + 1, |item| item % distance == 0);
            assert!(matches!(fault, AtFault::Items(failed) if failed.len() == 21), "every {distance}th");
        }
    }

    #[test]
    fn an_item_that_failed_before_anything_passed_is_tried_again() {
        for items in [1, 2, 3, 5, 8, 100] {
            let mut ladder = Ladder::new(items);
            let (mut passing, mut tried) = (Vec::new(), 0);
            while let Some(part) = ladder.next() {
                tried += 1;
                if tried <= items.min(4) {
                    ladder.failed(part, ());
                } else {
                    ladder.passed(&part);
                    passing.extend(part);
                }
            }
            assert_eq!(ladder.at_fault(), AtFault::Items(Vec::new()), "of {items}");
            passing.sort_unstable();
            assert_eq!(passing, (0..items).collect::<Vec<_>>());
        }
    }

    #[test]
    fn whoever_wants_nothing_more_is_told_which_are_to_be_tried_again() {
        let mut ladder = Ladder::new(4);
        assert_eq!(ladder.next(), Some(vec![0]));
        ladder.failed(vec![0], "bad");
        assert_eq!(ladder.next_unexplained(), None, "nothing has passed yet");
        assert_eq!(ladder.next(), Some(vec![1]));
        ladder.passed(&[1]);
        assert_eq!(ladder.next_unexplained(), Some(vec![0]));
        ladder.failed(vec![0], "bad again");
        assert_eq!(ladder.next_unexplained(), None);
        assert_eq!(ladder.at_fault(), AtFault::Items(vec![(0, "bad again")]));
    }

    #[test]
    fn the_largest_part_is_tried_first() {
        let mut ladder: Ladder<()> = Ladder::new(200);
        let first = ladder.next().expect("a part");
        ladder.passed(&first);
        // The time suffices for this many failing parts, which all hold the same bad item.
        let is_bad = |item: &usize| *item == 1;
        let (mut failures, mut passed) = (0, first.len());
        while failures < 4
            && let Some(part) = ladder.next()
        {
            if part.iter().any(is_bad) {
                failures += 1;
                ladder.failed(part, ());
            } else {
                passed += part.len();
                ladder.passed(&part);
            }
        }
        assert!(passed >= 145, "{passed} of 200 passed");
    }

    #[test]
    fn what_is_everybodys_is_found_out_with_a_few_parts() {
        let (fault, tried) = climb(1_000, |_| true);
        assert_eq!((fault, tried), (AtFault::Everybody, LADDER_QUICK_PROBES_MAX));

        let mut ladder = Ladder::new(1_000);
        let mut tried = 0;
        while let Some(part) = ladder.next() {
            ladder.failed(part, ());
            tried += 1;
            // Pretends that the parts took this long.
            ladder.began_at -= LADDER_PROBES_FOR;
        }
        assert_eq!(tried, LADDER_PROBES_MAX, "where each takes long");
    }

    #[test]
    fn a_small_batch_without_anything_to_compare_with_is_told_apart() {
        for items in 1..=LADDER_PROBES_MAX {
            let (fault, tried) = climb(items, |_| true);
            assert!(matches!(fault, AtFault::AllTried(failed) if failed.len() == items));
            assert_eq!(tried, 2 * items);
        }
        let (fault, _) = climb(2, |item| item == 0);
        assert_eq!(fault, AtFault::Items(vec![(0, ())]));
        assert_eq!(climb(0, |_| true).0, AtFault::Items(Vec::new()));
    }
}
