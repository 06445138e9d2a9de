//! `run`: adds videos and works until nothing is left.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock::{Record, WorkerReport};
use rowlock_video::library::{Added, Collision, Library, QueuedVideo, VideoReport, Videos, add_videos};
use rowlock_video::media::{Discovery, Links, PassedOver, discover, path_from_text};
use rowlock_video::processing::{Tools, worker};
use serde_json::json;

use super::arguments::Working;
use super::logging::say;
use super::{SOME_FAILED, WorkStopped, print, print_json, progress, table};

/// Each holder is named once; that needs no more rows than this.
const HELD_READ_MAX: usize = 1_000;

/// Finds the videos at and under these paths.
pub(crate) async fn find_videos(paths: Vec<PathBuf>, follow_links: bool) -> Result<Discovery> {
    let links = if follow_links { Links::Followed } else { Links::Inside };
    let searching = tokio::task::spawn_blocking(move || discover(&paths, links));
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
    for passed in &discovery.passed_over {
        say(format_args!("passed over: {} is {}", table::shown(&passed.path.to_string_lossy()), passed.what));
    }
    let added = add_videos(videos, library, &discovery.videos).await.context("the videos cannot be added")?;
    say(format_args!(
        "{} videos found: {} new, {} changed, {} known already",
        discovery.videos.len(),
        added.new,
        added.changed,
        added.same
    ));
    for collision in &added.collisions {
        say(format_args!(
            "error: {} was not added: its id {} is that of {}",
            table::shown(&collision.path.to_string_lossy()),
            table::shown(&collision.video_id),
            table::shown(&path_from_text(&collision.taken_by).to_string_lossy())
        ));
    }
    say_who_holds::<L>(videos).await?;

    let working_on = worker(videos.clone(), library.clone(), tools, working.jobs()).run_until_idle();
    let report = tokio::select! {
        report = working_on => report.map_err(WorkStopped)?,
        () = progress::show::<L>(videos, library) => unreachable!("progress is shown until the work ends"),
    };

    let mut reports = Vec::with_capacity(discovery.videos.len());
    for id in &added.ids {
        reports.extend(library.report(id).await?);
    }
    if json {
        print_json(&result(discovery, &added, &reports, &report))?;
    } else {
        print_result(discovery, &added, &reports, &report)?;
    }
    let problems = discovery.problems.len() + discovery.problems_left_out + added.collisions.len();
    let all_succeeded = problems == 0 && reports.iter().all(table::succeeded);
    Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

/// Names the holders whose leases may have to be waited for: those of a run that was killed a moment ago, for instance.
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

fn result(discovery: &Discovery, added: &Added, reports: &[VideoReport], report: &WorkerReport) -> serde_json::Value {
    let problem = |path: &std::path::Path, error: &std::io::Error| {
        json!({
            "path": path.to_string_lossy(),
            "error": error.to_string(),
        })
    };
    let passed = |passed: &PassedOver| json!({ "path": passed.path.to_string_lossy(), "is": passed.what });
    let collision = |collision: &Collision| {
        json!({
            "path": collision.path.to_string_lossy(),
            "video_id": collision.video_id,
            "taken_by": path_from_text(&collision.taken_by).to_string_lossy(),
        })
    };
    json!({
        "found": discovery.videos.len(),
        "new": added.new,
        "changed": added.changed,
        "known": added.same,
        "problems": discovery.problems.iter().map(|p| problem(&p.path, &p.error)).collect::<Vec<_>>(),
        "passed_over": discovery.passed_over.iter().map(passed).collect::<Vec<_>>(),
        "passed_over_counts": discovery.passed_over_counts,
        "not_added": added.collisions.iter().map(collision).collect::<Vec<_>>(),
        "taken_back": report.swept,
        "leases_lost": report.lost,
        "duration_secs": report.duration.as_secs_f64(),
        "videos": reports,
    })
}

fn print_result(discovery: &Discovery, added: &Added, reports: &[VideoReport], report: &WorkerReport) -> Result<()> {
    if reports.is_empty() {
        print(format_args!("no videos were found"))?;
        return print_left_out(discovery, added);
    }
    print(format_args!("{}", table::of_reports(reports)))?;
    let succeeded = reports.iter().filter(|report| table::succeeded(report)).count();
    print(format_args!(
        "{succeeded} of {} videos succeeded; worked for {}",
        reports.len(),
        table::seconds(report.duration.as_secs_f64())
    ))?;
    if report.swept > 0 {
        print(format_args!("{} were taken back from workers that had stopped", report.swept))?;
    }
    if !report.remaining.is_empty() {
        print(format_args!("left: {}", report.remaining))?;
    }
    if reports.iter().any(|report| report.status == "FAILED") {
        print(format_args!("why: `rowlock-video show ID`"))?;
        print(format_args!("again: `rowlock-video retry --failed`, then the same command"))?;
    } else if succeeded < reports.len() {
        print(format_args!("not all is done: the same command goes on"))?;
    }
    print_left_out(discovery, added)
}

/// How many of the found files are not in the table.
fn print_left_out(discovery: &Discovery, added: &Added) -> Result<()> {
    let unreadable = discovery.problems.len() + discovery.problems_left_out;
    let counts = discovery.passed_over_counts.iter().map(|(what, count)| (*count, *what));
    let all = counts.chain([(unreadable, "unreadable"), (added.collisions.len(), "of an id that is taken")]);
    let parts: Vec<String> =
        all.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} × {what}")).collect();
    if parts.is_empty() { Ok(()) } else { print(format_args!("passed over: {}", parts.join(", "))) }
}
