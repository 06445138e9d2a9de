//! The faults, one file each.

mod bad_input;
mod batch_handlers;
mod broken_deploy;
mod clean_restarts;
mod clock_steps;
mod clocks;
mod connections;
mod encodings;
mod error_codes;
mod fail_over;
mod failing_log;
mod full_disk;
mod killed;
mod killed_at_points;
mod mixture;
mod no_connections;
mod operators;
mod outages;
mod poison;
mod pooler;
mod read_only_window;
mod refusing_rows;
mod replaced_file;
mod server_crash;
mod service_away;
mod shapes;
mod slow_database;
mod sqlite;
mod starvation;
mod stopped;
mod whole_batches;
mod zombie;

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::arena::{Cluster, PgBouncer, Round, SmallDisk};
use crate::report::{Outcome, Verdict};

/// A short round runs every fault at once: a dozen scenes, each with three workers of a dozen connections.
const SHARED_CONNECTIONS: u32 = 800;

/// Resources that the faults of a run share.
#[derive(Debug)]
pub struct Arena {
    /// Why no server can run here, if that is so.
    no_server: Option<String>,
    /// A server that no fault harms, from the first request for it on.
    server: OnceCell<Cluster>,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Verdict>> + 'a>>;

/// A way to do harm.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Its name in reports and on the command line.
    pub name: &'static str,
    /// The reason why it cannot run here, if there is one.
    cannot_run: fn(&Arena) -> Option<String>,
    run: for<'a> fn(&'a Arena, &'a Round) -> Running<'a>,
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fault").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Fault {
    /// Runs it, if it can run here.
    pub async fn run(&self, arena: &Arena, round: &Round) -> Outcome {
        if let Some(why) = (self.cannot_run)(arena) {
            return Outcome::NotRun(why);
        }
        match (self.run)(arena, round).await {
            Ok(verdict) => Outcome::Ran(verdict),
            Err(error) => Outcome::Broken(format!("{error:#}")),
        }
    }
}

macro_rules! fault {
    ($name:literal, $cannot_run:expr, $run:path) => {
        Fault { name: $name, cannot_run: $cannot_run, run: |arena, round| Box::pin($run(arena, round)) }
    };
}

/// Every fault, in the order in which they run.
pub const ALL: &[Fault] = &[
    fault!("killed", without_server, killed::run),
    fault!("killed-at-points", without_server, killed_at_points::run),
    fault!("zombie", without_server, zombie::run),
    fault!("clean-restarts", without_server, clean_restarts::run),
    fault!("poison", without_server, poison::run),
    fault!("refusing-rows", without_server, refusing_rows::run),
    fault!("error-codes", without_server, error_codes::run),
    fault!("broken-deploy", without_server, broken_deploy::run),
    fault!("encodings", without_server, encodings::run),
    fault!("failing-log", without_server, failing_log::run),
    fault!("batch-handlers", without_server, batch_handlers::run),
    fault!("server-crash", without_server, server_crash::run),
    fault!("connections", without_server, connections::run),
    fault!("operators", without_server, operators::run),
    fault!("shapes", without_server, shapes::run),
    fault!("whole-batches", without_server, whole_batches::run),
    fault!("fail-over", without_server, fail_over::run),
    fault!("read-only-window", without_server, read_only_window::run),
    fault!("no-connections", without_server, no_connections::run),
    fault!("service-away", without_server, service_away::run),
    fault!("pooler", without_pgbouncer, pooler::run),
    fault!("starvation", without_server, starvation::run),
    fault!("clocks", without_faketime, clocks::run),
    fault!("server-clock", without_faketime, clock_steps::server_clock),
    fault!("suspend", without_library, clock_steps::suspend),
    fault!("stopped", without_server, stopped::on_server),
    fault!("stopped-file", nothing_needed, stopped::on_file),
    fault!("slow-database", without_server, slow_database::run),
    fault!("full-disk", without_small_disk, full_disk::run),
    fault!("sqlite", nothing_needed, sqlite::run),
    fault!("replaced-file", nothing_needed, replaced_file::run),
    fault!("bad-input", without_server, bad_input::run),
    fault!("mixture", without_server, mixture::run),
];

/// The reason why nothing that needs a server can run.
fn without_server(arena: &Arena) -> Option<String> {
    arena.no_server.clone()
}

fn without_pgbouncer(arena: &Arena) -> Option<String> {
    let program = PgBouncer::program().is_none().then(|| "pgbouncer is not installed".to_owned());
    without_server(arena).or(program)
}

fn without_faketime(arena: &Arena) -> Option<String> {
    without_server(arena).or_else(|| without_library(arena))
}

/// Concerns libfaketime alone, and no server.
fn without_library(_: &Arena) -> Option<String> {
    clocks::library().is_none().then(|| "libfaketime is not installed".to_owned())
}

fn without_small_disk(arena: &Arena) -> Option<String> {
    without_server(arena).or_else(SmallDisk::is_missing)
}

fn nothing_needed(_: &Arena) -> Option<String> {
    None
}

impl Arena {
    /// Nothing is started before a fault needs it.
    pub fn open() -> Arena {
        Arena { no_server: Cluster::is_missing(), server: OnceCell::new() }
    }

    /// The URL of the server that no fault harms. Many scenes may use it at once.
    async fn server_url(&self) -> Result<&str> {
        let start = async || {
            let server = Cluster::start().await?;
            server.allow_connections(SHARED_CONNECTIONS).await?;
            anyhow::Ok(server)
        };
        Ok(&self.server.get_or_try_init(start).await?.url)
    }
}
