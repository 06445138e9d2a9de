//! The retry storm by hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::passes::{FAILURES, Passes, RUNS};
use super::raw::{connect_tuned, draw_token};
use super::sql;
use crate::protocol::{Answer, Progress, Task};
use crate::scene::pipeline;

const BATCH: u32 = 1_000;
const CONNECTIONS: u32 = 2;

/// Between two looks at a queue in which nothing is due.
const POLL: Duration = Duration::from_millis(50);

pub(crate) async fn retry(task: &Task) -> Result<Answer> {
    let runs = task.items * RUNS as u64;
    let progress = Arc::new(Progress::start(runs));
    let passes = Arc::new(Passes::default());
    let mut loops = Vec::new();
    for _ in 0..CONNECTIONS {
        let (task, progress, passes) = (task.clone(), Arc::clone(&progress), Arc::clone(&passes));
        loops.push(tokio::spawn(async move { work(&task, runs, &progress, &passes).await }));
    }
    for ended in loops {
        ended.await??;
    }
    let settings = format!("{CONNECTIONS} connections, batches of {BATCH}, retries after {} s", task.secs);
    let mut answer = progress.answer(&settings);
    answer.figures.insert("busy_items_per_s".into(), passes.busy_items_per_s(answer.handled));
    Ok(answer)
}

async fn work(task: &Task, runs: u64, progress: &Progress, passes: &Passes) -> Result<()> {
    let client = connect_tuned(&task.database).await?;
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
            let failures = row.try_get("retry_count")?;
            progress.handled_key(&key, 0);
            passes.ran(failures);
            if failures < FAILURES { failed.push(key) } else { done.push(key) }
        }
        let mut written = 0;
        if !done.is_empty() {
            written += client.execute(&complete, &[&done, &token]).await?;
        }
        if !failed.is_empty() {
            written += client.execute(&retry, &[&failed, &token, &task.secs]).await?;
        }
        ensure!(written == rows.len() as u64, "{written} of {} leases held", rows.len());
    }
    Ok(())
}
