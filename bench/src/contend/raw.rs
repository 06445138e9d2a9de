//! By hand: no library above the driver, and nothing that sqlx could not do, unless a contender's name says so.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rowlock::Pipeline;
use rowlock::store::postgres::PostgresStore;
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::sql;
use crate::protocol::{Answer, Progress, Task};
use crate::scene::pipeline;

/// Items a statement; Rowlock's own limit.
const BATCH: u32 = 1_000;

/// Connections of one process, the best of 1 to 4 on two processors.
const CONNECTIONS: u32 = 2;

const HOLDER: &str = "raw";

/// How a batch is completed and the next one taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trips {
    /// Two statements, one after the other, each with its commit.
    Two,
    /// One statement and one commit for both.
    One,
    /// Two statements, sent together.
    Pipelined,
}

/// A connection whose background task ends with it.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connecting")?;
    tokio::spawn(connection);
    Ok(client)
}

/// A connection for this table's statements. The planner gets Rowlock's settings, and is kept from a nested loop
/// through the keys of a batch: without values it expects ten keys, and then the loop is almost as cheap as the hash
/// join that it takes.
pub(crate) async fn connect_tuned(url: &str) -> Result<Client> {
    let client = connect(url).await?;
    let settings = format!("{}set enable_nestloop = off", PostgresStore::planner_settings());
    client.batch_execute(&settings).await?;
    Ok(client)
}

pub(crate) fn draw_token() -> i64 {
    rand::random_range(1..=i64::MAX)
}

/// The keys of claimed rows. The key stands first in Rowlock's table.
fn keys(rows: &[Row]) -> Result<Vec<String>> {
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Drains the table in batches.
pub(crate) async fn drain(task: &Task, trips: Trips) -> Result<Answer> {
    let settings = format!("{CONNECTIONS} connections, batches of {BATCH}, {trips:?}");
    run(task, CONNECTIONS, BATCH, trips, &settings).await
}

/// Drains it item by item, this many at once.
pub(crate) async fn small(task: &Task, at_once: u32) -> Result<Answer> {
    run(task, at_once, 1, Trips::Two, &format!("{at_once} connections, one item a statement")).await
}

async fn run(task: &Task, connections: u32, batch: u32, trips: Trips, settings: &str) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items * task.stages as u64));
    let pipeline = Arc::new(pipeline(task.stages)?);
    let mut loops = Vec::new();
    for _ in 0..connections {
        let (task, pipeline, progress) = (task.clone(), Arc::clone(&pipeline), Arc::clone(&progress));
        loops.push(tokio::spawn(async move {
            let client = connect_tuned(&task.database).await?;
            match trips {
                Trips::Two => two_trips(&client, &pipeline, batch, &progress).await,
                Trips::One => one_trip(&client, &pipeline, batch, &progress).await,
                Trips::Pipelined => pipelined(&client, &pipeline, batch, &progress).await,
            }
        }));
    }
    for ended in loops {
        ended.await??;
    }
    Ok(progress.answer(settings))
}

/// A stage's statements on one connection.
struct Prepared {
    claim: Statement,
    complete: Statement,
}

async fn prepare(client: &Client, pipeline: &Pipeline, batch: u32) -> Result<Vec<Prepared>> {
    let mut stages = Vec::new();
    for stage in 0..pipeline.stages().len() {
        let claim = client.prepare(&sql::claim(pipeline, stage, batch)).await?;
        let complete = client.prepare(&sql::complete(pipeline, stage)).await?;
        stages.push(Prepared { claim, complete });
    }
    Ok(stages)
}

async fn two_trips(client: &Client, pipeline: &Pipeline, batch: u32, progress: &Progress) -> Result<()> {
    let stages = prepare(client, pipeline, batch).await?;
    // A batch of one stage, then one of the next, which has just been filled: no claim is fruitless before the end.
    let (mut at, mut empty) = (0, 0);
    while empty < stages.len() {
        let token = draw_token();
        let rows = client.query(&stages[at].claim, &[&token, &HOLDER]).await?;
        if rows.is_empty() {
            empty += 1;
        } else {
            empty = 0;
            let keys = keys(&rows)?;
            progress.handled_keys(keys.iter().map(String::as_str), at as u64);
            let done = client.execute(&stages[at].complete, &[&keys, &token]).await?;
            ensure!(done == keys.len() as u64, "{done} of {} leases held", keys.len());
        }
        at = (at + 1) % stages.len();
    }
    Ok(())
}

async fn one_trip(client: &Client, pipeline: &Pipeline, batch: u32, progress: &Progress) -> Result<()> {
    let statement = client.prepare(&sql::complete_and_claim(pipeline, 0, batch)).await?;
    let (mut last_keys, mut last_token): (Vec<String>, i64) = (Vec::new(), 0);
    loop {
        let token = draw_token();
        let rows = client.query(&statement, &[&token, &HOLDER, &last_keys, &last_token]).await?;
        let done: i64 = rows.first().context("a row of counts")?.try_get(0)?;
        ensure!(usize::try_from(done)? == last_keys.len(), "{done} of {} leases held", last_keys.len());
        let taken: Option<String> = rows[0].try_get("id")?;
        if taken.is_none() {
            return Ok(());
        }
        (last_keys, last_token) = (keys(&rows)?, token);
        progress.handled_keys(last_keys.iter().map(String::as_str), 0);
    }
}

async fn pipelined(client: &Client, pipeline: &Pipeline, batch: u32, progress: &Progress) -> Result<()> {
    let stages = prepare(client, pipeline, batch).await?;
    let stage = &stages[0];
    let mut token = draw_token();
    let mut rows = client.query(&stage.claim, &[&token, &HOLDER]).await?;
    while !rows.is_empty() {
        let last = keys(&rows)?;
        progress.handled_keys(last.iter().map(String::as_str), 0);
        let next_token = draw_token();
        let complete: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&last, &token];
        let claim: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&next_token, &HOLDER];
        let (done, next) =
            tokio::try_join!(client.execute(&stage.complete, &complete), client.query(&stage.claim, &claim))?;
        ensure!(done == last.len() as u64, "{done} of {} leases held", last.len());
        (rows, token) = (next, next_token);
    }
    Ok(())
}
