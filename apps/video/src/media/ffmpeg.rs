//! The ffmpeg programs on this machine, and how they are called.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::MediaError;
use super::limits::{
    DEMUXERS, EXTRACTION_TIME_LIMIT, MACHINE_MEMORY_MIN_BYTES, MAX_PIXELS, PROBE_TIME_LIMIT, TRIAL_TIME_LIMIT,
};
use super::open::{OpenError, open_regular};
use super::process::{Finished, Invocation, run};
use super::reason::{INPUT, last_line, reason};

/// Makes one picture as [`Ffmpeg::extract`] does. An ffmpeg that is too old for an option must be rejected at start-up:
/// later it would look as if every video were broken.
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

/// The folder of util-linux if it is not on the search path.
const SYSTEM_FOLDERS: &[&str] = &["/usr/bin", "/bin"];

/// ffmpeg and ffprobe, found and tried at start-up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    setpriv: PathBuf,
    time_limit: Duration,
}

/// Why [`Ffmpeg::find`] fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FfmpegSetupError {
    /// A program is not on the search path.
    #[error("{program} was not found: install {package} (on Debian and Ubuntu: apt-get install {})", debian(package))]
    NotFound {
        /// `ffmpeg`, `ffprobe` or `setpriv`.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A program exists but does not work.
    #[error(
        "{} does not work: {message}; install ffmpeg 5.1 or newer (on Debian and Ubuntu: apt-get install ffmpeg)",
        program.display()
    )]
    Broken {
        /// Its path.
        program: PathBuf,
        /// What went wrong.
        message: String,
    },
}

const FFMPEG_PACKAGE: &str = "ffmpeg 5.1 or newer";

const SETPRIV_PACKAGE: &str = "util-linux 2.33 or newer";

fn debian(package: &str) -> &str {
    package.split(' ').next().unwrap_or(package)
}

impl Ffmpeg {
    /// Finds ffmpeg and ffprobe on `PATH`, and runs each once, under util-linux's `setpriv`, which makes them die with
    /// this process.
    ///
    /// Call it before anything is claimed: a worker without ffmpeg would fail every video.
    ///
    /// # Errors
    /// One of them is missing or does not run; the text says what to install.
    pub async fn find() -> Result<Self, FfmpegSetupError> {
        Self::find_in(&std::env::var_os("PATH").unwrap_or_default()).await
    }

    /// As [`find`](Self::find), in the folders of `search_path`, in the form of `PATH`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn find_in(search_path: &OsStr) -> Result<Self, FfmpegSetupError> {
        let folders: Vec<PathBuf> = std::env::split_paths(search_path).collect();
        let found = |program| find_program(program, FFMPEG_PACKAGE, &folders);
        let (ffmpeg, ffprobe) = (found("ffmpeg")?, found("ffprobe"));
        let everywhere: Vec<PathBuf> =
            folders.iter().cloned().chain(SYSTEM_FOLDERS.iter().map(PathBuf::from)).collect();
        let setpriv = find_program("setpriv", SETPRIV_PACKAGE, &everywhere)?;
        try_program(&ffmpeg, FFMPEG_TRIAL, &setpriv).await?;
        let ffprobe = ffprobe?;
        try_program(&ffprobe, FFPROBE_TRIAL, &setpriv).await?;
        Ok(Self { ffmpeg, ffprobe, setpriv, time_limit: EXTRACTION_TIME_LIMIT })
    }

    /// Sets the time limit for all processes of one extraction together, instead of twenty minutes; a probe gets at
    /// most that, instead of one minute.
    #[must_use]
    pub fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// `ffprobe` with `arguments`, about `video`.
    pub(super) fn ffprobe(&self, arguments: &[&str], video: &Video) -> Result<Invocation, MediaError> {
        let mut all: Vec<OsString> = vec!["-hide_banner".into(), "-v".into(), "error".into()];
        all.extend(arguments.iter().map(OsString::from));
        all.extend(input());
        self.invocation(&self.ffprobe, all, video, self.time_limit.min(PROBE_TIME_LIMIT))
    }

    /// `ffmpeg` that reads `video` from `seek_secs` on, with `output` arguments.
    pub(super) fn ffmpeg(
        &self,
        video: &Video,
        seek_secs: Option<f64>,
        output: &[&str],
    ) -> Result<Invocation, MediaError> {
        let mut all: Vec<OsString> =
            ["-nostdin", "-hide_banner", "-v", "error", "-filter_threads", "1"].iter().map(OsString::from).collect();
        if let Some(seek_secs) = seek_secs {
            all.extend(["-ss".into(), format!("{seek_secs:.3}").into()]);
        }
        all.extend(input());
        all.extend(output.iter().map(OsString::from));
        self.invocation(&self.ffmpeg, all, video, self.time_limit)
    }

    fn invocation(
        &self,
        program: &Path,
        arguments: Vec<OsString>,
        video: &Video,
        time_limit: Duration,
    ) -> Result<Invocation, MediaError> {
        Ok(Invocation {
            program: program.to_path_buf(),
            arguments,
            stdin: Some(video.file.try_clone().map_err(|source| MediaError::Io { doing: "start ffmpeg", source })?),
            time_limit,
            time_left: time_limit.saturating_sub(video.opened_at.elapsed()),
            setpriv: self.setpriv.clone(),
        })
    }
}

