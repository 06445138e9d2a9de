//! The server has no connection left: other clients take them all while the workers' own are ended.

use anyhow::{Context, Result};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::Arena;
use super::outages::{self, Outage};
use crate::arena::{Cast, Cluster, Round, Scene};
use crate::report::Verdict;

/// Room for a fleet, its heartbeats and the suite itself.
const CONNECTIONS: u32 = 150;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let server = Cluster::start().await?;
    server.allow_connections(CONNECTIONS).await?;
    let scene = Scene::on_server(round, &server.url, Cast::default(), str::to_owned).await?;
    let end = async |taken: Vec<PgConnection>| {
        for connection in taken {
            connection.close().await?;
        }
        Ok(())
    };
    let begin = async || take_all(&server.url).await;
    outages::attack(scene, Outage { away_ms: 500..=4_000, begin, end }).await
}

/// Ends all other sessions, and takes the free connections until none is left.
async fn take_all(url: &str) -> Result<Vec<PgConnection>> {
    let options: sqlx::postgres::PgConnectOptions = url.parse()?;
    let mut first = options.connect().await.context("a connection to take the others")?;
    let end_others = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                      where datname is not null and pid <> pg_backend_pid()";
    let _ended: i64 = sqlx::query_scalar(end_others).fetch_one(&mut first).await?;
    let mut taken = vec![first];
    // Some clients connect in between; ending them again would only start over.
    for _ in 0..CONNECTIONS {
        match options.connect().await {
            Ok(connection) => taken.push(connection),
            Err(_) => break,
        }
    }
    Ok(taken)
}
