//! LISTEN and claim by hand: a trigger that always notifies, and a connection that only listens.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::hold::{WAKE_ITEMS, idle_time};
use super::raw::{connect_tuned, draw_token};
use super::sql;
use super::wake::{Latencies, insert};
use crate::protocol::{Answer, Progress, Task};
use crate::scene::pipeline;

/// The trigger that comes to mind first.
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

/// One worker, and items one by one.
pub(crate) async fn wake(task: &Task) -> Result<Answer> {
    Told::start(task, task.items, 1).await?.insert("one connection listens, one claims").await
}

/// Many idle workers for a time; then the time to wake one of them. Each listens, because there is no other way to be
/// notified.
pub(crate) async fn idle(task: &Task) -> Result<Answer> {
    let told = Told::start(task, WAKE_ITEMS, task.workers).await?;
    idle_time(task).await?;
    told.insert(&format!("{} pairs of connections in one process: one listens, one claims", task.workers)).await
}

/// Workers that wait for notifications, and the fate of the items that they were notified of.
struct Told {
    database: String,
    items: u64,
    progress: Arc<Progress>,
    latencies: Arc<Latencies>,
    workers: JoinSet<Result<()>>,
}

impl Told {
    async fn start(task: &Task, items: u64, workers: u32) -> Result<Told> {
        let (progress, latencies) = (Arc::new(Progress::start(items)), Arc::new(Latencies::default()));
        let mut told = Told { database: task.database.clone(), items, progress, latencies, workers: JoinSet::new() };
        for _ in 0..workers {
            let (listener, tellings) = listen(&told.database).await?;
            let client = connect_tuned(&told.database).await?;
            let (progress, latencies) = (Arc::clone(&told.progress), Arc::clone(&told.latencies));
            told.workers.spawn(async move {
                let _listens_as_long = listener;
                work(client, tellings, &progress, &latencies).await
            });
        }
        Ok(told)
    }

    /// Items one by one, and how long each took to reach a worker.
    async fn insert(mut self, settings: &str) -> Result<Answer> {
        insert(&self.database, self.items, &self.latencies).await?;
        while self.progress.handled() < self.items {
            if let Some(ended) = self.workers.try_join_next() {
                ended??;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut answer = self.progress.answer(settings);
        answer.figures = self.latencies.figures();
        Ok(answer)
    }
}

/// The notifications of a connection that does nothing else.
async fn listen(url: &str) -> Result<(Client, UnboundedReceiver<()>)> {
    let (listener, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let (told, tellings) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if matches!(message, AsyncMessage::Notification(_)) && told.send(()).is_err() {
                break;
            }
        }
    });
    listener.batch_execute("listen items").await?;
    Ok((listener, tellings))
}

async fn work(
    client: Client,
    mut tellings: UnboundedReceiver<()>,
    progress: &Progress,
    latencies: &Latencies,
) -> Result<()> {
    let pipeline = pipeline(1)?;
    let claim = client.prepare(&sql::claim(&pipeline, 0, 1)).await?;
    let complete = client.prepare(&sql::complete(&pipeline, 0)).await?;
    loop {
        tellings.recv().await.context("the listener is gone")?;
        let token = draw_token();
        for row in client.query(&claim, &[&token, &"raw"]).await? {
            let key: String = row.try_get("id")?;
            latencies.started(&key);
            let done = client.execute(&complete, &[&vec![key], &token]).await?;
            ensure!(done == 1, "the lease was lost");
            progress.add(1);
        }
    }
}
