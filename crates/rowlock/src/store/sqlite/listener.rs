//! Hearing of new items: `PRAGMA data_version` on a connection that reads.

use std::time::Duration;

use tokio::time::Instant;

use super::rows;
use super::session::{Session, Sql, Verb};
use super::store::SqliteStore;
use crate::Result;
use crate::store::Listener;

/// How often the file is asked: a look at shared memory, which takes a few microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Notices the commits of every other connection, in this process or another. It has its own reading connection, which
/// it opens again if that was closed.
pub struct SqliteListener {
    store: SqliteStore,
    session: Option<Session>,
    sql: Sql,
    seen: Option<i64>,
}

impl std::fmt::Debug for SqliteListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteListener").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl SqliteStore {
    pub(super) async fn start_listening(&self, verb: &Verb) -> Result<SqliteListener> {
        // Uses separate connections: a listener keeps one, and must not take a place from the verbs that read.
        let store = self.again(self.read_only);
        let sql = Sql::new("PRAGMA data_version".to_owned());
        let mut listener = SqliteListener { store, session: None, sql, seen: None };
        listener.look(verb).await?;
        Ok(listener)
    }
}

impl SqliteListener {
    /// Whether there were commits since the last look.
    async fn look(&mut self, verb: &Verb) -> Result<bool> {
        self.store.file.check(verb.name)?;
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                // The number is meaningful only within one connection.
                self.seen = None;
                self.store.read_session(verb).await?
            }
        };
        let rows = session.rows(&self.sql, []).await?;
        self.session = Some(session);
        let version = rows.first().and_then(|row| rows::integer(row, 0));
        let changed = version != self.seen;
        self.seen = version;
        Ok(changed)
    }
}

impl Listener for SqliteListener {
    /// Does nothing: every commit is noticed anyway.
    async fn arm(&mut self, _at_most: Duration) -> Result<()> {
        Ok(())
    }

    async fn wait(&mut self, at_most: Duration) -> Result<bool> {
        let until = Instant::now() + at_most;
        loop {
            let verb = self.store.verb("listen");
            if verb.within(self.look(&verb)).await? {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY.min(left)).await;
        }
    }
}
