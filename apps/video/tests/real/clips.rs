//! The folder of the real clips, and files made from them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rowlock_video::embedding::{Embedder, model_path};
use rowlock_video::media::{Extraction, Ffmpeg, FrameCount, MediaError, Probe};

pub(crate) const CLIPS: [&str; 4] = ["bigbuckbunny", "bikes", "carphone_distorted", "carphone_pristine"];

/// The folder of the clips: `ROWLOCK_VIDEO_CLIPS`, or `.local/clips` in the checkout.
pub(crate) fn clips_folder() -> PathBuf {
    let folder = std::env::var_os("ROWLOCK_VIDEO_CLIPS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local/clips"), PathBuf::from);
    assert!(folder.is_dir(), "the clips are missing at {}: run `make setup`", folder.display());
    folder
}

pub(crate) fn clip(name: &str) -> PathBuf {
    let path = clips_folder().join(name).with_extension("mp4");
    assert!(path.is_file(), "{} is missing: run `make setup`", path.display());
    path
}

pub(crate) fn embedder() -> Embedder {
    Embedder::load(&model_path()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn ffmpeg() -> Ffmpeg {
    Ffmpeg::find().await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn probe_and_extract(video: &Path) -> Result<(Probe, Extraction), MediaError> {
    let ffmpeg = ffmpeg().await;
    let probe = ffmpeg.probe(video).await?;
    let extraction = ffmpeg.extract(video, &probe, FrameCount::default()).await?;
    Ok((probe, extraction))
}

/// Makes `output` with the real ffmpeg.
pub(crate) fn make(arguments: &[&OsStr], output: &Path) {
    let mut file = std::ffi::OsString::from("file:");
    file.push(output);
    let made = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(file).status();
    assert!(made.unwrap().success(), "ffmpeg could not make {}", output.display());
}

/// A generated test picture of this length, rate and codec.
pub(crate) fn make_test_video(output: &Path, secs: f64, frames_per_sec: u32, more: &[&str]) {
    let source = format!("testsrc2=size=160x120:rate={frames_per_sec}:duration={secs}");
    let mut arguments = vec!["-f", "lavfi", "-i", &source];
    arguments.extend(more);
    make(&arguments.iter().map(OsStr::new).collect::<Vec<_>>(), output);
}
