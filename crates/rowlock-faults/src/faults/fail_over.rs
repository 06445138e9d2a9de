//! The primary is killed, its synchronous standby is promoted, and the workers follow through the proxy.

use anyhow::{Context, Result};
use chrono::Utc;

use super::Arena;
use crate::arena::{Cast, Cluster, Proxy, Round, Scene};
use crate::report::Verdict;
use crate::subject::Database;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let mut primary = Cluster::start().await?;
    let proxy = Proxy::before(&primary.url).await?;
    let mut scene = Scene::on_server(round, &primary.url, Cast::default(), |url| proxy.url(url)).await?;
    // The suite's own connections follow as well.
    scene.database = Database::lazy(&proxy.url(&scene.url))?;
    scene.start()?;
    let mut fail_overs = 0;
    for _ in 0..scene.injections_wanted().div_ceil(5) {
        let standby = primary.standby().await.context("a standby")?;
        primary.wait_for_standby().await?;
        if !scene.is_busy_after(300..=1_500).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        fail_overs += 1;
        primary.kill().await?;
        standby.promote().await?;
        proxy.lead_to(&standby.url)?;
        proxy.close_all();
        scene.afflicted_all_since(from);
        primary = standby;
    }
    let mut verdict = scene.drain_and_judge().await?;
    verdict.fail_overs = fail_overs;
    Ok(verdict)
}
