//! Rolling restarts by SIGTERM: nothing may be counted.

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url(), cast, str::to_owned).await?;
    scene.nothing_counted = true;
    scene.start()?;
    for number in 0..scene.injections_wanted() {
        if !scene.is_busy_after(100..=500).await? {
            break;
        }
        let number = number % scene.fleet.len();
        scene.injected();
        scene.fleet.ask_to_end(number);
        scene.fleet.end_of(number).await?;
        scene.fleet.start_again(number, None)?;
    }
    scene.drain_and_judge().await
}
