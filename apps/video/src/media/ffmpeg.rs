//! The ffmpeg programs on this machine, and how their failures are read.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::error::MediaError;
use super::process::{Finished, Invocation, run};

/// Probing reads an index; even a film on a slow network disk answers long before this.
const PROBE_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Enough to decode an hour of video without a usable index, once through.
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(600);

/// The trials answer at once; this is for a machine that is starting up.
const TRIAL_TIME_LIMIT: Duration = Duration::from_secs(20);

/// Makes one picture as [`Ffmpeg::extract`] does. An ffmpeg that is too old for an option must be
/// refused at start-up: later it would look as if every video were broken.
const FFMPEG_TRIAL: &[&str] = &[
    "-nostdin",
    "-v",
    "error",
    "-f",
    "lavfi",
    "-i",
    "color=size=16x16:duration=0.04",
    "-fps_mode",
    "passthrough",
    "-frames:v",
    "1",
    "-f",
    "rawvideo",
    "pipe:1",
];

const FFPROBE_TRIAL: &[&str] = &["-version"];

/// An error message is for a table column and a person.
const MAX_MESSAGE_CHARS: usize = 500;

/// What ffmpeg says when the machine and not the video is the trouble; the texts of `strerror`.
const MACHINE_TROUBLES: &[&str] = &[
    "No space left on device",
    "Disk quota exceeded",
    "Cannot allocate memory",
    "Too many open files",
    "Resource temporarily unavailable",
    "Stale file handle",
    "Connection timed out",
];

/// What ffmpeg says when the disk fails, and also about some files that are cut off.
const READ_TROUBLE: &str = "Input/output error";

/// ffmpeg and ffprobe, found and tried at start-up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    time_limit: Duration,
}

/// Why [`Ffmpeg::find`] refuses to start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FfmpegSetupError {
    /// A program is not on the search path.
    #[error("{program} was not found: install ffmpeg 5.1 or newer (on Debian and Ubuntu: apt-get install ffmpeg)")]
    NotFound {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
    },
    /// A program is there and does not work.
    #[error("{} does not work: {message}; install ffmpeg 5.1 or newer (on Debian and Ubuntu: apt-get install ffmpeg)", program.display())]
    Broken {
        /// Where it is.
        program: PathBuf,
        /// What went wrong.
        message: String,
    },
}

impl Ffmpeg {
    /// Finds ffmpeg and ffprobe on `PATH`, and runs each once.
    ///
    /// Call it before anything is claimed: a worker without ffmpeg would fail every video.
    ///
    /// # Errors
    /// One of them is missing or does not run; the text says what to install.
    pub async fn find() -> Result<Self, FfmpegSetupError> {
        Self::find_in(&std::env::var_os("PATH").unwrap_or_default()).await
    }

    /// As [`find`](Self::find), in the folders of `search_path`, which is written like `PATH`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn find_in(search_path: &OsStr) -> Result<Self, FfmpegSetupError> {
        let ffmpeg = find_program("ffmpeg", FFMPEG_TRIAL, search_path).await?;
        let ffprobe = find_program("ffprobe", FFPROBE_TRIAL, search_path).await?;
        Ok(Self { ffmpeg, ffprobe, time_limit: DEFAULT_TIME_LIMIT })
    }

    /// Gives each child process `time_limit` instead of ten minutes (one for a probe).
    #[must_use]
    pub fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// `ffprobe` with `arguments`, about `video`.
    pub(super) fn ffprobe(&self, arguments: &[&str], video: &Path) -> Invocation {
        let mut all: Vec<OsString> = vec!["-hide_banner".into(), "-v".into(), "error".into()];
        all.extend(arguments.iter().map(OsString::from));
        all.extend(input(video));
        Invocation { program: self.ffprobe.clone(), arguments: all, time_limit: self.time_limit.min(PROBE_TIME_LIMIT) }
    }

    /// `ffmpeg` that reads `video` from `seek_secs` on, with `output` arguments, to its stdout.
    pub(super) fn ffmpeg(&self, video: &Path, seek_secs: Option<f64>, output: &[&str]) -> Invocation {
        let mut all: Vec<OsString> = ["-nostdin", "-hide_banner", "-v", "error"].iter().map(OsString::from).collect();
        if let Some(seek_secs) = seek_secs {
            all.extend(["-ss".into(), format!("{seek_secs:.3}").into()]);
        }
        all.extend(input(video));
        all.extend(output.iter().map(OsString::from));
        all.push("pipe:1".into());
        Invocation { program: self.ffmpeg.clone(), arguments: all, time_limit: self.time_limit }
    }
}

/// `video` as an input that can only be that file.
///
/// `file:` keeps a leading dash from becoming an option and a colon from becoming a protocol; the
/// whitelist keeps a playlist that is named like a video from reaching out to the network.
fn input(video: &Path) -> Vec<OsString> {
    let mut name = OsString::from("file:");
    name.push(video);
    vec!["-protocol_whitelist".into(), "file".into(), "-i".into(), name]
}

