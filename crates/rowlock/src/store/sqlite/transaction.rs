//! The user's own transaction: `begin`, `finish_in`, `rollback`.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::errors;
use super::refusal::Written;
use super::session::{Session, Verb};
use super::store::SqliteStore;
use crate::Result;
use crate::store::{Expiry, Finish, Finished, Limits, Transaction};

/// A write transaction, opened by [`Store::begin`](crate::Store::begin). Queries run on it as on any connection:
/// `sqlx::query("…").execute(&mut *transaction)`. Dropping it rolls it back and closes its connection.
///
/// SQLite has one writer, so nothing else is written while it is open, not even heartbeats: open it after the
/// computing, and for no longer than a third of `stale_after`. At that age a statement that runs in it is stopped,
/// which rolls the transaction back if the statement writes; nothing of it can be committed any more, and `finish_in`
/// refuses it. A worker stops the handler that began one by its `Context` and still holds it. Any other holder that
/// runs no statement keeps the others waiting until it drops the transaction: nothing can take it away from its owner.
pub struct SqliteTransaction {
    session: Session,
    verb: Verb,
    begun: Instant,
    longest: Duration,
    alarm: Alarm,
    expiry: Option<Expiry>,
}

impl Transaction for SqliteTransaction {}

/// Stops the statements on a transaction's connection when the transaction is too old, and notifies its holder. Only
/// the time in which this process ran counts: while the process is stopped with the write lock, nothing can be taken
/// from it.
struct Alarm {
    armed: Arc<AtomicBool>,
    age: Arc<Mutex<Age>>,
    timer: tokio::task::AbortHandle,
}

/// How old a transaction is, as far as its process was seen to run.
#[derive(Debug)]
struct Age {
    counted: Duration,
    seen_at: Instant,
    step: Duration,
}

impl Age {
    /// A step that takes long counts as two at most: a process that is later than that stood still.
    fn now(&self) -> Duration {
        self.counted + self.seen_at.elapsed().min(2 * self.step)
    }

    fn count(&mut self) -> Duration {
        self.counted = self.now();
        self.seen_at = Instant::now();
        self.counted
    }
}

/// A transaction becomes too old in this many steps.
const STEPS: u32 = 10;

impl Alarm {
    fn set(after: Duration, interrupt: Arc<AtomicBool>) -> (Alarm, Expiry) {
        let (tell, expiry) = oneshot::channel();
        let armed = Arc::new(AtomicBool::new(true));
        let step = after / STEPS;
        let age = Arc::new(Mutex::new(Age { counted: Duration::ZERO, seen_at: Instant::now(), step }));
        let (alarm, counted) = (Arc::clone(&armed), Arc::clone(&age));
        let timer = tokio::spawn(async move {
            loop {
                tokio::time::sleep(step).await;
                if counted.lock().unwrap_or_else(PoisonError::into_inner).count() >= after {
                    break;
                }
            }
            if alarm.swap(false, Ordering::AcqRel) {
                interrupt.store(true, Ordering::Release);
                // The receiver may be gone.
                let _ = tell.send(());
            }
        });
        (Alarm { armed, age, timer: timer.abort_handle() }, expiry)
    }

    fn age(&self) -> MutexGuard<'_, Age> {
        self.age.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if it went off. Then its connection commits nothing any more, and must not be kept.
    fn disarm(&self) -> bool {
        self.armed.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl std::fmt::Debug for SqliteTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteTransaction").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Deref for SqliteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.session
    }
}

impl DerefMut for SqliteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.session
    }
}

impl SqliteTransaction {
    /// The verb that will end it, which records whether its end may be committed.
    pub(super) fn verb(&self) -> &Verb {
        &self.verb
    }

    /// Only the first call returns it: there is one holder.
    pub(super) fn expiry(&mut self) -> Option<Expiry> {
        self.expiry.take()
    }

    /// Makes it older than it is.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.alarm.age().counted += by;
    }

    /// As if the process had just been stopped for this long.
    #[cfg(test)]
    pub(super) fn stand_still(&mut self, stood_still: Duration) {
        self.alarm.age().seen_at -= stood_still;
    }

    pub(super) async fn roll_back(mut self) -> Result<()> {
        self.session.forget_schema();
        if self.alarm.disarm() {
            return self.session.roll_back().await;
        }
        self.session.close().await;
        Ok(())
    }
}

impl SqliteStore {
    /// On a read-only store SQLite begins a read transaction, and refuses each write in it.
    pub(super) async fn begin_transaction(&self, verb: &Verb) -> Result<SqliteTransaction> {
        let finishing = self.verb("finish_in");
        let mut session = self.take_writer(verb).await?;
        session.begin_writing().await?;
        session.set_verb(finishing.clone());
        let longest = self.pipeline.stale_after() / 3;
        let (alarm, expiry) = Alarm::set(longest, session.interrupt());
        Ok(SqliteTransaction { session, verb: finishing, begun: Instant::now(), longest, alarm, expiry: Some(expiry) })
    }

    pub(super) async fn finish_transaction(
        &self,
        verb: &Verb,
        transaction: SqliteTransaction,
        finish: &Finish,
        limits: Limits,
    ) -> Result<Finished> {
        let SqliteTransaction { mut session, longest, alarm, .. } = transaction;
        if !alarm.disarm() || alarm.age().now() > longest {
            session.close().await;
            return Err(errors::open_for_too_long(verb.name, longest));
        }
        let now = self.time(&mut session, None).await?;
        let batch = self.finish_batch(std::slice::from_ref(finish), limits, now)?;
        let outcome = match self.write_batch(&mut session, &batch).await {
            Ok(mut written) => written.pop().unwrap_or(Written::Missing),
            // The user's writes cannot be committed without the move: the item becomes `FAILED` separately.
            Err(error) if errors::may_be_a_rows(&error) => {
                Written::Refused { reason: errors::reason(&error), failed: false }
            }
            Err(error) => return Err(error),
        };
        match outcome {
            Written::Applied { .. } | Written::Rewritten { .. } => {
                session.commit().await?;
                self.note_passed(&batch, std::slice::from_ref(&outcome));
                Ok(self.finished(outcome))
            }
            Written::Missing => {
                session.forget_schema();
                session.roll_back().await?;
                Ok(Finished::LeaseLost)
            }
            Written::Ignored | Written::Refused { .. } | Written::Held => {
                session.forget_schema();
                session.roll_back().await?;
                self.refuse_finish(verb, &batch, outcome).await
            }
        }
    }
}
