//! A service that the handlers need is away for a while, again and again, and they report that by `Failure::outage`.
//! The database answers all the time.

use anyhow::{Context, Result};

use super::Arena;
use super::outages::{self, Outage};
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let mut scene = Scene::on_server(round, arena.server_url().await?, Cast::default(), str::to_owned).await?;
    let sign = round.folder.join("away");
    scene.fleet.assignment_mut().away_while = Some(sign.clone());
    let begin = async || std::fs::write(&sign, "").context("the sign that the service is away");
    let end = async |()| std::fs::remove_file(&sign).context("the sign that the service is away");
    // Otherwise every item would have spent its attempts by then.
    outages::attack(scene, Outage { away_ms: 2_000..=5_000, begin, end }).await
}
