//! `run`: adds videos and works until nothing is left.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock::{Record, WorkerReport};
use rowlock_video::library::{Added, Library, QueuedVideo, VideoReport, Videos, add_videos};
use rowlock_video::media::{Discovery, discover};
use rowlock_video::processing::{Tools, worker};
use serde_json::json;

use super::arguments::Working;
use super::logging::say;
use super::{SOME_FAILED, print_json, progress, table};

/// Holders are named once each; more than this many rows need not be read for that.
const HELD_READ_MAX: i64 = 1_000;

/// Finds the videos at and under these paths.
pub(crate) async fn find_videos(paths: Vec<PathBuf>) -> Result<Discovery> {
    let searching = tokio::task::spawn_blocking(move || discover(&paths));
    searching.await?.context("nothing was added")
}

pub(crate) async fn run<L: Library>(
    videos: &Videos<L>,
    library: &L,
    tools: Tools,
    discovery: &Discovery,
    working: &Working,
    json: bool,
) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    for problem in &discovery.problems {
        say(format_args!("warning: cannot read {}: {}", table::shown(&problem.path.to_string_lossy()), problem.error));
    }
    let added = add_videos(videos, library, &discovery.videos).await.context("the videos cannot be added")?;
    say(format_args!(
        "{} videos found: {} new, {} changed, {} known already",
        discovery.videos.len(),
        added.new,
        added.changed,
        added.same
    ));
    say_who_holds::<L>(videos).await?;

    let working_on = worker(videos.clone(), library.clone(), tools, working.jobs()).run_until_idle();
    let report = tokio::select! {
        report = working_on => report.context("the work stopped; run the same command to go on")?,
        () = progress::show::<L>(videos) => unreachable!("progress is shown until the work ends"),
    };

    let mut reports = Vec::with_capacity(discovery.videos.len());
    for video in &discovery.videos {
        reports.extend(library.report(&video.video_id).await?);
    }
    if json {
        print_json(&result(discovery, added, &reports, &report))?;
    } else {
        print_result(discovery, &reports, &report);
    }
    let problems = discovery.problems.len() + discovery.problems_left_out;
    let all_succeeded = problems == 0 && reports.iter().all(table::succeeded);
    Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

/// Says whose leases may have to be waited for: of a run that was killed just now, for instance.
async fn say_who_holds<L: Library>(videos: &Videos<L>) -> Result<()> {
    let mut holders: Vec<(String, usize)> = Vec::new();
    for item in videos.held(HELD_READ_MAX).await? {
        let holder = item.holder.unwrap_or_else(|| "(unknown)".to_owned());
        match holders.iter_mut().find(|(known, _)| *known == holder) {
            Some((_, count)) => *count += 1,
            None => holders.push((holder, 1)),
        }
    }
    for (holder, count) in holders {
        say(format_args!(
            "{count} held by {}: waiting for its leases; what it does not renew is taken back after {:?}",
            table::shown(&holder),
            videos.pipeline().stale_after()
        ));
    }
    Ok(())
}

fn result(discovery: &Discovery, added: Added, reports: &[VideoReport], report: &WorkerReport) -> serde_json::Value {
    let problem = |path: &std::path::Path, error: &std::io::Error| {
        json!({
            "path": path.to_string_lossy(),
            "error": error.to_string(),
        })
    };
    json!({
        "found": discovery.videos.len(),
        "new": added.new,
        "changed": added.changed,
        "known": added.same,
        "problems": discovery.problems.iter().map(|p| problem(&p.path, &p.error)).collect::<Vec<_>>(),
        "taken_back": report.swept,
        "leases_lost": report.lost,
        "duration_secs": report.duration.as_secs_f64(),
        "videos": reports,
    })
}

fn print_result(discovery: &Discovery, reports: &[VideoReport], report: &WorkerReport) {
    if reports.is_empty() {
        println!("no videos were found");
        return;
    }
    println!("{}", table::of_reports(reports));
    let succeeded = reports.iter().filter(|report| table::succeeded(report)).count();
    println!(
        "{succeeded} of {} videos succeeded; worked for {}",
        reports.len(),
        table::seconds(report.duration.as_secs_f64())
    );
    if report.swept > 0 {
        println!("{} were taken back from workers that had stopped", report.swept);
    }
    if !report.remaining.is_empty() {
        println!("left: {}", report.remaining);
    }
    if discovery.problems_left_out > 0 {
        println!("{} more files or folders could not be read", discovery.problems_left_out);
    }
    if reports.iter().any(|report| report.status == "FAILED") {
        println!("why: `rowlock-video show ID`; again: `rowlock-video retry --failed`, then the same command");
    } else if succeeded < reports.len() {
        println!("not all is done: the same command goes on");
    }
}
