//! Evenly spaced frames from a stream of unknown length.

use super::frame::{FRAME_BYTES, Frame, FrameCount};

/// How many frames are held for each wanted one. Once the stream was long enough, at least half of them are held, so
/// that the final choice has at least two candidates for each.
const HELD_PER_WANTED: usize = 4;

/// Takes raw frames as they come, and holds a few that are evenly spaced over all of them.
///
/// Every `step`-th frame is held; when there is no more room, every other one is dropped and the step doubles. Memory
/// is the same for a second of video and for an hour.
#[derive(Debug)]
pub(super) struct EvenSample {
    wanted: usize,
    held: Vec<Vec<u8>>,
    step: u64,
    /// How many whole frames have come.
    seen: u64,
    /// The incomplete frame.
    partial: Vec<u8>,
}

impl EvenSample {
    pub(super) fn new(wanted: FrameCount) -> Self {
        Self { wanted: wanted.get(), held: Vec::new(), step: 1, seen: 0, partial: Vec::new() }
    }

    /// The next bytes of the stream.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let missing = (FRAME_BYTES - self.partial.len()).min(bytes.len());
            let (now, later) = bytes.split_at(missing);
            self.partial.extend_from_slice(now);
            bytes = later;
            if self.partial.len() == FRAME_BYTES {
                self.push_frame();
            }
        }
    }

    fn push_frame(&mut self) {
        if self.seen.is_multiple_of(self.step) {
            if self.held.len() == self.wanted * HELD_PER_WANTED {
                let mut index = 0;
                self.held.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.step *= 2;
            }
            // The room is an even number, so that the frame that finds it full is a multiple of the doubled step as
            // well.
            self.held.push(std::mem::take(&mut self.partial));
        } else {
            self.partial.clear();
        }
        self.seen += 1;
    }

    /// The frames in the middle of each of as many equal parts as were wanted, or all if there are no more than that.
    pub(super) fn finish(self) -> Vec<Frame> {
        let count = self.held.len();
        if count <= self.wanted {
            return self.held.into_iter().filter_map(|bytes| Frame::from_rgb24(bytes).ok()).collect();
        }
        let mut chosen = (0..self.wanted).map(|part| (2 * part + 1) * count / (2 * self.wanted)).peekable();
        let mut frames = Vec::with_capacity(self.wanted);
        for (index, bytes) in self.held.into_iter().enumerate() {
            if chosen.next_if_eq(&index).is_some() {
                frames.extend(Frame::from_rgb24(bytes).ok());
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the chosen frames out of `total`; each frame holds its own number.
    fn chosen(total: u32, wanted: usize, piece_bytes: usize) -> Vec<u32> {
        let mut sample = EvenSample::new(FrameCount::new(wanted).unwrap());
        for number in 0..total {
            let frame: Vec<u8> = number.to_le_bytes().iter().copied().cycle().take(FRAME_BYTES).collect();
            frame.chunks(piece_bytes).for_each(|piece| sample.push(piece));
        }
        sample.finish().iter().map(|f| u32::from_le_bytes(f.as_rgb24()[..4].try_into().unwrap())).collect()
    }

    #[test]
    fn fewer_frames_than_wanted_are_all_taken() {
        assert_eq!(chosen(0, 8, 65_536), Vec::<u32>::new());
        assert_eq!(chosen(1, 8, 65_536), [0]);
        assert_eq!(chosen(8, 8, 65_536), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn frames_lie_in_the_middle_of_equal_parts() {
        assert_eq!(chosen(16, 8, 65_536), [1, 3, 5, 7, 9, 11, 13, 15]);
        assert_eq!(chosen(80, 4, 1 << 20), [10, 30, 50, 70].map(|n: u32| n - n % 8));
    }

    #[test]
    fn any_length_gives_as_many_as_wanted_and_evenly() {
        for total in [9_u32, 31, 32, 33, 34, 63, 64, 65, 100, 257] {
            let frames = chosen(total, 8, FRAME_BYTES);
            assert_eq!(frames.len(), 8, "of {total}");
            let part = total.div_ceil(8);
            for (index, pair) in frames.windows(2).enumerate() {
                let gap = pair[1] - pair[0];
                assert!(gap >= 1 && gap <= part * 2, "of {total}: gap {gap} after {index}: {frames:?}");
            }
        }
    }
}
