//! Hearing of new items: LISTEN, and announcing that a worker waits.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::connections::{Counted, no_connection};
use super::errors::translate;
use super::schema::channel;
use super::session::query;
use super::store::PostgresStore;
use crate::limits::CONNECTION_TEST_DEADLINE;
use crate::store::Listener;
use crate::{Error, FencingToken, Result};

/// Listens on the pipeline's channel, over a connection of its own. Behind a pooler, without a direct connection to the
/// server, it hears nothing, and only polling is left.
pub struct PostgresListener {
    listener: Option<PgListener>,
    _counted: Option<Counted>,
    /// A channel on which only this listener listens.
    own_channel: String,
    /// A notification arrived that `wait` has not reported yet.
    has_heard: bool,
    /// Whether the table has the trigger that notifies.
    notifies: bool,
    store: PostgresStore,
}

impl std::fmt::Debug for PostgresListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresListener").field("table", &self.store.pipeline.table()).finish_non_exhaustive()
    }
}

/// The shortest time for which a worker announces that it waits: so the row is written once in many waits.
const WAITING_MIN: Duration = Duration::from_secs(60);

impl PostgresListener {
    pub(super) async fn connect(store: &PostgresStore) -> Result<PostgresListener> {
        let Some(direct) = store.sessions.direct() else {
            return Ok(PostgresListener::new(None, String::new(), false, store));
        };
        let channel = channel(&store.pipeline);
        let own_channel = format!("rowlock_hearing_{}", FencingToken::draw().as_i64());
        let connected = async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(direct.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen_all([&*channel, &*own_channel]).await?;
            Ok(listener)
        };
        let listener = tokio::time::timeout(store.sessions.deadline(), connected)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| no_connection("listen", error))?;
        let notifies = store.inserts_notify().await?;
        Ok(PostgresListener::new(Some(listener), own_channel, notifies, store))
    }

    fn new(listener: Option<PgListener>, own_channel: String, notifies: bool, store: &PostgresStore) -> Self {
        let _counted = listener.as_ref().map(|_| Counted::one());
        PostgresListener { listener, _counted, own_channel, has_heard: false, notifies, store: store.clone() }
    }
}

impl Listener for PostgresListener {
    fn notifies(&self) -> bool {
        self.notifies
    }

    async fn arm(&mut self, at_most: Duration) -> Result<()> {
        if self.listener.is_none() {
            return Ok(());
        }
        let seconds = at_most.max(WAITING_MIN).as_secs_f64() * 2.0;
        let mut session = self.store.sessions.open("wait").await?;
        session.execute(query(&self.store.statements.wait).bind(seconds)).await?;
        session.done();
        Ok(())
    }

    async fn wait(&mut self, at_most: Duration) -> Result<bool> {
        let Some(listener) = &mut self.listener else {
            tokio::time::sleep(at_most).await;
            return Ok(false);
        };
        if std::mem::take(&mut self.has_heard) {
            return Ok(true);
        }
        match tokio::time::timeout(at_most, listener.try_recv()).await {
            Err(_) => Ok(false),
            // None: the connection broke and was made again, and notifications may have been lost. Look again.
            Ok(Ok(_)) => {
                while listener.next_buffered().is_some() {}
                Ok(true)
            }
            Ok(Err(error)) => Err(translate("wait", error)),
        }
    }

    /// Sends a notification to itself, on a separate channel. Nothing else finds a connection on which nothing arrives
    /// any more and whose end neither side has seen.
    async fn test_hearing(&mut self) -> Result<()> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        let heard = async {
            let tell = sqlx::query("select pg_notify($1, '')").bind(&*self.own_channel).persistent(false);
            (&mut *listener).execute(tell).await?;
            loop {
                match listener.try_recv().await? {
                    Some(told) if told.channel() == self.own_channel => return Ok(()),
                    Some(_) => self.has_heard = true,
                    // The connection was made again, and notifications may have been lost.
                    None => {
                        self.has_heard = true;
                        return Ok(());
                    }
                }
            }
        };
        match tokio::time::timeout(CONNECTION_TEST_DEADLINE, heard).await {
            Ok(answer) => answer.map_err(|error| translate("listen", error)),
            Err(_) => Err(Error::Deadline { verb: "listen", deadline: CONNECTION_TEST_DEADLINE }),
        }
    }
}
