//! By hand with a status column and nothing else: no fence, no times, no counts. It shows the price of safety, for the
//! record.

use std::sync::Arc;

use anyhow::Result;

use super::raw::connect;
use crate::protocol::{Answer, Progress, Task};

/// The same batches and connections as `raw`.
const BATCH: u32 = 1_000;
const CONNECTIONS: u32 = 2;

/// The table, from Rowlock's ready items.
pub(crate) fn set_up() -> Vec<String> {
    [
        "create table bare (id text primary key, status text not null)",
        "insert into bare select id, 'ready' from items",
        "drop table items",
        "create index on bare (status) where status = 'ready'",
        "vacuum analyze bare",
    ]
    .map(str::to_owned)
    .into()
}

pub(crate) async fn drain(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let mut loops = Vec::new();
    for _ in 0..CONNECTIONS {
        let (url, progress) = (task.database.clone(), Arc::clone(&progress));
        loops.push(tokio::spawn(async move { claim_and_complete(&url, &progress).await }));
    }
    for ended in loops {
        ended.await??;
    }
    Ok(progress.answer(&format!("{CONNECTIONS} connections, batches of {BATCH}")))
}

async fn claim_and_complete(url: &str, progress: &Progress) -> Result<()> {
    let client = connect(url).await?;
    let claim = format!(
        "update bare set status = 'running'
         where id = any (array(select id from bare where status = 'ready' limit {BATCH} for update skip locked))
         returning id"
    );
    let claim = client.prepare(&claim).await?;
    let complete = client.prepare("update bare set status = 'done' where id = any ($1::text[])").await?;
    loop {
        let rows = client.query(&claim, &[]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        progress.handled_keys(keys.iter().map(String::as_str), 0);
        client.execute(&complete, &[&keys]).await?;
    }
}
