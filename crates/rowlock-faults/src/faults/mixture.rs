//! Everything at once, in an order drawn from the seed.

use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use rand::RngExt;

use super::{Arena, connections, killed_at_points};
use crate::arena::{Cast, Cluster, Proxy, Round, Scene};
use crate::report::Verdict;
use crate::subject::{Behaviour, Point};

/// The one harm that is not counted here: the victim reaches its point later, and its log says when.
const DEATH_AT_A_POINT: u8 = 2;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let server = Cluster::start().await?;
    let proxy = Proxy::before(&server.url).await?;
    let few = (round.size.items / 2_000).max(1);
    let cast = Cast {
        stale_after: Duration::from_secs(3),
        timeout: Duration::from_secs(3),
        others: vec![(Behaviour::Abort, few), (Behaviour::Panic, few), (Behaviour::Hang, few), (Behaviour::Fail, few)],
        ..Cast::default()
    };
    let mut scene = Scene::on_server(round, &server.url, cast, |url| proxy.url(url)).await?;
    scene.start()?;
    let mut crashes = 0;
    for _ in 0..scene.injections_wanted() * 2 {
        if !scene.is_busy_after(50..=700).await? {
            break;
        }
        let number = scene.any_process();
        let what = scene.lots.random_range(0..6);
        if what != DEATH_AT_A_POINT {
            scene.injected();
        }
        match what {
            0 => scene.fleet.kill(number).await?,
            1 => {
                let at = scene.fleet.stop(number);
                scene.pause(500..=5_000).await?;
                scene.fleet.resume(number, at);
            }
            DEATH_AT_A_POINT => {
                let point = Point::ALL[scene.lots.random_range(0..Point::ALL.len())];
                killed_at_points::die_at(&mut scene, point, 1..=100).await?;
            }
            3 => {
                let from = Utc::now();
                server.kill().await?;
                server.start_again().await?;
                crashes += 1;
                scene.afflicted_all_since(from);
            }
            4 => {
                scene.fleet.restart(number, None).await?;
            }
            _ => connections::make_any(&mut scene, &proxy).await?,
        }
    }
    let mut verdict = scene.drain_and_judge().await?;
    verdict.server_crashes = crashes;
    Ok(verdict)
}
