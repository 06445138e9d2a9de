//! One row for each kind of error: a trigger raises one code of every class of SQLSTATE at one of a worker's four
//! writes, or waits longer than any statement may take. The others must go on beside it, and each such row must end
//! `FAILED` alone, except those whose code is transient.

use anyhow::Result;
use rand::RngExt;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;

/// A code of each class that PostgreSQL documents; first those that in other errors mean that the server is in trouble.
/// Codes by which a client learns that its connection ended (`08…`, `57P0x`) or may only read (`25006`) are left out.
const CODES: [&str; 39] = [
    "XX000", "42P01", "42883", "0A000", "55000", "HV000", "40001", "40P01", "55P03", "57014", "53100", "53200",
    "58030", "42501", "25P02", "28000", "2D000", "3D000", "3F000", "F0000", "0B000", "72000", "20000", "21000",
    "22003", "22P02", "23505", "23514", "24000", "26000", "27000", "34000", "38000", "39000", "44000", "54000",
    "P0001", "ZZ001", "waits",
];

/// The transient codes among them, as far as that can be known: such a row is left out, or busy, and tried again, but
/// does not become `FAILED`. Its neighbours must still go on.
const PASSING: [&str; 9] = ["40001", "40P01", "55P03", "57014", "53100", "53200", "58030", "72000", "waits"];

/// The writes at which a row may refuse. A row that refuses its claim is never held; one that refuses the sweep meets a
/// sweep only if its holder dies.
const WRITES: [&str; 4] = ["claim", "renew", "sweep", "finish"];

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { work_ms: 0..=10, ..Cast::default() };
    let mut scene = Scene::on_server(round, arena.server_url().await?, cast, str::to_owned).await?;
    scene.expect_no_standstill();
    scene.database.execute(TRIGGER).await?;
    add_refusing_rows(&mut scene, round).await?;
    scene.start()?;
    // A row that refuses the sweep is held for long, and its holder dies.
    for _ in 0..scene.injections_wanted() {
        if !scene.is_busy_after(200..=600).await? {
            break;
        }
        let victim = scene.any_process();
        scene.fleet.kill(victim).await?;
        scene.injected();
    }
    let stuck = scene.drain_counted(&must_end()).await?;
    let mut verdict = scene.judge().await?;
    if stuck > 0 {
        verdict.violations.push(format!("{stuck} items are stuck"));
    }
    Ok(verdict)
}

/// A long round has each code at each write; a short one has each code at a random write.
async fn add_refusing_rows(scene: &mut Scene, round: &Round) -> Result<()> {
    let mut rows = Vec::new();
    for code in CODES {
        let all = if round.size.is_long { 0..WRITES.len() } else { one_of(scene.lots.random_range(0..WRITES.len())) };
        for write in &WRITES[all] {
            let id = format!("{write} {code}");
            // A row that should meet a renewal is worked on for longer than its lease lives: heartbeats may be late
            // beside rows that take all the time that a renewal has.
            let work_ms = if matches!(*write, "renew" | "sweep") { 4_500 } else { 0 };
            rows.push(format!("('{id}', '{code}', '{write}', {work_ms})"));
            // Rows that refuse only the sweep succeed if their holder lives; rows with transient codes may never end.
            if *write == "sweep" || PASSING.contains(&code) {
                scene.edited.push(id);
            } else {
                scene.doomed.push(id);
            }
            scene.injected();
        }
    }
    scene
        .database
        .execute(format!("insert into items (id, raises, raises_at, work_ms) values {}", rows.join(", ")))
        .await?;
    scene.added(rows.len());
    Ok(())
}

/// Counts the items that must still end: all except those with transient codes.
fn must_end() -> String {
    let passing = PASSING.map(|code| format!("'{code}'")).join(", ");
    format!(
        "select count(*) from items where status not in ('SUCCEEDED', 'FAILED') \
         and coalesce(raises, '') not in ({passing})"
    )
}

fn one_of(at: usize) -> std::ops::Range<usize> {
    at..at + 1
}

/// The second stage raises the row's error; no row refuses `FAILED`.
const TRIGGER: &str = "
alter table items add column raises text, add column raises_at text;
create function raise_as_told() returns trigger language plpgsql as $$
begin
  if new.raises = 'waits' then
    perform pg_sleep(60);
  else
    raise exception 'row % raises %', new.id, new.raises using errcode = new.raises;
  end if;
  return new;
end
$$;
create trigger raise_as_told before update on items for each row
  when (new.raises_at = case
    when old.status = 'ONE_COMPLETE' and new.status = 'TWO_IN_PROGRESS' then 'claim'
    when old.status = 'TWO_IN_PROGRESS' and new.status = 'TWO_IN_PROGRESS' then 'renew'
    when old.status = 'TWO_IN_PROGRESS' and new.status in ('TWO_COMPLETE', 'THREE_IN_PROGRESS') then 'finish'
    when old.status = 'TWO_IN_PROGRESS' and new.status = 'ONE_COMPLETE'
      and new.reset_count > coalesce(old.reset_count, 0) then 'sweep'
  end)
  execute function raise_as_told();
";
