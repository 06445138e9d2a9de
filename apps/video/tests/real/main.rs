//! Extraction and embedding with the real ffmpeg, real clips and the real model.
//!
//! The clips and the model are fetched by `make setup`. A test that misses one of them fails and says so:
//! a test that skips itself proves nothing.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should stop there")]

mod bad_files;
mod clips;
mod discovery;
mod embedding;
mod extraction;
mod killing;
