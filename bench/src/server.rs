//! The cost of a run to the server: its counters and the CPU time of its processes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::{Connection, Executor, PgConnection};

use crate::number::float;
use crate::process;
use crate::process::said;
use crate::scene::Scene;
use crate::statements::{self, Statements};

/// How long the server's processes may take to end, and thereby to report their counts.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

/// Up to this size a run only shows that everything works.
pub(crate) const SMALL_SCALE: f64 = 0.1;

/// One listens, one works, and one sends heartbeats.
const CONNECTIONS_AN_IDLE_WORKER: u32 = 3;

/// The benchmark's own, the server's reserve, and one for an observer.
const CONNECTIONS_BESIDE: u32 = 50;

/// The server's counters, read over a connection to a database other than the measured one.
pub(crate) struct Server {
    admin: PgConnection,
    counts_statements: bool,
    /// Absent if the server runs on another machine, or as a user whose files cannot be read.
    postmaster: Option<u32>,
    /// The server's version.
    pub(crate) version: String,
    /// Settings that decide about durability and speed.
    pub(crate) settings: Vec<(String, String)>,
    /// Its data folder, if that is on this machine.
    pub(crate) file_system: String,
}

/// The counters at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) wal_bytes: f64,
    pub(crate) commits: f64,
    pub(crate) statements: Option<f64>,
    /// Calls of `renew.sql`, which is known by its last line: comments are not counted with a statement.
    pub(crate) renewals: Option<f64>,
    pub(crate) table: TableSample,
    pub(crate) cpu_secs: Option<f64>,
}

impl Server {
    pub(crate) async fn connect(database: &str) -> Result<Server> {
        let mut admin = PgConnection::connect(database).await?;
        let counts_statements = admin.execute("create extension if not exists pg_stat_statements").await.is_ok()
            && sqlx::query("select 1 from pg_stat_statements limit 1").execute(&mut admin).await.is_ok();
        let folder: String = sqlx::query_scalar("show data_directory").fetch_one(&mut admin).await?;
        let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut admin).await?;
        let settings = sqlx::query_as(
            "select name, setting || coalesce(unit, '') from pg_settings
             where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size',
                            'checkpoint_timeout', 'max_connections', 'shared_preload_libraries', 'autovacuum')
             order by name",
        )
        .fetch_all(&mut admin)
        .await?;
        let postmaster = postmaster(Path::new(&folder));
        let file_system = match postmaster {
            Some(_) => said("stat", &["--file-system", "--format=%T", &folder]),
            None => String::new(),
        };
        Ok(Server { admin, counts_statements, postmaster, version, settings, file_system })
    }

    /// Rejects a server that would flatter every contender, or that cannot hold as many connections as should be idle.
    pub(crate) fn ensure_fit_to_measure(&self, idle_workers: u32) -> Result<()> {
        let setting = |name: &str| self.settings.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            ensure!(
                setting(name) != "off",
                "{name} is off on this server: please set it on in postgresql.conf and reload, or unset \
                 DATABASE_URL and \
                 let `make bench` make a server; with --scale {SMALL_SCALE} or less anything will do"
            );
        }
        let needed = idle_workers * CONNECTIONS_AN_IDLE_WORKER + CONNECTIONS_BESIDE;
        let there: u32 = setting("max_connections").parse()?;
        ensure!(
            there >= needed,
            "{idle_workers} idle workers need max_connections = {needed}, and the server has {there}: please set it in \
             postgresql.conf and restart the server, or name workloads without idle"
        );
        Ok(())
    }

    /// The counters of a database now.
    pub(crate) async fn sample(&mut self, scene: &Scene) -> Result<Sample> {
        let table = TableSample::read(scene).await?;
        let wal: i64 =
            sqlx::query_scalar("select (pg_current_wal_lsn() - '0/0')::bigint").fetch_one(&mut self.admin).await?;
        let commits: i64 =
            sqlx::query_scalar("select coalesce((select xact_commit from pg_stat_database where datname = $1), 0)")
                .bind(&scene.name)
                .fetch_one(&mut self.admin)
                .await?;
        let (mut statements, mut renewals) = (None, None);
        if self.counts_statements {
            let (all, renew): (f64, f64) = sqlx::query_as(
                // Without our own queries, which read the server's own tables.
                "select coalesce(sum(calls) filter (where query not like '%pg_stat_user_tables%'), 0)::float8,
                        coalesce(sum(calls) filter (where query like '%returning held.n%'), 0)::float8
                 from pg_stat_statements
                 where dbid = (select oid from pg_database where datname = $1)",
            )
            .bind(&scene.name)
            .fetch_one(&mut self.admin)
            .await?;
            (statements, renewals) = (Some(all), Some(renew));
        }
        Ok(Sample {
            at: Instant::now(),
            wal_bytes: float(wal.unsigned_abs()),
            commits: float(commits.unsigned_abs()),
            statements,
            renewals,
            cpu_secs: self.postmaster.and_then(process::family_cpu_secs),
            table,
        })
    }

    /// Waits until no one is connected to a database: then all counts have been reported.
    pub(crate) async fn wait_until_unused(&mut self, database: &str) -> Result<()> {
        let until = Instant::now() + QUIET_WITHIN;
        while Instant::now() < until {
            let connected: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
            )
            .bind(database)
            .fetch_one(&mut self.admin)
            .await?;
            if connected == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// The cost of each statement that ran in a database. `None` if the server does not count statements.
    pub(crate) async fn statements(&mut self, database: &str) -> Result<Option<Statements>> {
        if !self.counts_statements {
            return Ok(None);
        }
        Ok(Some(statements::read(&mut self.admin, database).await?))
    }
}

/// The contenders' table at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableSample {
    pub(crate) dead_tuples: f64,
    pub(crate) updates: f64,
    pub(crate) hot_updates: f64,
    pub(crate) bytes: f64,
}

impl TableSample {
    async fn read(scene: &Scene) -> Result<TableSample> {
        let mut connection = scene.connect().await?;
        let (dead_tuples, updates, hot_updates, bytes) = sqlx::query_as(
            // Peers' tables have other names, and dead rows; the rest is read for our table alone.
            "select coalesce(sum(n_dead_tup), 0)::float8,
                    coalesce(sum(n_tup_upd) filter (where is_ours), 0)::float8,
                    coalesce(sum(n_tup_hot_upd) filter (where is_ours), 0)::float8,
                    coalesce(sum(pg_table_size(relid)) filter (where is_ours), 0)::float8
             from (select *, relname in ('items', 'bare') as is_ours from pg_stat_user_tables) tables",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(TableSample { dead_tuples, updates, hot_updates, bytes })
    }
}

/// The server's first process, if it runs on this machine.
fn postmaster(folder: &Path) -> Option<u32> {
    let file = std::fs::read_to_string(folder.join("postmaster.pid")).ok()?;
    file.lines().next()?.trim().parse().ok()
}
