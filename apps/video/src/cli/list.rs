//! `list`: the videos and the facts about them.

use std::process::ExitCode;

use anyhow::Result;
use rowlock_video::VideoStatus;
use rowlock_video::library::{Library, VideoReport};

use super::{print, print_json, table};

/// Rows read at a time.
const PAGE_ITEMS: i64 = 1_000;

pub(crate) async fn list<L: Library>(library: &L, status: Option<VideoStatus>, json: bool) -> Result<ExitCode> {
    let reports = all_reports(library, status).await?;
    if json {
        print_json(&reports)?;
    } else if reports.is_empty() {
        print(format_args!("no videos"))?;
    } else {
        print(format_args!("{}", table::of_reports(&reports)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All videos in this state, or in any, in the order of their ids.
pub(crate) async fn all_reports<L: Library>(library: &L, status: Option<VideoStatus>) -> Result<Vec<VideoReport>> {
    let mut reports: Vec<VideoReport> = Vec::new();
    loop {
        let after = reports.last().map(|report| report.video_id.clone()).unwrap_or_default();
        let page = library.reports(status.map(VideoStatus::as_str), &after, PAGE_ITEMS).await?;
        if page.is_empty() {
            return Ok(reports);
        }
        reports.extend(page);
    }
}
