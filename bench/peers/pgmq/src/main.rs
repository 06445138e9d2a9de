//! pgmq as a peer: its SQL functions, called as any user calls them. The crate of the same name brings the SQL, so that
//! the server needs no extension.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use peer_protocol::{Peer, Progress, Task, Work, connect, count, execute};
use pgmq::PGMQueueExt;
use sqlx09::postgres::PgPoolOptions;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Consumers in the process, each on a separate connection, and messages that one reads and deletes at a time.
const CONSUMERS: usize = 2;
const BATCH: i32 = 1000;

/// Consumers, if each message is read and deleted by itself.
const SMALL_AT_ONCE: usize = 16;

/// After this many seconds a message that was read but not deleted is read again.
const VISIBILITY_SECS: i32 = 60;

/// Messages that are sent in one statement.
const ADD_AT_ONCE: u64 = 5000;

/// The wait of a consumer that found nothing, until it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

struct Pgmq {
    client: Client,
}

/// Consumers, and their stop signal.
struct Consumers {
    stops: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Peer for Pgmq {
    type Worker = Consumers;

    fn settings(work: Work) -> String {
        let settings = match work {
            Work::Drain => format!("{CONSUMERS} consumers, read and delete of {BATCH}"),
            Work::Small => format!("{SMALL_AT_ONCE} consumers, read and delete of 1"),
            Work::Add => format!("send_batch of {ADD_AT_ONCE}"),
            Work::Wake => "enable_notify_insert without a throttle, read and delete of 1".to_owned(),
        };
        format!("pgmq 1.13.0 (the SQL of crate 0.34.0-alpha.7): {settings}")
    }

    async fn prepare(url: &str) -> Result<()> {
        let pool = PgPoolOptions::new().max_connections(2).connect(url).await.context("connecting")?;
        PGMQueueExt::new_with_pool(pool).await.install_sql_from_embedded().await?;
        execute(url, "select pgmq.create('bench')").await
    }

    async fn connect(url: &str) -> Result<Self> {
        Ok(Pgmq { client: connect(url).await? })
    }

    async fn add(&self, jobs: u64) -> Result<()> {
        let send = self.client.prepare("select count(*) from pgmq.send_batch('bench', $1::text[]::jsonb[])").await?;
        for first in (0..jobs).step_by(usize::try_from(ADD_AT_ONCE)?) {
            let batch: Vec<&str> = (first..jobs.min(first + ADD_AT_ONCE)).map(|_| "{}").collect();
            self.client.execute(&send, &[&batch]).await?;
        }
        Ok(())
    }

    async fn add_one(&self) -> Result<()> {
        self.client.execute("select pgmq.send('bench', '{}')", &[]).await?;
        Ok(())
    }

    async fn unfinished(&self) -> Result<u64> {
        count(&self.client, "select count(*) from pgmq.q_bench").await
    }

    async fn start(task: &Task, progress: Arc<Progress>) -> Result<Consumers> {
        let stops = Arc::new(AtomicBool::new(false));
        let (consumers, batch) = match task.work {
            Work::Drain => (CONSUMERS, BATCH),
            Work::Small => (SMALL_AT_ONCE, 1),
            Work::Add | Work::Wake => (1, 1),
        };
        let mut tasks = Vec::new();
        for _ in 0..consumers {
            let client = connect(&task.database).await?;
            let told = if task.work == Work::Wake { Some(listen(&task.database).await?) } else { None };
            let (stops, progress) = (Arc::clone(&stops), Arc::clone(&progress));
            tasks.push(tokio::spawn(consume(client, batch, told, stops, progress)));
        }
        Ok(Consumers { stops, tasks })
    }

    async fn stop(consumers: Consumers) -> Result<()> {
        consumers.stops.store(true, Ordering::Relaxed);
        for task in consumers.tasks {
            task.await??;
        }
        Ok(())
    }
}

/// Reads, handles and deletes until it is stopped; sleeps while there is nothing.
async fn consume(
    client: Client,
    batch: i32,
    mut told: Option<mpsc::UnboundedReceiver<()>>,
    stops: Arc<AtomicBool>,
    progress: Arc<Progress>,
) -> Result<()> {
    let read = client.prepare("select msg_id, message::text from pgmq.read('bench', $1, $2)").await?;
    let delete = client.prepare("select * from pgmq.delete('bench', $1::bigint[])").await?;
    while !stops.load(Ordering::Relaxed) {
        let messages = client.query(&read, &[&VISIBILITY_SECS, &batch]).await?;
        if messages.is_empty() {
            match &mut told {
                // Wakes up now and then regardless, to see whether it should stop.
                Some(told) => drop(tokio::time::timeout(Duration::from_secs(1), told.recv()).await),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
            continue;
        }
        let ids = messages.iter().map(|message| message.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        ids.iter().for_each(|_| progress.handled());
        let deleted = client.query(&delete, &[&ids]).await?;
        ensure!(deleted.len() == ids.len(), "{} of {} messages deleted", deleted.len(), ids.len());
    }
    Ok(())
}

/// A connection that only listens.
async fn listen(url: &str) -> Result<mpsc::UnboundedReceiver<()>> {
    execute(url, "select pgmq.enable_notify_insert('bench', 0)").await?;
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if matches!(message, AsyncMessage::Notification(_)) && tell.send(()).is_err() {
                break;
            }
        }
    });
    client.batch_execute("listen \"pgmq.q_bench.INSERT\"").await?;
    // The connection ends with its client.
    tokio::spawn(async move {
        let _client = client;
        std::future::pending::<()>().await;
    });
    Ok(told)
}

#[tokio::main]
async fn main() -> Result<()> {
    peer_protocol::run::<Pgmq>().await
}
