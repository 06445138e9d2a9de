//! Whether a file is a video, by its first bytes or, failing that, by its name.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::Path;

use super::open::open_regular;

/// How much of a file [`looks_like_video`] needs. Every test below reads the first kilobytes: four MPEG-TS packets, or
/// the opening pages of each stream of an Ogg file.
pub(super) const HEAD_BYTES: usize = 4096;

/// The packet size of an MPEG transport stream.
const TRANSPORT_PACKET_BYTES: usize = 188;

/// Packets with a lower number are tables of the stream, which are never scrambled.
const FIRST_STREAM_PID: u16 = 0x20;

/// Names by which a file counts as a video whatever it holds, so that a broken one fails visibly and is not skipped.
/// `ts` and `mts` are left out: they are TypeScript far more often, and real transport streams are known by their
/// content.
const VIDEO_EXTENSIONS: &[&str] = &[
    "3g2", "3gp", "asf", "avi", "divx", "f4v", "flv", "ivf", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg",
    "mxf", "ogv", "rm", "rmvb", "vob", "webm", "wmv", "y4m",
];

/// Names of streams without a container. Neither their content nor their name shows for sure what they are, and their
/// length is unknown: the user names such a file directly.
const RAW_EXTENSIONS: &[&str] = &[
    "264", "265", "266", "av1", "dif", "dv", "h261", "h263", "h264", "h265", "h266", "hevc", "m1v", "mjpeg", "mjpg",
    "obu", "vc1", "vvc", "yuv",
];

/// Names of sound files whose containers also carry video: a cheap look at the content cannot tell.
const AUDIO_EXTENSIONS: &[&str] = &["aac", "flac", "m4a", "m4b", "mka", "mp3", "oga", "opus", "wav", "weba", "wma"];

/// ISO base media brands that are not video: sound, and still pictures.
const STILL_OR_SOUND_BRANDS: &[&[u8; 4]] =
    &[b"M4A ", b"M4B ", b"M4P ", b"heic", b"heix", b"mif1", b"avif", b"jxl ", b"jp2 ", b"crx "];

/// ISO base media brands of still pictures, in people's words. ffmpeg says only "invalid" about them.
const STILL_BRANDS: &[(&[u8; 4], &str)] = &[
    (b"heic", "heic"),
    (b"heix", "heic"),
    (b"mif1", "heif"),
    (b"avif", "avif"),
    (b"jxl ", "jpegxl"),
    (b"jp2 ", "jpeg2000"),
    (b"crx ", "raw"),
];

/// The first bytes of a file, up to [`HEAD_BYTES`].
pub(super) fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    open_regular(path)?.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The kind of still picture that `head` opens in the container of videos.
pub(super) fn still_picture(head: &[u8]) -> Option<&'static str> {
    let brand = head.get(8..12).filter(|_| head.get(4..8) == Some(b"ftyp"))?;
    STILL_BRANDS.iter().find(|(known, _)| brand == *known).map(|(_, kind)| *kind)
}

/// Whether `head` says that its pictures or sounds need a key: protected samples of ISO media, or a scrambled
/// broadcast.
pub(super) fn is_encrypted(head: &[u8]) -> bool {
    if is_iso_media(head) {
        return head.windows(4).any(|kind| kind == b"encv");
    }
    let is_of_a_stream = |packet: &&[u8]| u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff >= FIRST_STREAM_PID;
    let packets: Vec<&[u8]> = head.chunks_exact(TRANSPORT_PACKET_BYTES).filter(is_of_a_stream).collect();
    let scrambled = packets.iter().filter(|packet| packet[3] & 0x80 != 0).count();
    is_transport_stream(head, TRANSPORT_PACKET_BYTES, 0) && scrambled * 2 > packets.len()
}

/// Whether a file of this name that begins with `head` counts as a video.
pub(super) fn is_video(path: &Path, head: &[u8]) -> bool {
    has_video_extension(path) || (looks_like_video(head) && !has_extension(path, AUDIO_EXTENSIONS))
}

/// Whether the name alone says video.
pub(super) fn has_video_extension(path: &Path) -> bool {
    has_extension(path, VIDEO_EXTENSIONS)
}

