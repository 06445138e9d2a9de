//! What can go wrong with one video, and whether trying again can help.

use std::io;
use std::time::Duration;

/// Why a video could not be probed or extracted.
///
/// The text of the permanent kinds is ffmpeg's own last line (less the file's name, which the caller
/// knows): the person who looks at a failed video can search for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// ffmpeg read the file and refused it: corrupt, empty, cut off, not a video. Permanent.
    #[error("{message}")]
    Rejected {
        /// ffmpeg's last line.
        message: String,
    },

    /// The file is media, but has no picture: sound alone, or sound with a cover. Permanent.
    #[error("{message}")]
    NoPicture {
        /// ffmpeg's last line.
        message: String,
    },

    /// The file is not there, or must not be read. Permanent: a network disk that stumbles answers
    /// otherwise, and a file that comes back can be retried by hand.
    #[error("cannot open the video")]
    Missing {
        /// What the operating system said.
        source: io::Error,
    },

    /// The child process took longer than allowed and was killed. Transient: the machine may be busy.
    #[error("{program} did not finish within {limit:?} and was killed")]
    TimedOut {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// How long it was given.
        limit: Duration,
    },

    /// The child process was ended by a signal, of the out-of-memory killer for instance. Transient.
    #[error("{program} was killed ({status})")]
    Killed {
        /// `ffmpeg` or `ffprobe`.
        program: String,
        /// The signal, as the operating system names it.
        status: String,
    },

    /// ffmpeg reported a trouble of the machine: a full disk, no memory, a failing disk. Transient.
    #[error("{message}")]
    Machine {
        /// ffmpeg's last line.
        message: String,
    },

    /// Starting the child or reading from it or from the video failed. Transient.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl MediaError {
    /// Whether the same call may succeed later without anybody changing the video.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::NoPicture { .. } | Self::Missing { .. } => false,
            Self::TimedOut { .. } | Self::Killed { .. } | Self::Machine { .. } | Self::Io { .. } => true,
        }
    }
}
