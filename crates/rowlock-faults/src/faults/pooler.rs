//! PgBouncer in transaction mode between workers and server: first by itself, then with deaths, breaking connections
//! and crashes of the server.

use anyhow::Result;
use chrono::Utc;
use rand::RngExt;

use super::Arena;
use crate::arena::{Cast, Cluster, PgBouncer, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let by_itself = work_through_pooler(arena.server_url().await?, &round.part("by-itself")?, None).await?;
    let server = Cluster::start().await?;
    let with_others = work_through_pooler(&server.url, &round.part("with-others")?, Some(&server)).await?;
    Ok(by_itself.and(with_others))
}

/// With our own server, the server and its clients are harmed as well.
async fn work_through_pooler(url: &str, round: &Round, harmed: Option<&Cluster>) -> Result<Verdict> {
    let pooler = PgBouncer::before(url).await?;
    let mut scene = Scene::on_server(round, url, Cast::default(), |url| pooler.url(url)).await?;
    scene.fleet.assignment_mut().through_pooler = true;
    scene.start()?;
    // The pooler itself counts as an injection.
    scene.injected();
    let mut crashes = 0;
    if let Some(server) = harmed {
        for _ in 0..scene.injections_wanted() {
            if !scene.is_busy_after(200..=1_000).await? {
                break;
            }
            scene.injected();
            let from = Utc::now();
            match scene.lots.random_range(0..3) {
                0 => {
                    let number = scene.any_process();
                    scene.fleet.kill(number).await?;
                }
                1 => {
                    let clients =
                        "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
                    scene.database.execute(format!("select pg_terminate_backend(pid) {clients}")).await?;
                    scene.afflicted_all_since(from);
                }
                _ => {
                    server.kill().await?;
                    server.start_again().await?;
                    crashes += 1;
                    scene.pause(1_000..=1_000).await?;
                    scene.afflicted_all_since(from);
                }
            }
        }
    }
    let mut verdict = scene.drain_and_judge().await?;
    verdict.server_crashes = crashes;
    Ok(verdict)
}
