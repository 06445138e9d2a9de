//! Workers that drain a stage whose handler takes no time: they claim full batches, two at a time, and complete
//! hundreds of items in a statement. They are killed, and their connections broken, in the middle of it.

use anyhow::Result;
use rand::RngExt;

use super::{Arena, connections};
use crate::arena::{Cast, Proxy, Round, Scene};
use crate::report::Verdict;

/// The stage without an effect, whose items the worker itself completes.
const STAGE: &str = "TWO";

/// Items that arrive at once, all ready for that stage: more than a claim takes.
const FLOOD_ITEMS: usize = 1_500;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let proxy = Proxy::before(arena.server_url().await?).await?;
    let cast = Cast { slots: 16, work_ms: 0..=0, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, |url| proxy.url(url)).await?;
    // Two of three work on nothing else.
    let drainers = (2 * round.size.processes / 3).max(1);
    scene.fleet.assignment_mut().only = Some(STAGE.to_owned());
    scene.fleet.start(drainers)?;
    scene.fleet.assignment_mut().only = None;
    scene.fleet.start(round.size.processes - drainers)?;
    for number in 0..scene.injections_wanted() {
        flood(&mut scene, number).await?;
        scene.pause(5..=150).await?;
        scene.injected();
        if number % 3 == 2 {
            connections::make_any(&mut scene, &proxy).await?;
        } else {
            let victim = scene.lots.random_range(0..drainers);
            scene.fleet.kill(victim).await?;
        }
    }
    scene.drain_and_judge().await
}

/// Adds items that are ready for the stage.
async fn flood(scene: &mut Scene, number: usize) -> Result<()> {
    let insert = format!(
        "insert into items (id, status) select 'flood-{number}-' || n, 'ONE_COMPLETE' \
         from generate_series(1, {FLOOD_ITEMS}) n"
    );
    scene.database.execute(insert).await?;
    scene.added(FLOOD_ITEMS);
    Ok(())
}
