//! The server is stopped without a checkpoint, or killed, and started again, repeatedly.

use anyhow::Result;
use chrono::Utc;
use rand::RngExt;

use super::Arena;
use crate::arena::{Cast, Cluster, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let server = Cluster::start().await?;
    let mut scene = Scene::on_server(round, &server.url, Cast::default(), str::to_owned).await?;
    scene.start()?;
    let mut crashes = 0;
    // More injections than for other faults: each is short.
    for _ in 0..scene.injections_wanted() + scene.injections_wanted() / 2 {
        if !scene.is_busy_after(200..=900).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        crashes += 1;
        if scene.lots.random_bool(0.5) {
            server.stop_immediately().await?;
        } else {
            server.kill().await?;
        }
        scene.pause(0..=300).await?;
        server.start_again().await?;
        scene.afflicted_all_since(from);
    }
    let mut verdict = scene.drain_and_judge().await?;
    verdict.server_crashes = crashes;
    Ok(verdict)
}
