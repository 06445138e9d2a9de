//! Rows that refuse: by a CHECK, by a trigger, by a value that does not decode; and keys that are deleted and inserted
//! again while they are held.

use anyhow::Result;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

/// One item in this many refuses in one of these ways.
const ONE_IN: usize = 40;

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.database.execute(REFUSALS).await?;
    for number in (0..round.size.items).step_by(ONE_IN) {
        scene.doomed.push(format!("item-{number:06}"));
    }
    let doomed = scene.doomed.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    // In turn by a constraint, by a trigger, and by a value that does not decode.
    scene
        .database
        .execute(format!(
            "with doomed as (select id, row_number() over (order by id) % 3 as way from items where id in ({doomed}))
             update items set
               refuses = case way when 0 then 'by check' when 1 then 'by trigger' end,
               work_ms = case when way < 2 then work_ms end
             from doomed where items.id = doomed.id"
        ))
        .await?;
    for _ in 0..scene.doomed.len() {
        scene.injected();
    }
    scene.expect_no_standstill();
    scene.start()?;
    for _ in 0..scene.injections_wanted() {
        if !scene.is_busy_after(50..=300).await? {
            break;
        }
        delete_and_insert_again(&mut scene).await?;
    }
    scene.drain_and_judge().await
}

/// A constraint refuses one word; a trigger refuses another, with its own error.
const REFUSALS: &str = "
alter table items add column refuses text,
  add constraint no_second_stage check (not coalesce(refuses = 'by check' and status = 'TWO_IN_PROGRESS', false));
create function refuse_completion() returns trigger language plpgsql as $$
begin
  raise exception 'row % refuses', new.id using errcode = 'ZZ001';
end
$$;
create trigger refuse_completion before update on items for each row
  when (new.refuses = 'by trigger' and new.status = 'ONE_COMPLETE' and old.status = 'ONE_IN_PROGRESS')
  execute function refuse_completion();
";

/// Deletes an item while it is held, and inserts another with the same key.
async fn delete_and_insert_again(scene: &mut Scene) -> Result<()> {
    let held = "select id from items where status like '%\\_IN\\_PROGRESS' and refuses is null \
                and work_ms is not null limit 1 for update";
    let crate::subject::Database::Postgres(pool) = &scene.database else { return Ok(()) };
    // Locked, because otherwise the key could belong to another row by the time of the delete.
    let mut transaction = pool.begin().await?;
    let Some(id): Option<String> = sqlx::query_scalar(held).fetch_optional(&mut *transaction).await? else {
        return Ok(());
    };
    sqlx::query("delete from items where id = $1").bind(&id).execute(&mut *transaction).await?;
    sqlx::query("insert into items (id) values ($1)").bind(&id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    scene.injected();
    Ok(())
}
