//! Rolling restarts by SIGTERM: nothing may be counted.

use std::time::Duration;

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    // A long lease: on a busy machine one heartbeat may be late, and a sweep would be counted.
    let cast = Cast { stale_after: Duration::from_secs(20), work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.nothing_counted = true;
    scene.start()?;
    for number in 0..scene.injections_wanted() {
        if !scene.is_busy_after(100..=500).await? {
            break;
        }
        let number = number % scene.fleet.len();
        scene.injected();
        scene.fleet.restart(number, None).await?;
    }
    scene.drain_and_judge().await
}
