//! Finding the rows that a database refuses: refused parts are halved until single items are left.

/// The parts of a batch that have not been tried yet, in order.
#[derive(Debug)]
pub(super) struct Bisection<T> {
    waiting: Vec<Vec<T>>,
}

impl<T> Bisection<T> {
    pub(super) fn new(batch: Vec<T>) -> Bisection<T> {
        Bisection { waiting: if batch.is_empty() { Vec::new() } else { vec![batch] } }
    }

    /// The next part to try. Never empty.
    pub(super) fn next(&mut self) -> Option<Vec<T>> {
        self.waiting.pop()
    }

    /// Puts a refused part back as two halves. If the part is a single item, returns it: the database refuses this one.
    pub(super) fn halve(&mut self, mut part: Vec<T>) -> Option<T> {
        if part.len() <= 1 {
            return part.pop();
        }
        let second = part.split_off(part.len() / 2);
        self.waiting.push(second);
        self.waiting.push(part);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exactly_the_refused_items_and_keeps_the_order_of_the_rest() {
        let mut parts = Bisection::new((0..100).collect());
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        while let Some(part) = parts.next() {
            if part.iter().any(|item| item % 33 == 7) {
                refused.extend(parts.halve(part));
            } else {
                accepted.extend(part);
            }
        }
        assert_eq!(refused, [7, 40, 73]);
        assert_eq!(accepted, (0..100).filter(|item| item % 33 != 7).collect::<Vec<_>>());
    }
}
