//! Connections: made when they are needed, lent to one at a time, and given back to the server when nobody needs them.
//!
//! Not the driver's pool, which asks each connection that comes back whether it still lives: a round trip for every
//! verb, where a verb has one or two. Here a connection is asked when it was idle, before anything is sent on it. One that
//! is found dead is replaced, and the other idle ones are given up with it: they lost the same server.

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

/// How many connections there are, and for how long.
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

/// What connections are for.
pub(super) enum Purpose {
    /// Verbs, with statements for a new connection; none behind a pooler, where no setting outlives its transaction.
    Verbs(Option<String>),
    /// The user's transactions. Each has its settings for itself.
    Transactions,
}

/// The connections of one kind of use. Its options hold a password, so it is not shown.
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
    /// What closes those that nobody needs. It ends with the runtime that it runs on.
    reaper: Option<AbortHandle>,
    /// Statements that were prepared before this may be outdated.
    statements_trusted_from: Option<Instant>,
}

struct Kept {
    opened: Opened,
    since: Instant,
}

/// A connection that is open.
pub(super) struct Opened {
    connection: PgConnection,
    made_at: Instant,
    /// It is driven by the runtime that made it, and by no other.
    made_on: Option<runtime::Id>,
    statements_since: Instant,
    /// What a transaction on it last knew of its table, and since when.
    columns: Option<String>,
    columns_since: Option<Instant>,
    _counted: Counted,
}

/// Connections of this process, over all of its stores.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One of the connections that this process has.
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

/// The error of a verb that got no connection; where the server has none left, with how many this process has.
pub(super) fn no_connection(verb: &'static str, source: sqlx::Error) -> Error {
    if lets_nobody_in(&source) {
        return Error::TooManyConnections { verb, held: OPEN.load(Ordering::Relaxed), source };
    }
    translate_connect(verb, source)
}

/// A connection with its place. Dropped, it is closed; only [`Lent::give_back`] keeps it.
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

    /// A connection, when a place is free; the one that was used last, whose caches are warm.
    pub(super) async fn lend(self: &Arc<Self>, verb: &'static str, until: Instant) -> Result<Lent> {
        self.lend_tested(verb, until, CONNECTION_TESTED_AFTER).await
    }

    /// The same; one that was idle for so long is asked before whether it lives.
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

    /// A connection that is made now, in the place of those that were idle.
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

    /// The one of this runtime that was used last. What is too old is closed by the way.
    fn take_idle(&self) -> Option<Kept> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut idle = self.idle();
        idle.kept.retain(|kept| kept.lasts_for(self.limits).is_some());
        if let Some(at) = idle.kept.iter().rposition(|kept| kept.opened.made_on == here) {
            return Some(idle.kept.remove(at));
        }
        // Those of another runtime, which may be gone, must not add to a full number of our own.
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

    /// Closes the idle connections, and each other one when it comes back.
    pub(super) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut self.idle().kept);
        close_all(idle).await;
    }

    /// Gives up the idle ones: what broke one of them has broken them all.
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

    /// Those that nobody needed for too long, and when to look again; never if none is left.
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

    /// A panic while the list was locked leaves it whole: every change of it is one call.
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

/// Closes connections for as long as there are idle ones.
async fn reap(connections: Weak<Connections>) {
    /// Not more often, however short the limits are.
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
        // Another runtime's can only be dropped, which closes them as well.
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

/// Leaves the driver counting one transaction, for good. Our own `begin` and `commit` are plain statements, which it does
/// not count; this way code that is handed the connection within one of them, and calls `begin` on it, gets a savepoint.
async fn count_one_transaction(connection: &mut PgConnection) -> sqlx::Result<()> {
    std::mem::forget(connection.begin().await?);
    connection.execute("commit").await.map(drop)
}

async fn answers(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(CONNECTION_TEST_DEADLINE, connection.ping()).await, Ok(Ok(())))
}

impl Kept {
    /// For how long it may still be kept.
    fn lasts_for(&self, limits: ConnectionLimits) -> Option<Duration> {
        let idle = limits.idle_max.checked_sub(self.since.elapsed())?;
        let lifetime = limits.lifetime_max.checked_sub(self.opened.made_at.elapsed())?;
        Some(idle.min(lifetime)).filter(|left| !left.is_zero())
    }
}

impl Opened {
    /// Closes the prepared statements, on both sides.
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
    /// Keeps the connection for the next who needs one. It is between statements and outside of a transaction.
    pub(super) fn give_back(self) {
        let Lent { opened, home, .. } = self;
        home.keep(opened);
    }

    /// Gives up the idle ones as well: what broke this one has broken them.
    pub(super) fn give_up_others(&self) {
        self.home.give_up_idle();
    }

    /// Whether it was made before, and not for this use.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle
    }

    /// Whether the table's columns may be others than those that were noted.
    pub(super) fn may_have_other_columns(&self) -> bool {
        self.opened.columns_since.is_none_or(|since| since.elapsed() >= COLUMNS_KNOWN_FOR)
    }

    /// Notes what the table's columns are now. Where they are not what they were, no statement that was prepared before
    /// is used again.
    pub(super) async fn note_columns(&mut self, columns: Option<String>) -> sqlx::Result<()> {
        if self.opened.columns.is_some() && self.opened.columns != columns {
            self.opened.forget_statements().await?;
        }
        self.opened.columns = columns;
        self.opened.columns_since = Some(Instant::now());
        Ok(())
    }

    /// Something failed on this connection, and nobody says what: it may have been an outdated statement. Neither this
    /// connection nor another uses one that was prepared before.
    pub(super) fn distrust_statements(&self) {
        self.home.idle().statements_trusted_from = Some(Instant::now());
    }

    /// Closes the prepared statements, on both sides.
    pub(super) async fn forget_statements(&mut self) -> sqlx::Result<()> {
        self.opened.forget_statements().await
    }
}
