//! The store: its file and connections, and what it remembers between calls of its verbs.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};

use super::broken_keys::BrokenKeys;
use super::file::DatabaseFile;
use super::items::KeyValue;
use super::session::{Connections, Session, Verb};
use super::statements::{Statements, policies};
use super::{clock, rows};
use crate::limits::{BATCH_ITEMS_MAX, SQLITE_READERS};
use crate::pipeline::Pipeline;
use crate::store::brake::Brake;
use crate::store::exclusion::Exclusions;
use crate::store::passed_over::PassedOver;
use crate::store::url::{displayable_url, refuse_url, split_scheme};
use crate::{Error, Key, Result};

/// A pipeline's table in an SQLite file.
///
/// A store has one writing connection and several reading ones. A transaction of the user's ([`Store::begin`]) has the
/// writing one for as long as it is open: the store's other verbs wait for it, up to their deadline.
///
/// A row is no item if its key is not of the pipeline's type, such as a uuid stored as a blob, or is text that contains
/// NUL or is not valid UTF-8: no verb sees it. [`Store::inspect`] reports it, and [`Store::counts`] counts it among the
/// unknown words.
///
/// Commits are durable: [`SqliteStore::open`] and [`SqliteStore::connect`] set `synchronous = FULL`, so that everything
/// reported as a success is still there after a power cut. With `NORMAL` the last commits could be gone, including some
/// that a handler's effects elsewhere rely on. The price is one flush to disk per transaction, which is why verbs work
/// in batches.
///
/// [`Store::begin`]: crate::Store::begin
/// [`Store::inspect`]: crate::Store::inspect
/// [`Store::counts`]: crate::Store::counts
#[derive(Clone)]
pub struct SqliteStore {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) statements: Arc<Statements>,
    pub(super) policies: Arc<str>,
    pub(super) exclusions: Exclusions,
    pub(super) passed_over: PassedOver,
    pub(super) brake: Brake,
    /// The loss of the failure log was reported.
    pub(super) log_is_lost: Arc<AtomicBool>,
    /// Writing a line of the failure log rolls the move back: no line is written any more.
    pub(super) log_is_given_up: Arc<AtomicBool>,
    pub(super) broken_keys: BrokenKeys,
    pub(super) options: SqliteConnectOptions,
    pub(super) file: Arc<DatabaseFile>,
    pub(super) read_only: bool,
    pub(super) writer: Arc<Connections>,
    pub(super) readers: Arc<Connections>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("file", &self.options.get_filename())
            .field("table", &self.pipeline.table())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a file, and creates it for its owner alone if there is none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a URL, [`Error::File`] for what is wrong with the file.
    pub async fn open(path: impl AsRef<Path>, pipeline: Pipeline) -> Result<SqliteStore> {
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(true).synchronous(SqliteSynchronous::Full);
        SqliteStore::with_file(options, true, pipeline).await
    }

    /// Opens the file of a URL, `sqlite://FILE`. It must exist, unless the URL ends in `?mode=rwc`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a URL that names no file, [`Error::File`] for what is wrong with the file.
    pub async fn connect(url: &str, pipeline: Pipeline) -> Result<SqliteStore> {
        let file = match split_scheme(url) {
            Some((scheme, file)) if scheme == "sqlite" => file,
            Some((scheme, _)) if scheme.starts_with("postgres") => {
                return Err(refuse_url(url, "an SqliteStore needs sqlite://FILE; a server is for PostgresStore"));
            }
            _ => return Err(refuse_url(url, "an SqliteStore needs sqlite://FILE")),
        };
        let (_, parameters) = file.split_once('?').unwrap_or((file, ""));
        if parameters.split('&').any(|parameter| parameter == "mode=memory") {
            return Err(refuse_url(url, IN_MEMORY));
        }
        let options = SqliteConnectOptions::from_str(&format!("sqlite:{file}"))
            .map_err(|_| refuse_url(url, "of its parameters only mode, cache, immutable and vfs are known"))?;
        let creates = parameters.split('&').any(|parameter| parameter == "mode=rwc");
        SqliteStore::with_file(options.synchronous(SqliteSynchronous::Full), creates, pipeline).await
    }

    /// Opens a file with the caller's options. In any case the journal is a write-ahead log, and the busy timeout
    /// follows the verbs' deadline; how durable commits are is the caller's choice.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a database in memory, [`Error::File`] for what is wrong with the file.
    pub async fn with_options(options: SqliteConnectOptions, pipeline: Pipeline) -> Result<SqliteStore> {
        SqliteStore::with_file(options, false, pipeline).await
    }

    async fn with_file(options: SqliteConnectOptions, creates: bool, pipeline: Pipeline) -> Result<SqliteStore> {
        let path = path_of(&options)?;
        if pipeline.table().schema().is_some_and(|schema| schema != "main") {
            return Err(Error::InvalidPipeline {
                field: "table.schema".to_owned(),
                value: format!("{:?}", pipeline.table().schema().unwrap_or_default()),
                rule: "SQLite has no schemas: a file has one set of tables".to_owned(),
            });
        }
        // It stays valid if this process changes its folder.
        let options = options.filename(&path);
        let file = Arc::new(DatabaseFile::new(path));
        let statements = Arc::new(Statements::new(&pipeline));
        let policies = policies(&pipeline).into();
        let (writer, readers) = connections(&options, &file, false, &pipeline);
        let exclusions = Exclusions::default();
        let store = SqliteStore {
            pipeline: Arc::new(pipeline),
            statements,
            policies,
            brake: Brake::new(exclusions.clone()),
            exclusions,
            passed_over: PassedOver::default(),
            log_is_lost: Arc::default(),
            log_is_given_up: Arc::default(),
            broken_keys: BrokenKeys::default(),
            options,
            file,
            read_only: false,
            writer,
            readers,
        };
        if creates {
            store.file.create();
        }
        let was_there = store.file.is_there();
        let verb = store.verb("open");
        verb.within(async { store.take_writer(&verb).await.map(Session::keep) }).await?;
        if !was_there {
            store.file.restrict();
        }
        Ok(store)
    }

    /// The same with separate connections, which are not open yet.
    pub(super) fn again(&self, read_only: bool) -> SqliteStore {
        let (writer, readers) = connections(&self.options, &self.file, read_only, &self.pipeline);
        SqliteStore { read_only, writer, readers, ..self.clone() }
    }

    /// Opens the writing connection before any reading one, because those need the write-ahead log. Refuses a file that
    /// a newer Rowlock prepared.
    pub(super) async fn open_writer(&self, name: &'static str) -> Result<()> {
        let verb = self.verb(name);
        verb.within(async {
            let mut session = self.take_writer(&verb).await?;
            self.check_version(&mut session).await?;
            session.keep();
            Ok(())
        })
        .await
    }

    pub(super) fn verb(&self, name: &'static str) -> Verb {
        Verb::new(name, self.pipeline.verb_deadline())
    }

    pub(super) async fn take_writer(&self, verb: &Verb) -> Result<Session> {
        self.writer.take(verb).await
    }

    /// Begins a write transaction. SQLite refuses it on a read-only store, even if it would write nothing.
    pub(super) async fn write(&self, verb: &Verb) -> Result<Session> {
        let mut session = self.take_writer(verb).await?;
        if self.read_only {
            session.execute(&self.statements.refuse_writes, []).await?;
        }
        session.begin_writing().await?;
        Ok(session)
    }

    pub(super) async fn read_session(&self, verb: &Verb) -> Result<Session> {
        self.readers.take(verb).await
    }

    /// Begins a read transaction.
    pub(super) async fn read(&self, verb: &Verb) -> Result<Session> {
        let mut session = self.read_session(verb).await?;
        session.begin_reading().await?;
        Ok(session)
    }

    /// The time of a verb, the same for all of its statements.
    pub(super) async fn time(&self, session: &mut Session, now: Option<DateTime<Utc>>) -> Result<String> {
        match now {
            Some(now) => Ok(clock::format(now)),
            None => Ok(self.moment(session, None).await?.now),
        }
    }

    pub(super) async fn moment(&self, session: &mut Session, now: Option<DateTime<Utc>>) -> Result<Moment> {
        let rows = session.rows(&self.statements.now, [self.pipeline.table().name().into()]).await?;
        let row = rows.first();
        Ok(Moment {
            now: match now {
                Some(now) => clock::format(now),
                None => row.and_then(|row| rows::text(row, 0)).unwrap_or_default(),
            },
            has_triggers: row.and_then(|row| rows::integer(row, 1)) == Some(1),
        })
    }

    pub(super) fn key_of_row(&self, row: &SqliteRow, column: usize) -> KeyValue {
        let key = Key::new(rows::text(row, column).unwrap_or_default());
        KeyValue::of_row(&key, self.pipeline.key_type())
    }

    /// The keys that a claim or a sweep leaves out.
    pub(super) fn excluded_keys(&self, verb: &'static str) -> Vec<KeyValue> {
        let (excluded, passed_over) = (self.exclusions.keys(), self.passed_over.keys(verb));
        excluded.iter().chain(&passed_over).map(|key| KeyValue::of_row(key, self.pipeline.key_type())).collect()
    }
}

