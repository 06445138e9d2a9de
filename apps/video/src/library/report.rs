//! One video, as the tables of the command show it.

use serde::Serialize;

/// What is known about a video.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct VideoReport {
    /// The key.
    pub video_id: String,
    /// Where its file is.
    pub path: Option<String>,
    /// Its status word.
    pub status: String,
    /// Failures that were counted.
    pub retry_count: i32,
    /// Times that it was taken back from a worker that stopped.
    pub reset_count: i32,
    /// The last error; a video may have succeeded after it.
    pub error: Option<String>,
    /// Length, if the file says.
    pub duration_secs: Option<f64>,
    /// Width of the picture; `None`, like all that follows, before EXTRACTION has succeeded.
    pub width_px: Option<i32>,
    /// Height of the picture.
    pub height_px: Option<i32>,
    /// The picture's codec.
    pub codec: Option<String>,
    /// Frames a second.
    pub frame_rate: Option<f64>,
    /// Whether there is a sound track.
    pub has_sound: Option<bool>,
    /// How many frames were taken.
    pub frame_count: Option<i32>,
    /// How long EXTRACTION took.
    pub extraction_secs: Option<f64>,
    /// How long EMBEDDING took; `None` before it has succeeded.
    pub embedding_secs: Option<f64>,
}
