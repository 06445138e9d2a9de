//! The retry storm by hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::raw::{connect, draw_token};
use super::sql;
use crate::protocol::{Answer, Progress, Task};
use crate::scene::pipeline;

const BATCH: u32 = 1_000;
const CONNECTIONS: u32 = 2;

/// Failures of each item, as Rowlock's handler has them, and how long it waits after each.
const FAILURES: i32 = 3;
const DELAY_SECS: f64 = 1.0;

/// Between two looks at a queue in which nothing is due.
const POLL: Duration = Duration::from_millis(50);

pub(crate) async fn retry(task: &Task) -> Result<Answer> {
    let runs = task.items * 4;
    let progress = Arc::new(Progress::start(runs));
    let mut loops = Vec::new();
    for _ in 0..CONNECTIONS {
        let (url, progress) = (task.database.clone(), Arc::clone(&progress));
        loops.push(tokio::spawn(async move { work(&url, runs, &progress).await }));
    }
    for ended in loops {
        ended.await??;
    }
    Ok(progress.answer(&format!("{CONNECTIONS} connections, batches of {BATCH}, retries after a second")))
}

async fn work(url: &str, runs: u64, progress: &Progress) -> Result<()> {
    let client = connect(url).await?;
    let pipeline = pipeline(1)?;
    let claim = client.prepare(&sql::claim(&pipeline, 0, BATCH)).await?;
    let complete = client.prepare(&sql::complete(&pipeline, 0)).await?;
    let retry = client.prepare(&sql::retry(&pipeline, 0)).await?;
    while progress.handled() < runs {
        let token = draw_token();
        let rows = client.query(&claim, &[&token, &"raw"]).await?;
        if rows.is_empty() {
            tokio::time::sleep(POLL).await;
            continue;
        }
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for row in &rows {
            let key: String = row.try_get("id")?;
            if row.try_get::<_, i32>("retry_count")? < FAILURES { failed.push(key) } else { done.push(key) }
        }
        progress.add(rows.len() as u64);
        let mut written = 0;
        if !done.is_empty() {
            written += client.query(&complete, &[&done, &token]).await?.len();
        }
        if !failed.is_empty() {
            written += client.query(&retry, &[&failed, &token, &DELAY_SECS]).await?.len();
        }
        ensure!(written == rows.len(), "{written} of {} leases held", rows.len());
    }
    Ok(())
}
