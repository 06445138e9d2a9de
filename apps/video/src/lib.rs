//! A folder of videos, taken through extraction and embedding by Rowlock.
//!
//! [`VideoRepository`] is the queue of videos on PostgreSQL, for those who call it by hand.
//!
//! [`media`] finds video files, and asks ffmpeg what they are and what they show. [`embedding`] turns
//! the frames into one vector a video, and says which videos look alike. Neither knows a queue or a
//! database.

pub mod embedding;
mod error;
pub mod media;
pub mod pipeline;
mod repository;

pub use error::{Error, Result};
pub use repository::{
    PoolLimits, UnknownStatus, VideoRecord, VideoRepository, VideoStatus, create_pool, create_pool_with,
};
