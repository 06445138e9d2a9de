//! `rowlock-video`: a folder of videos, taken through extraction and embedding by Rowlock.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::execute(cli::Arguments::parse()).await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(cli::SETUP_ERROR)
        }
    }
}