/// Whether the name is that of a stream without a container.
pub(super) fn has_raw_extension(path: &Path) -> bool {
    has_extension(path, RAW_EXTENSIONS)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().map(OsStr::to_ascii_lowercase);
    extension.is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}

/// Whether `head` opens one of the known video containers.
fn looks_like_video(head: &[u8]) -> bool {
    is_iso_media(head)
        || is_transport_stream(head, TRANSPORT_PACKET_BYTES, 0)
        || is_transport_stream(head, 192, 4)
        || is_ogg_video(head)
        || (head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI "))
        || [
            &[0x1a, 0x45, 0xdf, 0xa3][..],                     // Matroska, WebM
            &[0, 0, 1, 0xba],                                  // MPEG programme stream
            &[0, 0, 1, 0xb3],                                  // MPEG video
            b"FLV\x01",                                        // Flash
            &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11], // ASF, WMV
            &[6, 0x0e, 0x2b, 0x34, 2, 5, 1, 1, 0x0d, 1, 2],    // MXF
            b".RMF",                                           // RealMedia
            b"DKIF",                                           // IVF
            b"YUV4MPEG2 ",                                     // raw pictures
            b"nut/multimedia container",
        ]
        .iter()
        .any(|magic| head.starts_with(magic))
}

/// MP4, MOV, 3GP: a first box of a known kind. Old QuickTime files have no `ftyp`.
fn is_iso_media(head: &[u8]) -> bool {
    let (Some(kind), Some(brand)) = (head.get(4..8), head.get(8..12)) else { return false };
    match kind {
        b"ftyp" => !STILL_OR_SOUND_BRANDS.iter().any(|other| brand == *other),
        b"moov" | b"mdat" | b"wide" | b"pnot" => true,
        _ => false,
    }
}

/// The sync byte at the start of each of four packets: one alone is the letter G.
fn is_transport_stream(head: &[u8], packet_bytes: usize, first: usize) -> bool {
    (0..4).all(|packet| head.get(first + packet * packet_bytes) == Some(&0x47))
}

/// An Ogg file opens with one page for each of its streams; one of them must be a video codec's.
fn is_ogg_video(head: &[u8]) -> bool {
    let codecs: [&[u8]; 4] = [b"\x80theora", b"\x01video\0", b"OVP80", b"BBCD\0"];
    head.starts_with(b"OggS") && codecs.iter().any(|codec| head.windows(codec.len()).any(|window| window == *codec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_video_head(name: &str, head: &[u8]) -> bool {
        is_video(Path::new(name), head)
    }

    #[test]
    fn content_counts_when_the_name_says_nothing() {
        let mut transport = vec![0_u8; 800];
        for packet in 0..4 {
            transport[packet * 188] = 0x47;
        }
        assert!(is_video_head("clip", b"\0\0\0\x18ftypisom"));
        assert!(is_video_head("clip.dat", b"\0\0\0\x08wide\0\0\0\0"));
        assert!(is_video_head("clip", &[0x1a, 0x45, 0xdf, 0xa3, 0]));
        assert!(is_video_head("clip", b"RIFF\0\0\0\0AVI LIST"));
        assert!(is_video_head("stream.ts", &transport));
        assert!(is_video_head("clip", b"OggS\0\x02 \x80theora"));
    }

    #[test]
    fn sound_pictures_and_source_code_are_no_videos() {
        assert!(!is_video_head("main.ts", b"GET = 1; G"));
        assert!(!is_video_head("song.m4a", b"\0\0\0\x18ftypM4A "));
        assert!(!is_video_head("song.mka", &[0x1a, 0x45, 0xdf, 0xa3, 0]));
        assert!(!is_video_head("photo", b"\0\0\0\x18ftypheic"));
        assert!(!is_video_head("voice", b"OggS\0\x02 OpusHead"));
        assert!(!is_video_head("empty", b""));
    }

    #[test]
    fn a_video_name_is_enough_so_that_a_broken_file_fails_visibly() {
        assert!(is_video_head("notes.MP4", b"dear diary"));
        assert!(is_video_head("empty.mkv", b""));
    }
}
