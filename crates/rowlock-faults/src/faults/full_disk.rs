//! The volume of the database fills up, and is freed again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chrono::Utc;

use super::Arena;
use crate::arena::{Cast, Cluster, Round, Scene, SmallDisk};
use crate::report::Verdict;

/// Room for a server with its first write-ahead logs and the items.
const SERVER_MEGABYTES: u32 = 400;
const FILE_MEGABYTES: u32 = 200;

/// How long a server may take to start once there is room.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let on_postgres = fill_under_server(&round.part("postgres")?).await?;
    let on_sqlite = fill_under_file(&round.part("sqlite")?).await?;
    Ok(on_postgres.and(on_sqlite))
}

async fn fill_under_server(round: &Round) -> Result<Verdict> {
    let disk = SmallDisk::of_megabytes(SERVER_MEGABYTES)?;
    let server = Cluster::start_in(disk.path()).await?;
    let scene = Scene::on_server(round, &server.url, Cast::default(), str::to_owned).await?;
    fill_and_free(scene, &disk, Some(&server)).await
}

async fn fill_under_file(round: &Round) -> Result<Verdict> {
    let disk = SmallDisk::of_megabytes(FILE_MEGABYTES)?;
    let scene = Scene::on_file_in(round, disk.path(), Cast::default()).await?;
    fill_and_free(scene, &disk, None).await
}

async fn fill_and_free(mut scene: Scene, disk: &SmallDisk, server: Option<&Cluster>) -> Result<Verdict> {
    // Without space a line of the log of failures is lost, and the item moves all the same.
    scene.log_of_failures_is_harmed = true;
    scene.start()?;
    for _ in 0..scene.injections_wanted().div_ceil(4) {
        if !scene.is_busy_after(300..=1_200).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        disk.fill()?;
        scene.pause(500..=3_000).await?;
        disk.free()?;
        if let Some(server) = server {
            // Without room for its log the server ends itself, and may have been unable to start again.
            start_until_it_answers(&scene, server).await?;
        }
        scene.afflicted_all_since(from);
    }
    scene.drain_and_judge().await
}

/// A server that seems to run may be about to end, because a moment ago it had no room.
async fn start_until_it_answers(scene: &Scene, server: &Cluster) -> Result<()> {
    let until = Instant::now() + ANSWER_WITHIN;
    loop {
        let started = server.start_again().await;
        if scene.database.number("select 1::int8").await.is_ok() {
            return Ok(());
        }
        started?;
        ensure!(Instant::now() < until, "the server does not answer though its disk has room again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
