//! Connections: made on demand, lent to one user at a time, and closed when they are not needed.
//!
//! This is not the driver's pool, which tests each connection that is returned: one round trip per verb, where a verb
//! has one or two. Here a connection that was idle is tested before it is used. A dead one is replaced, and the other
//! idle ones are dropped with it: they lost the same server.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use tokio::runtime::{self, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use super::errors::{lets_nobody_in, translate_connect};
use crate::limits::{
    COLUMNS_KNOWN_FOR, CONNECTION_IDLE_MAX, CONNECTION_LIFETIME_MAX, CONNECTION_TEST_DEADLINE, CONNECTION_TESTED_AFTER,
    POSTGRES_CONNECTIONS_MAX,
};
use crate::{Error, Result};

/// How many connections there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    pub(super) connections_max: u32,
    pub(super) idle_max: Duration,
    pub(super) lifetime_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            connections_max: POSTGRES_CONNECTIONS_MAX,
            idle_max: CONNECTION_IDLE_MAX,
            lifetime_max: CONNECTION_LIFETIME_MAX,
        }
    }
}

/// What connections are used for.
pub(super) enum Purpose {
    /// Verbs, with the statements that set up a new connection; `None` behind a pooler, where no setting outlives its
    /// transaction.
    Verbs(Option<String>),
    /// The user's transactions. Each makes its own settings.
    Transactions,
}

