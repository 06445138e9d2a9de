//! The connections of a store's own verbs: made when they are needed, lent to one verb at a time.
//!
//! Not the driver's pool, which asks each connection that comes back whether it still lives: a round trip for every
//! verb, where a verb has one or two. A connection that died idle is noticed by the next verb, and then all idle ones
//! are given up: they lost the same server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::translate_connect;
use crate::limits::POSTGRES_CONNECTIONS_MAX;
use crate::{Error, Result};

/// The connections of one store.
#[derive(Debug)]
pub(super) struct Connections {
    options: PgConnectOptions,
    /// Statements for a new connection; none behind a pooler, where no setting outlives its transaction.
    set_up: Option<String>,
    idle: Mutex<Vec<PgConnection>>,
    places: Arc<Semaphore>,
}

/// A connection with its place. Dropped, it is closed; only [`Lent::give_back`] keeps it.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) connection: PgConnection,
    home: Arc<Connections>,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, set_up: Option<String>) -> Arc<Connections> {
        let places = Arc::new(Semaphore::new(POSTGRES_CONNECTIONS_MAX as usize));
        Arc::new(Connections { options, set_up, idle: Mutex::default(), places })
    }

    /// A connection, when a place is free; the one that was used last, whose caches are warm.
    pub(super) async fn lend(self: &Arc<Self>, verb: &'static str, until: Instant) -> Result<Lent> {
        let lent = async {
            let closed = |_| sqlx::Error::PoolClosed;
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
            let idle = self.idle().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            Ok(Lent { connection, home: Arc::clone(self), _place: place })
        };
        let answer = tokio::time::timeout_at(until.into(), lent).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        answer.map_err(|error: sqlx::Error| -> Error { translate_connect(verb, error) })
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let mut connection = self.options.connect().await?;
        if let Some(set_up) = &self.set_up {
            connection.execute(AssertSqlSafe(set_up.clone())).await?;
        }
        Ok(connection)
    }

    /// Closes the idle connections, and each other one when it comes back.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "a connection did not close cleanly");
            }
        }
    }

    /// A panic while the list was locked leaves it whole: every change of it is one call.
    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Keeps the connection for the next verb. It is between statements and outside of a transaction.
    pub(super) fn give_back(self) {
        if !self.home.places.is_closed() {
            self.home.idle().push(self.connection);
        }
    }

    /// Gives up the idle ones as well: what broke this one has broken them.
    pub(super) fn give_up_others(&self) {
        self.home.idle().clear();
    }
}
