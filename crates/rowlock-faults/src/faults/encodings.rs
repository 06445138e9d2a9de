//! Databases that cannot hold every character: in LATIN1 a handler's message does not fit, in SQL_ASCII a row may hold
//! bytes that are no text at all. An item that fails there is tried again as often as anywhere.

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::{Behaviour, Database, MAX_RETRIES};

/// Bytes that are not UTF-8, as a client that declares no encoding may write them in a name.
const NAMES_THAT_ARE_NO_TEXT: &str = "
alter table items add column name text;
update items set name = convert_from('\\xe9'::bytea, 'SQL_ASCII') where id < 'item-000020'";

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let latin = in_encoding(arena, &round.part("latin1")?, "LATIN1", "select 1").await?;
    let ascii = in_encoding(arena, &round.part("sql-ascii")?, "SQL_ASCII", NAMES_THAT_ARE_NO_TEXT).await?;
    Ok(latin.and(ascii))
}

async fn in_encoding(arena: &Arena, round: &Round, encoding: &'static str, rows: &'static str) -> Result<Verdict> {
    let cast = Cast { encoding, others: vec![(Behaviour::Fail, round.size.items / 20)], ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.database.execute(rows).await?;
    // A row that cannot be sent to a client may end in any state, but it must be the only one.
    scene.edited.extend((0..20).map(|number| format!("item-{number:06}")));
    scene.expect_no_standstill();
    scene.only_items_harm = true;
    let failing = scene.database.number("select count(*) from items where behaviour = 'fail'").await?;
    (0..failing).for_each(|_| scene.injected());
    scene.start()?;
    scene.drain().await?;
    let found = not_tried_as_often_as_they_may(&scene).await?;
    let mut verdict = scene.judge().await?;
    verdict.violations.extend(found);
    Ok(verdict)
}

/// A message that the database cannot hold is no reason to end an item before its attempts are spent.
async fn not_tried_as_often_as_they_may(scene: &Scene) -> Result<Vec<String>> {
    let Database::Postgres(pool) = &scene.database else { return Ok(Vec::new()) };
    let sql = "select format('%s is %s after %s retries: %s', id, status, retry_count, error_message) from items
               where behaviour = 'fail' and id >= 'item-000020' \
               and (status <> 'FAILED' or retry_count <> $1 or error_message not like '%asked for%')";
    Ok(sqlx::query_scalar(sql).bind(MAX_RETRIES).fetch_all(pool).await?)
}
