//! For some seconds, again and again, the server takes no writes, as at a fail-over whose old primary still answers.

use anyhow::Result;

use super::Arena;
use super::outages::{self, Outage};
use crate::arena::{Cast, Cluster, Round, Scene};
use crate::report::Verdict;
use crate::subject::Database;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let server = Cluster::start().await?;
    let scene = Scene::on_server(round, &server.url, Cast::default(), str::to_owned).await?;
    let admin = Database::lazy(&server.url)?;
    let begin = async || set_read_only(&admin, true).await;
    let end = async |()| set_read_only(&admin, false).await;
    let verdict = outages::attack(scene, Outage { away_ms: 500..=5_000, begin, end }).await;
    admin.close().await;
    verdict
}

/// The suite's own sessions write all the same: they say so themselves.
async fn set_read_only(admin: &Database, is_read_only: bool) -> Result<()> {
    let value = if is_read_only { "on" } else { "off" };
    admin.execute("set default_transaction_read_only = off").await?;
    admin.execute(format!("alter system set default_transaction_read_only = {value}")).await?;
    admin.execute("select pg_reload_conf()").await?;
    Ok(())
}
