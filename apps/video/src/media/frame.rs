//! A frame, and how many of them are taken of a video.

use std::fmt;
use std::str::FromStr;

/// Width and height of a frame: the input size of the image model.
pub const FRAME_SIDE_PX: usize = 224;

/// Size of a frame: red, green and blue, a byte each, row by row.
pub const FRAME_BYTES: usize = FRAME_SIDE_PX * FRAME_SIDE_PX * 3;

/// Enough to tell scenes apart in a clip, at the cost of half a second of the image model's time.
pub const DEFAULT_FRAMES: usize = 8;

/// Sixty-four frames are 10 MB to keep; more would not change a mean.
pub const MAX_FRAMES: usize = 64;

/// One picture of a video, scaled to 224×224, RGB.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

/// Bytes that are not a frame.
#[derive(Debug, thiserror::Error)]
#[error("a frame has {FRAME_BYTES} bytes, not {bytes}")]
pub struct WrongFrame {
    bytes: usize,
}

impl Frame {
    /// A frame from the bytes of [`as_rgb24`](Self::as_rgb24).
    ///
    /// # Errors
    /// Not exactly [`FRAME_BYTES`].
    pub fn from_rgb24(bytes: Vec<u8>) -> Result<Self, WrongFrame> {
        if bytes.len() == FRAME_BYTES { Ok(Self(bytes)) } else { Err(WrongFrame { bytes: bytes.len() }) }
    }

    /// Red, green and blue, a byte each, row by row from the top left.
    pub fn as_rgb24(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes, owned.
    pub fn into_rgb24(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Frame(224x224)")
    }
}

/// How many frames to take: 1 to [`MAX_FRAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCount(usize);

/// A number of frames outside the limits.
#[derive(Debug, thiserror::Error)]
#[error("the number of frames must be 1 to {MAX_FRAMES}")]
pub struct WrongFrameCount;

impl FrameCount {
    pub(super) const ONE: Self = Self(1);

    /// # Errors
    /// Zero, or more than [`MAX_FRAMES`].
    pub fn new(count: usize) -> Result<Self, WrongFrameCount> {
        if (1..=MAX_FRAMES).contains(&count) { Ok(Self(count)) } else { Err(WrongFrameCount) }
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for FrameCount {
    fn default() -> Self {
        Self(DEFAULT_FRAMES)
    }
}

impl FromStr for FrameCount {
    type Err = WrongFrameCount;

    fn from_str(text: &str) -> Result<Self, WrongFrameCount> {
        Self::new(text.parse().map_err(|_| WrongFrameCount)?)
    }
}

impl fmt::Display for FrameCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_count_has_limits() {
        assert!("0".parse::<FrameCount>().is_err());
        assert!("65".parse::<FrameCount>().is_err());
        assert!("many".parse::<FrameCount>().is_err());
        assert_eq!("64".parse::<FrameCount>().unwrap().get(), 64);
        assert_eq!(FrameCount::default().get(), 8);
    }

    #[test]
    fn bytes_of_another_size_are_no_frame() {
        assert!(Frame::from_rgb24(vec![0; FRAME_BYTES - 1]).is_err());
        assert!(Frame::from_rgb24(vec![0; FRAME_BYTES]).is_ok());
    }
}
