//! For some seconds, again and again, the server takes no writes, as at a fail-over whose old primary still answers. The
//! handlers hand its errors back by `?`: none of them may cost an attempt.

use anyhow::Result;
use chrono::Utc;

use super::Arena;
use crate::arena::{Cast, Cluster, Round, Scene};
use crate::report::Verdict;
use crate::subject::Database;

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let server = Cluster::start().await?;
    let mut scene = Scene::on_server(round, &server.url, Cast::default(), str::to_owned).await?;
    scene.fleet.assignment_mut().hands_errors_back = true;
    let admin = Database::lazy(&server.url)?;
    scene.start()?;
    for _ in 0..scene.injections_wanted() {
        if !scene.is_busy_after(300..=1_000).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        set_read_only(&admin, true).await?;
        scene.pause(500..=5_000).await?;
        set_read_only(&admin, false).await?;
        // A setting is read again by each session when it is idle.
        scene.pause(300..=300).await?;
        scene.afflicted_all_since(from);
    }
    admin.close().await;
    scene.drain_and_judge().await
}

/// The suite's own sessions write all the same: they say so themselves.
async fn set_read_only(admin: &Database, is_read_only: bool) -> Result<()> {
    let value = if is_read_only { "on" } else { "off" };
    admin.execute("set default_transaction_read_only = off").await?;
    admin.execute(format!("alter system set default_transaction_read_only = {value}")).await?;
    admin.execute("select pg_reload_conf()").await?;
    Ok(())
}
