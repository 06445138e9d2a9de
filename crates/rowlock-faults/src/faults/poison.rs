//! Items that harm the worker that runs them: each must end `FAILED` after exactly its limit, and no neighbour with it.

use std::time::Duration;

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::{Behaviour, Database, MAX_RESETS, MAX_RETRIES};

/// How much memory a process may take; one that hoards it dies.
const MEMORY_BYTES_MAX: u64 = 3 << 30;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let each = round.size.injections.div_ceil(8).max(1);
    let others = Behaviour::ALL.into_iter().filter(|behaviour| !behaviour.succeeds()).map(|one| (one, each)).collect();
    let cast = Cast {
        stale_after: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        // A thread for each handler: one that blocks its thread must not be able to stop the others of its stage.
        threads: 16,
        others,
        ..Cast::default()
    };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    let limit = format!("--as={MEMORY_BYTES_MAX}");
    scene.fleet.launch_by(&["prlimit", &limit, "--"]);
    scene.only_items_harm = true;
    scene.start()?;
    // The items themselves are the injections.
    let poisoned = scene.database.number("select count(*) from items where behaviour <> 'work'").await?;
    (0..poisoned).for_each(|_| scene.injected());
    scene.drain().await?;
    let unlimited = not_stopped_at_their_limit(&scene, round.size.is_long).await?;
    let mut verdict = scene.judge().await?;
    verdict.violations.extend(unlimited);
    Ok(verdict)
}

/// Items that abort are stopped by exactly as many resets as are allowed, the others by retries, or at once by what
/// their handler reports. An item that takes all memory may run out of time before it runs out of memory. If others
/// want the processors too, a heartbeat may be late, and an item may run out of time before it reports anything: such a
/// count is not a violation, and the auditor looks for resets that a neighbour caused.
async fn not_stopped_at_their_limit(scene: &Scene, strictly: bool) -> Result<Vec<String>> {
    let Database::Postgres(pool) = &scene.database else { return Ok(Vec::new()) };
    let sql = "
        select format('%s (%s) is %s after %s retries and %s resets: %s',
            id, behaviour, status, retry_count, reset_count, error_message)
        from items
        where behaviour <> 'work' and not coalesce(status = 'FAILED' and case
           when behaviour = 'abort' then reset_count = $1
           when behaviour = 'hog' then reset_count = $1 or retry_count = $2
           when behaviour = 'fail for good' then retry_count = 0 or (retry_count < $2 and not $3)
           else retry_count = $2 or (reset_count = $1 and not $3)
         end, false)";
    Ok(sqlx::query_scalar(sql).bind(MAX_RESETS).bind(MAX_RETRIES).bind(strictly).fetch_all(pool).await?)
}
