//! LISTEN and claim by hand: a trigger that always notifies, and a connection that does nothing but listen.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio_postgres::{AsyncMessage, NoTls};

use super::raw::{connect_tuned, draw_token};
use super::sql;
use super::wake::{Latencies, insert};
use crate::protocol::{Answer, Progress, Task};
use crate::scene::pipeline;

/// The trigger that everybody writes first.
pub(crate) fn set_up() -> Vec<String> {
    [
        sql::DROP_TRIGGERS,
        "create function tell() returns trigger language plpgsql as
         $$ begin perform pg_notify('items', ''); return null; end $$",
        "create trigger tell after insert on items for each statement execute function tell()",
    ]
    .map(str::to_owned)
    .into()
}

pub(crate) async fn wake(task: &Task) -> Result<Answer> {
    let progress = Arc::new(Progress::start(task.items));
    let latencies = Arc::new(Latencies::default());
    let (listener, mut connection) = tokio_postgres::connect(&task.database, NoTls).await?;
    let (told, mut tellings) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if matches!(message, AsyncMessage::Notification(_)) && told.send(()).is_err() {
                break;
            }
        }
    });
    listener.batch_execute("listen items").await?;
    let worker = {
        let (task, progress, latencies) = (task.clone(), Arc::clone(&progress), Arc::clone(&latencies));
        tokio::spawn(async move {
            let client = connect_tuned(&task.database).await?;
            let pipeline = pipeline(1)?;
            let claim = client.prepare(&sql::claim(&pipeline, 0, 1)).await?;
            let complete = client.prepare(&sql::complete(&pipeline, 0)).await?;
            while progress.handled() < task.items {
                tellings.recv().await.context("the listener is gone")?;
                let token = draw_token();
                for row in client.query(&claim, &[&token, &"raw"]).await? {
                    let key: String = row.try_get("id")?;
                    latencies.started(&key);
                    progress.add(1);
                    let done = client.query(&complete, &[&vec![key], &token]).await?;
                    ensure!(done.len() == 1, "the lease was lost");
                }
            }
            Ok::<_, anyhow::Error>(())
        })
    };
    insert(&task.database, task.items, &latencies).await?;
    worker.await??;
    let mut answer = progress.answer("one connection listens, one claims");
    answer.figures = latencies.figures();
    Ok(answer)
}
