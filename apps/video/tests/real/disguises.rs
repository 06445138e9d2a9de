//! Playlists, manifests and scripts disguised as videos read nothing but themselves.
//!
//! Each of them is one that ffmpeg would follow: the tests check that.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rowlock_video::media::MediaError;
use tempfile::TempDir;

use crate::clips::{clip, make, make_test_video, probe_and_extract};

/// A folder of another user's with a film that no playlist may expose.
struct Secret {
    folder: TempDir,
    segment: PathBuf,
}

impl Secret {
    fn make() -> Secret {
        let folder = TempDir::new().unwrap();
        let segment = folder.path().join("secret.ts");
        let (input, copy) = (clip("bikes"), ["-t", "2", "-c", "copy", "-f", "mpegts"].map(OsStr::new));
        make(&[&["-i".as_ref(), input.as_os_str()], &copy[..]].concat(), &segment);
        Secret { folder, segment }
    }

    /// The playlist that leads to it, ended or not.
    fn playlist(&self, segment: &str, end: &str) -> String {
        let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n";
        format!("{head}#EXTINF:2.0,\n{segment}\n{end}")
    }

    /// The manifest that leads to it.
    fn manifest(&self, segment: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" minBufferTime="PT1S"
  profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">
<Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="100000" width="640" height="272">
<BaseURL>{segment}</BaseURL></Representation></AdaptationSet></Period></MPD>
"#
        )
    }

    /// The film in every spelling that a file in `folder` could use: by its whole path, as a URL, and from there.
    fn spellings(&self, folder: &Path) -> [String; 4] {
        let elsewhere = self.folder.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(self.folder.path().parent(), folder.parent(), "both are temporary folders");
        fs::copy(&self.segment, folder.join("near.ts")).unwrap();
        let whole = self.segment.to_str().unwrap();
        [whole.to_owned(), format!("file:{whole}"), format!("../{elsewhere}/secret.ts"), "near.ts".to_owned()]
    }
}

/// Whether ffmpeg by itself, restricted to files, shows what this leads to.
fn ffmpeg_would_follow(path: &Path) -> bool {
    let mut ffprobe = Command::new("timeout");
    ffprobe.args(["60", "ffprobe", "-v", "error", "-protocol_whitelist", "file", "-safe", "0"]);
    let with_option = ffprobe.args(["-show_streams"]).arg(path).output().unwrap();
    let mut plain = Command::new("timeout");
    let plain = plain.args(["60", "ffprobe", "-v", "error", "-protocol_whitelist", "file", "-show_streams"]);
    let plain = plain.arg(path).output().unwrap();
    [with_option, plain].iter().any(|output| String::from_utf8_lossy(&output.stdout).contains("width="))
}

async fn assert_refused(path: &Path, kind: &str) {
    let error = probe_and_extract(path).await.unwrap_err();
    assert!(matches!(error, MediaError::Rejected { .. }), "{}: {error:?}", path.display());
    assert_eq!(error.to_string(), format!("is a list of other files ({kind}) and no video"));
}

#[tokio::test]
async fn a_playlist_shows_no_segment_of_another_folder_nor_of_its_own() {
    let secret = Secret::make();
    let folder = TempDir::new().unwrap();
    for segment in secret.spellings(folder.path()) {
        let path = folder.path().join("playlist.mp4");
        fs::write(&path, secret.playlist(&segment, "#EXT-X-ENDLIST\n")).unwrap();
        assert!(ffmpeg_would_follow(&path), "{segment}: the test proves nothing");
        assert_refused(&path, "hls").await;
    }
}

