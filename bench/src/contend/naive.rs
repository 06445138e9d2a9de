//! The pattern of tutorials: select for update skip locked with the priority of the states as a CASE, then one update
//! for each row.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::raw::connect;
use super::sql;
use crate::protocol::{Answer, Progress, Task};

/// Rows a select, and processes that work like this: the best of several values.
const BATCH: u32 = 10;
const CONNECTIONS: u32 = 16;

/// The order that tutorials use: unfinished business first, then by age.
const ORDER: &str = "case status when 'PENDING' then 1 else 0 end, created_at";

/// Rowlock's table without Rowlock's indexes and trigger; with the best index for that order, or with none.
pub(crate) fn set_up(is_indexed: bool) -> Vec<String> {
    let mut statements = vec![
        sql::DROP_TRIGGERS.to_owned(),
        "do $$ declare name text; begin
           for name in select indexrelid::regclass from pg_index where indrelid = 'items'::regclass and not indisprimary
           loop execute 'drop index ' || name; end loop;
         end $$"
            .to_owned(),
    ];
    if is_indexed {
        statements.push(format!("create index on items (({ORDER_KEY}), created_at) where status = 'PENDING'"));
        statements.push("analyze items".to_owned());
    }
    statements
}

const ORDER_KEY: &str = "case status when 'PENDING' then 1 else 0 end";

pub(crate) async fn drain(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.to_handle()));
    let take = task.take.unwrap_or(u64::MAX);
    let mut loops = Vec::new();
    for _ in 0..CONNECTIONS {
        let (url, progress) = (task.database.clone(), Arc::clone(&progress));
        loops.push(tokio::spawn(async move { claim_and_complete(&url, take, &progress).await }));
    }
    for ended in loops {
        ended.await??;
    }
    Ok(progress.answer(&format!("{CONNECTIONS} connections, selects of {BATCH}, one update a row")))
}

async fn claim_and_complete(url: &str, take: u64, progress: &Progress) -> Result<()> {
    let mut client = connect(url).await?;
    let select = format!(
        "select id from items where status = 'PENDING' and (retry_after is null or retry_after <= now())
         order by {ORDER} limit {BATCH} for update skip locked"
    );
    let select = client.prepare(&select).await?;
    let claim = client
        .prepare(
            "update items set status = 'STAGE_1_IN_PROGRESS', heartbeat_at = now(), updated_at = now() where id = $1",
        )
        .await?;
    let complete = client
        .prepare(
            "update items set status = 'SUCCEEDED', updated_at = now() where id = $1 \
             and status = 'STAGE_1_IN_PROGRESS'",
        )
        .await?;
    while progress.handled() < take {
        let transaction = client.transaction().await?;
        let rows = transaction.query(&select, &[]).await?;
        let keys: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        for key in &keys {
            transaction.execute(&claim, &[key]).await?;
        }
        transaction.commit().await?;
        if keys.is_empty() {
            break;
        }
        for key in &keys {
            progress.add(1);
            ensure!(client.execute(&complete, &[key]).await? == 1, "{key} was lost");
        }
    }
    Ok(())
}
