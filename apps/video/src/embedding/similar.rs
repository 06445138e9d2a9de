//! Which videos look alike: all with all, as a product of matrices.

use std::panic::resume_unwind;

use tract_onnx::prelude::tract_ndarray::{Array2, ArrayView2, Axis};

use super::vector::{EMBEDDING_NUMBERS, Embedding};

/// How many vectors are compared with all others at once: their results are a megabyte for each thousand of the others.
const BLOCK_ROWS: usize = 256;

/// The product has single precision: this many more than wanted are compared again with double precision.
const COMPARED_ANEW: usize = 16;

/// One answer of [`most_similar`].
#[derive(Debug, Clone, PartialEq)]
pub struct Similar {
    /// The index of the vector.
    pub index: usize,
    /// See [`Embedding::cosine`].
    pub cosine: f64,
}

/// For each of the `targets` (positions in `all`), the `top` others that are nearest to it, nearest first, equal ones
/// by position.
///
/// A product of matrices in blocks, shared among the processors: 5,000 with 5,000 take about a second of one processor
/// in a release build. Comparing them pair by pair takes ten times as long.
pub fn most_similar(all: &[&Embedding], targets: &[usize], top: usize) -> Vec<Vec<Similar>> {
    let mut numbers = Vec::with_capacity(all.len() * EMBEDDING_NUMBERS);
    all.iter().for_each(|embedding| numbers.extend_from_slice(embedding.as_slice()));
    // The shape fits the numbers: each vector has the same length.
    let Ok(all_numbers) = ArrayView2::from_shape((all.len(), EMBEDDING_NUMBERS), &numbers) else { return Vec::new() };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = targets.len().div_ceil(processors).max(1);
    std::thread::scope(|scope| {
        let parts = targets.chunks(share).map(|part| scope.spawn(move || compare(all, all_numbers, part, top)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn compare(all: &[&Embedding], all_numbers: ArrayView2<'_, f32>, targets: &[usize], top: usize) -> Vec<Vec<Similar>> {
    let mut answers = Vec::with_capacity(targets.len());
    for block in targets.chunks(BLOCK_ROWS) {
        let rows: Array2<f32> = all_numbers.select(Axis(0), block);
        let cosines = rows.dot(&all_numbers.t());
        for (target, cosines) in block.iter().zip(cosines.outer_iter()) {
            let others = cosines.iter().copied().enumerate().filter(|(index, _)| index != target);
            answers.push(nearest(all, *target, others.collect(), top));
        }
    }
    answers
}

fn nearest(all: &[&Embedding], target: usize, mut others: Vec<(usize, f32)>, top: usize) -> Vec<Similar> {
    let by_cosine = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let compared = top.saturating_add(COMPARED_ANEW);
    if compared < others.len() {
        others.select_nth_unstable_by(compared, by_cosine);
        others.truncate(compared);
    }
    let anew = |(index, _): (usize, f32)| Similar { index, cosine: all[target].cosine(all[index]) };
    let mut similar: Vec<Similar> = others.into_iter().map(anew).collect();
    similar.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.index.cmp(&b.index)));
    similar.truncate(top);
    similar
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors that differ, and some that do not.
    fn embeddings(count: usize) -> Vec<Embedding> {
        let number = |seed: usize| f32::from(u16::try_from(seed * 7_919 % 4_099).unwrap()) / 4_099.0;
        let vector = |row: usize| (0..EMBEDDING_NUMBERS).map(|column| number((row % 50 + 1) * (column + 3))).collect();
        (0..count).map(|row| Embedding::mean_of(&[vector(row)]).unwrap()).collect()
    }

    #[test]
    fn the_product_answers_as_pair_by_pair_and_in_the_same_order() {
        let embeddings = embeddings(BLOCK_ROWS + 44);
        let all: Vec<&Embedding> = embeddings.iter().collect();
        let targets: Vec<usize> = (0..all.len()).collect();
        let answers = most_similar(&all, &targets, 3);
        assert_eq!(answers.len(), all.len());
        for (target, answer) in answers.iter().enumerate().step_by(23) {
            let mut pairs: Vec<(usize, f64)> = targets
                .iter()
                .filter(|other| **other != target)
                .map(|other| (*other, all[target].cosine(all[*other])))
                .collect();
            pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let found: Vec<(usize, f64)> = answer.iter().map(|similar| (similar.index, similar.cosine)).collect();
            assert_eq!(found, pairs[..3], "{target}");
        }
    }

    #[test]
    fn there_may_be_nothing_to_compare_with() {
        assert!(most_similar(&[], &[], 5).is_empty());
        let one = embeddings(1);
        assert_eq!(most_similar(&[&one[0]], &[0], 5), [vec![]]);
    }
}
