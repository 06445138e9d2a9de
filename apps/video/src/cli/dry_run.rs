//! `dry-run`: the next videos through their stage, without writing anything.

use std::process::ExitCode;

use anyhow::Result;
use rowlock::{Handled, Record};
use rowlock_video::library::{Library, QueuedVideo, Videos};
use rowlock_video::processing::{Tools, worker};
use serde_json::json;

use super::table::{keep_ids_whole, shown, table};
use super::{SOME_FAILED, print, print_json};

/// A dry run works on one video after the other.
const JOBS: usize = 1;

pub(crate) async fn dry_run<L: Library>(
    videos: Videos<L>,
    library: L,
    tools: Tools,
    count: u16,
    json: bool,
) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let pipeline = std::sync::Arc::clone(videos.pipeline());
    let runs = worker(videos, library, tools, JOBS).dry_run(usize::from(count)).await?;
    let (mut rows, mut entries) = (table(["video", "would become"]), Vec::new());
    let mut all_succeeded = true;
    for run in &runs {
        let (to, error) = match &run.result {
            Ok(Handled::Settled(settled)) => (pipeline.word(settled.to).to_owned(), None),
            Ok(Handled::With(outcome)) => (outcome.name().to_owned(), outcome.error().map(str::to_owned)),
            Err(failure) if failure.is_permanent() => ("FAILED".to_owned(), Some(failure.message().to_owned())),
            Err(failure) if failure.is_outage() => ("released".to_owned(), Some(failure.message().to_owned())),
            Err(failure) => ("retried".to_owned(), Some(failure.message().to_owned())),
        };
        let stage = pipeline.stage(run.stage).name();
        all_succeeded &= error.is_none();
        entries.push(json!({ "video_id": run.key.as_str(), "stage": stage, "to": to, "error": error }));
        let error = error.map(|error| format!("\n{}", shown(&error))).unwrap_or_default();
        rows.add_row([shown(run.key.as_str()), format!("{stage} → {to}{error}")]);
    }
    keep_ids_whole(&mut rows, 0, runs.iter().map(|run| run.key.as_str()));
    if json {
        print_json(&entries)?;
    } else if runs.is_empty() {
        print(format_args!("nothing is ready and due"))?;
    } else {
        print(format_args!("{rows}\nnothing was written"))?;
    }
    Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}
