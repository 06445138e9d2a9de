//! Queries to the database besides the peer's own interface, over the same driver for all.

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

/// A separate connection.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connecting")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs one or more statements.
pub async fn execute(url: &str, statements: &str) -> Result<()> {
    connect(url).await?.batch_execute(statements).await.with_context(|| statements.to_owned())
}

/// The number that a query returns.
pub async fn count(client: &Client, query: &str) -> Result<u64> {
    let count: i64 = client.query_one(query, &[]).await.with_context(|| query.to_owned())?.try_get(0)?;
    Ok(u64::try_from(count)?)
}
