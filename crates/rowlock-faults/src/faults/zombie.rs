//! Workers are stopped for longer than their leases live, and then continue.

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

/// Items that keep their holder busy for longer than a lease lives, and for how long.
const LONG_ITEMS: usize = 40;
const LONG_WORK_MS: u32 = 3_000;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    // Every worker has free slots: a zombie's item has its next holder before the zombie continues.
    let cast = Cast { stale_after: Duration::from_secs(2), slots: 16, work_ms: 0..=20, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    // A worker that continues stops its handlers itself, mostly in time: here they cannot be stopped.
    scene.fleet.assignment_mut().detached = true;
    // And some work for so long that the next holder is still running when the zombie tries to complete.
    let every = (round.size.items / LONG_ITEMS).max(1);
    scene.lengthen_every(every, LONG_WORK_MS).await?;
    scene.start()?;
    for _ in 0..scene.injections_wanted().div_ceil(2) {
        if !scene.is_busy_after(200..=600).await? {
            break;
        }
        // Some at once, never all: some worker must take their items back.
        let most = (scene.fleet.len() - 1).min(3);
        let count = scene.lots.random_range(1..=most);
        let first = scene.any_process();
        let stopped: Vec<_> = (0..count)
            .map(|offset| {
                let number = (first + offset) % scene.fleet.len();
                scene.injected();
                (number, scene.fleet.stop(number))
            })
            .collect();
        scene.pause(2_300..=4_000).await?;
        for (number, at) in stopped {
            scene.fleet.resume(number, at);
        }
    }
    scene.drain_and_judge().await
}
