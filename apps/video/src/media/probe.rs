//! The format of a video.

use std::cmp::Reverse;
use std::path::Path;

use serde::Deserialize;

use super::error::MediaError;
use super::ffmpeg::{Ffmpeg, Video, explain_failure};
use super::limits::MAX_PIXELS;
use super::process::run;
use super::reason::{ENCRYPTED, too_large};

/// ffprobe's answer has some kilobytes; a file with thousands of streams is rejected instead of held in memory.
const MAX_PROBE_BYTES: usize = 1024 * 1024;

/// ffprobe's facts about a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Length in seconds, from the first picture or sound on; `None` if the container does not say, or says nonsense.
    pub duration_secs: Option<f64>,
    /// Width in pixels as shown, that is, after the rotation that a phone asks for.
    pub width_px: u32,
    /// Height in pixels as shown.
    pub height_px: u32,
    /// The picture's codec in ffmpeg's words: `h264`, `vp9`, …
    pub codec: String,
    /// Frames a second on average; `None` if the container does not say.
    pub frame_rate: Option<f64>,
    /// Whether there is a sound track.
    pub has_sound: bool,
    /// The index of the picture's stream: a cover picture can come before it.
    pub(super) picture_stream: u32,
    /// When the picture should end, on the same scale as the duration.
    pub(super) picture_end_secs: Option<f64>,
}

impl Ffmpeg {
    /// Asks ffprobe about `video`.
    ///
    /// # Errors
    /// See [`MediaError`]; a file without a picture is [`MediaError::NoPicture`].
    pub async fn probe(&self, video: &Path) -> Result<Probe, MediaError> {
        let video = Video::open(video).await?;
        let arguments = ["-of", "json", "-show_entries", ENTRIES, "-read_intervals", FIRST_PACKETS];
        let mut json = Vec::new();
        let finished = run(&self.ffprobe(&arguments, &video)?, |bytes| {
            if json.len() < MAX_PROBE_BYTES {
                json.extend_from_slice(bytes);
            }
        })
        .await?;
        if !finished.succeeded {
            return Err(explain_failure(&finished, &video).await);
        }
        if json.len() >= MAX_PROBE_BYTES {
            return Err(MediaError::Rejected { message: "has too many streams".to_owned() });
        }
        let answer: Answer = serde_json::from_slice(&json)
            .map_err(|error| MediaError::Rejected { message: format!("ffprobe's answer cannot be read: {error}") })?;
        answer.into_probe()
    }
}

const ENTRIES: &str = "format=duration,start_time,format_name\
    :stream=index,codec_type,codec_name,width,height,avg_frame_rate,start_time,duration,nb_frames\
    :stream_disposition=attached_pic,default,still_image,timed_thumbnails:stream_side_data=rotation\
    :stream_tags=DURATION:packet=stream_index:packet_side_data=side_data_type";

/// Enough to tell a film from a single picture beside it: a second of sound and picture.
const FIRST_PACKETS: &str = "%+#100";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    packets: Vec<Packet>,
}

#[derive(Deserialize, Default)]
struct Format {
    #[serde(default)]
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    index: u32,
    codec_type: Option<String>,
    codec_name: Option<String>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    avg_frame_rate: Option<String>,
    start_time: Option<String>,
    duration: Option<String>,
    nb_frames: Option<String>,
    #[serde(default)]
    disposition: Disposition,
    #[serde(default)]
    side_data_list: Vec<SideData>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize, Default)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
    #[serde(default)]
    default: u8,
    #[serde(default)]
    still_image: u8,
    #[serde(default)]
    timed_thumbnails: u8,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
    side_data_type: Option<String>,
}

#[derive(Deserialize, Default)]
struct Tags {
    /// When the stream ends, in Matroska's form: `00:00:16.160000000`.
    #[serde(rename = "DURATION")]
    duration: Option<String>,
}

#[derive(Deserialize)]
struct Packet {
    stream_index: Option<u32>,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

impl Answer {
    fn into_probe(self) -> Result<Probe, MediaError> {
        let picture = self.picture()?;
        let pixels = u64::from(picture.width) * u64::from(picture.height);
        if pixels > MAX_PIXELS {
            let message = too_large(u64::from(picture.width), u64::from(picture.height));
            return Err(MediaError::Rejected { message });
        }
        if self.is_encrypted(picture.index) {
            return Err(MediaError::Rejected { message: ENCRYPTED.to_owned() });
        }
        let duration_secs = self.duration_secs().or(positive(picture.duration.as_deref()));
        let end_secs = picture.end_secs().map(|end| end - self.start_secs());
        let (width_px, height_px) = picture.shown_size();
        Ok(Probe {
            duration_secs,
            width_px,
            height_px,
            codec: picture.codec_name.clone().unwrap_or_else(|| "unknown".to_owned()),
            frame_rate: picture.avg_frame_rate.as_deref().and_then(ratio),
            has_sound: self.has_sound(),
            picture_stream: picture.index,
            picture_end_secs: duration_secs.map(|whole| end_secs.map_or(whole, |end| end.min(whole))),
        })
    }

