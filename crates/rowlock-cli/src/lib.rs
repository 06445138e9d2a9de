//! The command `rowlock`, as a library: from a live table to a description of it, from the description to a pipeline,
//! and what is wrong with either.
//!
//! [`config`] reads `rowlock.toml` into a [`config::Description`], strictly and with positions. [`database`] says which
//! database is meant, and opens it for reading or for writing. [`survey`] says what a live table is; [`init`] writes a
//! description of it, [`check`] finds what is wrong with it as a queue, and [`attach`] adds what it lacks. [`status`]
//! and [`drain`] use what was attached.

pub mod attach;
pub mod check;
pub mod cli;
pub mod config;
pub mod database;
pub mod drain;
mod exit;
pub mod init;
pub mod output;
pub mod secrets;
pub mod status;
pub mod survey;

pub use exit::ExitStatus;
