//! A whole fleet is stopped for longer than its leases live, again and again, and continues: as by Ctrl-Z, or as on a
//! machine that is paused while its server is not.

use std::time::Duration;

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

/// This many resets would make an item `FAILED`.
const STOPS: usize = 3;

/// Items that keep their holder busy over all stops: one in this many, and for how long.
const LONG_ITEM_EVERY: usize = 8;
const LONG_WORK_MS: u32 = 4_000;

/// Workers that were stopped have a third of this to renew their leases, on a processor that others use too.
const STALE_AFTER: Duration = Duration::from_secs(12);

/// The length of a stop, in lives of a lease.
const STOP: f64 = 1.1;

pub(super) async fn on_server(arena: &Arena, round: &Round) -> Result<Verdict> {
    attack(Scene::on_server(round, arena.server_url().await?, cast(), str::to_owned).await?).await
}

pub(super) async fn on_file(_: &Arena, round: &Round) -> Result<Verdict> {
    attack(Scene::on_file(round, cast()).await?).await
}

fn cast() -> Cast {
    Cast { stale_after: STALE_AFTER, slots: 24, ..Cast::default() }
}

async fn attack(mut scene: Scene) -> Result<Verdict> {
    scene.the_living_keep_their_leases = true;
    scene.lengthen_every(LONG_ITEM_EVERY, LONG_WORK_MS).await?;
    scene.start()?;
    scene.pause(1_000..=1_500).await?;
    for _ in 0..scene.injections_wanted().clamp(STOPS, 2 * STOPS) {
        if !scene.is_busy_after(300..=1_500).await? {
            break;
        }
        scene.injected();
        for number in 0..scene.fleet.len() {
            scene.fleet.stop(number);
        }
        for number in 0..scene.fleet.len() {
            scene.fleet.until_stopped(number).await?;
        }
        tokio::time::sleep(STALE_AFTER.mul_f64(STOP)).await;
        for number in 0..scene.fleet.len() {
            scene.fleet.go_on(number);
        }
    }
    scene.drain_and_judge().await
}
