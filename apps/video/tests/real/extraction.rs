//! Good videos of every awkward kind give frames.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;

use rowlock_video::media::{FrameCount, Links, discover};
use tempfile::TempDir;

use crate::clips::{CLIPS, clip, clips_folder, ffmpeg, make, make_test_video, probe_and_extract};

#[tokio::test]
async fn the_clips_are_what_they_are() {
    let expected = [
        (1280, 720, 5.312, 25.0, true),
        (640, 272, 10.0, 25.0, false),
        (176, 144, 4.004, 29.97, false),
        (176, 144, 4.004, 29.97, false),
    ];
    for (name, (width, height, duration, rate, sound)) in CLIPS.iter().zip(expected) {
        let (probe, extraction) = probe_and_extract(&clip(name)).await.unwrap();
        assert_eq!((probe.width_px, probe.height_px, probe.has_sound), (width, height, sound), "{name}");
        assert_eq!(probe.codec, "h264");
        assert!((probe.duration_secs.unwrap() - duration).abs() < 0.05, "{name}: {probe:?}");
        assert!((probe.frame_rate.unwrap() - rate).abs() < 0.01, "{name}: {probe:?}");
        assert_eq!(extraction.frames.len(), 8, "{name}");
        assert!(extraction.thumbnail_jpeg.starts_with(&[0xff, 0xd8, 0xff]), "{name}");
        assert!(extraction.thumbnail_jpeg.ends_with(&[0xff, 0xd9]), "{name}");
    }
}

#[tokio::test]
async fn extraction_gives_the_same_frames_each_time() {
    let first = probe_and_extract(&clip("bikes")).await.unwrap().1;
    let second = probe_and_extract(&clip("bikes")).await.unwrap().1;
    assert_eq!(first.frames, second.frames);
    assert_ne!(first.frames[0], first.frames[7]);
}

#[tokio::test]
async fn a_video_of_one_frame_gives_that_frame() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("one.mp4");
    make_test_video(&path, 0.04, 25, &["-frames:v", "1"]);
    let (_, extraction) = probe_and_extract(&path).await.unwrap();
    assert_eq!(extraction.frames.len(), 1);
    assert!(!extraction.thumbnail_jpeg.is_empty());
}

#[tokio::test]
async fn a_video_of_fewer_frames_than_wanted_gives_them_all() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("five.mkv");
    make_test_video(&path, 1.0, 5, &[]);
    assert_eq!(probe_and_extract(&path).await.unwrap().1.frames.len(), 5);
}

#[tokio::test]
async fn a_video_of_unknown_length_is_decoded_to_its_end() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("raw.h264");
    make_test_video(&path, 3.0, 25, &["-f", "h264"]);
    let (probe, extraction) = probe_and_extract(&path).await.unwrap();
    assert_eq!((probe.duration_secs, extraction.frames.len()), (None, 8));
}

#[tokio::test]
async fn a_long_video_is_jumped_through() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("long.mp4");
    make_test_video(&path, 90.0, 5, &["-preset", "ultrafast"]);
    let (probe, extraction) = probe_and_extract(&path).await.unwrap();
    assert!(probe.duration_secs.unwrap() > 60.0);
    assert_eq!(extraction.frames.len(), 8);
    assert!(extraction.frames.windows(2).all(|pair| pair[0] != pair[1]));
}

#[tokio::test]
async fn frames_at_irregular_times_are_spaced_by_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("irregular.mkv");
    // Every frame of the first second, then one a second: half a minute with a crowded first second.
    make_test_video(
        &path,
        30.0,
        25,
        &["-vf", "select='lt(t,1)+not(mod(n,25))'", "-fps_mode", "passthrough", "-preset", "ultrafast"],
    );
    let (_, extraction) = probe_and_extract(&path).await.unwrap();
    let all = {
        let ffmpeg = ffmpeg().await;
        let probe = ffmpeg.probe(&path).await.unwrap();
        ffmpeg.extract(&path, &probe, FrameCount::new(64).unwrap()).await.unwrap().frames
    };
    assert!(all.len() >= 50, "{}", all.len());
    assert_eq!(extraction.frames.len(), 8);
    // Spaced by number, four of the eight would be in the first second, which has half of all frames.
    let crowded = extraction.frames.iter().filter(|frame| all[..25].contains(frame)).count();
    assert!(crowded <= 2, "{crowded} of 8 frames are from the first second");
}

#[tokio::test]
async fn a_cut_off_video_with_its_index_in_front_gives_what_can_be_decoded() {
    let folder = TempDir::new().unwrap();
    let (whole, cut) = (folder.path().join("whole.mp4"), folder.path().join("cut.mp4"));
    let copy = ["-c", "copy", "-movflags", "+faststart"].map(OsStr::new);
    make(&[&["-i".as_ref(), clip("bikes").as_os_str()], &copy[..]].concat(), &whole);
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (_, extraction) = probe_and_extract(&cut).await.unwrap();
    assert_eq!(extraction.frames.len(), 8);
}

#[tokio::test]
async fn odd_names_are_only_names() {
    let folder = TempDir::new().unwrap();
    let names: [&[u8]; 8] = [
        b"two words.mp4",
        b"it's \"quoted\".mp4",
        b"two\nlines.mp4",
        b"-i.mp4",
        b"http:colon.mp4",
        b"100%d %03d.mp4",
        b"not utf-8 \xff\xfe.mp4",
        "ünï — 🎬.mp4".as_bytes(),
    ];
    for name in names {
        let path = folder.path().join(OsString::from_vec(name.to_vec()));
        std::fs::copy(clip("carphone_distorted"), path).unwrap();
    }
    let found = discover(&[folder.path().to_path_buf()], Links::Inside).unwrap().videos;
    assert_eq!(found.len(), names.len());
    for video in found {
        let (_, extraction) = probe_and_extract(&video.path).await.unwrap();
        assert_eq!(extraction.frames.len(), 8, "{video:?}");
    }
    let broken = folder.path().join("broken\n: two.mp4");
    std::fs::write(&broken, "no video").unwrap();
    let error = probe_and_extract(&broken).await.unwrap_err();
    assert_eq!(error.to_string(), "Invalid data found when processing input");
}

#[tokio::test]
async fn a_relative_path_works_too() {
    let ffmpeg = ffmpeg().await;
    let here = std::env::current_dir().unwrap();
    let clip = clips_folder().canonicalize().unwrap().join("bikes.mp4");
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    ffmpeg.probe(&up.join(clip.strip_prefix("/").unwrap())).await.unwrap();
}
