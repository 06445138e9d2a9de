//! Workers whose wall clocks are hours off, in both directions.

use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

/// Shows another time to a process.
pub(super) fn library() -> Option<PathBuf> {
    let triple = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
    let file = PathBuf::from(format!("/usr/lib/{triple}/faketime/libfaketimeMT.so.1"));
    file.is_file().then_some(file)
}

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let library = library().context("libfaketime is not installed")?;
    let begun_at = Utc::now();
    let mut scene = Scene::on_server(round, arena.server_url().await?, Cast::default(), str::to_owned).await?;
    scene.fleet.set_environment("LD_PRELOAD", &library.to_string_lossy());
    scene.fleet.set_environment("DONT_FAKE_MONOTONIC", "1");
    scene.fleet.set_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    for number in 0..round.size.processes {
        scene.fleet.set_environment("FAKETIME", &format!("{:+}h", offset_hours(number)));
        scene.fleet.start(1)?;
        scene.injected();
    }
    // Deaths, so that workers with wrong clocks sweep.
    for _ in 0..scene.injections_wanted() / 3 + 1 {
        if !scene.is_busy_after(300..=1_000).await? {
            break;
        }
        let victim = scene.any_process();
        scene.injected();
        scene.fleet.kill(victim).await?;
    }
    scene.drain().await?;
    let unmoved = clocks_that_were_right(scene.fleet.wall_clocks()?, begun_at);
    let mut verdict = scene.judge().await?;
    verdict.violations.extend(unmoved);
    Ok(verdict)
}

/// How far the clock of a process is off; its replacements are off by as much.
fn offset_hours(number: usize) -> i64 {
    if number.is_multiple_of(2) { 7 } else { -9 }
}

/// Mistakes of the fault itself. A scene takes far less than the hour that is allowed here.
fn clocks_that_were_right(clocks: Vec<(String, DateTime<Utc>)>, begun_at: DateTime<Utc>) -> Vec<String> {
    let mut found = Vec::new();
    for ahead in [true, false] {
        if !clocks.iter().any(|(_, clock)| (*clock > begun_at) == ahead) {
            found.push(format!("no clock was {}", if ahead { "ahead" } else { "behind" }));
        }
    }
    for (holder, clock) in clocks {
        let number = holder.trim_start_matches("worker-").split('.').next().and_then(|number| number.parse().ok());
        let expected = TimeDelta::hours(number.map_or(0, offset_hours));
        if (clock - begun_at - expected).abs() > TimeDelta::hours(1) {
            found.push(format!("{holder} said {clock}, and was to be off by {expected}"));
        }
    }
    found
}
