//! Names of the generic types on each database.

use crate::{Context, Repository};

/// A [`Repository`] on PostgreSQL.
#[cfg(feature = "postgres")]
pub type PgRepository<R> = Repository<crate::store::postgres::PostgresStore, R>;

/// The [`Context`] of a handler on PostgreSQL, with the worker's state.
#[cfg(feature = "postgres")]
pub type PgContext<R, T = ()> = Context<crate::store::postgres::PostgresStore, R, T>;

/// A [`Repository`] on SQLite.
#[cfg(feature = "sqlite")]
pub type SqliteRepository<R> = Repository<crate::store::sqlite::SqliteStore, R>;

/// The [`Context`] of a handler on SQLite, with the worker's state.
#[cfg(feature = "sqlite")]
pub type SqliteContext<R, T = ()> = Context<crate::store::sqlite::SqliteStore, R, T>;