/// The connections for one use. Its options hold a password, so it is not shown.
pub(super) struct Connections {
    options: PgConnectOptions,
    purpose: Purpose,
    limits: ConnectionLimits,
    idle: Mutex<Idle>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Idle {
    kept: Vec<Kept>,
    /// Closes connections that are not needed. It ends with its runtime.
    reaper: Option<AbortHandle>,
    /// Statements that were prepared before this may be outdated.
    statements_trusted_from: Option<Instant>,
}

struct Kept {
    opened: Opened,
    since: Instant,
}

/// An open connection.
pub(super) struct Opened {
    connection: PgConnection,
    made_at: Instant,
    /// Only the runtime that made it drives it.
    made_on: Option<runtime::Id>,
    statements_since: Instant,
    /// The table's columns as a transaction on it last saw them, and when.
    columns: Option<String>,
    columns_since: Option<Instant>,
    _counted: Counted,
}

/// The number of this process's connections, over all of its stores.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One of this process's connections.
#[derive(Debug)]
pub(super) struct Counted(());

impl Counted {
    pub(super) fn one() -> Counted {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The error of a verb that got no connection. If the server has none left, it says how many this process has.
pub(super) fn no_connection(verb: &'static str, source: sqlx::Error) -> Error {
    if lets_nobody_in(&source) {
        return Error::TooManyConnections { verb, held: OPEN.load(Ordering::Relaxed), source };
    }
    translate_connect(verb, source)
}

/// A connection and its place. Dropping it closes it; only [`Lent::give_back`] keeps it.
pub(super) struct Lent {
    opened: Opened,
    was_idle: bool,
    home: Arc<Connections>,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, purpose: Purpose, limits: ConnectionLimits) -> Arc<Connections> {
        let places = Arc::new(Semaphore::new(limits.connections_max.max(1) as usize));
        Arc::new(Connections { options, purpose, limits, idle: Mutex::default(), places })
    }

    /// Lends a connection when a place is free: the one that was used last, whose caches are warm.
    pub(super) async fn lend(self: &Arc<Self>, verb: &'static str, until: Instant) -> Result<Lent> {
        self.lend_tested(verb, until, CONNECTION_TESTED_AFTER).await
    }

    /// The same, but a connection that was idle for this long is tested first.
    pub(super) async fn lend_tested(
        self: &Arc<Self>,
        verb: &'static str,
        until: Instant,
        after: Duration,
    ) -> Result<Lent> {
        let place = self.place(until).await.map_err(|error| no_connection(verb, error))?;
        let found = async {
            match self.idle_one(after).await {
                Some(opened) => Ok((opened, true)),
                None => Ok((self.connect().await?, false)),
            }
        };
        let (opened, was_idle) = in_time(until, found).await.map_err(|error| no_connection(verb, error))?;
        Ok(Lent { opened, was_idle, home: Arc::clone(self), _place: place })
    }

    /// Lends a new connection, and drops the idle ones.
    pub(super) async fn lend_new(self: &Arc<Self>, verb: &'static str, until: Instant) -> Result<Lent> {
        self.give_up_idle();
        let place = self.place(until).await.map_err(|error| no_connection(verb, error))?;
        let opened = in_time(until, self.connect()).await.map_err(|error| no_connection(verb, error))?;
        Ok(Lent { opened, was_idle: false, home: Arc::clone(self), _place: place })
    }

    async fn place(&self, until: Instant) -> sqlx::Result<OwnedSemaphorePermit> {
        match timeout_at(until.into(), Arc::clone(&self.places).acquire_owned()).await {
            Ok(place) => place.map_err(|_| sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// An idle connection that answers and has no outdated statement.
    async fn idle_one(&self, tested_after: Duration) -> Option<Opened> {
        while let Some(Kept { mut opened, since }) = self.take_idle() {
            if since.elapsed() >= tested_after && !answers(&mut opened.connection).await {
                tracing::debug!("a connection was found dead after it had been idle; it is replaced");
                self.give_up_idle();
                return None;
            }
            let trusted_from = self.idle().statements_trusted_from;
            if trusted_from.is_some_and(|from| opened.statements_since < from)
                && opened.forget_statements().await.is_err()
            {
                continue;
            }
            return Some(opened);
        }
        None
    }

    /// The connection of this runtime that was used last. It also drops connections that are too old.
    fn take_idle(&self) -> Option<Kept> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut idle = self.idle();
        idle.kept.retain(|kept| kept.lasts_for(self.limits).is_some());
        if let Some(at) = idle.kept.iter().rposition(|kept| kept.opened.made_on == here) {
            return Some(idle.kept.remove(at));
        }
        // Those of another runtime, which may be gone, must not come on top of a full number of ours.
        let taken = self.limits.connections_max as usize - self.places.available_permits();
        if idle.kept.len() + taken > self.limits.connections_max as usize {
            idle.kept.remove(0);
        }
        None
    }

    async fn connect(&self) -> sqlx::Result<Opened> {
        let mut connection = self.options.connect().await?;
        let _counted = Counted::one();
        match &self.purpose {
            Purpose::Verbs(Some(set_up)) => {
                connection.execute(AssertSqlSafe(set_up.clone())).await?;
            }
            Purpose::Verbs(None) => {}
            Purpose::Transactions => count_one_transaction(&mut connection).await?,
        }
        let now = Instant::now();
        let made_on = Handle::try_current().ok().map(|runtime| runtime.id());
        Ok(Opened {
            connection,
            made_at: now,
            made_on,
            statements_since: now,
            columns: None,
            columns_since: None,
            _counted,
        })
    }

    /// Closes the idle connections, and every other one when it is returned.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut self.idle().kept);
        close_all(idle).await;
    }

    /// Drops the idle connections: what broke one of them has broken them all.
    pub(super) fn give_up_idle(&self) {
        let given_up = std::mem::take(&mut self.idle().kept);
        drop(given_up);
    }

    fn keep(self: &Arc<Self>, opened: Opened) {
        let kept = Kept { opened, since: Instant::now() };
        if self.places.is_closed() || kept.lasts_for(self.limits).is_none() {
            return;
        }
        let mut idle = self.idle();
        idle.kept.push(kept);
        if idle.reaper.as_ref().is_none_or(AbortHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            idle.reaper = Some(runtime.spawn(reap(Arc::downgrade(self))).abort_handle());
        }
    }

    /// Takes the connections that were not needed for too long, and says when to look again; `None` if no connection is
    /// left.
    fn expired(&self) -> (Vec<Kept>, Option<Duration>) {
        let mut idle = self.idle();
        let (left, expired): (Vec<_>, Vec<_>) =
            std::mem::take(&mut idle.kept).into_iter().partition(|kept| kept.lasts_for(self.limits).is_some());
        idle.kept = left;
        let next = idle.kept.iter().filter_map(|kept| kept.lasts_for(self.limits)).min();
        if next.is_none() {
            idle.reaper = None;
        }
        (expired, next)
    }

    /// A panic while the list is locked leaves it intact: every change of it is one call.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(reaper) = &self.idle().reaper {
            reaper.abort();
        }
    }
}

/// Closes expired connections as long as there are idle ones.
async fn reap(connections: Weak<Connections>) {
    /// The shortest wait between two looks, however short the limits are.
    const LOOKS_APART: Duration = Duration::from_millis(20);
    while let Some(connections) = connections.upgrade() {
        let (expired, next) = connections.expired();
        drop(connections);
        close_all(expired).await;
        let Some(next) = next else { return };
        tokio::time::sleep(next.max(LOOKS_APART)).await;
    }
}

async fn close_all(idle: Vec<Kept>) {
    let here = Handle::try_current().ok().map(|runtime| runtime.id());
    for Kept { opened, .. } in idle {
        // Connections of another runtime can only be dropped, which closes them as well.
        if opened.made_on != here {
            continue;
        }
        match tokio::time::timeout(CONNECTION_TEST_DEADLINE, opened.connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection did not close cleanly"),
            Err(_) => tracing::debug!("a connection did not close in time"),
        }
    }
}

async fn in_time<T>(until: Instant, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout_at(until.into(), work).await.unwrap_or_else(|_| {
        let message = "the server could not be reached in time";
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::NotConnected, message)))
    })
}

