//! Hearing of new items: LISTEN, and saying that somebody waits.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::PostgresStore;
use super::claim::query;
use super::connections::{Counted, no_connection};
use super::errors::translate;
use super::schema::channel;
use crate::Result;
use crate::store::Listener;

/// Listens on the pipeline's channel, over a connection of its own. Behind a pooler, without another way to the server,
/// it hears nothing: what is left is polling.
pub struct PostgresListener {
    listener: Option<PgListener>,
    _counted: Option<Counted>,
    /// Whether the table has the trigger that tells.
    is_told: bool,
    store: PostgresStore,
}

impl std::fmt::Debug for PostgresListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresListener").field("table", &self.store.pipeline.table()).finish_non_exhaustive()
    }
}

/// The least time for which a worker says that it waits: then the row is written once in many waits.
const WAITING_MIN: Duration = Duration::from_secs(60);

impl PostgresListener {
    pub(super) async fn connect(store: &PostgresStore) -> Result<PostgresListener> {
        let Some(direct) = store.sessions.direct() else {
            return Ok(PostgresListener { listener: None, _counted: None, is_told: false, store: store.clone() });
        };
        let channel = channel(&store.pipeline);
        let connected = async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(direct.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(&channel).await?;
            Ok(listener)
        };
        let listener = tokio::time::timeout(store.sessions.deadline(), connected)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| no_connection("listen", error))?;
        let is_told = store.is_told().await?;
        Ok(PostgresListener { listener: Some(listener), _counted: Some(Counted::one()), is_told, store: store.clone() })
    }
}

impl Listener for PostgresListener {
    fn is_told(&self) -> bool {
        self.is_told
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
}
