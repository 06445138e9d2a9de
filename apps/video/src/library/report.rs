//! One video, in the form for the command's tables.

use std::os::unix::ffi::OsStrExt as _;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::media::path_from_text;

/// The facts about a video.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct VideoReport {
    /// The key.
    pub video_id: String,
    /// The path of its file, as [`path_to_text`](crate::media::path_to_text) writes it; in JSON as it is, see
    /// [`path_json`].
    #[serde(flatten, serialize_with = "serialize_path")]
    pub path: Option<String>,
    /// Its status word.
    pub status: String,
    /// Counted failures.
    pub retry_count: i32,
    /// Times that it was taken back from a stopped worker.
    pub reset_count: i32,
    /// The last error; a video may have succeeded after it.
    pub error: Option<String>,
    /// Its length, if the file says.
    pub duration_secs: Option<f64>,
    /// Width of the picture; `None`, like the following fields, before EXTRACTION has succeeded.
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
    /// A defect of a video that succeeded nevertheless: `decoded 6.0 of 12.0 s`.
    pub note: Option<String>,
    /// How long EXTRACTION took.
    pub extraction_secs: Option<f64>,
    /// How long EMBEDDING took; `None` before it has succeeded.
    pub embedding_secs: Option<f64>,
}

/// A stored path for JSON: `path` is the path as it is. A path that is not UTF-8 has �s there, and its bytes in
/// `path_hex`.
pub fn path_json(stored: Option<&str>) -> Map<String, Value> {
    let path = stored.map(path_from_text);
    let exact = path.as_deref().is_none_or(|path| path.to_str().is_some());
    let hex =
        |path: &std::path::PathBuf| path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut fields = Map::new();
    fields.insert("path".to_owned(), path.as_ref().map(|path| path.to_string_lossy().into_owned()).into());
    if !exact {
        fields.insert("path_hex".to_owned(), path.as_ref().map(hex).map_or(Value::Null, Value::String));
    }
    fields
}

#[expect(clippy::ref_option, reason = "what serde hands over")]
fn serialize_path<S: Serializer>(stored: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    path_json(stored.as_deref()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_json_is_exact() {
        assert_eq!(path_json(Some("/a/100%2525.mp4"))["path"], "/a/100%25.mp4");
        let bytes = path_json(Some("/a%FF"));
        assert_eq!((&bytes["path"], &bytes["path_hex"]), (&"/a\u{fffd}".into(), &"2f61ff".into()));
        assert_eq!(path_json(None)["path"], Value::Null);
    }
}
