//! Unexpected keys, words that no stage knows, rows edited by hand, names that try to inject.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rand::RngExt;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Pipeline, Repository, Worker};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::Database;

/// Words that a person might type into the status column.
const WORDS: [&str; 6] = ["PENDING", "CANCELLED", "ONE_COMPLETE", "TWO_IN_PROGRESS", "archived", ""];

/// Those of them that no stage knows.
const UNKNOWN_WORDS: [&str; 2] = ["archived", ""];

/// Items with unknown words are not waited for.
const KNOWN_AND_UNFINISHED: &str = "select count(*) from items where status in ('PENDING', 'ONE_IN_PROGRESS', \
    'ONE_COMPLETE', 'TWO_IN_PROGRESS', 'TWO_COMPLETE', 'THREE_IN_PROGRESS')";

pub(super) async fn run(arena: &Arena, round: &Round) -> Result<Verdict> {
    let mut scene = Scene::on_server(round, arena.server_url().await?, Cast::default(), str::to_owned).await?;
    add_odd_keys(&mut scene).await?;
    let mut unknown = add_unknown_words(&mut scene).await?;
    scene.start()?;
    for _ in 0..scene.injections_wanted() {
        if !scene.is_busy_after(50..=300).await? {
            break;
        }
        edit_by_hand(&mut scene, &mut unknown).await?;
    }
    let mut found = names_that_inject(&scene.url).await?;
    let stuck = scene.drain_counted(KNOWN_AND_UNFINISHED).await?;
    if stuck > 0 {
        found.push(format!("{stuck} items with words that the stages know are stuck"));
    }
    found.extend(not_left_alone(&scene, &unknown).await?);
    let mut verdict = scene.judge().await?;
    verdict.violations.extend(found);
    Ok(verdict)
}

/// Keys with all kinds of characters; they succeed like any other.
async fn add_odd_keys(scene: &mut Scene) -> Result<()> {
    let Database::Postgres(pool) = &scene.database else { return Ok(()) };
    let long = "x".repeat(100_000);
    let keys = ["'", "\"", "a\nb\r\n\tc", "\\", "$1", "; drop table items; --", "%s{}", "ключ", "🦀", " ", "", &long];
    for key in keys {
        sqlx::query("insert into items (id) values ($1)").bind(key).execute(pool).await?;
    }
    scene.added(keys.len());
    (0..keys.len()).for_each(|_| scene.injected());
    Ok(())
}

/// Items and their words that no stage knows; NULL counts as empty.
type Unknown = BTreeMap<String, &'static str>;

/// Words that no stage knows are left alone.
async fn add_unknown_words(scene: &mut Scene) -> Result<Unknown> {
    let ids = ["odd-1", "odd-2"];
    scene.database.execute("alter table items alter column status drop not null").await?;
    scene.database.execute("insert into items (id, status) values ('odd-1', 'no such word'), ('odd-2', null)").await?;
    scene.added(ids.len());
    scene.edited.extend(ids.map(str::to_owned));
    ids.iter().for_each(|_| scene.injected());
    Ok(ids.map(str::to_owned).into_iter().zip(["no such word", ""]).collect())
}

/// A person changes a status by SQL while a holder works on the item.
async fn edit_by_hand(scene: &mut Scene, unknown: &mut Unknown) -> Result<()> {
    let Database::Postgres(pool) = &scene.database else { return Ok(()) };
    let any = "select id from items where id like 'item-%' and status not in ('SUCCEEDED', 'FAILED') limit 1 offset $1";
    let offset: i64 = scene.lots.random_range(0..50);
    let Some(id): Option<String> = sqlx::query_scalar(any).bind(offset).fetch_optional(pool).await? else {
        return Ok(());
    };
    let word = WORDS[scene.lots.random_range(0..WORDS.len())];
    let mut transaction = pool.begin().await?;
    let edit = sqlx::query("update items set status = $2 where id = $1 and status is distinct from $2");
    if edit.bind(&id).bind(word).execute(&mut *transaction).await?.rows_affected() == 0 {
        return Ok(()); // Its holder came first, with the same word.
    }
    // The row is locked: its last move is this one.
    let last = sqlx::query_scalar("select max(n) from moves where item = $1").bind(&id);
    let number: i64 = last.fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    scene.moves_by_hand.push(number);
    unknown.remove(&id);
    if UNKNOWN_WORDS.contains(&word) {
        unknown.insert(id.clone(), word);
    }
    scene.edited.push(id);
    scene.injected();
    Ok(())
}

/// An item whose word no stage knows keeps it, and the store's counts name the word.
async fn not_left_alone(scene: &Scene, unknown: &Unknown) -> Result<Vec<String>> {
    let Database::Postgres(pool) = &scene.database else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for (id, word) in unknown {
        let now = sqlx::query_scalar("select coalesce(status, '') from items where id = $1").bind(id);
        let now: Option<String> = now.fetch_optional(pool).await?;
        if now.as_deref() != Some(*word) {
            found.push(format!("{id} was {word:?} by hand, and is {now:?}"));
        }
        *expected.entry((*word).to_owned()).or_default() += 1;
    }
    let pipeline = crate::subject::pipeline(scene.cast.stale_after, scene.cast.timeout)?;
    let repository: Repository<_, Item> = Repository::new(PostgresStore::connect(&scene.url, pipeline).await?);
    let mut counted: BTreeMap<String, i64> = BTreeMap::new();
    for row in repository.counts_exact().await?.statuses.into_iter().filter(|row| row.status.is_none()) {
        *counted.entry(row.word).or_default() += row.count;
    }
    if counted != expected {
        found.push(format!("the counts name the unknown words {counted:?}, and there are {expected:?}"));
    }
    Ok(found)
}

/// A row type that reads nothing.
#[derive(sqlx::FromRow)]
struct Item {}

/// A pipeline in which every name would be a statement if it were not quoted: it works, and nothing else is harmed.
async fn names_that_inject(url: &str) -> Result<Vec<String>> {
    let pipeline = Pipeline::builder("p'); drop table items; --")
        .table("t\"; drop table items; --")
        .key("k\"; drop table items; --")
        .stage("s'); drop table items; --")
        .failed("f'); drop table items; --")
        .build()?;
    let store = PostgresStore::connect(url, pipeline).await?;
    let repository: Repository<_, Item> = Repository::new(store);
    repository.prepare().await?;
    ensure!(repository.add_many(["'); drop table items; --"]).await?.added == 1, "the key was not added");
    let worker = Worker::new(repository).handle("s'); drop table items; --", |_, _| async { Ok(()) });
    let report = worker.run_until_idle().await?;
    let whole = report.completed == 1;
    Ok(if whole { Vec::new() } else { vec![format!("a pipeline with odd names did not work: {report:?}")] })
}
