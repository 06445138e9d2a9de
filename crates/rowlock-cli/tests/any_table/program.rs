//! The program, run as its users run it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

/// Longer than any verb takes on a table of some hundred rows.
const DEADLINE: Duration = Duration::from_secs(120);

/// How the program ended, and what it said.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// All that it said, for a message.
    pub(crate) fn said(&self) -> String {
        format!("exit status {}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs `rowlock` with these arguments. The URL is passed in the environment, as a password would be.
pub(crate) async fn rowlock(url: &str, arguments: &[&str]) -> Result<Ended> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlock"));
    command.args(arguments).env("DATABASE_URL", url).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .with_context(|| format!("rowlock {} did not end in {DEADLINE:?}", arguments.join(" ")))??;
    Ok(Ended {
        status: output.status.code().context("a signal ended it")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// `rowlock init`, which writes the file.
pub(crate) async fn init(url: &str, table: &str, file: &Path) -> Result<Ended> {
    rowlock(url, &["init", "--table", table, "--output", shown(file)?]).await
}

/// `rowlock init --new`, for a table that does not exist.
pub(crate) async fn init_new(url: &str, table: &str, file: &Path) -> Result<Ended> {
    rowlock(url, &["init", "--new", "--table", table, "--output", shown(file)?]).await
}

pub(crate) async fn check(url: &str, file: &Path) -> Result<Ended> {
    rowlock(url, &["check", "--json", "--file", shown(file)?]).await
}

/// `rowlock check` before there is a description.
pub(crate) async fn check_table(url: &str, table: &str) -> Result<Ended> {
    rowlock(url, &["check", "--json", "--table", table]).await
}

pub(crate) async fn attach(url: &str, file: &Path) -> Result<Ended> {
    rowlock(url, &["attach", "--apply", "--file", shown(file)?]).await
}

/// `rowlock drain`, with handlers that do nothing.
pub(crate) async fn drain(url: &str, file: &Path) -> Result<Ended> {
    rowlock(url, &["drain", "--file", shown(file)?]).await
}

pub(crate) async fn status(url: &str, file: &Path) -> Result<Ended> {
    rowlock(url, &["status", "--json", "--file", shown(file)?]).await
}

fn shown(file: &Path) -> Result<&str> {
    file.to_str().context("the path of a file is no text")
}
