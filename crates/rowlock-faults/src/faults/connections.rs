//! Connections end, hang, are late, and break in the middle of an answer.

use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use rand::RngExt;

use super::Arena;
use crate::arena::{Cast, Proxy, Round, Scene};
use crate::report::Verdict;
use crate::subject::Database;

/// What a network can do.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The server ends random connections.
    Terminate,
    /// All connections close.
    Close,
    /// Nothing comes through for a while, sometimes for longer than a lease lives.
    BlackHole,
    /// Every packet is late.
    Delay,
    /// Some answers break in the middle, with their connections.
    CutAnswers,
}

const TROUBLES: [Trouble; 5] =
    [Trouble::Terminate, Trouble::Close, Trouble::BlackHole, Trouble::Delay, Trouble::CutAnswers];

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let proxy = Proxy::before(arena.server_url().await?).await?;
    let mut scene = Scene::on_server(round, arena.server_url().await?, Cast::default(), |url| proxy.url(url)).await?;
    scene.start()?;
    for number in 0..scene.injections_wanted().max(TROUBLES.len()) {
        if !scene.is_busy_after(200..=800).await? {
            break;
        }
        scene.injected();
        make(TROUBLES[number % TROUBLES.len()], &mut scene, &proxy).await?;
    }
    scene.drain_and_judge().await
}

/// Causes the trouble until it is over.
pub(super) async fn make_any(scene: &mut Scene, proxy: &Proxy) -> Result<()> {
    let trouble = TROUBLES[scene.lots.random_range(0..TROUBLES.len())];
    make(trouble, scene, proxy).await
}

/// The server ends connections that our random numbers choose, not its own.
async fn terminate_some(scene: &mut Scene) -> Result<()> {
    let Database::Postgres(pool) = &scene.database else { return Ok(()) };
    let others = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
                  order by backend_start, pid";
    // A single session, or it would end itself.
    let mut connection = pool.acquire().await?;
    let mut pids: Vec<i32> = sqlx::query_scalar(others).fetch_all(&mut *connection).await?;
    pids.retain(|_| scene.lots.random_bool(0.4));
    let terminate = sqlx::query("select pg_terminate_backend(pid) from unnest($1::int[]) as t (pid)");
    terminate.bind(pids).execute(&mut *connection).await?;
    Ok(())
}

async fn make(trouble: Trouble, scene: &mut Scene, proxy: &Proxy) -> Result<()> {
    let from = Utc::now();
    match trouble {
        Trouble::Terminate => {
            terminate_some(scene).await?;
        }
        Trouble::Close => proxy.close_all(),
        Trouble::BlackHole => {
            proxy.swallow(true);
            scene.pause(300..=5_000).await?;
            // Some of the swallowed bytes arrive late, some never.
            if scene.lots.random_bool(0.5) {
                proxy.close_all();
            }
            proxy.swallow(false);
        }
        Trouble::Delay => {
            proxy.delay(Duration::from_millis(scene.lots.random_range(20..=150)));
            scene.pause(500..=2_000).await?;
            proxy.delay(Duration::ZERO);
        }
        Trouble::CutAnswers => proxy.cut_answers(scene.lots.random_range(1..=20)),
    }
    // A worker that was cut off may need a moment to come back.
    scene.pause(300..=300).await?;
    scene.afflicted_all_since(from);
    Ok(())
}
