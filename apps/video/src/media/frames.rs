//! What a video shows: a few frames evenly spaced over its length, and a thumbnail.

use std::path::Path;

use super::coverage::{self, Coverage, Shortfall};
use super::error::MediaError;
use super::ffmpeg::{Ffmpeg, Video, explain_failure};
use super::frame::{FRAME_SIDE_PX, Frame, FrameCount};
use super::limits::MAX_SIDE_PX;
use super::probe::Probe;
use super::process::{Finished, run, run_and_hear};
use super::sampling::EvenSample;

/// From this length on, jumping to each frame is quicker than decoding everything in between.
const SEEK_FROM_SECS: f64 = 60.0;

/// How far a jump searches for a frame. If the frame comes later, everything is decoded, which shows whether something
/// is missing there.
const SEEK_WINDOW_SECS: &str = "10";

/// The position, besides those of the wanted frames, at which a long film is checked for an early end.
const NEAR_THE_END: f64 = 0.95;

/// How many frames are let through for each wanted one, if the length is known: this keeps a short clip of many frames
/// from being scaled and piped whole.
const CANDIDATES_PER_FRAME: usize = 4;

/// Longest side of the thumbnail.
const THUMBNAIL_SIDE_PX: u32 = 320;

/// A JPEG of the thumbnail's size has some 20 KB; nothing larger is kept.
const MAX_THUMBNAIL_BYTES: usize = 1024 * 1024;

/// The result of [`Ffmpeg::extract`].
#[derive(Debug, Clone)]
pub struct Extraction {
    /// In the order of time; at least one, at most as many as wanted.
    pub frames: Vec<Frame>,
    /// A JPEG from the middle, at most 320 pixels on its longer side, with the video's own proportions.
    pub thumbnail_jpeg: Vec<u8>,
    /// How much could be decoded of a film that ends early or is damaged in the middle.
    pub shortfall: Option<Shortfall>,
}

impl Ffmpeg {
    /// Takes `wanted` frames, each from the middle of one of as many equal parts of the video, and a thumbnail.
    ///
    /// Fewer frames come only from a video that has fewer, or of which fewer can be decoded (a file that is cut off);
    /// never none. In a video of more than a minute, extraction jumps to each frame. A shorter video, or one whose
    /// length is unknown or wrong, is decoded from beginning to end, once or twice, in constant memory. If frames come
    /// at irregular times, they are spaced by time as far as there are enough of them, otherwise by number.
    ///
    /// # Errors
    /// See [`MediaError`]. No frame at all is [`MediaError::Rejected`].
    pub async fn extract(&self, video: &Path, probe: &Probe, wanted: FrameCount) -> Result<Extraction, MediaError> {
        let video = Video::open(video).await?;
        let mut shortfall = None;
        let mut frames = match probe.duration_secs {
            Some(duration) if duration > SEEK_FROM_SECS => self.seek_frames(&video, probe, wanted, duration).await?,
            Some(duration) => {
                let decoded = self.decode_frames(&video, probe, wanted, Some(duration)).await?;
                shortfall = decoded.shortfall;
                decoded.frames
            }
            None => Vec::new(),
        };
        if frames.len() < wanted.get() {
            // The length was unknown or wrong, or the video is short: now without relying on it.
            let whole = self.decode_frames(&video, probe, wanted, None).await?;
            shortfall = whole.shortfall;
            if whole.frames.len() > frames.len() {
                frames = whole.frames;
            }
            if frames.is_empty() {
                return Err(explain_failure(&whole.finished, &video).await);
            }
        }
        let thumbnail_jpeg = self.thumbnail(&video, probe).await?;
        Ok(Extraction { frames, thumbnail_jpeg, shortfall })
    }

    /// One process for each frame. If a position cannot be decoded, the result has too few of them.
    async fn seek_frames(
        &self,
        video: &Video,
        probe: &Probe,
        wanted: FrameCount,
        duration_secs: f64,
    ) -> Result<Vec<Frame>, MediaError> {
        let picture_secs = probe.picture_end_secs.unwrap_or(duration_secs);
        let at_the_end = self.frame_at(video, probe, NEAR_THE_END * picture_secs).await?;
        if at_the_end.is_none() {
            return Ok(Vec::new());
        }
        let mut frames = Vec::with_capacity(wanted.get());
        for part in middles(wanted) {
            frames.extend(self.frame_at(video, probe, part * duration_secs).await?);
        }
        Ok(frames)
    }

