//! The suite's own PostgreSQL server, to be crashed. It is removed when this process ends, however it ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::subject::Database;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres-cluster");

/// How long a standby may take until it follows.
const FOLLOW_WITHIN: Duration = Duration::from_secs(60);

/// A server in a separate folder.
#[derive(Debug)]
pub struct Cluster {
    keeper: Child,
    folder: tempfile::TempDir,
    /// The URL of its first database.
    pub url: String,
}

impl Cluster {
    /// Why no server can run here, if that is so.
    pub fn is_missing() -> Option<String> {
        match Command::new(SCRIPT).arg("bin").output() {
            Ok(output) if output.status.success() => None,
            Ok(_) => Some("there are no PostgreSQL server programs".to_owned()),
            Err(error) => Some(format!("{SCRIPT}: {error}")),
        }
    }

    /// Creates a server and starts it.
    ///
    /// # Errors
    /// If that fails.
    pub async fn start() -> Result<Cluster> {
        Cluster::keep(std::env::temp_dir(), None, Vec::new()).await
    }

    /// Creates a server and starts it with these environment variables.
    ///
    /// # Errors
    /// If that fails.
    pub async fn start_under(environment: Vec<(String, String)>) -> Result<Cluster> {
        Cluster::keep(std::env::temp_dir(), None, environment).await
    }

    /// Creates a server in a subfolder of this folder, and starts it.
    ///
    /// # Errors
    /// If that fails.
    pub async fn start_in(parent: &Path) -> Result<Cluster> {
        Cluster::keep(parent.to_owned(), None, Vec::new()).await
    }

    /// A streaming standby of this server. Once it follows, commits here wait for it: see
    /// [`Cluster::wait_for_standby`].
    ///
    /// # Errors
    /// If that fails.
    pub async fn standby(&self) -> Result<Cluster> {
        Cluster::keep(std::env::temp_dir(), Some(self.folder()), Vec::new()).await
    }

    async fn keep(parent: PathBuf, primary: Option<PathBuf>, environment: Vec<(String, String)>) -> Result<Cluster> {
        tokio::task::spawn_blocking(move || Cluster::keep_blocking(&parent, primary.as_deref(), environment)).await?
    }

    fn keep_blocking(parent: &Path, primary: Option<&Path>, environment: Vec<(String, String)>) -> Result<Cluster> {
        let folder = tempfile::tempdir_in(parent).context("a temporary folder")?;
        // The server does not run as root, and must reach its own folder inside this one.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        let mut keep = Command::new(SCRIPT);
        keep.envs(environment)
            .arg("keep")
            .arg(folder.path().join("server"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(primary) = primary {
            keep.arg("--standby-of").arg(primary);
        }
        let mut keeper = keep.spawn().context(SCRIPT)?;
        let mut url = String::new();
        let output = keeper.stdout.take().context("its output is piped")?;
        BufReader::new(output).read_line(&mut url)?;
        ensure!(url.starts_with("postgres://"), "no server could be started");
        Ok(Cluster { keeper, folder, url: url.trim().to_owned() })
    }

    /// The folder of the server, as the script's argument.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Stops the server without a checkpoint, as `pg_ctl stop -m immediate` does.
    ///
    /// # Errors
    /// If the script fails.
    pub async fn stop_immediately(&self) -> Result<()> {
        run_script("abort", &self.folder()).await
    }

    /// Starts the server again with room for this many clients.
    ///
    /// # Errors
    /// Those of the server, and of the script.
    pub async fn allow_connections(&self, connections: u32) -> Result<()> {
        let database = Database::lazy(&self.url)?;
        database.execute(format!("alter system set max_connections = {connections}")).await?;
        database.close().await;
        self.stop_immediately().await?;
        self.start_again().await
    }

    /// Kills the server and all its processes.
    ///
    /// # Errors
    /// If the script fails.
    pub async fn kill(&self) -> Result<()> {
        run_script("crash", &self.folder()).await
    }

    /// Starts the server again, at the same address.
    ///
    /// # Errors
    /// If the script fails.
    pub async fn start_again(&self) -> Result<()> {
        run_script("start", &self.folder()).await
    }

    /// Promotes a standby.
    ///
    /// # Errors
    /// If the script fails.
    pub async fn promote(&self) -> Result<()> {
        run_script("promote", &self.folder()).await
    }

    /// From now on no commit is answered before a standby has it. Returns when one follows.
    ///
    /// # Errors
    /// Those of the server, and a standby that does not follow.
    pub async fn wait_for_standby(&self) -> Result<()> {
        let database = Database::lazy(&self.url)?;
        database.execute("alter system set synchronous_standby_names = '*'").await?;
        database.execute("select pg_reload_conf()").await?;
        let following = "select count(*) from pg_stat_replication where sync_state = 'sync' and state = 'streaming'";
        let until = Instant::now() + FOLLOW_WITHIN;
        while database.number(following).await? == 0 {
            ensure!(Instant::now() < until, "the standby does not follow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        database.close().await;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It may have ended already.
        let _ended = self.keeper.wait();
    }
}

async fn run_script(verb: &str, folder: &Path) -> Result<()> {
    let output = tokio::process::Command::new(SCRIPT).arg(verb).arg(folder).output().await.context(SCRIPT)?;
    ensure!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
