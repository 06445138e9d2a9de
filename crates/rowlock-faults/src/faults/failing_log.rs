//! The log of failures cannot be written: its numbers are behind, as after a restore; a constraint refuses every line;
//! or the table is gone. Items must still move.

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::Behaviour;

/// The damage to the log, and how it is undone. The last one stays: all remaining items must end in spite of it.
const HARMS: [(&str, &str); 3] = [
    // Every number that comes next exists already.
    (
        "insert into rowlock_failures (pipeline, item, failed_at, word, cause)
           select 'another', n::text, now(), '', '' from generate_series(1, 2000) n;
         select setval(pg_get_serial_sequence('rowlock_failures', 'id'), 1)",
        "select setval(pg_get_serial_sequence('rowlock_failures', 'id'), (select max(id) from rowlock_failures))",
    ),
    (
        "alter table rowlock_failures rename to failures_put_away",
        "alter table failures_put_away rename to rowlock_failures",
    ),
    (
        "alter table rowlock_failures add constraint nothing_more check (false) not valid",
        "alter table rowlock_failures drop constraint nothing_more",
    ),
];

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let failing = round.size.items / 10;
    let others = vec![(Behaviour::Fail, failing), (Behaviour::FailForGood, failing)];
    let cast = Cast { others, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.expect_no_standstill();
    scene.log_of_failures_is_harmed = true;
    scene.start()?;
    let rounds = scene.injections_wanted().next_multiple_of(HARMS.len());
    for number in 0..rounds {
        if !scene.is_busy_after(50..=300).await? {
            break;
        }
        let (harm, mend) = HARMS[number % HARMS.len()];
        scene.injected();
        scene.database.execute(harm).await?;
        scene.pause(200..=1_500).await?;
        if number + 1 < rounds {
            scene.database.execute(mend).await?;
        }
    }
    scene.drain_and_judge().await
}
