//! `status`: how many videos are in which state, and who holds what.

use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rowlock::store::HeldItem;
use rowlock_video::library::{Library, Videos};
use serde_json::json;

use super::table::{keep_ids_whole, or_dash, shown, table};
use super::{print, print_json};

/// Enough for a screen.
const HELD_SHOWN_MAX: usize = 100;

pub(crate) async fn status<L: Library>(videos: &Videos<L>, json: bool) -> Result<ExitCode> {
    let counts = videos.counts_exact().await?;
    let held = videos.held(HELD_SHOWN_MAX).await?;
    let pipeline = videos.pipeline();
    if json {
        let statuses: serde_json::Map<_, _> =
            counts.statuses.iter().map(|entry| (entry.word.clone(), entry.count.into())).collect();
        let stage = |stage: &rowlock::store::StageCounts| {
            json!({
                "stage": pipeline.stage(stage.stage).name(),
                "paused": stage.paused,
                "oldest_ready_since": stage.oldest_ready_since,
                "next_due_at": stage.next_due_at,
            })
        };
        let item = |item: &HeldItem| {
            json!({
                "video_id": item.key.as_str(),
                "stage": pipeline.stage(item.stage).name(),
                "holder": item.holder,
                "claimed_at": item.claimed_at,
                "heartbeat_at": item.heartbeat_at,
            })
        };
        print_json(&json!({
            "at": counts.at,
            "statuses": statuses,
            "stages": counts.stages.iter().map(stage).collect::<Vec<_>>(),
            "held": held.iter().map(item).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut statuses = table(["status", "videos"]);
    for entry in &counts.statuses {
        statuses.add_row([shown(&entry.word), entry.count.to_string()]);
    }
    print(format_args!("{statuses}"))?;
    for stage in &counts.stages {
        let name = pipeline.stage(stage.stage).name();
        if stage.paused {
            print(format_args!("{name} is paused"))?;
        }
        if let Some(since) = stage.oldest_ready_since {
            print(format_args!("{name}: the oldest has been ready for {}", age(since, counts.at)))?;
        }
        if let Some(due) = stage.next_due_at {
            print(format_args!("{name}: the next one that waits is due in {}", age(counts.at, due)))?;
        }
    }
    if !held.is_empty() {
        let mut holders = table(["held", "by"]);
        let ago = |at: Option<DateTime<Utc>>| at.map(|at| age(at, counts.at));
        for item in &held {
            holders.add_row([
                shown(item.key.as_str()),
                format!(
                    "{} by {} for {}; last heartbeat {}",
                    pipeline.stage(item.stage).name(),
                    or_dash(item.holder.as_deref().map(shown)),
                    or_dash(ago(item.claimed_at)),
                    or_dash(ago(item.heartbeat_at).map(|age| format!("{age} ago")))
                ),
            ]);
        }
        keep_ids_whole(&mut holders, 0, held.iter().map(|item| item.key.as_str()));
        print(format_args!("{holders}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The time from one to the other, in whole seconds.
fn age(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let seconds = (to - from).num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