async fn find_program(program: &'static str, trial: &[&str], search_path: &OsStr) -> Result<PathBuf, FfmpegSetupError> {
    let path = std::env::split_paths(search_path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(FfmpegSetupError::NotFound { program })?;
    let invocation = Invocation {
        program: path.clone(),
        arguments: trial.iter().map(OsString::from).collect(),
        time_limit: TRIAL_TIME_LIMIT,
    };
    match run(&invocation, |_| {}).await {
        Ok(finished) if finished.succeeded => Ok(path),
        Ok(finished) => {
            Err(FfmpegSetupError::Broken { message: last_line(&finished.stderr, Path::new("")), program: path })
        }
        Err(MediaError::Io { source, .. }) => {
            Err(FfmpegSetupError::Broken { message: source.to_string(), program: path })
        }
        Err(error) => Err(FfmpegSetupError::Broken { message: error.to_string(), program: path }),
    }
}

/// Whether the video can be opened at all, before ffmpeg is asked: its texts about this are the same as
/// about files inside a playlist.
pub(super) async fn check_is_there(video: &Path) -> Result<(), MediaError> {
    match tokio::fs::metadata(video).await {
        Ok(_) => Ok(()),
        Err(source) => Err(open_error(source)),
    }
}

fn open_error(source: io::Error) -> MediaError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
            MediaError::Missing { source }
        }
        _ => MediaError::Io { doing: "read the video", source },
    }
}

/// What the end of an ffmpeg that gave nothing usable means.
pub(super) async fn explain_failure(finished: &Finished, video: &Path) -> MediaError {
    let message = last_line(&finished.stderr, video);
    let said = String::from_utf8_lossy(&finished.stderr);
    if MACHINE_TROUBLES.iter().any(|trouble| said.contains(trouble)) {
        return MediaError::Machine { message };
    }
    if said.contains(READ_TROUBLE) {
        // Only the disk itself can tell whether the disk failed or the file is cut off.
        return match read_through(video).await {
            Ok(()) => MediaError::Rejected { message },
            Err(source) => open_error(source),
        };
    }
    MediaError::Rejected { message }
}

async fn read_through(video: &Path) -> io::Result<()> {
    let mut file = tokio::fs::File::open(video).await?;
    let mut buffer = vec![0; 1024 * 1024];
    while file.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// ffmpeg's last line, without the name of the video and without what a text column cannot hold.
pub(super) fn last_line(stderr: &[u8], video: &Path) -> String {
    let name = format!("file:{}: ", video.to_string_lossy());
    // The name goes first: it may itself contain line breaks.
    let said = String::from_utf8_lossy(stderr).replace(&name, "");
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ffmpeg gave no reason");
    line.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_short_and_without_the_name() {
        let video = Path::new("/films/two\nlines.mp4");
        let stderr = b"[mov @ 0x5] moov atom not found\nfile:/films/two\nlines.mp4: Invalid data found\0 here\n\n";
        assert_eq!(last_line(stderr, video), "Invalid data found here");
        assert_eq!(last_line(b"", video), "ffmpeg gave no reason");
        assert_eq!(last_line(&[b'x'; 4000], video).len(), MAX_MESSAGE_CHARS);
    }

    #[tokio::test]
    async fn a_missing_ffmpeg_is_refused_with_what_to_install() {
        let empty = tempfile::tempdir().unwrap();
        let error = Ffmpeg::find_in(empty.path().as_os_str()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "ffmpeg was not found: install ffmpeg 5.1 or newer (on Debian and Ubuntu: apt-get install ffmpeg)"
        );
    }

    #[tokio::test]
    async fn an_ffmpeg_that_does_not_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ffmpeg"), "not a program").unwrap();
        let error = Ffmpeg::find_in(folder.path().as_os_str()).await.unwrap_err();
        assert!(matches!(error, FfmpegSetupError::Broken { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_ffmpeg_that_is_too_old_is_refused() {
        // An old ffmpeg ends its trial unsuccessfully; none can be installed beside the present one.
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/false", folder.path().join("ffmpeg")).unwrap();
        let error = Ffmpeg::find_in(folder.path().as_os_str()).await.unwrap_err();
        assert!(error.to_string().contains("install ffmpeg 5.1 or newer"), "{error}");
    }

    #[tokio::test]
    async fn a_full_disk_is_the_machines_trouble_and_a_cut_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join("clip.mp4");
        std::fs::write(&video, "x").unwrap();
        let said = |text: &str| Finished { succeeded: false, stderr: text.as_bytes().to_vec() };
        let full = explain_failure(&said("av_interleaved_write_frame(): No space left on device\n"), &video).await;
        assert!(full.is_transient(), "{full:?}");
        let cut = explain_failure(&said("clip.flv: Input/output error\n"), &video).await;
        assert!(!cut.is_transient(), "{cut:?}");
    }
}