const IN_MEMORY: &str = "a database in memory ends with its process, which a queue must outlive: name a file";

/// The file's absolute path.
fn path_of(options: &SqliteConnectOptions) -> Result<PathBuf> {
    let name = options.get_filename();
    let text = name.to_string_lossy();
    if text.is_empty() || text == ":memory:" || text.contains(":memory:") || text.starts_with("file:") {
        let value = if text.starts_with("file:") { displayable_url(&text) } else { format!("{text:?}") };
        return Err(Error::InvalidArgument { argument: "file", value, rule: IN_MEMORY.to_owned() });
    }
    // In anything else that begins like a URL, a part may be a password.
    let is_url = split_scheme(&text).is_some_and(|(_, rest)| rest.starts_with("//"));
    let may_hold_password = text.split_once(':').is_some_and(|(_, rest)| rest.contains('@'));
    if is_url || (may_hold_password && !name.exists()) {
        let rule = "it must be the path of a file; a URL is for connect, and sqlite://FILE is this database's";
        let value = displayable_url(&text);
        return Err(Error::InvalidArgument { argument: "file", value, rule: rule.to_owned() });
    }
    std::path::absolute(name).map_err(|error| Error::InvalidArgument {
        argument: "file",
        value: format!("{name:?}"),
        rule: format!("it must be the path of a file: {error}"),
    })
}

/// What a verb asks first.
pub(super) struct Moment {
    pub(super) now: String,
    /// Whether the table has triggers, which may change a row after a move.
    pub(super) has_triggers: bool,
}

/// The places for a store's writing connection and for its reading ones.
fn connections(
    options: &SqliteConnectOptions,
    file: &Arc<DatabaseFile>,
    read_only: bool,
    pipeline: &Pipeline,
) -> (Arc<Connections>, Arc<Connections>) {
    // A tenth less than the deadline: SQLite's own answer, that the file is busy, is the clearer one.
    let busy_timeout = pipeline.verb_deadline().mul_f64(0.9);
    // The rows of a whole batch fit, so that the driver's thread never waits for someone to take them.
    let shared = options.clone().row_buffer_size(BATCH_ITEMS_MAX);
    let reading = shared.clone().read_only(true).create_if_missing(false);
    let writing = if read_only { reading.clone() } else { shared.journal_mode(SqliteJournalMode::Wal) };
    let new = |options, places| Connections::new(options, busy_timeout, Arc::clone(file), places);
    (new(writing, 1), new(reading, SQLITE_READERS))
}
