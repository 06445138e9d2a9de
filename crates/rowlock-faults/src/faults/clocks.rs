//! Workers whose wall clocks are hours off, in both directions.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

/// Makes a process believe another time.
pub(super) fn library() -> Option<PathBuf> {
    let triple = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
    let file = PathBuf::from(format!("/usr/lib/{triple}/faketime/libfaketimeMT.so.1"));
    file.is_file().then_some(file)
}

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let library = library().context("libfaketime is not installed")?;
    let mut scene = Scene::on_server(round, arena.server_url(), Cast::default(), str::to_owned).await?;
    scene.fleet.set_environment("LD_PRELOAD", &library.to_string_lossy());
    scene.fleet.set_environment("DONT_FAKE_MONOTONIC", "1");
    scene.fleet.set_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    for number in 0..round.size.processes {
        let offset = if number % 2 == 0 { "+7h" } else { "-9h" };
        scene.fleet.set_environment("FAKETIME", offset);
        scene.fleet.start(1)?;
        scene.injected();
    }
    // Deaths, so that there are sweeps by clocks that are off.
    for _ in 0..scene.injections_wanted() / 3 + 1 {
        if !scene.is_busy_after(300..=1_000).await? {
            break;
        }
        let victim = scene.any_process();
        scene.injected();
        scene.fleet.kill(victim).await?;
    }
    scene.drain_and_judge().await
}
