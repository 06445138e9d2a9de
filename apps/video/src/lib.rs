//! A folder of videos, taken through extraction and embedding by Rowlock.
//!
//! [`VideoRepository`] is the queue of videos on PostgreSQL, for programs that call it directly. The command
//! `rowlock-video` works on PostgreSQL and on SQLite: [`library`] has its stored data, and [`processing`] the work of
//! its workers.
//!
//! [`media`] finds video files, and asks ffmpeg what they are and what they show. [`embedding`] turns the frames into
//! one vector for each video, and says which videos look alike. Neither knows a queue or a database.

pub mod embedding;
mod error;
pub mod library;
pub mod media;
pub mod pipeline;
pub mod processing;
mod repository;

pub use error::{Error, Result};
pub use repository::{
    PoolLimits, UnknownStatus, VideoRecord, VideoRepository, VideoStatus, create_pool, create_pool_with,
};
