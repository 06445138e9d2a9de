//! ffmpeg's words as a reason for people: short, the same from run to run, and never used for any decision.

use std::path::Path;

use super::limits::{MAX_PIXELS, MAX_SIDE_PX};
use super::process::MEMORY_MAX_BYTES;
use super::sniff::{head_of, is_encrypted, still_picture};

/// An error message is for a table column and a person.
const MAX_MESSAGE_CHARS: usize = 500;

/// ffmpeg's name for every video: its standard input, opened anew.
pub(super) const INPUT: &str = "file:/dev/fd/0";

/// Why ffmpeg produced nothing usable from `video`.
pub(super) fn reason(stderr: &[u8], video: &Path) -> String {
    let said = without_addresses(&String::from_utf8_lossy(stderr));
    if let Some(format) = said.lines().find_map(refused_format) {
        return refused_format_in_words(format);
    }
    let head = head_of(video).unwrap_or_default();
    if let Some(kind) = still_picture(&head) {
        return format!("is an image ({kind}) and no video");
    }
    if let Some((width, height)) = said.lines().find_map(refused_size) {
        return too_large(width, height);
    }
    if said.contains("DRM protected") || is_encrypted(&head) {
        return ENCRYPTED.to_owned();
    }
    if said.contains("Cannot allocate memory") {
        return format!("needs more than the {} GiB of memory that it is given", MEMORY_MAX_BYTES >> 30);
    }
    last_line(&said)
}

/// The picture cannot be read without a key.
pub(super) const ENCRYPTED: &str = "is encrypted";

/// The picture has more pixels than the limit.
pub(super) fn too_large(width: u64, height: u64) -> String {
    format!("{width}×{height} pixels are more than the limit of {MAX_PIXELS}, which is {MAX_SIDE_PX}×{MAX_SIDE_PX}")
}

/// ffmpeg's last words, whatever the reason was.
const LAST_WORDS: &[&str] = &["Error marking filters as finished", "Conversion failed!"];

/// ffmpeg's last informative line, without the name of its input and without characters that a text column cannot hold.
pub(super) fn last_line(said: &str) -> String {
    let said = said.replace(&format!("{INPUT}: "), "");
    let mut lines = said.lines().map(str::trim);
    let says_something = |line: &&str| !line.is_empty() && !LAST_WORDS.contains(line);
    let line = lines.rfind(says_something).unwrap_or("ffmpeg gave no reason");
    line.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

/// `[mov @ 0x55d0c8]` as `[mov]`: an address differs from run to run.
pub(super) fn without_addresses(said: &str) -> String {
    let mut parts = said.split(" @ 0x");
    let mut cleaned = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        cleaned.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    cleaned
}

/// The format in `[hls] Format not on whitelist '…'`.
fn refused_format(line: &str) -> Option<&str> {
    let (format, rest) = line.strip_prefix('[')?.split_once("] ")?;
    rest.starts_with("Format not on whitelist").then_some(format)
}

fn refused_format_in_words(format: &str) -> String {
    let image = format.strip_suffix("_pipe").or(match format {
        "image2" | "gif" | "apng" | "ico" | "webp" | "fits" => Some(format),
        _ => None,
    });
    match (image, format) {
        (Some(kind), _) => format!("is an image ({kind}) and no video"),
        (None, "hls" | "dash" | "concat" | "sdp" | "rtsp" | "imf" | "webm_dash_manifest") => {
            format!("is a list of other files ({format}) and no video")
        }
        (None, _) => format!("is of a kind that is not read as a video ({format})"),
    }
}

/// The size in `Picture size 65535x65535 is invalid`.
fn refused_size(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = line.split_once("Picture size ")?;
    let (size, _) = rest.split_once(' ')?;
    let (width, height) = size.split_once('x')?;
    let size: (u64, u64) = (width.parse().ok()?, height.parse().ok()?);
    (size.0.saturating_mul(size.1) > MAX_PIXELS).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stderr: &[u8]) -> String {
        reason(stderr, Path::new("/nowhere"))
    }

    #[test]
    fn the_last_line_is_short_and_without_the_name() {
        let stderr = b"[mov @ 0x5] moov atom not found\nfile:/dev/fd/0: Invalid data found\0 here\n\n";
        assert_eq!(of(stderr), "Invalid data found here");
        assert_eq!(of(b"no frame!\nError marking filters as finished\nConversion failed!\n"), "no frame!");
        assert_eq!(of(b""), "ffmpeg gave no reason");
        assert_eq!(of(&[b'x'; 4000]).len(), MAX_MESSAGE_CHARS);
    }

    #[test]
    fn a_reason_holds_no_address_and_so_is_the_same_each_time() {
        assert_eq!(of(b"[h264 @ 0x55d0c8a4f2c0] no frame!"), "[h264] no frame!");
        assert_eq!(of(b"[mov @ 0x1] [h264 @ 0xfe] odd @ 0x"), "[mov] [h264] odd");
    }

    #[test]
    fn what_is_known_is_said_in_words() {
        for (stderr, expected) in [
            (
                "[hls @ 0x5] Format not on whitelist 'mov'\nx: Invalid argument",
                "is a list of other files (hls) and no video",
            ),
            ("[png_pipe @ 0x5] Format not on whitelist 'mov'", "is an image (png) and no video"),
            ("[srt @ 0x5] Format not on whitelist 'mov'", "is of a kind that is not read as a video (srt)"),
            (
                "[IMGUTILS @ 0x7ffc] Picture size 65535x65535 is invalid\nlast",
                "65535×65535 pixels are more than the limit of 67108864, which is 8192×8192",
            ),
            ("[asf @ 0x5] DRM protected stream detected, decoding will likely fail!\nlast", "is encrypted"),
        ] {
            assert_eq!(of(stderr.as_bytes()), expected);
        }
    }
}
