//! Items that harm whoever works on them: each must end `FAILED` after exactly its limit, and no neighbour with it.

use std::time::Duration;

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::Behaviour;

/// A process may take so much memory; one that hoards it dies.
const MEMORY_BYTES_MAX: u64 = 3 << 30;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let each = round.size.injections.div_ceil(8).max(1);
    let others = Behaviour::ALL.into_iter().filter(|behaviour| !behaviour.succeeds()).map(|one| (one, each)).collect();
    let cast = Cast {
        stale_after: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        // A thread a handler: one that blocks its thread must not be able to stop the others of its stage.
        threads: 16,
        others,
        ..Cast::default()
    };
    let mut scene = Scene::on_server(round, arena.server_url(), cast, str::to_owned).await?;
    let limit = format!("--as={MEMORY_BYTES_MAX}");
    scene.fleet.launch_by(&["prlimit", &limit, "--"]);
    scene.start()?;
    // The items themselves are the injections.
    let poisoned = scene.database.number("select count(*) from items where behaviour <> 'work'").await?;
    (0..poisoned).for_each(|_| scene.injected());
    scene.drain().await?;
    let broken = count_of_broken_limits(&scene).await?;
    let verdict = scene.judge().await?;
    Ok(if broken == 0 {
        verdict
    } else {
        verdict.with_violation(format!("{broken} items were not stopped at exactly their limit"))
    })
}

/// Those that kill or block are stopped by resets or retries, exactly as many as there may be; the others by what
/// their handler says.
async fn count_of_broken_limits(scene: &Scene) -> Result<i64> {
    let sql = format!(
        "select count(*) from items where behaviour <> 'work' and not coalesce(status = 'FAILED' and case
           when behaviour in ('abort', 'hog') then reset_count = {resets}
           when behaviour = 'fail for good' then retry_count = 0
           else retry_count = {retries} or reset_count = {resets}
         end, false)",
        resets = crate::subject::MAX_RESETS,
        retries = crate::subject::MAX_RETRIES,
    );
    Ok(scene.database.number(sql).await?)
}
