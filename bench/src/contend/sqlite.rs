//! The drain on SQLite: by hand on rusqlite, and by Rowlock.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Repository, Worker};
use rusqlite::{Connection, params};

use crate::protocol::{Answer, Progress, Task};
use crate::scene::pipeline;

/// Items of one transaction.
const BATCH: u32 = 1_000;

/// The form of times in Rowlock's columns.
const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

/// The same file settings as Rowlock's.
pub(crate) fn open(file: &str) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000")?;
    Ok(connection)
}

/// A table as Rowlock prepares it, full of ready items.
pub(crate) async fn fill(file: &Path, items: u64) -> Result<()> {
    let repository: Repository<_, (String,)> = Repository::new(SqliteStore::open(file, pipeline(1)?).await?);
    repository.prepare().await?;
    rowlock::Store::close(repository.store()).await;
    let mut connection = open(&file.to_string_lossy())?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("insert into items (id) values (?1)")?;
        for number in 1..=items {
            // In no order, with the number at the end, as on PostgreSQL.
            insert.execute([format!("{:016x}{number:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))])?;
        }
    }
    transaction.commit()?;
    connection.execute_batch("analyze; pragma wal_checkpoint(truncate)")?;
    Ok(())
}

/// The order in which the queue is claimed by hand, of times all of which are written in one way.
const READY_SINCE: &str = "coalesce(retry_after, created_at, '')";

/// The index for a claim by hand, in place of Rowlock's: that one reads times of any spelling, which no claim by hand
/// does.
pub(crate) fn index_by_hand(file: &Path) -> Result<()> {
    let connection = open(&file.to_string_lossy())?;
    let of_ready = "select name from sqlite_schema where type = 'index' and name like '%\\_ready\\_%' escape '\\'";
    let theirs: String = connection.query_row(of_ready, [], |row| row.get(0))?;
    connection.execute_batch(&format!(
        "drop index {theirs};
         create index by_hand on items (status, {READY_SINCE}) where status in ('PENDING');
         analyze; pragma wal_checkpoint(truncate)"
    ))?;
    Ok(())
}

/// Items that succeeded with no failure and no reset counted.
pub(crate) fn succeeded(file: &Path) -> Result<u64> {
    let count = "select count(*) from items where status = 'SUCCEEDED' and retry_count + reset_count = 0";
    Ok(open(&file.to_string_lossy())?.query_row(count, [], |row| row.get::<_, u32>(0))?.into())
}

/// One connection: claim and complete, each a transaction.
pub(crate) fn drain_by_hand(task: &Task) -> Result<Answer> {
    let progress = Progress::start(task.items);
    let connection = open(&task.database)?;
    // Three steps: with `returning *` the rows are kept until the update has ended, which costs more than reading them.
    let mut pick = connection.prepare(&format!(
        "select json_group_array(id) from (
           select rowid as id from items
           where status = 'PENDING' and status in ('PENDING') and {READY_SINCE} <= {NOW}
           order by {READY_SINCE}
           limit {BATCH}
         )"
    ))?;
    let mut take = connection.prepare(&format!(
        "update items
         set status = 'STAGE_1_IN_PROGRESS', claim_token = ?1, claimed_by = 'raw', claimed_at = {NOW},
             heartbeat_at = {NOW}, updated_at = {NOW}
         where rowid in (select value from json_each(?2)) and +status = 'PENDING'"
    ))?;
    let mut read = connection
        .prepare("select items.* from json_each(?1) as picked cross join items on items.rowid = picked.value")?;
    let mut complete = connection.prepare(&format!(
        "update items
         set status = 'SUCCEEDED', retry_after = null, retry_count = 0, reset_count = 0, updated_at = {NOW}
         where claim_token = ?2 and status = 'STAGE_1_IN_PROGRESS' and +id in (select value from json_each(?1))"
    ))?;
    loop {
        let token: i64 = rand::random_range(1..=i64::MAX);
        connection.execute_batch("begin immediate")?;
        let rows: String = pick.query_row([], |row| row.get(0))?;
        take.execute(params![token, rows])?;
        let keys: Vec<String> = read.query_map([rows], |row| row.get(0))?.collect::<Result<_, _>>()?;
        connection.execute_batch("commit")?;
        if keys.is_empty() {
            break;
        }
        progress.handled_keys(keys.iter().map(String::as_str), 0);
        connection.execute_batch("begin immediate")?;
        let done = complete.execute(params![serde_json::to_string(&keys)?, token])?;
        ensure!(done == keys.len(), "{done} of {} leases held", keys.len());
        connection.execute_batch("commit")?;
    }
    Ok(progress.answer(&format!("one connection, batches of {BATCH}")))
}

/// The worker with all settings but its handler at their defaults.
pub(crate) async fn drain(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let repository: Repository<_, (String,)> = Repository::new(SqliteStore::open(&task.database, pipeline(1)?).await?);
    let handled = Arc::clone(&progress);
    let worker = Worker::new(repository).handle("STAGE_1", move |_, claim| {
        handled.handled_key(claim.key().as_str(), 0);
        async { Ok(()) }
    });
    worker.run_until_idle().await?;
    Ok(progress.answer("the defaults"))
}

/// The worker with a handler that takes batches.
pub(crate) async fn drain_in_batches(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let repository: Repository<_, (String,)> = Repository::new(SqliteStore::open(&task.database, pipeline(1)?).await?);
    let handled = Arc::clone(&progress);
    let worker = Worker::new(repository).handle_batch("STAGE_1", 500, move |_, claims| {
        handled.handled_keys(claims.iter().map(|claim| claim.key().as_str()), 0);
        async move { claims.iter().map(|_| Ok(())).collect() }
    });
    worker.run_until_idle().await?;
    Ok(progress.answer("handle_batch of 500"))
}
