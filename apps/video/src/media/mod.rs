//! From a folder to frames: what is a video ([`discover`]), what it is made of ([`Ffmpeg::probe`]) and
//! what it shows ([`Ffmpeg::extract`]).
//!
//! ffmpeg runs as a child process, in its own process group and with a time limit. A broken video can
//! crash a decoder, and a process can be killed at once when the right to work on the video is gone.

mod discover;
mod error;
mod ffmpeg;
mod fingerprint;
mod frames;
mod location;
mod probe;
mod process;
mod sampling;
mod sniff;

pub use discover::{DiscoverError, Discovery, FoundVideo, Problem, discover};
pub use error::MediaError;
pub use ffmpeg::{Ffmpeg, FfmpegSetupError};
pub use fingerprint::Fingerprint;
pub use frames::{
    DEFAULT_FRAMES, Extraction, FRAME_BYTES, FRAME_SIDE_PX, Frame, FrameCount, MAX_FRAMES, WrongFrame, WrongFrameCount,
};
pub use location::{path_from_text, path_to_text, video_id};
pub use probe::Probe;