#[tokio::test]
async fn a_chain_of_playlists_shows_nothing() {
    let secret = Secret::make();
    let inner = secret.folder.path().join("inner.m3u8");
    fs::write(&inner, secret.playlist("secret.ts", "#EXT-X-ENDLIST\n")).unwrap();
    let folder = TempDir::new().unwrap();
    let outer = folder.path().join("outer.mp4");
    let inner = inner.display();
    for (chain, kind) in [
        (format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{inner}\n"), "hls"),
        (format!("ffconcat version 1.0\nfile '{inner}'\n"), "concat"),
    ] {
        fs::write(&outer, &chain).unwrap();
        assert!(ffmpeg_would_follow(&outer), "{chain}");
        assert_refused(&outer, kind).await;
    }
}

#[tokio::test]
async fn a_playlist_without_an_end_and_one_of_itself_hold_no_slot() {
    let secret = Secret::make();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("endless.mp4");
    for segment in [secret.segment.to_str().unwrap(), path.to_str().unwrap(), "endless.mp4"] {
        fs::write(&path, secret.playlist(segment, "")).unwrap();
        let started = Instant::now();
        assert_refused(&path, "hls").await;
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_manifest_shows_no_film_of_another_folder() {
    let secret = Secret::make();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("manifest.mp4");
    for segment in secret.spellings(folder.path()) {
        fs::write(&path, secret.manifest(&segment)).unwrap();
        assert!(ffmpeg_would_follow(&path), "{segment}");
        assert_refused(&path, "dash").await;
    }
    fs::write(&path, secret.manifest("manifest.mp4")).unwrap();
    assert_refused(&path, "dash").await;
}

#[tokio::test]
async fn a_script_shows_no_film_of_another_folder() {
    let secret = Secret::make();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("script.mp4");
    let script = |segment: &str| format!("ffconcat version 1.0\nfile '{segment}'\n");
    for segment in secret.spellings(folder.path()) {
        fs::write(&path, script(&segment)).unwrap();
        assert!(ffmpeg_would_follow(&path), "{segment}");
        assert_refused(&path, "concat").await;
    }
    fs::write(&path, script("script.mp4")).unwrap();
    assert_refused(&path, "concat").await;
}

#[tokio::test]
async fn a_description_of_a_session_listens_to_nobody() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("session.mp4");
    let session = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n\
        a=rtpmap:96 H264/90000\r\n";
    fs::write(&path, session).unwrap();
    assert_refused(&path, "sdp").await;
}

#[tokio::test]
async fn an_image_pattern_is_only_a_name() {
    let folder = TempDir::new().unwrap();
    make_test_video(&folder.path().join("secret%03d.png"), 0.2, 25, &[]);
    let pattern = folder.path().join("secret%03d.png");
    assert!(!pattern.exists() && ffmpeg_would_follow(&pattern));
    assert!(matches!(probe_and_extract(&pattern).await.unwrap_err(), MediaError::Missing { .. }));
    fs::write(&pattern, "x").unwrap();
    assert!(matches!(probe_and_extract(&pattern).await.unwrap_err(), MediaError::Rejected { .. }));
}

#[tokio::test]
async fn an_image_named_like_a_video_is_called_an_image() {
    let folder = TempDir::new().unwrap();
    for (name, kind) in [("a.png", "png"), ("a.jpg", "jpeg"), ("a.gif", "gif"), ("a.bmp", "bmp"), ("a.webp", "webp")] {
        let (image, video) = (folder.path().join(name), folder.path().join("image.mp4"));
        make_test_video(&image, 0.04, 25, &["-frames:v", "1"]);
        fs::rename(&image, &video).unwrap();
        let error = probe_and_extract(&video).await.unwrap_err();
        assert!(!error.is_transient());
        assert_eq!(error.to_string(), format!("is an image ({kind}) and no video"));
    }
    let video = folder.path().join("photo.mp4");
    fs::write(&video, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    assert_eq!(probe_and_extract(&video).await.unwrap_err().to_string(), "is an image (heic) and no video");
}

#[tokio::test]
async fn what_is_read_is_the_file_that_was_opened_and_not_what_its_name_says() {
    // A name that is an option, a protocol, a pattern and a format all at once.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("-i concat:a|b%03d.m3u8");
    fs::copy(clip("carphone_distorted"), &path).unwrap();
    assert_eq!(probe_and_extract(&path).await.unwrap().1.frames.len(), 8);
}
