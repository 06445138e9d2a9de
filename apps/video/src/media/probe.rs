//! What a video is made of.

use std::path::Path;

use serde::Deserialize;

use super::error::MediaError;
use super::ffmpeg::{Ffmpeg, check_is_there, explain_failure};
use super::process::run;

/// ffprobe's answer is some kilobytes; a file with thousands of streams is refused rather than held in
/// memory.
const MAX_PROBE_BYTES: usize = 1024 * 1024;

/// What ffprobe says about a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Length in seconds; `None` where the container does not say, or says nonsense.
    pub duration_secs: Option<f64>,
    /// Width in pixels as it is shown, that is, after the rotation a phone asks for.
    pub width_px: u32,
    /// Height in pixels as it is shown.
    pub height_px: u32,
    /// The picture's codec in ffmpeg's words: `h264`, `vp9`, …
    pub codec: String,
    /// Frames a second on average; `None` where the container does not say.
    pub frame_rate: Option<f64>,
    /// Whether there is a sound track.
    pub has_sound: bool,
    /// Which stream the picture is: a cover picture can come before it.
    pub(super) picture_stream: u32,
}

impl Ffmpeg {
    /// Asks ffprobe about `video`.
    ///
    /// # Errors
    /// See [`MediaError`]; a file without a picture is [`MediaError::NoPicture`].
    pub async fn probe(&self, video: &Path) -> Result<Probe, MediaError> {
        check_is_there(video).await?;
        let arguments = ["-of", "json", "-show_entries", ENTRIES];
        let mut json = Vec::new();
        let finished = run(&self.ffprobe(&arguments, video), |bytes| {
            if json.len() < MAX_PROBE_BYTES {
                json.extend_from_slice(bytes);
            }
        })
        .await?;
        if !finished.succeeded {
            return Err(explain_failure(&finished, video).await);
        }
        let answer: Answer = serde_json::from_slice(&json)
            .map_err(|error| MediaError::Rejected { message: format!("ffprobe's answer cannot be read: {error}") })?;
        match answer.into_probe() {
            Some(probe) => Ok(probe),
            None => Err(self.explain_no_picture(video).await),
        }
    }

    /// Lets ffmpeg itself say that there is nothing to see: ffprobe is content with sound alone.
    async fn explain_no_picture(&self, video: &Path) -> MediaError {
        let output = ["-map", "0:V?", "-frames:v", "1", "-f", "rawvideo"];
        match run(&self.ffmpeg(video, None, &output), |_| {}).await {
            Ok(finished) => MediaError::NoPicture { message: super::ffmpeg::last_line(&finished.stderr, video) },
            Err(error) => error,
        }
    }
}

const ENTRIES: &str = "format=duration:stream=index,codec_type,codec_name,width,height,avg_frame_rate,duration\
    :stream_disposition=attached_pic:stream_side_data=rotation";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, Default)]
struct Format {
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
    duration: Option<String>,
    #[serde(default)]
    disposition: Disposition,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize, Default)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl Answer {
    fn into_probe(self) -> Option<Probe> {
        let has_sound = self.streams.iter().any(|stream| stream.is("audio"));
        let picture = self.streams.into_iter().find(|stream| stream.is("video") && !stream.is_cover())?;
        let (width_px, height_px) = picture.shown_size();
        Some(Probe {
            duration_secs: positive(self.format.duration.as_deref()).or(positive(picture.duration.as_deref())),
            width_px,
            height_px,
            codec: picture.codec_name.unwrap_or_else(|| "unknown".to_owned()),
            frame_rate: picture.avg_frame_rate.as_deref().and_then(ratio),
            has_sound,
            picture_stream: picture.index,
        })
    }
}

impl Stream {
    fn is(&self, kind: &str) -> bool {
        self.codec_type.as_deref() == Some(kind)
    }

    fn is_cover(&self) -> bool {
        self.disposition.attached_pic != 0
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

fn positive(number: Option<&str>) -> Option<f64> {
    number?.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
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

    fn probe(json: &str) -> Option<Probe> {
        serde_json::from_str::<Answer>(json).unwrap().into_probe()
    }

    #[test]
    fn a_cover_is_no_picture_and_is_not_mistaken_for_it() {
        let cover = r#"{"index":0,"codec_type":"video","codec_name":"mjpeg","disposition":{"attached_pic":1}}"#;
        let sound = r#"{"index":1,"codec_type":"audio","codec_name":"aac"}"#;
        let picture = r#"{"index":2,"codec_type":"video","codec_name":"vp9","width":8,"height":6}"#;
        assert_eq!(probe(&format!(r#"{{"streams":[{cover},{sound}]}}"#)), None);
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
}
