//! Connections to PostgreSQL.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};

use crate::{Error, Result};

/// Limits of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// The most connections: 5 by default, so that a fleet of twenty processes fits a server's usual hundred.
    pub max_connections: u32,
    /// The longest wait for a connection: 3 s by default. After that, a caller should learn that the database is
    /// overloaded or gone.
    pub acquire_timeout: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { max_connections: 5, acquire_timeout: Duration::from_secs(3) }
    }
}

/// A pool of at most 5 connections, with an acquire timeout of 3 s. `SELECT 1` has succeeded before it returns.
///
/// # Errors
/// [`Error::Connect`] if the URL cannot be read or the server cannot be reached.
pub async fn create_pool(database_url: &str) -> Result<PgPool> {
    create_pool_with(database_url, PoolLimits::default()).await
}

/// As [`create_pool`], with other limits.
///
/// # Errors
/// As [`create_pool`].
pub async fn create_pool_with(database_url: &str, limits: PoolLimits) -> Result<PgPool> {
    let options = PgPoolOptions::new().max_connections(limits.max_connections).acquire_timeout(limits.acquire_timeout);
    let connect = async {
        let pool = options.connect(database_url).await?;
        sqlx::query("SELECT 1").execute(&pool).await?;
        Ok(pool)
    };
    match connect.await {
        // The pool has retried and lost the reason: a single connection shows it.
        Err(sqlx::Error::PoolTimedOut) => Err(reason(database_url, limits.acquire_timeout).await),
        answer => answer,
    }
    .map_err(|source| Error::Connect { source })
}

async fn reason(database_url: &str, limit: Duration) -> sqlx::Error {
    match tokio::time::timeout(limit, PgConnection::connect(database_url)).await {
        Ok(Err(error)) => error,
        Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
    }
}
