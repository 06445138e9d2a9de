//! More handlers than connections and threads, handlers that burn both cores, and other clients who take every slot
//! of the server: heartbeats must go out all the same.

use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use sqlx::{Connection, PgConnection};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::Behaviour;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast {
        stale_after: Duration::from_secs(4),
        slots: 64,
        threads: 2,
        work_ms: 0..=20,
        others: vec![(Behaviour::Burn, round.size.items / 4)],
        ..Cast::default()
    };
    let mut scene = Scene::on_server(round, arena.server_url(), cast, str::to_owned).await?;
    let url = scene.url.clone();
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
    scene.drain_and_judge().await
}

/// Connects until the server refuses, then lets go after a while.
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
