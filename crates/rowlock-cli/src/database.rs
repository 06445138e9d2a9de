//! The database that is meant, and connections to it: for reading alone, or for writing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rowlock::KeyType;
use rowlock::store::displayable_url;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection, SqliteConnection};

use crate::config::Description;
use crate::survey::quote_table;

/// Names the database if neither `--database` nor the file does.
pub const DATABASE_VARIABLE: &str = "DATABASE_URL";

/// Shown to the server, so that its owner can see whose connections these are.
const APPLICATION_NAME: &str = "rowlock";

/// How long a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Instructions of SQLite's virtual machine between two looks at the clock: about a millisecond.
const SQLITE_STEPS_BETWEEN_LOOKS: i32 = 20_000;

/// The kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A PostgreSQL server.
    Postgres,
    /// An SQLite file.
    Sqlite,
}

/// A database by its URL. Shows itself without a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    kind: Kind,
    /// Of SQLite.
    file: Option<PathBuf>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The database refuses every write.
    ReadOnly,
    /// For `attach --apply`.
    ReadWrite,
}

/// How a connection is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// What it is for.
    pub access: Access,
    /// The longest run of a statement on PostgreSQL; on SQLite see [`limit_statement`]. Zero is no limit.
    pub statement_timeout: Duration,
    /// The longest wait for a lock.
    pub lock_timeout: Duration,
    /// Whether an SQLite file is made if there is none.
    pub creates: bool,
}

/// A connection to either database.
#[derive(Debug)]
pub enum Connection {
    /// To a PostgreSQL server.
    Postgres(PgConnection),
    /// To an SQLite file.
    Sqlite(SqliteConnection),
}

impl Opening {
    /// For reading alone, with this limit for each statement and a second for each lock: what only looks must never
    /// keep others waiting.
    pub fn read_only(statement_timeout: Duration) -> Opening {
        Opening { access: Access::ReadOnly, statement_timeout, lock_timeout: Duration::from_secs(1), creates: false }
    }

    /// For writing.
    pub fn read_write(statement_timeout: Duration, lock_timeout: Duration) -> Opening {
        Opening { access: Access::ReadWrite, statement_timeout, lock_timeout, creates: false }
    }
}

impl Target {
    /// The database that `--database` names, or else the file, or else `DATABASE_URL`.
    ///
    /// # Errors
    /// If none of them names one, or the one that does is no URL of a database.
    pub fn choose(argument: Option<&str>, file: Option<&str>) -> Result<Target> {
        if let Some(url) = argument {
            return Target::parse(url).context("--database");
        }
        if let Some(url) = file {
            return Target::parse(url).context("`database` in the file");
        }
        match std::env::var(DATABASE_VARIABLE) {
            Ok(url) if !url.trim().is_empty() => Target::parse(&url).context("the variable DATABASE_URL"),
            _ => bail!(
                "no database is named: add --database postgres://USER@HOST/NAME or --database sqlite://FILE, or set \
                 {DATABASE_VARIABLE}"
            ),
        }
    }

