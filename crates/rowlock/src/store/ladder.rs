//! Whose fault an error is that a batch met: settled by trying the batch in parts, and not by the error's code, which a
//! trigger may choose as it likes.
//!
//! Single items from all over the batch come first. Once one of them passes, the error is that of some items: the rest is
//! halved until they stand alone. If none passes, it is everybody's, found out with a few statements also for a thousand
//! items. Where a batch is so small that all of its items were tried and none passed, there is nothing to compare with: the
//! caller tries a statement that touches no item.

use std::collections::VecDeque;

use crate::limits::LADDER_PROBES_MAX;

/// The parts of a batch that failed as a whole, by the places of its items.
#[derive(Debug)]
pub(super) struct Ladder<E> {
    items: usize,
    /// Single items that are tried before anything has passed; the next one last.
    probes: Vec<usize>,
    /// Parts that are tried once something has passed, larger ones before smaller ones: where time runs out, most is done.
    waiting: VecDeque<Vec<usize>>,
    failed: Vec<(usize, E)>,
    has_passed: bool,
}

/// Whose fault it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AtFault<E> {
    /// That of these items, each with its own error; others passed.
    Items(Vec<(usize, E)>),
    /// All items were tried alone, and none passed.
    AllTried(Vec<(usize, E)>),
    /// No item from anywhere in the batch passed: nothing is known of any of them.
    Everybody,
}

impl<E> Ladder<E> {
    /// Of a batch of so many items, which failed as a whole.
    pub(super) fn new(items: usize) -> Ladder<E> {
        let mut probes: Vec<usize> = if items <= LADDER_PROBES_MAX {
            (0..items).collect()
        } else {
            // First and last, then what lies between: bad rows often lie side by side.
            (0..LADDER_PROBES_MAX).map(|probe| probe * (items - 1) / (LADDER_PROBES_MAX - 1)).collect()
        };
        probes.reverse();
        Ladder { items, probes, waiting: VecDeque::new(), failed: Vec::new(), has_passed: false }
    }

    /// The next part to try, never empty. Every part is answered by [`Ladder::passed`] or [`Ladder::failed`].
    pub(super) fn next(&mut self) -> Option<Vec<usize>> {
        if self.has_passed { self.waiting.pop_front() } else { self.probes.pop().map(|probe| vec![probe]) }
    }

    /// The part passed.
    pub(super) fn passed(&mut self, part: &[usize]) {
        if self.has_passed {
            return;
        }
        self.has_passed = true;
        let is_tried = |item: &usize| part.contains(item) || self.failed.iter().any(|(failed, _)| failed == item);
        let rest: Vec<usize> = (0..self.items).filter(|item| !is_tried(item)).collect();
        if !rest.is_empty() {
            self.waiting.push_back(rest);
        }
    }

    /// The part failed.
    pub(super) fn failed(&mut self, mut part: Vec<usize>, error: E) {
        if let [item] = part[..] {
            self.failed.push((item, error));
            return;
        }
        let second = part.split_off(part.len() / 2);
        self.waiting.push_back(part);
        self.waiting.push_back(second);
    }

    /// The items that failed alone.
    pub(super) fn failed_alone(&self) -> impl Iterator<Item = usize> {
        self.failed.iter().map(|(item, _)| *item)
    }

    /// Whose fault it was, as far as the parts were tried.
    pub(super) fn at_fault(self) -> AtFault<E> {
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

    /// What a batch of so many items comes to, and how many parts were tried.
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
        let (fault, _) = climb(1_000, |item| item < 600);
        assert!(matches!(fault, AtFault::Items(failed) if failed.len() == 600));
    }

    #[test]
    fn what_is_everybodys_is_found_out_with_a_few_parts() {
        let (fault, tried) = climb(1_000, |_| true);
        assert_eq!((fault, tried), (AtFault::Everybody, LADDER_PROBES_MAX));
    }

    #[test]
    fn a_small_batch_without_anything_to_compare_with_is_told_apart() {
        for items in 1..=LADDER_PROBES_MAX {
            let (fault, tried) = climb(items, |_| true);
            assert!(matches!(fault, AtFault::AllTried(failed) if failed.len() == items));
            assert_eq!(tried, items);
        }
        let (fault, _) = climb(2, |item| item == 0);
        assert_eq!(fault, AtFault::Items(vec![(0, ())]));
        assert_eq!(climb(0, |_| true).0, AtFault::Items(Vec::new()));
    }
}