/// Makes the driver count one transaction for good. Rowlock's own `begin` and `commit` are plain statements, which it
/// does not count; this way, code that gets the connection within one of them and calls `begin` on it gets a savepoint.
async fn count_one_transaction(connection: &mut PgConnection) -> sqlx::Result<()> {
    std::mem::forget(connection.begin().await?);
    connection.execute("commit").await.map(drop)
}

async fn answers(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(CONNECTION_TEST_DEADLINE, connection.ping()).await, Ok(Ok(())))
}

impl Kept {
    /// How long it may still be kept.
    fn lasts_for(&self, limits: ConnectionLimits) -> Option<Duration> {
        let idle = limits.idle_max.checked_sub(self.since.elapsed())?;
        let lifetime = limits.lifetime_max.checked_sub(self.opened.made_at.elapsed())?;
        Some(idle.min(lifetime)).filter(|left| !left.is_zero())
    }
}

impl Opened {
    /// Closes the prepared statements, on the client and on the server.
    async fn forget_statements(&mut self) -> sqlx::Result<()> {
        if self.connection.cached_statements_size() > 0 {
            self.connection.clear_cached_statements().await?;
        }
        self.statements_since = Instant::now();
        Ok(())
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.opened.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.opened.connection
    }
}

impl Lent {
    /// Keeps the connection for the next user. It must be between statements and outside of a transaction.
    pub(super) fn give_back(self) {
        let Lent { opened, home, .. } = self;
        home.keep(opened);
    }

    /// Drops the idle connections as well: what broke this one has broken them.
    pub(super) fn give_up_others(&self) {
        self.home.give_up_idle();
    }

    /// Whether it existed before, and was not made for this use.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle
    }

    /// Whether the table's columns may differ from those that were noted.
    pub(super) fn may_have_other_columns(&self) -> bool {
        self.opened.columns_since.is_none_or(|since| since.elapsed() >= COLUMNS_KNOWN_FOR)
    }

    /// Notes the table's current columns. If they have changed, no statement that was prepared before is used again.
    pub(super) async fn note_columns(&mut self, columns: Option<String>) -> sqlx::Result<()> {
        if self.opened.columns.is_some() && self.opened.columns != columns {
            self.opened.forget_statements().await?;
        }
        self.opened.columns = columns;
        self.opened.columns_since = Some(Instant::now());
        Ok(())
    }

    /// Something failed on this connection for an unknown reason, possibly an outdated statement. No connection uses a
    /// statement that was prepared before.
    pub(super) fn distrust_statements(&self) {
        self.home.idle().statements_trusted_from = Some(Instant::now());
    }

    /// Closes the prepared statements, on the client and on the server.
    pub(super) async fn forget_statements(&mut self) -> sqlx::Result<()> {
        self.opened.forget_statements().await
    }
}
