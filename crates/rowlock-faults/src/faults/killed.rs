//! Workers are killed at random moments.

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let mut scene = Scene::on_server(round, arena.server_url().await?, Cast::default(), str::to_owned).await?;
    scene.expect_prompt_sweeps();
    scene.start()?;
    for _ in 0..scene.injections_wanted() {
        if !scene.is_busy_after(200..=1_000).await? {
            break;
        }
        let victim = scene.any_process();
        scene.injected();
        scene.fleet.kill(victim).await?;
    }
    scene.drain_and_judge().await
}
