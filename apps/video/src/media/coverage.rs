//! How much of a film was decoded: the times of its pictures, which ffmpeg reports while it decodes.

use std::fmt;

/// A second output on stderr, beside the frames: a line for each picture, in the order of time.
pub(super) const OUTPUT: &[&str] = &[
    "-vf",
    "scale=16:16:flags=neighbor",
    "-fps_mode",
    "passthrough",
    "-c:v",
    "rawvideo",
    // Whole lines, possibly with complaints between them.
    "-flush_packets",
    "1",
    "-f",
    "framecrc",
    "pipe:2",
];

/// A pause between two pictures that is longer than this, and longer than four pictures last, is a hole in a damaged
/// film.
const HOLE_MIN_SECS: f64 = 0.5;

/// A picture may end this much before its film does: sound is often longer.
const EARLY_MIN_SECS: f64 = 1.0;

/// The same, as a fraction of the film.
const EARLY_MIN_PART: f64 = 0.05;

/// A film of which less could be decoded than its stated length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortfall {
    /// How much of it was decoded.
    pub decoded_secs: f64,
    /// Its stated length.
    pub of_secs: f64,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decoded {:.1} of {:.1} s", self.decoded_secs, self.of_secs)
    }
}

/// Adds up the times of the pictures.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    secs_per_tick: Option<f64>,
    last: Option<Picture>,
    hole_secs: f64,
}

#[derive(Debug, Clone, Copy)]
struct Picture {
    at_secs: f64,
    lasts_secs: f64,
}

impl Coverage {
    /// Takes a line of stderr; false if the line is not of the second output.
    pub(super) fn push(&mut self, line: &str) -> bool {
        if let Some(base) = line.strip_prefix("#tb 0: ") {
            let ratio =
                base.trim().split_once('/').and_then(|(n, d)| Some(n.parse::<f64>().ok()? / d.parse::<f64>().ok()?));
            self.secs_per_tick = ratio.filter(|secs| secs.is_finite() && *secs > 0.0);
            return true;
        }
        if line.starts_with('#') {
            return true;
        }
        let Some(fields) = line.strip_prefix("0,") else { return false };
        // Decoding time, presentation time, duration, size, checksum.
        let numbers: Vec<f64> = fields.split(',').take(3).map_while(|field| field.trim().parse().ok()).collect();
        if let (Some(tick), &[_, at, lasts]) = (self.secs_per_tick, numbers.as_slice()) {
            self.push_picture(Picture { at_secs: at * tick, lasts_secs: lasts * tick });
        }
        true
    }

    fn push_picture(&mut self, picture: Picture) {
        if let Some(last) = self.last {
            let pause = picture.at_secs - last.at_secs;
            if pause > HOLE_MIN_SECS.max(4.0 * last.lasts_secs) {
                self.hole_secs += pause - last.lasts_secs;
            }
        }
        self.last = Some(picture);
    }

    /// What is missing of a picture that should last until `end_secs`. Holes count only if the decoder complained:
    /// otherwise they belong to the film.
    pub(super) fn shortfall(&self, end_secs: Option<f64>, complained: bool) -> Option<Shortfall> {
        let last = self.last?;
        let decoded_until = last.at_secs + last.lasts_secs;
        let end_secs = end_secs.unwrap_or(decoded_until).max(decoded_until);
        let early =
            Some(end_secs - decoded_until).filter(|secs| *secs >= EARLY_MIN_SECS.max(EARLY_MIN_PART * end_secs));
        let holes = if complained { self.hole_secs } else { 0.0 };
        let missing = early.unwrap_or(0.0) + holes;
        (missing > 0.0).then(|| Shortfall { decoded_secs: (end_secs - missing).max(0.0), of_secs: end_secs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures at 25 a second, at these times.
    fn coverage(at_secs: impl IntoIterator<Item = u32>) -> Coverage {
        let mut coverage = Coverage::default();
        assert!(coverage.push("#tb 0: 1/25"));
        for second in at_secs {
            for picture in 0..25 {
                let tick = second * 25 + picture;
                assert!(coverage.push(&format!("0, {tick:10}, {tick:10},        1,      384, 0xc802b152")));
            }
        }
        coverage
    }

    #[test]
    fn a_whole_film_lacks_nothing_though_its_sound_is_a_little_longer() {
        assert_eq!(coverage(0..12).shortfall(Some(12.5), true), None);
        assert_eq!(coverage(0..12).shortfall(None, true), None);
    }

    #[test]
    fn a_film_that_ends_early_and_one_with_a_hole_are_told() {
        let early = coverage(0..6).shortfall(Some(12.0), false).unwrap();
        assert_eq!(early.to_string(), "decoded 6.0 of 12.0 s");
        let hole = coverage((0..4).chain(8..12));
        assert_eq!(hole.shortfall(Some(12.0), true).unwrap().to_string(), "decoded 8.0 of 12.0 s");
        assert_eq!(hole.shortfall(Some(12.0), false), None, "nobody complained: it was made so");
    }

    #[test]
    fn complaints_are_left_to_others() {
        assert!(!Coverage::default().push("[h264] no frame!"));
    }
}
