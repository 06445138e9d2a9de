//! A folder of videos, taken through extraction and embedding by Rowlock.
//!
//! [`media`] finds video files, and asks ffmpeg what they are and what they show. [`embedding`] turns
//! the frames into one vector a video, and says which videos look alike. Neither knows a queue or a
//! database.

pub mod embedding;
pub mod media;
