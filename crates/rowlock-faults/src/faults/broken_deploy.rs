//! A deploy breaks the table: for a few seconds a trigger refuses every claim, or every finish, of one stage. The brake
//! limits the cost to a few items; all others succeed once the trigger is removed.

use anyhow::Result;
use sqlx::Row;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::Database;

/// How many items one cause may make `FAILED` in each process.
const FAILED_MAX: usize = 10;

/// What the broken trigger refuses, in turn.
const REFUSED: [&str; 2] = [
    "old.status = 'ONE_COMPLETE' and new.status = 'TWO_IN_PROGRESS'",
    "old.status = 'TWO_IN_PROGRESS' and new.status in ('TWO_COMPLETE', 'THREE_IN_PROGRESS')",
];

const MESSAGE: &str = "the deploy is broken";

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.expect_no_standstill();
    // Each item has a different message, as if the trigger named the row.
    let refuse = format!(
        "create function refuse() returns trigger language plpgsql as
           $$ begin raise exception '{MESSAGE}: \"%\" has no region', new.id; end $$"
    );
    scene.database.execute(refuse).await?;
    scene.start()?;
    let mut deploys = 0;
    for number in 0..scene.few_injections_wanted() {
        if !scene.is_busy_after(300..=1_000).await? {
            break;
        }
        scene.injected();
        deploys += 1;
        let condition = REFUSED[number % REFUSED.len()];
        let deploy = format!(
            "create trigger refuse before update on items for each row when ({condition}) execute function refuse()"
        );
        scene.database.execute(deploy).await?;
        scene.pause(1_000..=4_000).await?;
        scene.database.execute("drop trigger refuse on items").await?;
    }
    scene.drain().await?;
    let failed = failed_by_it(&scene.database).await?;
    let failed_max = FAILED_MAX * round.size.processes * deploys;
    let failed_count = failed.len();
    scene.doomed.extend(failed);
    let mut verdict = scene.judge().await?;
    if failed_count > failed_max {
        verdict
            .violations
            .push(format!("{failed_count} items are FAILED by {deploys} deploys: the brake allows {failed_max}"));
    }
    Ok(verdict)
}

async fn failed_by_it(database: &Database) -> Result<Vec<String>> {
    let Database::Postgres(pool) = database else { return Ok(Vec::new()) };
    let failed = "select id from items where status = 'FAILED' and strpos(error_message, $1) > 0";
    let rows = sqlx::query(failed).bind(MESSAGE).fetch_all(pool).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
