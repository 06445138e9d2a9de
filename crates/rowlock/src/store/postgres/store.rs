//! The store: its connections, and what it remembers between calls of its verbs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool};

use super::connections::ConnectionLimits;
use super::late_renewals::LateRenewals;
use super::queue_head::QueueHead;
use super::session::{Sessions, planner_settings};
use super::statements::{DelayTable, Statements};
use crate::pipeline::Pipeline;
use crate::store::brake::Brake;
use crate::store::exclusion::Exclusions;
use crate::store::passed_over::PassedOver;
use crate::store::url::{postgres_url, unreadable};
use crate::{Error, Result};

/// A pipeline's table on a PostgreSQL server. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) statements: Arc<Statements>,
    pub(super) delays: Arc<DelayTable>,
    pub(super) sessions: Sessions,
    pub(super) exclusions: Exclusions,
    pub(super) passed_over: PassedOver,
    pub(super) brake: Brake,
    /// The last call of `add_many` met existing keys.
    pub(super) keys_existed: Arc<AtomicBool>,
    pub(super) queue_head: QueueHead,
    /// The loss of the failure log was reported.
    pub(super) log_is_lost: Arc<AtomicBool>,
    pub(super) late: LateRenewals,
    /// The error column takes no null, as it turned out, so that an item that succeeded has '' there.
    pub(super) error_needs_text: Arc<AtomicBool>,
}

impl PostgresStore {
    /// A store on the server with this URL, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Connects once, to check that
    /// it can.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the URL is invalid or names another kind of database, [`Error::Database`] if the
    /// server cannot be reached, [`Error::TooManyConnections`], [`Error::SchemaTooNew`].
    pub async fn connect(url: &str, pipeline: Pipeline) -> Result<PostgresStore> {
        let options = postgres_url(url)?.parse::<PgConnectOptions>().map_err(|_| unreadable(url))?;
        let store = PostgresStore::with_options(options, pipeline);
        store.refuse_newer_schema().await?;
        Ok(store)
    }

    /// A store with these connect options. Connects on first use.
    pub fn with_options(options: PgConnectOptions, pipeline: Pipeline) -> PostgresStore {
        let sessions = Sessions::new(without_brackets(options), deadline(&pipeline));
        PostgresStore::build(sessions, pipeline)
    }

    /// A store behind a pooler that lends its connections for one transaction each, as PgBouncer does in transaction
    /// mode. Every statement is sent unprepared and in its own transaction, which costs two more round trips. Without a
    /// direct connection to the server (see [`PostgresStore::with_direct`]) new items are found by polling alone, and
    /// the table cannot be prepared.
    ///
    /// A handler must send its own statements in the transaction of [`Store::begin`] unprepared as well:
    /// `sqlx::query(…).persistent(false)`.
    ///
    /// [`Store::begin`]: crate::Store::begin
    pub fn through_pooler(options: PgConnectOptions, pipeline: Pipeline) -> PostgresStore {
        let sessions = Sessions::through_pooler(without_brackets(options), deadline(&pipeline));
        PostgresStore::build(sessions, pipeline)
    }

    /// The same store with a direct connection to the server, for what needs a session: notifications of new items, and
    /// [`Store::prepare`].
    ///
    /// [`Store::prepare`]: crate::Store::prepare
    #[must_use]
    pub fn with_direct(self, direct: PgConnectOptions) -> PostgresStore {
        let sessions = self.sessions.clone().with_direct(without_brackets(direct));
        self.over(sessions)
    }

    /// The same store with at most this many connections for its verbs, and as many for the user's transactions; 8 by
    /// default, and at least 1. Each worker opens at most twice as many more, and one to listen.
    #[must_use]
    pub fn with_max_connections(self, connections: u32) -> PostgresStore {
        let limits = ConnectionLimits { connections_max: connections.max(1), ..self.sessions.limits() };
        self.over(self.sessions.with_limits(limits))
    }

    /// The same store, which closes a connection that was not used for this long; one minute by default.
    #[must_use]
    pub fn with_idle_timeout(self, idle_timeout: Duration) -> PostgresStore {
        let limits = ConnectionLimits { idle_max: idle_timeout, ..self.sessions.limits() };
        self.over(self.sessions.with_limits(limits))
    }

    /// The same store, which uses no connection for longer than this; half an hour by default.
    #[must_use]
    pub fn with_max_lifetime(self, max_lifetime: Duration) -> PostgresStore {
        let limits = ConnectionLimits { lifetime_max: max_lifetime, ..self.sessions.limits() };
        self.over(self.sessions.with_limits(limits))
    }

    fn build(sessions: Sessions, pipeline: Pipeline) -> PostgresStore {
        let exclusions = Exclusions::default();
        PostgresStore {
            statements: Arc::new(Statements::new(&pipeline)),
            delays: Arc::new(DelayTable::new(&pipeline)),
            sessions,
            brake: Brake::new(exclusions.clone()),
            exclusions,
            passed_over: PassedOver::default(),
            keys_existed: Arc::default(),
            queue_head: QueueHead::default(),
            log_is_lost: Arc::default(),
            late: LateRenewals::default(),
            error_needs_text: Arc::default(),
            pipeline: Arc::new(pipeline),
        }
    }

    /// A store on the same database as a pool of the user's, with separate connections: a drained pool must not keep a
    /// worker from its heartbeats.
    pub fn from_pool(pool: &PgPool, pipeline: Pipeline) -> PostgresStore {
        PostgresStore::with_options(pool.connect_options().as_ref().clone(), pipeline)
    }

    /// The statement with this name as it is sent, with the binds `$1`, `$2`, …; `None` if there is none of that name.
    pub fn sql(&self, name: &str) -> Option<&str> {
        self.statements.all().into_iter().find(|(other, _)| *other == name).map(|(_, sql)| sql)
    }

    /// The names of all statements, for [`PostgresStore::sql`].
    pub fn statement_names(&self) -> Vec<&'static str> {
        self.statements.all().into_iter().map(|(name, _)| name).collect()
    }

    /// The planner settings under which the store's own connections run the statements, as SQL. With these settings, a
    /// statement of [`PostgresStore::sql`] that is run by hand gets the store's plan.
    pub fn planner_settings() -> String {
        planner_settings()
    }

    pub(super) fn over(&self, sessions: Sessions) -> PostgresStore {
        PostgresStore { sessions, ..self.clone() }
    }

    /// The same store with a direct connection in place of its pooler, if it has one.
    pub(super) fn directly(&self) -> Result<PostgresStore> {
        if !self.sessions.is_through_pooler() {
            return Ok(self.clone());
        }
        let direct = self.sessions.direct().ok_or_else(|| Error::InvalidArgument {
            argument: "store",
            value: "connected through a pooler".to_owned(),
            rule: "preparing needs locks that a connection holds: give the store a way past it by with_direct"
                .to_owned(),
        })?;
        Ok(self.over(self.sessions.over_direct(direct.clone())))
    }
}

/// A URL has an IPv6 address in brackets, which the driver takes for a part of the name.
fn without_brackets(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    match address {
        Some(address) => options.host(&address),
        None => options,
    }
}

fn deadline(pipeline: &Pipeline) -> Duration {
    pipeline.verb_deadline()
}