    /// The database of a URL.
    ///
    /// # Errors
    /// If it is no URL of a database. The message shows no password.
    pub fn parse(url: &str) -> Result<Target> {
        let url = url.trim();
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("postgres" | "postgresql") => {
                postgres_options(url)?;
                Ok(Target { url: url.to_owned(), kind: Kind::Postgres, file: None })
            }
            Some("sqlite") => {
                let options = sqlite_options(url)?;
                let file = options.get_filename().to_owned();
                let name = file.to_string_lossy();
                if name.is_empty() || name.contains(":memory:") || name.starts_with("file:") {
                    bail!("it names no file: write sqlite://FILE");
                }
                Ok(Target { url: url.to_owned(), kind: Kind::Sqlite, file: Some(file) })
            }
            None if Path::new(url).is_file() => bail!("{url} is a file: write it as sqlite://{url}"),
            _ => bail!(
                "{} is no URL of a database: write postgres://USER@HOST/NAME or sqlite://FILE",
                displayable_url(url)
            ),
        }
    }

    /// The URL itself, with its password: never to be shown.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL without its password.
    pub fn displayable(&self) -> String {
        match &self.file {
            Some(file) => format!("sqlite://{}", file.display()),
            None => displayable_url(&self.url),
        }
    }

    /// The kind of database.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If the server cannot be reached, or the file is missing or cannot be opened; each says what to do.
    pub async fn open(&self, opening: &Opening) -> Result<Connection> {
        match self.kind {
            Kind::Postgres => self.open_postgres(opening).await.map(Connection::Postgres),
            Kind::Sqlite => self.open_sqlite(opening).await.map(Connection::Sqlite),
        }
    }

    /// Opens a connection to a PostgreSQL server.
    ///
    /// The limits are sent with the connection and not set on it: a pooler would keep what is set, and lend it to
    /// others.
    ///
    /// # Errors
    /// As [`Target::open`]; and if it is another kind of database.
    pub async fn open_postgres(&self, opening: &Opening) -> Result<PgConnection> {
        let read_only = if opening.access == Access::ReadOnly { "on" } else { "off" };
        let options = postgres_options(&self.url)?.application_name(APPLICATION_NAME).options([
            ("default_transaction_read_only", read_only.to_owned()),
            ("statement_timeout", opening.statement_timeout.as_millis().to_string()),
            ("lock_timeout", opening.lock_timeout.as_millis().to_string()),
            // Times that have no zone are read as if they had this one.
            ("timezone", "UTC".to_owned()),
        ]);
        let options = options.disable_statement_logging();
        match tokio::time::timeout(CONNECT_DEADLINE, options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.to_string().contains("startup parameter") => {
                let hint = "it seems to be a pooler, which passes no limits on: name the server itself by --database";
                Err(error).with_context(|| format!("{self} cannot be used: {hint}"))
            }
            Ok(Err(error)) => Err(error).with_context(|| format!("{self} cannot be reached")),
            Err(_) => {
                bail!("{self} has not answered for {CONNECT_DEADLINE:?}: is the address right, and open to here?")
            }
        }
    }

    /// Opens a connection to an SQLite file.
    ///
    /// # Errors
    /// As [`Target::open`]; and if it is another kind of database.
    pub async fn open_sqlite(&self, opening: &Opening) -> Result<SqliteConnection> {
        self.check_file(opening.creates)?;
        let is_read_only = opening.access == Access::ReadOnly;
        let options = sqlite_options(&self.url)?
            .read_only(is_read_only)
            .create_if_missing(opening.creates && !is_read_only)
            .busy_timeout(opening.lock_timeout)
            .disable_statement_logging();
        options.connect().await.with_context(|| format!("{self} cannot be opened"))
    }

    /// Rejects a file that cannot be used, with a message that SQLite does not have.
    ///
    /// # Errors
    /// If it is missing and not to be made, or if it is a folder.
    pub fn check_file(&self, creates: bool) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if file.is_dir() {
            bail!("{} is a folder: name a file in it, as in sqlite://{}/queue.sqlite", file.display(), file.display());
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            bail!("{} is in no folder that exists", file.display());
        }
        if !creates && !file.exists() {
            bail!("there is no file {}: check its path, which is relative to the current folder", file.display());
        }
        Ok(())
    }

    /// The type of the key's column, as far as it has to be known for a pipeline. Text for a composite key, and for a
    /// column that does not exist: what is wrong with it is for others to say.
    ///
    /// # Errors
    /// Those of connecting and of the query.
    pub async fn key_type(&self, description: &Description) -> Result<KeyType> {
        if let Some(key_type) = description.key_type {
            return Ok(key_type);
        }
        let [column] = description.key.as_slice() else { return Ok(KeyType::Text) };
        let what = || format!("the type of the column {column:?} cannot be read");
        match self.open(&Opening::read_only(CONNECT_DEADLINE)).await? {
            Connection::Postgres(mut connection) => {
                let query =
                    sqlx::query_scalar::<_, String>(POSTGRES_TYPE).bind(quote_table(&description.table)).bind(column);
                let name = query.fetch_optional(&mut connection).await.with_context(what)?;
                Ok(match name.as_deref() {
                    Some("int2" | "int4") => KeyType::Int,
                    Some("int8") => KeyType::BigInt,
                    Some("uuid") => KeyType::Uuid,
                    _ => KeyType::Text,
                })
            }
            Connection::Sqlite(mut connection) => {
                let query = sqlx::query_scalar::<_, String>(SQLITE_TYPE).bind(description.table.name()).bind(column);
                let name = query.fetch_optional(&mut connection).await.with_context(what)?;
                // SQLite's own rule for the affinity to integers.
                let is_integer = name.is_some_and(|name| name.to_ascii_uppercase().contains("INT"));
                Ok(if is_integer { KeyType::BigInt } else { KeyType::Text })
            }
        }
    }
}