    fn has_sound(&self) -> bool {
        self.streams.iter().any(|stream| stream.is("audio"))
    }

    /// The largest moving stream, among those shown by default if there are any.
    fn picture(&self) -> Result<&Stream, MediaError> {
        let pictures = || self.streams.iter().filter(|stream| stream.is("video"));
        let area = |stream: &Stream| u64::from(stream.width) * u64::from(stream.height);
        let rank = |stream: &&Stream| {
            (self.moves(stream), stream.disposition.default != 0, area(stream), Reverse(stream.index))
        };
        pictures().filter(|stream| !stream.is_cover()).max_by_key(rank).ok_or_else(|| {
            let message = match (pictures().next().is_some(), self.has_sound()) {
                (true, true) => "has sound and a cover picture only",
                (true, false) => "has a cover picture only",
                (false, true) => "has sound but no picture",
                (false, false) => "has neither picture nor sound",
            };
            MediaError::NoPicture { message: message.to_owned() }
        })
    }

    /// Whether this is more than a single picture, as far as the container or the first packets show.
    fn moves(&self, stream: &Stream) -> bool {
        let frames = stream.nb_frames.as_deref().and_then(|frames| frames.parse::<u64>().ok());
        let read = self.packets.iter().filter(|packet| packet.stream_index == Some(stream.index)).count();
        frames.map_or(read > 1, |frames| frames > 1)
    }

    fn is_encrypted(&self, stream: u32) -> bool {
        let of_stream = self.packets.iter().filter(|packet| packet.stream_index == Some(stream));
        let mut side_data = of_stream.flat_map(|packet| &packet.side_data_list);
        side_data.any(|data| data.side_data_type.as_deref().is_some_and(|kind| kind.starts_with("Encryption")))
    }

    fn start_secs(&self) -> f64 {
        number(self.format.start_time.as_deref()).unwrap_or(0.0)
    }

    /// Without the time before the first picture or sound, which some containers count.
    fn duration_secs(&self) -> Option<f64> {
        let told = positive(self.format.duration.as_deref())?;
        let is = |name: &str| self.format.format_name.split(',').any(|known| known == name);
        let secs = if is("matroska") {
            told - self.start_secs().max(0.0)
        } else if is("mov") {
            let media = || self.streams.iter().filter(|stream| stream.is("video") || stream.is("audio"));
            let ends: Vec<f64> = media().filter_map(Stream::end_secs).collect();
            let last = ends.iter().copied().fold(f64::MIN, f64::max) - self.start_secs();
            if ends.len() == media().count() { told.min(last) } else { told }
        } else {
            told
        };
        (secs > 0.0).then_some(secs)
    }
}

impl Stream {
    fn is(&self, kind: &str) -> bool {
        self.codec_type.as_deref() == Some(kind)
    }

    fn is_cover(&self) -> bool {
        let of = &self.disposition;
        of.attached_pic != 0 || of.still_image != 0 || of.timed_thumbnails != 0
    }

    /// Its end, on the container's clock.
    fn end_secs(&self) -> Option<f64> {
        let by_duration = || Some(number(self.start_time.as_deref())? + positive(self.duration.as_deref())?);
        by_duration().or_else(|| clock(self.tags.duration.as_deref()?))
    }

    fn shown_size(&self) -> (u32, u32) {
        let quarter_turned = self
            .side_data_list
            .iter()
            .filter_map(|data| data.rotation)
            .any(|degrees| (degrees.abs() % 180.0 - 90.0).abs() < 45.0);
        if quarter_turned { (self.height, self.width) } else { (self.width, self.height) }
    }
}

fn number(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|value: &f64| value.is_finite())
}

fn positive(text: Option<&str>) -> Option<f64> {
    number(text).filter(|value| *value > 0.0)
}

/// `00:01:16.160` in seconds.
fn clock(text: &str) -> Option<f64> {
    let mut secs = 0.0;
    for part in text.split(':') {
        secs = secs * 60.0 + number(Some(part))?;
    }
    (secs > 0.0).then_some(secs)
}

