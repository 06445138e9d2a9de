//! The command `rowlock-video`: takes a folder of videos through extraction and embedding.

mod cli;

use std::process::ExitCode;

/// 0 if all succeeded, 1 if some video failed, 2 for usage and set-up errors.
fn main() -> ExitCode {
    cli::main()
}
