//! `work`: the fleet form.

use std::process::ExitCode;

use anyhow::Result;
use rowlock::Record;
use rowlock_video::library::{Library, QueuedVideo, Videos};
use rowlock_video::processing::{Tools, worker};

use super::arguments::Working;
use super::{WorkStopped, print_error};

pub(crate) async fn work<L: Library>(videos: Videos<L>, library: L, tools: Tools, working: &Working) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let report = worker(videos, library, tools, working.jobs()).run().await.map_err(WorkStopped)?;
    print_error(format_args!(
        "stopped: {} stages completed, {} attempts failed, {} videos failed, {} released, {} taken back from others, \
         {} leases lost",
        report.completed, report.retried, report.failed, report.released, report.swept, report.lost
    ));
    Ok(ExitCode::SUCCESS)
}
