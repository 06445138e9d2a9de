//! Other clients of the database: a lock on the table held up by waiting DDL, a long snapshot, long transactions that
//! hold rows.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use rand::RngExt;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { stale_after: Duration::from_secs(4), ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    let url = scene.url.clone();
    scene.start()?;
    let mut snapshot = hold_snapshot(&url).await?;
    scene.injected();
    for number in 0..scene.injections_wanted() {
        if !scene.is_busy_after(100..=500).await? {
            break;
        }
        scene.injected();
        let from = Utc::now();
        if number % 2 == 0 {
            let outlives_leases = number % 4 == 0;
            hold_rows(&mut scene, &url, if outlives_leases { 5_000..=6_000 } else { 500..=3_000 }).await?;
            if outlives_leases {
                // No one takes a locked row. When it is free its heartbeat is old, and sweep and holder race for it.
                scene.afflicted_all_since(from);
            }
        } else {
            make_ddl_wait(&mut scene, &url).await?;
            // Everyone waits for the lock, heartbeats too.
            scene.afflicted_all_since(from);
        }
    }
    scene.drain().await?;
    snapshot.execute("rollback").await?;
    snapshot.close().await?;
    scene.judge().await
}

/// An old snapshot: nothing that changes from now on can be cleaned up.
async fn hold_snapshot(url: &str) -> Result<PgConnection> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("begin isolation level repeatable read; select count(*) from items").await?;
    Ok(connection)
}

/// A person's transaction that has some rows locked, in progress or ready.
async fn hold_rows(scene: &mut Scene, url: &str, ms: RangeInclusive<u64>) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let rows = scene.lots.random_range(1..=200);
    let lock = format!(
        "begin; select id from items where status not in ('SUCCEEDED', 'FAILED') limit {rows} for update skip locked"
    );
    connection.execute(AssertSqlSafe(lock)).await?;
    scene.pause(ms).await?;
    connection.execute("rollback").await?;
    connection.close().await?;
    Ok(())
}

/// A reader in a transaction, DDL that waits for it, and everyone else behind the DDL.
async fn make_ddl_wait(scene: &mut Scene, url: &str) -> Result<()> {
    let mut reader = PgConnection::connect(url).await?;
    reader.execute("begin; select count(*) from items").await?;
    let mut ddl = PgConnection::connect(url).await?;
    let waiting = tokio::spawn(async move {
        // It gives up by itself: the scene has not failed.
        let _late = ddl.execute("set lock_timeout = '2s'; alter table items add column if not exists more int").await;
        ddl.close().await
    });
    scene.pause(500..=2_500).await?;
    reader.execute("rollback").await?;
    reader.close().await?;
    waiting.await??;
    Ok(())
}
