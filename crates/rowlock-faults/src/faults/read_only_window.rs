//! For some seconds, again and again, the server's name leads to a read-only server, as during a fail-over. When it
//! leads back, the connections to the other server still exist every other time: a worker that keeps one would never
//! write again.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use super::Arena;
use super::outages::{self, Outage};
use crate::arena::{Cast, Cluster, Proxy, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let server = Cluster::start().await?;
    let proxy = Proxy::before(&server.url).await?;
    let scene = Scene::on_server(round, &server.url, Cast::default(), |url| proxy.url(url)).await?;
    let standby = server.standby().await.context("a standby")?;
    server.wait_for_standby().await?;
    let begin = async || {
        proxy.lead_to(&standby.url)?;
        proxy.close_all();
        Ok(())
    };
    let windows = AtomicUsize::new(0);
    let end = async |()| {
        proxy.lead_to(&server.url)?;
        if windows.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            proxy.close_all();
        }
        Ok(())
    };
    outages::attack(scene, Outage { away_ms: 500..=5_000, begin, end }).await
}
