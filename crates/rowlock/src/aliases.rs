//! Names of the generic types on each database.

/// A [`Repository`](crate::Repository) on PostgreSQL.
#[cfg(feature = "postgres")]
pub type PgRepository<R> = crate::Repository<crate::store::postgres::PostgresStore, R>;

/// The [`Context`](crate::Context) of a handler on PostgreSQL, with the worker's state.
#[cfg(feature = "postgres")]
pub type PgContext<R, T = ()> = crate::Context<crate::store::postgres::PostgresStore, R, T>;

/// A [`Repository`](crate::Repository) on SQLite.
#[cfg(feature = "sqlite")]
pub type SqliteRepository<R> = crate::Repository<crate::store::sqlite::SqliteStore, R>;

/// The [`Context`](crate::Context) of a handler on SQLite, with the worker's state.
#[cfg(feature = "sqlite")]
pub type SqliteContext<R, T = ()> = crate::Context<crate::store::sqlite::SqliteStore, R, T>;