    async fn frame_at(&self, video: &Video, probe: &Probe, at_secs: f64) -> Result<Option<Frame>, MediaError> {
        let (map, scale) = (picture_map(probe), scale_filter());
        let output = ["-map", &map, "-t", SEEK_WINDOW_SECS, "-frames:v", "1", "-vf", &scale, "-pix_fmt", "rgb24"];
        let output = [&output[..], &["-f", "rawvideo", "pipe:1"]].concat();
        let mut sample = EvenSample::new(FrameCount::ONE);
        run(&self.ffmpeg(video, Some(at_secs), &output)?, |bytes| sample.push(bytes)).await?;
        Ok(sample.finish().pop())
    }

    /// One process that decodes everything, and reports how much that was.
    async fn decode_frames(
        &self,
        video: &Video,
        probe: &Probe,
        wanted: FrameCount,
        duration_secs: Option<f64>,
    ) -> Result<Decoded, MediaError> {
        let map = picture_map(probe);
        let mut filter = scale_filter();
        if let Some(duration) = duration_secs {
            let parts = wanted.get() * CANDIDATES_PER_FRAME;
            // The first frame of each part, by time.
            let part = |time: &str| format!("floor({time}*{parts}/{duration:.6})");
            filter = format!("select='isnan(prev_selected_t)+gt({},{})',{filter}", part("t"), part("prev_selected_t"));
        }
        let output = ["-map", &map, "-vf", &filter, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo"];
        let output = [&output[..], &["pipe:1", "-map", &map], coverage::OUTPUT].concat();
        let (mut sample, mut coverage) = (EvenSample::new(wanted), Coverage::default());
        let invocation = self.ffmpeg(video, None, &output)?;
        let finished = run_and_hear(&invocation, |bytes| sample.push(bytes), |line| coverage.push(line)).await?;
        let shortfall = coverage.shortfall(probe.picture_end_secs, !finished.stderr.is_empty());
        Ok(Decoded { frames: sample.finish(), shortfall, finished })
    }

    /// From the middle if that can be decoded, otherwise the first picture.
    async fn thumbnail(&self, video: &Video, probe: &Probe) -> Result<Vec<u8>, MediaError> {
        let map = picture_map(probe);
        let side = THUMBNAIL_SIDE_PX;
        // Square pixels first, as far as that is sensible, and never larger than the video itself.
        let filter = format!(
            "scale='clip(trunc(iw*sar),1,{MAX_SIDE_PX})':'min(ih,{MAX_SIDE_PX})',setsar=1,\
             scale='min({side},iw)':'min({side},ih)':force_original_aspect_ratio=decrease"
        );
        let output = [
            "-map",
            &map,
            "-frames:v",
            "1",
            "-vf",
            &filter,
            "-c:v",
            "mjpeg",
            "-q:v",
            "4",
            "-pix_fmt",
            "yuvj420p",
            "-f",
            "image2pipe",
            "pipe:1",
        ];
        let middle = probe.duration_secs.map(|duration| duration / 2.0);
        let mut last = None;
        for seek_secs in middle.into_iter().map(Some).chain([None]) {
            let mut jpeg = Vec::new();
            let finished = run(&self.ffmpeg(video, seek_secs, &output)?, |bytes| {
                if jpeg.len() < MAX_THUMBNAIL_BYTES {
                    jpeg.extend_from_slice(bytes);
                }
            })
            .await?;
            if finished.succeeded && jpeg.starts_with(&[0xff, 0xd8]) {
                return Ok(jpeg);
            }
            last = Some(finished);
        }
        match last {
            Some(finished) => Err(explain_failure(&finished, video).await),
            None => Err(MediaError::Rejected { message: "no picture could be decoded".to_owned() }),
        }
    }
}

struct Decoded {
    frames: Vec<Frame>,
    shortfall: Option<Shortfall>,
    finished: Finished,
}

fn picture_map(probe: &Probe) -> String {
    format!("0:{}", probe.picture_stream)
}

fn scale_filter() -> String {
    format!("scale={FRAME_SIDE_PX}:{FRAME_SIDE_PX}:flags=bicubic,setsar=1")
}

/// The middle of each of `wanted` equal parts of 0 to 1.
fn middles(wanted: FrameCount) -> impl Iterator<Item = f64> {
    let parts = u32::try_from(wanted.get()).map_or(f64::MAX, f64::from);
    (0..wanted.get()).map(move |part| (u32::try_from(part).map_or(0.0, f64::from) + 0.5) / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeks_go_to_the_middle_of_each_part() {
        let middles: Vec<f64> = middles(FrameCount::new(4).unwrap()).collect();
        assert_eq!(middles, [0.125, 0.375, 0.625, 0.875]);
    }
}
