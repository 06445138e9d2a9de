//! More handlers than connections and threads, handlers that burn both cores, and other clients who take every slot of
//! the server: heartbeats must still get through.

use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use sqlx::{Connection, PgConnection};

use super::Arena;
use crate::arena::{Cast, Cluster, Round, Scene};
use crate::report::Verdict;
use crate::subject::Behaviour;

/// As many as a process has threads for handlers; a lease lives for 4 s here.
const LONG_BURNS_PER_PROCESS: usize = 2;
const LONG_BURN_MS: u32 = 6_000;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast {
        stale_after: Duration::from_secs(4),
        slots: 64,
        threads: 2,
        work_ms: 0..=20,
        others: vec![(Behaviour::Burn, round.size.items / 4)],
        ..Cast::default()
    };
    // A separate server: a fault that takes every connection would starve others that share it.
    let server = Cluster::start().await?;
    let mut scene = Scene::on_server(round, &server.url, cast, str::to_owned).await?;
    let url = scene.url.clone();
    // Some burn on every thread for handlers for longer than a lease lives.
    let burning_processes = if round.size.is_long { round.size.processes } else { 1 };
    let long = burning_processes * LONG_BURNS_PER_PROCESS;
    scene
        .database
        .execute(format!(
            "update items set work_ms = {LONG_BURN_MS} where id in (
               select id from items where behaviour = 'burn' order by id limit {long}
             )"
        ))
        .await?;
    scene.start()?;
    for _ in 0..scene.injections_wanted().div_ceil(3) {
        if !scene.is_busy_after(500..=1_500).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        take_every_connection(&mut scene, &url).await?;
        scene.afflicted_all_since(from);
    }
    let mut verdict = scene.drain_and_judge().await?;
    // With other faults on the same machine, a worker may be late for want of a processor.
    if round.size.is_long && verdict.unexplained_sweeps > 0 {
        let swept = verdict.unexplained_sweeps;
        verdict = verdict.with_violation(format!("{swept} leases of workers whose handlers were busy were taken back"));
    }
    Ok(verdict)
}

/// Connects until the server refuses, then disconnects after a while.
async fn take_every_connection(scene: &mut Scene, url: &str) -> Result<()> {
    let mut taken = Vec::new();
    while let Ok(connection) = PgConnection::connect(url).await {
        taken.push(connection);
        if taken.len() > 1_000 {
            break;
        }
    }
    scene.pause(500..=3_000).await?;
    for connection in taken {
        // The server may have ended it.
        let _closed = connection.close().await;
    }
    Ok(())
}