/// `30000/1001` as a number; ffprobe writes `0/0` for unknown.
fn ratio(text: &str) -> Option<f64> {
    let (over, under) = text.split_once('/')?;
    let value = over.parse::<f64>().ok()? / under.parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(json: &str) -> Result<Probe, MediaError> {
        serde_json::from_str::<Answer>(json).unwrap().into_probe()
    }

    #[test]
    fn a_cover_is_no_picture_and_is_not_mistaken_for_it() {
        let cover = r#"{"index":0,"codec_type":"video","codec_name":"mjpeg","disposition":{"attached_pic":1}}"#;
        let sound = r#"{"index":1,"codec_type":"audio","codec_name":"aac"}"#;
        let picture = r#"{"index":2,"codec_type":"video","codec_name":"vp9","width":8,"height":6}"#;
        for (streams, reason) in [
            (format!("{cover},{sound}"), "has sound and a cover picture only"),
            (cover.to_owned(), "has a cover picture only"),
            (sound.to_owned(), "has sound but no picture"),
            (String::new(), "has neither picture nor sound"),
        ] {
            let error = probe(&format!(r#"{{"streams":[{streams}]}}"#)).unwrap_err();
            assert!(matches!(&error, MediaError::NoPicture { message } if message == reason), "{error:?}");
        }
        let found = probe(&format!(r#"{{"streams":[{cover},{sound},{picture}]}}"#)).unwrap();
        assert_eq!((found.picture_stream, found.codec.as_str(), found.has_sound), (2, "vp9", true));
    }

    #[test]
    fn a_phone_held_upright_is_higher_than_wide() {
        let found = probe(
            r#"{"streams":[{"index":0,"codec_type":"video","width":1920,"height":1080,
                "side_data_list":[{"rotation":-90}]}]}"#,
        )
        .unwrap();
        assert_eq!((found.width_px, found.height_px), (1080, 1920));
    }

    #[test]
    fn what_is_unknown_or_nonsense_is_none() {
        let found = probe(
            r#"{"streams":[{"index":0,"codec_type":"video","avg_frame_rate":"0/0","duration":"N/A"}],
                "format":{"duration":"-3.0"}}"#,
        )
        .unwrap();
        assert_eq!((found.duration_secs, found.frame_rate), (None, None));
    }

    #[test]
    fn the_picture_is_the_largest_stream_that_moves_and_is_shown_by_default() {
        let stream = |index: u32, side: u32, frames: u32, default: u8| {
            format!(
                r#"{{"index":{index},"codec_type":"video","width":{side},"height":{side},"nb_frames":"{frames}",
                    "disposition":{{"default":{default}}}}}"#
            )
        };
        let chosen =
            |streams: &[String]| probe(&format!(r#"{{"streams":[{}]}}"#, streams.join(","))).unwrap().picture_stream;
        assert_eq!(chosen(&[stream(0, 900, 1, 1), stream(1, 100, 50, 1), stream(2, 300, 50, 1)]), 2);
        assert_eq!(chosen(&[stream(0, 100, 50, 1), stream(1, 300, 50, 0)]), 0);
        assert_eq!(chosen(&[stream(0, 100, 50, 0), stream(1, 300, 50, 0)]), 1);
        assert_eq!(chosen(&[stream(0, 300, 50, 1), stream(1, 300, 50, 1)]), 0);
    }

    #[test]
    fn a_start_time_is_no_part_of_the_duration() {
        let of = |format: &str, stream: &str| {
            let json = format!(
                r#"{{"streams":[{{"index":0,"codec_type":"video",{stream}}}],
                    "format":{{"format_name":"{format}","start_time":"10.0","duration":"16.0"}}}}"#
            );
            let probe = probe(&json).unwrap();
            (probe.duration_secs, probe.picture_end_secs)
        };
        assert_eq!(of("mov,mp4", r#""start_time":"10.0","duration":"6.0""#), (Some(6.0), Some(6.0)));
        assert_eq!(of("matroska,webm", r#""tags":{"DURATION":"00:00:14.000"}"#), (Some(6.0), Some(4.0)));
        assert_eq!(of("mpegts", r#""start_time":"10.0","duration":"15.5""#), (Some(16.0), Some(15.5)));
    }

    #[test]
    fn a_picture_beyond_the_limit_is_refused_with_its_size() {
        let error =
            probe(r#"{"streams":[{"index":0,"codec_type":"video","width":65535,"height":65535}]}"#).unwrap_err();
        assert!(error.to_string().starts_with("65535×65535 pixels are more than"), "{error}");
    }
}
