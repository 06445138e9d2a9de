//! Tables of shapes other than the one that `prepare` creates: partitioned, with keys whose equality is not that of
//! bytes, strict, without rowids. Workers are killed, stopped past their leases and continued, and operators use other
//! spellings of the keys. If `prepare` rejects a table, it does so at once, and changes nothing.

use anyhow::Result;
use rand::RngExt;
use rowlock::Store;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;

use super::{Arena, operators};
use crate::arena::{Cast, Round, Scene, Size};
use crate::report::Verdict;
use crate::subject::{Database, pipeline};

/// A long round attacks each shape; a short one takes one random shape of either database.
const SIZE: Size = Size { items: 1_000, more_items_max: 2_000, injections: 6, ..Size::FULL };

/// A table that exists before `prepare`.
struct Shape {
    name: &'static str,
    create: &'static str,
    /// Another spelling of a key, for the same item.
    spelled: fn(&str) -> String,
}

const ON_SERVER: [Shape; 3] = [
    Shape {
        name: "partitioned",
        create: "create table items (id text primary key) partition by hash (id);
            create table items_0 partition of items for values with (modulus 3, remainder 0);
            create table items_1 partition of items for values with (modulus 3, remainder 1);
            create table items_2 partition of items for values with (modulus 3, remainder 2) partition by range (id);
            create table items_2a partition of items_2 for values from (minvalue) to ('item-000200');
            create table items_2b partition of items_2 default",
        spelled: str::to_owned,
    },
    Shape {
        name: "icu-nondeterministic",
        create: "create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            create table items (id text collate any_case primary key)",
        spelled: str::to_uppercase,
    },
    Shape {
        name: "icu-partitioned",
        create: "create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            create table items (id varchar(40) collate any_case primary key) partition by hash (id);
            create table items_0 partition of items for values with (modulus 2, remainder 0);
            create table items_1 partition of items for values with (modulus 2, remainder 1)",
        spelled: str::to_uppercase,
    },
];

const IN_FILE: [Shape; 5] = [
    Shape {
        name: "nocase",
        create: "create table items (id text collate nocase primary key)",
        spelled: str::to_uppercase,
    },
    Shape { name: "rtrim", create: "create table items (id text collate rtrim primary key)", spelled: padded },
    Shape { name: "strict", create: "create table items (id text primary key) strict", spelled: str::to_owned },
    Shape {
        name: "without-rowid",
        create: "create table items (id text primary key) without rowid",
        spelled: str::to_owned,
    },
    Shape {
        name: "strict-nocase-without-rowid",
        create: "create table items (id text collate nocase primary key) strict, without rowid",
        spelled: str::to_uppercase,
    },
];

fn padded(key: &str) -> String {
    format!("{key}   ")
}

/// A table that cannot be a queue.
const REFUSED_ON_SERVER: [&str; 5] = [
    "create table items (id text, status text default 'PENDING', primary key (id, status)) partition by list (status)",
    "create materialized view items as select 'a'::text as id, 'PENDING'::text as status",
    "create table items (id text primary key, status int)",
    "create table items (id char(20) primary key)",
    "create table items (id text)",
];
const REFUSED_IN_FILE: [&str; 4] = [
    "create table items (id integer primary key)",
    "create table items (id text primary key, status text as ('PENDING') stored)",
    "create table items (id text primary key, claim_token text) strict",
    "create view items as select 'a' as id, 'PENDING' as status",
];

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let server = arena.server_url().await?;
    let mut verdict = Verdict::default();
    for shape in drawn(&ON_SERVER, round, "shape on a server") {
        let round = part(round, shape)?;
        let mut scene = Scene::on_server(&round, server, cast(shape), str::to_owned).await?;
        let Database::Postgres(pool) = &scene.database else { continue };
        let store = PostgresStore::from_pool(pool, pipeline(scene.cast.stale_after, scene.cast.timeout)?);
        attack(&mut scene, &store, shape).await?;
        verdict = verdict.and(scene.drain_and_judge().await?);
    }
    for shape in drawn(&IN_FILE, round, "shape in a file") {
        let mut scene = Scene::on_file(&part(round, shape)?, cast(shape)).await?;
        let store = SqliteStore::connect(&scene.url, pipeline(scene.cast.stale_after, scene.cast.timeout)?).await?;
        attack(&mut scene, &store, shape).await?;
        store.close().await;
        verdict = verdict.and(scene.drain_and_judge().await?);
    }
    for create in REFUSED_ON_SERVER {
        let url = Scene::new_database(server, Cast::default().encoding).await?;
        verdict.violations.extend(not_refused(&url, create).await?);
    }
    for (number, create) in REFUSED_IN_FILE.into_iter().enumerate() {
        let url = format!("sqlite://{}", round.folder.join(format!("refused-{number}.sqlite")).display());
        verdict.violations.extend(not_refused(&url, create).await?);
    }
    Ok(verdict)
}

fn drawn<'a>(shapes: &'a [Shape], round: &Round, purpose: &str) -> &'a [Shape] {
    if round.size.is_long {
        return shapes;
    }
    let one = round.lots(purpose).random_range(0..shapes.len());
    &shapes[one..=one]
}

fn part(round: &Round, shape: &Shape) -> Result<Round> {
    let mut part = round.part(shape.name)?;
    if round.size.is_long {
        part.size = SIZE;
    }
    Ok(part)
}

fn cast(shape: &Shape) -> Cast {
    Cast { create: shape.create, work_ms: 0..=20, ..Cast::default() }
}

async fn attack<S: Store>(scene: &mut Scene, store: &S, shape: &Shape) -> Result<()> {
    let stale_after_ms = u64::try_from(scene.cast.stale_after.as_millis())?;
    scene.edited = operators::items(scene);
    // A worker that was stopped still writes when it continues: only the fence is left.
    scene.fleet.assignment_mut().detached = true;
    scene.start()?;
    for number in 0..scene.injections_wanted() {
        if !scene.is_busy_after(100..=500).await? {
            break;
        }
        scene.injected();
        let victim = scene.any_process();
        match number % 3 {
            0 => scene.fleet.kill(victim).await?,
            1 => operators::call(scene, store, shape.spelled).await?,
            _ => {
                let stopped_at = scene.fleet.stop(victim);
                scene.pause(stale_after_ms..=stale_after_ms + 1_000).await?;
                scene.fleet.resume(victim, stopped_at);
                if matches!(scene.database, Database::Sqlite(_)) {
                    // It may have been stopped while it wrote, and then no other process could.
                    scene.afflicted_all_since(stopped_at);
                }
            }
        }
    }
    operators::take_up_again(scene, store, shape.spelled).await
}

/// The violation if `prepare` makes a queue of this, or changes anything before it rejects it.
async fn not_refused(url: &str, create: &str) -> Result<Option<String>> {
    let cast = Cast::default();
    let database = Database::lazy(url)?;
    database.execute(create).await?;
    let before = database.extent().await?;
    let prepared = database.prepare(url, pipeline(cast.stale_after, cast.timeout)?).await;
    let found = match prepared {
        Ok(()) => Some("was accepted".to_owned()),
        Err(error) => match error.downcast_ref::<rowlock::Error>() {
            Some(rowlock::Error::Schema { .. }) => None,
            _ => Some(format!("met another error: {error:#}")),
        },
    };
    let changed = (database.extent().await? != before).then(|| "was changed though it was refused".to_owned());
    database.close().await;
    Ok(found.or(changed).map(|what| format!("`{create}` {what}")))
}
