//! Adding by hand: COPY into the table itself; if some keys exist already, COPY into a temporary table and an insert
//! that skips them.

use std::pin::pin;

use anyhow::Result;
use futures_util::SinkExt;
use tokio_postgres::Client;

use super::raw::connect;
use crate::protocol::{Answer, Progress, Task};

/// Bytes sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

pub(crate) async fn add(task: &Task) -> Result<Answer> {
    let keys = super::new_keys(task.items);
    let progress = Progress::start(task.items);
    let client = connect(&task.database).await?;
    progress.add(copy(&client, "copy items (id) from stdin", &keys).await?);
    Ok(progress.answer("COPY into the table"))
}

/// It is known beforehand that some exist: nothing is tried without success.
pub(crate) async fn add_some(task: &Task) -> Result<Answer> {
    let keys = super::keys_of_which_some_are_there(task.items);
    let progress = Progress::start(task.items);
    let client = connect(&task.database).await?;
    client.batch_execute("begin; create temp table staged (id text not null) on commit drop").await?;
    copy(&client, "copy staged (id) from stdin", &keys).await?;
    let added = client.execute("insert into items (id) select id from staged on conflict do nothing", &[]).await?;
    client.batch_execute("commit").await?;
    progress.add(added);
    Ok(progress.answer("COPY into a temporary table, insert on conflict do nothing"))
}

async fn copy(client: &Client, statement: &str, keys: &[String]) -> Result<u64> {
    let sink = client.copy_in::<_, bytes::Bytes>(statement).await?;
    let mut sink = pin!(sink);
    let mut chunk = String::with_capacity(CHUNK_BYTES + 1024);
    for key in keys {
        chunk.push_str(key);
        chunk.push('\n');
        if chunk.len() >= CHUNK_BYTES {
            sink.send(std::mem::take(&mut chunk).into()).await?;
        }
    }
    sink.send(chunk.into()).await?;
    Ok(sink.finish().await?)
}
