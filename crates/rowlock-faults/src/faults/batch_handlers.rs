//! Handlers that take many items at once: they are killed, stopped past their leases and continued, and some of their
//! items fail. None panics: that fails the whole batch, as documented.

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::Behaviour;

/// Items of one call.
const BATCH_ITEMS: usize = 16;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let failing = (round.size.items / 100).max(1);
    let others = vec![(Behaviour::Fail, failing), (Behaviour::FailForGood, failing)];
    let cast = Cast { others, ..Cast::default() };
    let stale_after_ms = u64::try_from(cast.stale_after.as_millis())?;
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.fleet.assignment_mut().batch_items = BATCH_ITEMS;
    scene.start()?;
    for number in 0..scene.injections_wanted() {
        if !scene.is_busy_after(100..=400).await? {
            break;
        }
        scene.injected();
        let victim = scene.any_process();
        if number % 3 == 2 {
            let stopped_at = scene.fleet.stop(victim);
            scene.pause(stale_after_ms..=2 * stale_after_ms).await?;
            scene.fleet.resume(victim, stopped_at);
        } else {
            scene.fleet.kill(victim).await?;
        }
    }
    scene.drain_and_judge().await
}