/// The name of a column's type; of the type below it if it is a domain.
const POSTGRES_TYPE: &str = "select coalesce(b.typname, t.typname)::text from pg_attribute a \
                             join pg_type t on t.oid = a.atttypid left join pg_type b on b.oid = t.typbasetype \
                             where a.attrelid = to_regclass($1) and a.attname = $2 and not a.attisdropped";

const SQLITE_TYPE: &str = "select type from pragma_table_info(?1) where name = ?2 collate nocase";

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.displayable())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("url", &self.displayable()).field("kind", &self.kind).finish()
    }
}

/// Stops the statements that run on this connection once this time has passed from now. Call it before each statement:
/// SQLite has no limit of its own.
///
/// # Errors
/// If the connection is closed.
pub async fn limit_statement(connection: &mut SqliteConnection, timeout: Duration) -> Result<()> {
    let until = Instant::now() + timeout;
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(SQLITE_STEPS_BETWEEN_LOOKS, move || Instant::now() < until);
    Ok(())
}

/// Parameters of a PostgreSQL URL that the driver knows. It logs the value of any other, which may be a password under
/// a mistyped name.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    const RULE: &str = "it cannot be read as postgres://USER:PASSWORD@HOST:PORT/NAME?PARAMETER=VALUE: in a user's name \
                        or a password write @ as %40, / as %2F, ? as %3F, # as %23, & as %26, % as %25";
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']')) {
            continue;
        }
        if name.len() <= 32 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !parameters.contains('@') {
            bail!("it has the parameter `{name}`, which is not known: leave it out");
        }
        bail!(RULE);
    }
    // The driver's own message may quote the part that it cannot read.
    let options = url.parse::<PgConnectOptions>().ok().filter(|_| url.contains("://") && !url.contains('#'));
    let options = options.context(RULE)?;
    // It takes the brackets of an IPv6 address for a part of the name.
    let address = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    Ok(match address {
        Some(address) => options.host(&address),
        None => options,
    })
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions> {
    let file = url.split_once(':').map_or(url, |(_, file)| file);
    let options = format!("sqlite:{file}").parse::<SqliteConnectOptions>().ok();
    options.context("it cannot be read as sqlite://FILE: in the name of a file write ? as %3F and % as %25")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_never_shows_its_password() {
        for url in ["postgres://me:hunter22@host/db", "postgres://host/db?user=me&password=hunter22"] {
            let target = Target::parse(url).unwrap();
            assert!(!format!("{target} {target:?}").contains("hunter22"), "{target}");
        }
        for url in ["postgres://me:hunter22", "mysql://me:hunter22@host/db", "postgres://host/db?passwrd=hunter22", ""]
        {
            if let Err(error) = Target::parse(url) {
                assert!(!format!("{error:#}").contains("hunter22"), "{error:#}");
            }
        }
    }

    #[test]
    fn what_is_no_database_is_refused_with_what_to_write() {
        for url in ["mysql://host/db", "", "queue.sqlite", "sqlite::memory:", "sqlite://?mode=memory"] {
            assert!(format!("{:#}", Target::parse(url).unwrap_err()).contains("sqlite://FILE"), "{url}");
        }
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let target = Target::parse("sqlite:///nowhere/at/all.sqlite").unwrap();
        assert!(target.check_file(false).unwrap_err().to_string().contains("/nowhere/at/all.sqlite"));
        assert_eq!(target.kind(), Kind::Sqlite);
        assert_eq!(target.displayable(), "sqlite:///nowhere/at/all.sqlite");
    }
}
