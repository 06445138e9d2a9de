//! Workers kill themselves exactly at each point of an item's way, and in the middle of their shutdown.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use anyhow::{Result, ensure};
use rand::RngExt;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::{KillAt, Point};

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let mut scene = Scene::on_server(round, arena.server_url().await?, Cast::default(), str::to_owned).await?;
    scene.expect_prompt_sweeps();
    scene.start()?;
    // A short round has few items: a late passage would never be reached.
    let passages = (round.size.items / 20).clamp(1, 40) as u64;
    // At least once at each point, and once in a shutdown.
    let rounds = scene.injections_wanted().div_ceil(Point::ALL.len() + 1);
    for _ in 0..rounds {
        for point in Point::ALL {
            if !scene.is_busy_after(100..=500).await? {
                break;
            }
            die_at(&mut scene, point, 1..=passages).await?;
        }
        if scene.is_busy_after(100..=500).await? {
            die_in_shutdown(&mut scene).await?;
        }
    }
    scene.drain().await?;
    let met: HashSet<Point> = scene.fleet.deaths_at_points()?.into_iter().map(|(point, _)| point).collect();
    let missed: Vec<Point> = Point::ALL.into_iter().filter(|point| !met.contains(point)).collect();
    // In a short round with few items a process may end before it reaches its point.
    ensure!(missed.is_empty() || !round.size.is_long, "no process died at {missed:?}");
    scene.judge().await
}

/// Replaces a process by one that dies at some passage of the point; the fleet notices the death and starts another
/// process. The death is counted from the process's log: the process may be replaced before it reaches the point.
pub(super) async fn die_at(scene: &mut Scene, point: Point, passages: RangeInclusive<u64>) -> Result<()> {
    let victim = scene.any_process();
    let passage = scene.lots.random_range(passages);
    scene.fleet.restart(victim, Some(KillAt { point, passage })).await
}

async fn die_in_shutdown(scene: &mut Scene) -> Result<()> {
    let victim = scene.any_process();
    scene.injected();
    scene.fleet.ask_to_end(victim);
    let after = scene.lots.random_range(0..=30);
    tokio::time::sleep(std::time::Duration::from_millis(after)).await;
    scene.fleet.kill(victim).await
}
