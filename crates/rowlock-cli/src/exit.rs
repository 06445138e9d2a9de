//! How the command ends.

use std::process::ExitCode;

/// What the exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0: all that was asked for is done, and nothing is wrong.
    Ok,
    /// 1: done, and there is something that somebody should look at.
    Findings,
    /// 2: it could not be done.
    CouldNotRun,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(match status {
            ExitStatus::Ok => 0,
            ExitStatus::Findings => 1,
            ExitStatus::CouldNotRun => 2,
        })
    }
}
