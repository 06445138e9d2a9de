//! A video's path as text: the id that people type, and a form that a text column can hold.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The readable part of an id is cut here, so that an id fits half a screen.
const MAX_STEM_CHARS: usize = 16;

/// Sixteen bytes: no one can construct two paths with one id, and chance will not.
const HASH_BYTES: usize = 16;

/// The characters of base 32: five bits each, none of which looks like another.
const BASE_32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The id of the video at `path`: its name made plain, and a hash of the whole path, as in
/// `bikes-mfrggzdfmztwq2lknnwg23tpo4`.
///
/// Depends on the path alone, so that a changed file keeps its id; pass the path as [`discover`] returns it (absolute,
/// without symlinks). Contains only `a-z`, `0-9` and `-`, and so needs no quoting anywhere.
///
/// [`discover`]: super::discover
pub fn video_id(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut id = String::new();
    for character in stem.chars().take(MAX_STEM_CHARS) {
        match character.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => id.push(plain),
            _ if id.is_empty() || id.ends_with('-') => {}
            _ => id.push('-'),
        }
    }
    let stem = id.trim_end_matches('-');
    let hash = base_32(&Sha256::digest(path.as_os_str().as_bytes())[..HASH_BYTES]);
    if stem.is_empty() { format!("video-{hash}") } else { format!("{stem}-{hash}") }
}

/// `path` as text, which [`path_from_text`] turns back into the same path.
///
/// File names are bytes, text columns are UTF-8: bytes that are not UTF-8 are written `%XX`, and `%` itself `%25`.
/// Every other path stays as it is.
pub fn path_to_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The path that [`path_to_text`] wrote. A `%` without two hexadecimal digits after it stands for itself, so that a
/// path typed by hand works too.
pub fn path_from_text(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.to_ascii_uppercase().wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Lower-case base 32, without padding.
fn base_32(bytes: &[u8]) -> String {
    let bits = bytes.len() * 8;
    let bit = |index: usize| bytes.get(index / 8).map_or(0, |byte| usize::from(byte >> (7 - index % 8) & 1));
    (0..bits.div_ceil(5))
        .map(|digit| char::from(BASE_32[(0..5).fold(0, |value, offset| value << 1 | bit(digit * 5 + offset))]))
        .collect()
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_stable_and_differ_by_folder() {
        let id = video_id(Path::new("/films/A 'very' odd\nname — ünï.mp4"));
        assert!(id.starts_with("a-very-odd-nam-"), "{id}");
        assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{id}");
        assert_eq!(id, video_id(Path::new("/films/A 'very' odd\nname — ünï.mp4")));
        assert_ne!(video_id(Path::new("/a/x.mp4")), video_id(Path::new("/b/x.mp4")));
        assert!(video_id(Path::new("/films/--.mp4")).starts_with("video-"));
    }

    #[test]
    fn an_id_holds_128_bits_of_its_path_and_fits_half_a_screen() {
        let id = video_id(Path::new(&format!("/films/{}.mp4", "long name ".repeat(20))));
        let (stem, hash) = id.rsplit_once('-').unwrap();
        assert_eq!((stem, hash.len()), ("long-name-long-n", 26));
        assert_eq!(base_32(b"fooba"), "mzxw6ytb");
        assert_eq!(base_32(b"foob"), "mzxw6yq");
    }

    #[test]
    fn every_path_survives_the_way_through_text() {
        let names: [&[u8]; 6] =
            [b"/a/b.mp4", b"/a/100%.mp4", b"/a/%41.mp4", b"/a/\xff\xfe.mp4", "/a/ü\n'\".mp4".as_bytes(), b"-"];
        for name in names {
            let path = PathBuf::from(OsString::from_vec(name.to_vec()));
            assert_eq!(path_from_text(&path_to_text(&path)), path);
        }
        assert_eq!(path_to_text(Path::new("/a/ü b.mp4")), "/a/ü b.mp4");
        assert_eq!(path_from_text("/a/50% of it.mp4"), Path::new("/a/50% of it.mp4"));
    }
}
