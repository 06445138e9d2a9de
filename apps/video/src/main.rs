//! `rowlock-video`: a folder of videos, taken through extraction and embedding by Rowlock.

mod cli;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::main().await
}
