//! The real thing: ffmpeg, real clips, the image model, databases.
//!
//! The clips and the model are fetched by `make setup`, and the server is made by `make test`. A test that misses
//! one of them fails and says so: a test that skips itself proves nothing.

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
