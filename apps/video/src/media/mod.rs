//! From a folder to frames: which files are videos ([`discover`]), their format ([`Ffmpeg::probe`]) and their pictures
//! ([`Ffmpeg::extract`]).
//!
//! ffmpeg runs as a child process, in a separate process group and with limits of time and memory: a broken video can
//! crash a decoder, and a process can be killed at once when the right to work on the video is gone. The files are not
//! trusted: ffmpeg gets a file that this program has opened, and may read nothing else.

mod coverage;
mod discover;
mod error;
mod ffmpeg;
mod fingerprint;
mod frame;
mod frames;
mod limits;
mod location;
mod open;
mod probe;
mod process;
mod reason;
mod root;
mod sampling;
mod sniff;

pub use coverage::Shortfall;
pub use discover::{DiscoverError, Discovery, FoundVideo, Links, PassedOver, Problem, discover};
pub use error::MediaError;
pub use ffmpeg::{Ffmpeg, FfmpegSetupError};
pub use fingerprint::Fingerprint;
pub use frame::{
    DEFAULT_FRAMES, FRAME_BYTES, FRAME_SIDE_PX, Frame, FrameCount, MAX_FRAMES, WrongFrame, WrongFrameCount,
};
pub use frames::Extraction;
pub use location::{path_from_text, path_to_text, video_id};
pub use probe::Probe;
pub use root::absence_of_root;
