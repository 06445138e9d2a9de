//! Adding by hand: COPY into the table itself.

use std::pin::pin;

use anyhow::Result;
use futures_util::SinkExt;

use super::raw::connect;
use crate::protocol::{Answer, Progress, Task};

/// Bytes sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

pub(crate) async fn add(task: &Task) -> Result<Answer> {
    let keys = super::new_keys(task.items);
    let progress = Progress::start(task.items);
    let client = connect(&task.database).await?;
    let sink = client.copy_in::<_, bytes::Bytes>("copy items (id) from stdin").await?;
    let mut sink = pin!(sink);
    let mut chunk = String::with_capacity(CHUNK_BYTES + 1024);
    for key in &keys {
        chunk.push_str(key);
        chunk.push('\n');
        if chunk.len() >= CHUNK_BYTES {
            sink.send(std::mem::take(&mut chunk).into()).await?;
        }
    }
    sink.send(chunk.into()).await?;
    progress.add(sink.finish().await?);
    Ok(progress.answer("COPY into the table"))
}
