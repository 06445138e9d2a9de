//! The real thing: ffmpeg, real clips, the image model, databases.
//!
//! `make setup` fetches the clips and the model, and `make test` starts the server. A test that lacks one of them fails
//! and says so: a test that skips itself proves nothing.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should stop there")]

mod absence;
mod bad_files;
mod clips;
mod command;
mod database;
mod discovery;
mod disguises;
mod embedding;
mod extraction;
mod killing;
mod limits;
mod pictures;
mod postgres_repository;
