//! What can go wrong with one video, and whether another attempt can help.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// The operating system's errors if a disk is gone, or the server of a network disk.
const AWAY: &[Errno] = &[
    Errno::IO,
    Errno::NODEV,
    Errno::NXIO,
    Errno::NOMEDIUM,
    Errno::REMOTEIO,
    Errno::STALE,
    Errno::NOTCONN,
    Errno::SHUTDOWN,
    Errno::TIMEDOUT,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::NETDOWN,
    Errno::NETUNREACH,
];

/// Why a video could not be probed or extracted.
///
/// Exit status, signal, and the operating system's answers to this program itself decide whether an error is transient.
/// ffmpeg's messages are for people: they contain names and metadata that the author of the file chose.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The file was read and rejected: corrupt, empty, cut off, not a video, beyond a limit. Permanent.
    #[error("{message}")]
    Rejected {
        /// The reason, in this program's words or ffmpeg's; the same each time.
        message: String,
    },

    /// The file is media, but has no picture: only sound, or sound with a cover. Permanent.
    #[error("{message}")]
    NoPicture {
        /// What it has.
        message: String,
    },

    /// The file does not exist, or must not be read. Permanent, as long as the named folder exists: a network disk with
    /// a problem gives another error, and a file that comes back can be retried by hand.
    #[error("cannot open the video")]
    Missing {
        /// The operating system's error.
        source: io::Error,
    },

    /// The disk does not deliver the file: the disk is gone, or its server is. The file is not at fault, unless others
    /// on the disk can be read.
    #[error("cannot read the video")]
    Away {
        /// The operating system's error.
        source: io::Error,
    },

    /// The path leads to a pipe, a device, a socket or a folder. Permanent.
    #[error("is {kind} and no file")]
    NotAFile {
        /// What it is.
        kind: &'static str,
    },

    /// The child process took longer than allowed and was killed. Transient once, see
    /// [`is_the_files_own_when_repeated`](Self::is_the_files_own_when_repeated).
    #[error("{program} did not finish within {limit:?} and was killed")]
    TimedOut {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// Its time limit.
        limit: Duration,
    },

    /// The child process crashed. Transient once, see
    /// [`is_the_files_own_when_repeated`](Self::is_the_files_own_when_repeated).
    #[error("{program} crashed ({status})")]
    Crashed {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// The signal, as the operating system names it.
        status: String,
    },

    /// The child process was ended from outside, for instance by the out-of-memory killer. Transient.
    #[error("{program} was killed ({status})")]
    Killed {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// The signal, as the operating system names it.
        status: String,
    },

    /// The machine has so little memory left that any video would fail. Transient.
    #[error("the machine is out of memory")]
    OutOfMemory,

    /// Starting the child or reading from it or from the video failed. Transient.
    #[error("cannot {doing}")]
    Io {
        /// The attempted operation.
        doing: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
}

impl MediaError {
    /// Whether the same call may succeed later without a change to the video.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::NoPicture { .. } | Self::Missing { .. } | Self::NotAFile { .. } => false,
            Self::TimedOut { .. }
            | Self::Crashed { .. }
            | Self::Killed { .. }
            | Self::OutOfMemory
            | Self::Away { .. }
            | Self::Io { .. } => true,
        }
    }

    /// The meaning of an error of the operating system when it opened or read the video.
    pub(super) fn of_reading(source: io::Error) -> Self {
        let away = source.raw_os_error().is_some_and(|code| AWAY.iter().any(|errno| errno.raw_os_error() == code));
        match source.kind() {
            _ if away => Self::Away { source },
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
                Self::Missing { source }
            }
            _ => Self::Io { doing: "read the video", source },
        }
    }

    /// Whether a second error of this kind means that the file is at fault: the machine may have been busy once, but
    /// one file must not take twenty minutes five times.
    pub fn is_the_files_own_when_repeated(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Crashed { .. })
    }

    /// Whether `message` is the text of an error of that kind. The author of a file cannot choose it: only permanent
    /// errors contain ffmpeg's words.
    pub fn is_message_of_such(message: &str) -> bool {
        let programs = ["ffmpeg ", "ffprobe "];
        let rest = programs.iter().find_map(|program| message.strip_prefix(program));
        rest.is_some_and(|rest| rest.starts_with("did not finish within ") || rest.starts_with("crashed ("))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_that_is_gone_answers_is_no_fault_of_the_file() {
        for errno in AWAY {
            let error = MediaError::of_reading((*errno).into());
            assert!(matches!(error, MediaError::Away { .. }) && error.is_transient(), "{errno:?}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::NOTDIR] {
            assert!(matches!(MediaError::of_reading(errno.into()), MediaError::Missing { .. }), "{errno:?}");
        }
        assert!(matches!(MediaError::of_reading(Errno::MFILE.into()), MediaError::Io { .. }));
    }

    #[test]
    fn the_messages_of_what_may_not_be_repeated_are_known_again() {
        let program = || "ffmpeg".to_owned();
        let timed_out = MediaError::TimedOut { program: program(), limit: Duration::from_secs(600) };
        let crashed = MediaError::Crashed { program: program(), status: "signal: 11 (SIGSEGV)".to_owned() };
        for error in [timed_out, crashed] {
            assert!(error.is_the_files_own_when_repeated() && MediaError::is_message_of_such(&error.to_string()));
        }
        let killed = MediaError::Killed { program: program(), status: "signal: 9 (SIGKILL)".to_owned() };
        assert!(!killed.is_the_files_own_when_repeated() && !MediaError::is_message_of_such(&killed.to_string()));
    }
}
