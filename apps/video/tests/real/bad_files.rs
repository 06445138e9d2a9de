//! A file that is not a video fails at once, for good, and with ffmpeg's own last line.

use std::ffi::OsStr;
use std::path::PathBuf;

use rowlock_video::media::MediaError;
use tempfile::TempDir;

use crate::clips::{clip, ffmpeg, make, make_test_video, probe_and_extract};

/// Writes `bytes` to a file named .mp4 and returns the resulting error.
async fn error_of(bytes: &[u8]) -> MediaError {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bad.mp4");
    std::fs::write(&path, bytes).unwrap();
    let error = probe_and_extract(&path).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    error
}

const INVALID: &str = "Invalid data found when processing input";

#[tokio::test]
async fn an_empty_file_is_refused_for_good() {
    assert_eq!(error_of(b"").await.to_string(), INVALID);
}

#[tokio::test]
async fn a_text_file_named_mp4_is_refused_for_good() {
    let text = "It was the best of times, it was the worst of times.\n".repeat(100);
    assert_eq!(error_of(text.as_bytes()).await.to_string(), INVALID);
}

#[tokio::test]
async fn a_truncated_mp4_without_its_index_is_refused_for_good() {
    let whole = std::fs::read(clip("bikes")).unwrap();
    assert_eq!(error_of(&whole[..whole.len() / 2]).await.to_string(), INVALID);
}

#[tokio::test]
async fn a_video_whose_pictures_are_garbage_is_refused_for_good() {
    let mut bytes = std::fs::read(clip("bikes")).unwrap();
    let index = bytes.windows(4).position(|window| window == b"moov").unwrap() - 4;
    // The index stays, so that the probe succeeds; none of the data that it points to can be decoded.
    bytes[64..index].fill(0);
    let error = error_of(&bytes).await;
    assert!(!error.to_string().is_empty() && error.to_string() != "ffmpeg gave no reason", "{error}");
}

#[tokio::test]
async fn sound_without_picture_is_refused_for_good() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sound.mp4");
    make(&["-i".as_ref(), clip("bigbuckbunny").as_os_str(), "-vn".as_ref(), "-c:a".as_ref(), "copy".as_ref()], &path);
    let error = probe_and_extract(&path).await.unwrap_err();
    assert!(matches!(error, MediaError::NoPicture { .. }), "{error:?}");
    assert!(!error.is_transient());
    assert_eq!(error.to_string(), "has sound but no picture");
}

#[tokio::test]
async fn sound_with_a_cover_is_no_video() {
    let folder = TempDir::new().unwrap();
    let (cover, path) = (folder.path().join("cover.jpg"), folder.path().join("song.mp4"));
    make_test_video(&cover, 0.04, 25, &["-frames:v", "1"]);
    let sound = clip("bigbuckbunny");
    let inputs: [&OsStr; 4] = ["-i".as_ref(), sound.as_os_str(), "-i".as_ref(), cover.as_os_str()];
    let output = ["-map", "0:a", "-map", "1:v", "-c", "copy", "-disposition:v:0", "attached_pic"].map(OsStr::new);
    make(&[&inputs[..], &output].concat(), &path);
    let error = probe_and_extract(&path).await.unwrap_err();
    assert!(matches!(error, MediaError::NoPicture { .. }), "{error:?}");
    assert_eq!(error.to_string(), "has sound and a cover picture only");
}

#[tokio::test]
async fn an_encrypted_video_is_called_that() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("encrypted.mp4");
    let key = "76a6c65c5ea762046bd749a2e632ccbb";
    let scheme = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key];
    make_test_video(&path, 1.0, 25, &scheme);
    let error = probe_and_extract(&path).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_transient()), ("is encrypted", false));
}

#[tokio::test]
async fn an_encrypted_film_in_fragments_and_a_scrambled_broadcast_are_called_that() {
    let folder = TempDir::new().unwrap();
    let (fragments, broadcast) = (folder.path().join("fragments.mp4"), folder.path().join("broadcast.ts"));
    let key = "76a6c65c5ea762046bd749a2e632ccbb";
    let scheme = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key];
    make_test_video(&fragments, 1.0, 25, &[&["-movflags", "frag_keyframe+empty_moov"], &scheme[..]].concat());
    make_test_video(&broadcast, 1.0, 25, &["-c:v", "mpeg2video"]);
    let mut bytes = std::fs::read(&broadcast).unwrap();
    // The packets of its streams, scrambled with the even key.
    for packet in bytes.chunks_exact_mut(188).filter(|packet| packet[1] & 0x1f == 1) {
        packet[3] |= 0x80;
        packet[20..].iter_mut().enumerate().for_each(|(at, byte)| *byte ^= u8::try_from(at * 37 % 251).unwrap());
    }
    std::fs::write(&broadcast, bytes).unwrap();
    for path in [fragments, broadcast] {
        let error = probe_and_extract(&path).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_transient()), ("is encrypted", false), "{}", path.display());
    }
}

#[tokio::test]
async fn a_reason_is_the_same_from_run_to_run() {
    let mut bytes = std::fs::read(clip("bikes")).unwrap();
    let index = bytes.windows(4).position(|window| window == b"moov").unwrap() - 4;
    bytes[64..index].iter_mut().step_by(3).for_each(|byte| *byte ^= 0x5a);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("garbage.mp4");
    std::fs::write(&path, bytes).unwrap();
    let reason = async || {
        probe_and_extract(&path).await.map(|(_, extraction)| extraction.shortfall).map_err(|error| error.to_string())
    };
    let first = reason().await;
    assert!(!format!("{first:?}").contains("0x"), "{first:?}");
    for _ in 0..3 {
        assert_eq!(reason().await, first);
    }
}

#[tokio::test]
async fn a_missing_file_is_refused_for_good() {
    let error = ffmpeg().await.probe(&PathBuf::from("/nowhere/clip.mp4")).await.unwrap_err();
    assert!(matches!(error, MediaError::Missing { .. }), "{error:?}");
    assert!(!error.is_transient());
}