/// The video as an input that can only be that file: opened by this program, without a name from which a format or
/// another file could follow, and read only by demuxers that open nothing else. One thread, because there are as many
/// processes as processors, and because the complaints of several threads come in any order.
fn input() -> Vec<OsString> {
    let options = ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS, "-threads", "1", "-max_pixels"];
    let mut all: Vec<OsString> = options.iter().map(OsString::from).collect();
    all.extend([MAX_PIXELS.to_string().into(), "-i".into(), INPUT.into()]);
    all
}

/// A video that is open for the children, and since when.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) path: PathBuf,
    file: File,
    opened_at: Instant,
}

impl Video {
    /// Opens a regular file, and nothing else.
    pub(super) async fn open(path: &Path) -> Result<Self, MediaError> {
        let path = path.to_path_buf();
        let opening = tokio::task::spawn_blocking(move || match open_regular(&path) {
            Ok(file) => Ok(Self { path, file, opened_at: Instant::now() }),
            Err(error) => Err(open_error(error)),
        });
        opening.await.map_err(|error| MediaError::Io { doing: "open the video", source: error.into() })?
    }
}

fn open_error(error: OpenError) -> MediaError {
    match error {
        OpenError::NotAFile(kind) => MediaError::NotAFile { kind },
        OpenError::Io(source) => MediaError::of_reading(source),
    }
}

fn find_program(
    program: &'static str,
    package: &'static str,
    folders: &[PathBuf],
) -> Result<PathBuf, FfmpegSetupError> {
    let found = folders.iter().map(|folder| folder.join(program)).find(|candidate| candidate.is_file());
    found.ok_or(FfmpegSetupError::NotFound { program, package })
}

async fn try_program(program: &Path, trial: &[&str], setpriv: &Path) -> Result<(), FfmpegSetupError> {
    let invocation = Invocation {
        program: program.to_path_buf(),
        arguments: trial.iter().map(OsString::from).collect(),
        stdin: None,
        time_limit: TRIAL_TIME_LIMIT,
        time_left: TRIAL_TIME_LIMIT,
        setpriv: setpriv.to_path_buf(),
    };
    let message = match run(&invocation, |_| {}).await {
        Ok(finished) if finished.succeeded => return Ok(()),
        Ok(finished) => last_line(&String::from_utf8_lossy(&finished.stderr)),
        Err(MediaError::Io { source, .. }) => source.to_string(),
        Err(error) => error.to_string(),
    };
    Err(FfmpegSetupError::Broken { message, program: program.to_path_buf() })
}

/// The error for an ffmpeg that produced nothing usable. The operating system decides whose fault it is: the file is
/// read, and the remaining memory checked. ffmpeg's words are only the reason to show.
pub(super) async fn explain_failure(finished: &Finished, video: &Video) -> MediaError {
    let (path, stderr) = (video.path.clone(), finished.stderr.clone());
    let explaining = tokio::task::spawn_blocking(move || {
        // A hint, which costs a read; the disk's answer decides.
        let whole = String::from_utf8_lossy(&stderr).contains("Input/output error");
        if let Err(error) = read_again(&path, whole) {
            return open_error(error);
        }
        if machine_memory_left_bytes().is_some_and(|left| left < MACHINE_MEMORY_MIN_BYTES) {
            return MediaError::OutOfMemory;
        }
        MediaError::Rejected { message: reason(&stderr, &path) }
    });
    explaining.await.unwrap_or_else(|error| MediaError::Io { doing: "read the video", source: error.into() })
}

/// Only the disk can tell whether it failed or the file is broken. Reads both ends, or everything.
fn read_again(video: &Path, whole: bool) -> Result<(), OpenError> {
    let mut file = open_regular(video)?;
    let size_bytes = file.metadata()?.len();
    let mut buffer = vec![0; 1024 * 1024];
    if whole {
        while file.read(&mut buffer)? > 0 {}
        return Ok(());
    }
    for start in [0, size_bytes.saturating_sub(buffer.len() as u64)] {
        file.seek(SeekFrom::Start(start))?;
        let _read = file.read(&mut buffer)?;
    }
    Ok(())
}

/// `None` if the system does not say.
fn machine_memory_left_bytes() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // The trial fails with an old ffmpeg; an old one cannot be installed beside the present one.
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/false", folder.path().join("ffmpeg")).unwrap();
        let error = Ffmpeg::find_in(folder.path().as_os_str()).await.unwrap_err();
        assert!(error.to_string().contains("install ffmpeg 5.1 or newer"), "{error}");
    }

    #[tokio::test]
    async fn what_ffmpeg_writes_never_makes_an_error_transient() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("No space left on device.mp4");
        std::fs::write(&path, "x").unwrap();
        let video = Video::open(&path).await.unwrap();
        for said in ["No space left on device", "Cannot allocate memory", "Input/output error", "Connection timed out"]
        {
            let finished = Finished { succeeded: false, stderr: format!("title: {said}\n").into_bytes() };
            let error = explain_failure(&finished, &video).await;
            assert!(matches!(error, MediaError::Rejected { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_the_disk_does_not_give_is_the_disks_trouble() {
        // Reading a process's memory at address 0 fails with an I/O error, as a bad disk does.
        let error = read_again(Path::new("/proc/self/mem"), false).unwrap_err();
        assert!(matches!(open_error(error), MediaError::Away { .. }));
    }
}
