//! The vector of a video.

use std::fmt;

/// How many numbers a vector has: the width of the model's last convolution.
pub const EMBEDDING_NUMBERS: usize = 1280;

/// How far the length of a stored vector may be from 1: far more than rounding, far less than for a vector that was not
/// normalised.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// A direction in the space of 1280 features; its length is 1.
#[derive(Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

/// Numbers that are not an embedding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrongEmbedding {
    /// Not [`EMBEDDING_NUMBERS`] of them.
    #[error("an embedding has {EMBEDDING_NUMBERS} numbers of 4 bytes, not {bytes} bytes")]
    Size {
        /// The given number of bytes.
        bytes: usize,
    },
    /// Not of length 1, or not numbers at all.
    #[error("an embedding has the length 1, not {length}")]
    Length {
        /// The given length.
        length: f64,
    },
    /// A mean without a direction.
    #[error("the frames of the video give no direction: all features are zero or not finite")]
    NoDirection,
}

impl Embedding {
    /// The direction of the mean of `vectors`.
    ///
    /// # Errors
    /// No vectors, one of another size, or a mean that is zero or not finite.
    pub fn mean_of(vectors: &[Vec<f32>]) -> Result<Self, WrongEmbedding> {
        let mut sum = vec![0.0_f64; EMBEDDING_NUMBERS];
        for vector in vectors {
            if vector.len() != EMBEDDING_NUMBERS {
                return Err(WrongEmbedding::Size { bytes: size_of_val(vector.as_slice()) });
            }
            for (sum, value) in sum.iter_mut().zip(vector) {
                *sum += f64::from(*value);
            }
        }
        // The sum has the direction of the mean.
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        if !length.is_finite() || length <= 0.0 {
            return Err(WrongEmbedding::NoDirection);
        }
        Ok(Self(sum.iter().map(|value| to_f32(value / length)).collect()))
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Little-endian, for a column of bytes: 5,120 of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The embedding from the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// Another size, or a length that is not 1.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrongEmbedding> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if numbers.len() != EMBEDDING_NUMBERS || !rest.is_empty() {
            return Err(WrongEmbedding::Size { bytes: bytes.len() });
        }
        let embedding = Self(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect());
        let length = embedding.cosine(&embedding).sqrt();
        if (length - 1.0).abs() <= LENGTH_TOLERANCE { Ok(embedding) } else { Err(WrongEmbedding::Length { length }) }
    }

    /// The cosine of the angle between the two: 1 for the same direction.
    ///
    /// The model's features are never negative, and so neither is this. Dissimilar videos are nearer to 0.5 than to 0:
    /// only the order has a meaning.
    pub fn cosine(&self, other: &Self) -> f64 {
        self.0.iter().zip(&other.0).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({:?}, …)", &self.0[..self.0.len().min(4)])
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a component of a unit vector: rounding to f32 is the point")]
fn to_f32(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(index: usize, length: f32) -> Vec<f32> {
        let mut vector = vec![0.0; EMBEDDING_NUMBERS];
        vector[index] = length;
        vector
    }

    #[test]
    fn the_mean_is_normalised_and_survives_bytes() {
        let embedding = Embedding::mean_of(&[axis(0, 3.0), axis(1, 4.0)]).unwrap();
        assert!((embedding.as_slice()[0] - 0.6).abs() < 1e-6);
        assert!((embedding.cosine(&embedding) - 1.0).abs() < 1e-6);
        assert_eq!(Embedding::from_bytes(&embedding.to_bytes()).unwrap(), embedding);
    }

    #[test]
    fn what_is_no_embedding_is_refused() {
        assert!(matches!(Embedding::mean_of(&[]), Err(WrongEmbedding::NoDirection)));
        assert!(matches!(Embedding::mean_of(&[axis(0, f32::NAN)]), Err(WrongEmbedding::NoDirection)));
        assert!(matches!(Embedding::mean_of(&[vec![1.0]]), Err(WrongEmbedding::Size { bytes: 4 })));
        assert!(matches!(Embedding::from_bytes(&[0; 5119]), Err(WrongEmbedding::Size { .. })));
        assert!(matches!(Embedding::from_bytes(&[0; 5120]), Err(WrongEmbedding::Length { .. })));
    }
}
