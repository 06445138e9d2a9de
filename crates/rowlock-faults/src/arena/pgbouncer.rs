//! PgBouncer in transaction mode in front of a server.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::url::with_address;

/// A pooler on a separate port. It ends with this value.
#[derive(Debug)]
pub struct PgBouncer {
    _folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

/// How long it may take to listen.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How many ports to try.
const ATTEMPTS: usize = 4;

impl PgBouncer {
    /// The path of the program, if it is installed.
    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian installs it in a folder that only root's PATH has.
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join("pgbouncer"))
            .find(|program| program.is_file())
    }

    /// Starts a pooler for the server of this URL. Another program may take the free port that we found before the
    /// pooler opens it.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub async fn before(url: &str) -> Result<PgBouncer> {
        let mut started = PgBouncer::start(url).await;
        for _ in 1..ATTEMPTS {
            if started.is_ok() {
                break;
            }
            started = PgBouncer::start(url).await;
        }
        started
    }

    async fn start(url: &str) -> Result<PgBouncer> {
        let program = PgBouncer::program().context("pgbouncer is not installed")?;
        let (user, password, host, server_port) = parts(url).context("a URL with user, password and port")?;
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        let port = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?.port();
        let config = folder.path().join("pgbouncer.ini");
        // Transactions of many clients share few connections: if one leaves state behind, another meets it.
        let text = format!(
            "[databases]\n* = host={host} port={server_port} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 12\nmax_client_conn = 1000\n\
             ignore_startup_parameters = extra_float_digits\nserver_login_retry = 1\n"
        );
        std::fs::write(&config, text)?;
        // It refuses to run as root.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let child = command
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting pgbouncer")?;
        let mut bouncer = PgBouncer { _folder: folder, child, port };
        bouncer.wait_until_it_listens().await?;
        Ok(bouncer)
    }

    async fn wait_until_it_listens(&mut self) -> Result<()> {
        let until = tokio::time::Instant::now() + START_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("pgbouncer ended with {status}");
            }
            if tokio::time::Instant::now() > until {
                bail!("pgbouncer does not listen");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The URL with the pooler's address instead of the server's.
    pub fn url(&self, url: &str) -> String {
        with_address(url, format_args!("127.0.0.1:{}", self.port))
    }
}

/// User, password, host and port of `postgres://user:password@host:port/…`.
fn parts(url: &str) -> Option<(&str, &str, &str, &str)> {
    let (who, rest) = url.strip_prefix("postgres://")?.split_once('@')?;
    let (user, password) = who.split_once(':')?;
    let (host, port) = rest.split('/').next()?.split_once(':')?;
    Some((user, password, host, port))
}
