//! Which stream is the picture, how long it is, and how much of it could be decoded.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rowlock_video::media::FrameCount;
use tempfile::TempDir;

use crate::clips::{clip, ffmpeg, make, make_test_video, probe_and_extract};

/// Muxes the streams of `inputs`, in their order.
fn mux(inputs: &[&Path], more: &[&str], output: &Path) {
    let mut arguments: Vec<&OsStr> = Vec::new();
    for input in inputs {
        arguments.extend(["-i".as_ref(), input.as_os_str()]);
    }
    let maps: Vec<String> = (0..inputs.len()).map(|input| input.to_string()).collect();
    for map in &maps {
        arguments.extend(["-map".as_ref(), OsStr::new(map)]);
    }
    arguments.extend(["-c".as_ref(), OsStr::new("copy")]);
    arguments.extend(more.iter().map(OsStr::new));
    make(&arguments, output);
}

#[tokio::test]
async fn the_picture_is_the_film_and_not_a_still_before_it_nor_a_smaller_one() {
    let folder = TempDir::new().unwrap();
    let of = |name: &str| folder.path().join(name);
    make_test_video(&of("still.mkv"), 0.04, 25, &["-frames:v", "1", "-vf", "scale=800:600"]);
    make_test_video(&of("small.mkv"), 2.0, 25, &["-vf", "scale=80:60"]);
    make_test_video(&of("film.mkv"), 2.0, 25, &["-vf", "scale=320:240"]);
    for container in ["mkv", "mp4"] {
        let path = of("all").with_extension(container);
        let dispositions = ["-disposition:0", "default", "-disposition:1", "default", "-disposition:2", "default"];
        mux(&[&of("still.mkv"), &of("small.mkv"), &of("film.mkv")], &dispositions, &path);
        let (probe, extraction) = probe_and_extract(&path).await.unwrap();
        assert_eq!((probe.width_px, probe.height_px), (320, 240), "{container}");
        assert_eq!(extraction.frames.len(), 8, "{container}");
    }
    let path = of("default.mkv");
    mux(&[&of("film.mkv"), &of("small.mkv")], &["-disposition:0", "0", "-disposition:1", "default"], &path);
    assert_eq!(probe_and_extract(&path).await.unwrap().0.width_px, 80, "the one that is to be shown by default");
}

#[tokio::test]
async fn a_start_time_is_no_part_of_the_duration() {
    let folder = TempDir::new().unwrap();
    for container in ["mp4", "mov", "mkv", "flv", "ts"] {
        let path = folder.path().join("late").with_extension(container);
        let (input, offset) =
            (clip("bikes"), ["-t", "6", "-an", "-c", "copy", "-output_ts_offset", "10"].map(OsStr::new));
        make(&[&["-i".as_ref(), input.as_os_str()], &offset[..]].concat(), &path);
        let (probe, extraction) = probe_and_extract(&path).await.unwrap();
        let duration = probe.duration_secs.unwrap();
        assert!((5.9..6.4).contains(&duration), "{container}: {duration}");
        assert_eq!((extraction.frames.len(), extraction.shortfall), (8, None), "{container}");
        assert!(extraction.frames[0] != extraction.frames[7], "{container}");
    }
}

/// A film of this length whose index is in front.
fn film(folder: &TempDir, secs: f64, container: &str) -> PathBuf {
    let path = folder.path().join("film").with_extension(container);
    let output: &[&str] = match container {
        "mp4" => &["-g", "25", "-preset", "ultrafast", "-movflags", "+faststart"],
        _ => &["-g", "25", "-preset", "ultrafast"],
    };
    make_test_video(&path, secs, 25, output);
    path
}

async fn shortfall(path: &Path) -> Option<String> {
    probe_and_extract(path).await.unwrap().1.shortfall.map(|shortfall| shortfall.to_string())
}

/// The numbers of `decoded 6.0 of 12.0 s`.
fn numbers(told: &str) -> (f64, f64) {
    let numbers: Vec<f64> = told.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[tokio::test]
async fn a_film_that_ends_early_says_how_much_of_it_was_decoded() {
    let folder = TempDir::new().unwrap();
    for (container, secs) in [("mp4", 12.0), ("mkv", 12.0), ("mp4", 90.0)] {
        let path = film(&folder, secs, container);
        assert_eq!(shortfall(&path).await, None, "{container}: whole");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let told = shortfall(&path).await.unwrap_or_else(|| panic!("{container}, {secs} s: nothing is said"));
        let (decoded, of) = numbers(&told);
        assert!(decoded > secs * 0.3 && decoded < secs * 0.7 && (of - secs).abs() < 0.2, "{container}: {told}");
    }
}

#[tokio::test]
async fn a_film_that_is_damaged_in_the_middle_says_so() {
    let folder = TempDir::new().unwrap();
    for (container, secs) in [("mp4", 12.0), ("mkv", 12.0), ("ts", 12.0)] {
        let path = film(&folder, secs, container);
        let mut bytes = fs::read(&path).unwrap();
        let third = bytes.len() / 3;
        bytes[third..2 * third].fill(0);
        fs::write(&path, bytes).unwrap();
        let told = shortfall(&path).await.unwrap_or_else(|| panic!("{container}: nothing is said"));
        let (decoded, of) = numbers(&told);
        assert!(decoded > secs * 0.5 && decoded < secs * 0.8 && (of - secs).abs() < 0.3, "{container}: {told}");
    }
}

#[tokio::test]
async fn pictures_that_stand_for_long_are_no_damage() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("slides.mkv");
    make_test_video(&path, 40.0, 25, &["-vf", "select='not(mod(n,125))'", "-fps_mode", "passthrough"]);
    let ffmpeg = ffmpeg().await;
    let probe = ffmpeg.probe(&path).await.unwrap();
    let extraction = ffmpeg.extract(&path, &probe, FrameCount::default()).await.unwrap();
    assert_eq!((extraction.frames.len(), extraction.shortfall), (8, None));
}
