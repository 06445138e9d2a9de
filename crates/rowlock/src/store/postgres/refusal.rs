//! Rows that the database refuses: trying the parts of a batch that failed, and failing items that cannot move.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgDatabaseError, PgRow};
use sqlx::query::Query;

use super::errors::{Hint, hint, is_lock_timeout, is_untranslatable, may_be_a_rows};
use super::rows::column;
use super::session::{Session, begin_in_parts, limit_statements, part_ms, query, statement_ms};
use super::statements::Forms;
use super::store::PostgresStore;
use crate::pipeline::StageId;
use crate::store::Finish;
use crate::store::brake::{Refused, skeleton};
use crate::store::error_text::stored_error;
use crate::store::ladder::{AtFault, Ladder};
use crate::{Error, FencingToken, Key, Lease, Result};

/// A trigger that returns null makes an update silently do nothing.
pub(super) const SILENTLY_REFUSED: &str = "a trigger of the table suppressed the update without an error";

/// Why a part of a batch was not written.
#[derive(Debug)]
pub(super) enum Refusal {
    /// This error.
    Loud(Error),
    /// A trigger left rows unchanged.
    Silent,
}

impl Refusal {
    /// The database's own words, or that a trigger suppressed the update.
    pub(super) fn reason(&self) -> String {
        match self {
            Refusal::Loud(error) => refusal_reason(error),
            Refusal::Silent => SILENTLY_REFUSED.to_owned(),
        }
    }

    /// What it shares with refusals of other items for the same cause: the constraint, the column or the line of a
    /// function, if the database names one, otherwise the message's skeleton. The message itself may show values of
    /// the row.
    pub(super) fn cause(&self, key: &Key) -> String {
        match self {
            Refusal::Loud(error) => origin(error).unwrap_or_else(|| skeleton(&refusal_reason(error), key)),
            Refusal::Silent => SILENTLY_REFUSED.to_owned(),
        }
    }

    fn hint(&self) -> Hint {
        match self {
            Refusal::Loud(error) => hint(error),
            Refusal::Silent => Hint::Row,
        }
    }

    /// Whether the cause lies in the row and will not pass by itself, so that the item becomes `FAILED`. After a
    /// conflict with others, a timeout or a full disk, the item is only left out for a while.
    pub(super) fn lasts(&self) -> bool {
        self.hint() == Hint::Row
    }

    pub(super) fn is_of_resources(&self) -> bool {
        self.hint() == Hint::Resources
    }
}

/// A row that the database does not let move.
#[derive(Debug, Clone, Copy)]
pub(super) enum RefusedRow<'a> {
    /// The transaction has it locked at this place.
    At(&'a Place),
    /// It is in progress under this lease, whose holder finishes it.
    Held(&'a Lease),
    /// The row with this key and token, whatever its state.
    Under(&'a Key, FencingToken),
}

/// Where a locked row is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) at: String,
    /// Shown by its bytes if these are not valid text.
    pub(super) key: Key,
}

impl Place {
    /// The row that `pick_locked` or `pick_stale` named; `None` if it named none.
    pub(super) fn read(verb: &'static str, row: &PgRow) -> Result<Option<Place>> {
        let Some(at) = column::<Option<String>>(verb, row, "place")? else { return Ok(None) };
        if let Some(key) = column::<Option<String>>(verb, row, "key")? {
            return Ok(Some(Place { at, key: Key::from(key) }));
        }
        let bytes = column::<Option<Vec<u8>>>(verb, row, "key_bytes")?.unwrap_or_default();
        Ok(Some(match String::from_utf8(bytes) {
            Ok(key) => Place { at, key: Key::from(key) },
            Err(error) => {
                let hex: String = error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                Place { at, key: Key::from(format!("\\x{hex}")) }
            }
        }))
    }
}

/// Some of the places.
pub(super) fn places<'a>(all: &'a [Place], part: &[usize]) -> Vec<&'a str> {
    part.iter().map(|item| all[*item].at.as_str()).collect()
}

impl PostgresStore {
    /// Begins the transaction in which the parts of a batch that failed as a whole are tried. It gets a verb's full
    /// time: the failure may have been a timeout.
    pub(super) async fn begin_parts(&self, session: &mut Session) -> Result<()> {
        let deadline = self.sessions.deadline();
        session.extend_deadline(deadline);
        session.run(&begin_in_parts(deadline)).await
    }

    /// Tries a part under a savepoint named `part`. After success the savepoint still exists, to be released or rolled
    /// back to; after an error that may be a row's it has been rolled back. Any other error is everybody's, and ends
    /// the verb.
    pub(super) async fn try_part(
        &self,
        session: &mut Session,
        statement: Query<'_, Postgres, PgArguments>,
    ) -> Result<Result<Vec<PgRow>, Error>> {
        session.run("savepoint part").await?;
        match session.fetch(statement).await {
            Ok(rows) => Ok(Ok(rows)),
            Err(error) if may_be_a_rows(&error) => {
                session.run("rollback to savepoint part").await?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// From here on each part of a batch that failed as a whole ends soon, in a transaction that the verb has begun. It
    /// gets a verb's full time.
    pub(super) async fn limit_parts(&self, session: &mut Session) -> Result<()> {
        let deadline = self.sessions.deadline();
        session.extend_deadline(deadline);
        session.run(&limit_statements(part_ms(deadline))).await
    }

    /// Lifts the limit that `limit_parts` set.
    pub(super) async fn unlimit_parts(&self, session: &mut Session) -> Result<()> {
        session.run(&limit_statements(statement_ms(self.sessions.deadline()))).await
    }

    /// Tries a part by a statement that logs failures. A single item is at fault only if it also fails without the log.
    /// If it passes without the log, `is_unlogged` is set, and the log is left out from then on.
    pub(super) async fn try_logged<'q>(
        &self,
        session: &mut Session,
        forms: &Forms,
        trial: Trial<'_>,
        bind: impl Fn(&Arc<str>) -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Result<Vec<PgRow>, Error>> {
        let first = if *trial.is_unlogged { &forms.unlogged } else { &forms.logged };
        let error = match self.try_part(session, bind(first)).await? {
            Err(error) if trial.is_single && !*trial.is_unlogged => error,
            answer => return Ok(answer),
        };
        match self.try_part(session, bind(&forms.unlogged)).await? {
            // Nothing was written, and that says nothing about the log: others have the row now.
            Ok(rows) if rows.is_empty() => Ok(Ok(rows)),
            Ok(rows) => {
                *trial.is_unlogged = true;
                self.say_log_is_lost(&error);
                Ok(Ok(rows))
            }
            Err(_) => Ok(Err(error)),
        }
    }

    /// Reports it once per store.
    pub(super) fn say_log_is_lost(&self, error: &Error) {
        if !self.log_is_lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                pipeline = self.pipeline.name(),
                %error,
                "the log of failures cannot be written: items move, and what it would say of them is lost"
            );
        }
    }

    /// The items at fault of a batch that was tried in parts, or the error that is everybody's. If there was nothing to
    /// compare with, `probe`, a form of the statement that touches no row, tells the rows from their surroundings:
    /// without it, the only row of a queue, or the only one that a worker finishes, would be blamed for a column that
    /// somebody dropped.
    pub(super) async fn settle_fault(
        &self,
        session: &mut Session,
        at_fault: AtFault<Refusal>,
        whole: Option<Error>,
        probe: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<(usize, Refusal)>> {
        match at_fault {
            AtFault::Items(items) => {
                session.can_write();
                Ok(items)
            }
            // A resource that is short may be short for everybody; an error of another kind beside it is its own row's.
            AtFault::AllTried(items) if !items.iter().all(|(_, refusal)| refusal.is_of_resources()) => {
                match self.try_part(session, probe).await? {
                    Ok(_) => {
                        session.run("rollback to savepoint part").await?;
                        session.can_write();
                        Ok(items)
                    }
                    Err(error) => Err(whole.unwrap_or(error)),
                }
            }
            AtFault::AllTried(_) | AtFault::Everybody => Err(whole.unwrap_or_else(|| Error::Schema {
                table: self.pipeline.table().to_string(),
                problem: format!("{SILENTLY_REFUSED}, of every item that was tried"),
            })),
        }
    }

    /// As [`PostgresStore::settle_fault`], for a verb that makes items at fault `FAILED`. If nothing passed, and
    /// nothing did before for the same cause, the fault is everybody's as well. The next claims or sweeps then pass
    /// over the items that were tried.
    pub(super) async fn settle_refused<'a>(
        &self,
        session: &mut Session,
        tried: Tried,
        probe: Query<'_, Postgres, PgArguments>,
        scope: impl Fn(usize) -> Scope<'a>,
    ) -> Result<Vec<(usize, Refusal)>> {
        let Tried { at_fault, failed_alone, whole } = tried;
        let none_passed = matches!(at_fault, AtFault::AllTried(_));
        let refused = match self.settle_fault(session, at_fault, whole, probe).await {
            Ok(refused) => refused,
            Err(error) => {
                for scope in failed_alone.into_iter().map(scope) {
                    self.pass_over(&scope);
                    self.brake.refused_whole(scope.verb, scope.stage, &error);
                }
                return Err(error);
            }
        };
        if none_passed {
            let held = |(item, refusal): &(usize, Refusal)| {
                scope(*item).refused_by(refusal, |refused| self.brake.holds(refused))
            };
            let held: Option<Vec<Error>> = refused.iter().map(held).collect();
            if let Some(error) = held.and_then(|mut held| held.pop()) {
                refused.iter().for_each(|(item, _)| self.pass_over(&scope(*item)));
                return Err(error);
            }
        }
        Ok(refused)
    }

    /// Passes over a row that was tried while nothing passed.
    pub(super) fn pass_over(&self, Scope { verb, stage, key }: &Scope<'_>) {
        // The holder names the items of a finish or a renewal.
        if ["claim", "sweep"].contains(verb) {
            self.passed_over.add(verb, *stage, key);
        }
    }

    /// Notes that rows of these stages passed.
    pub(super) fn note_passing(&self, verb: &'static str, stages: impl IntoIterator<Item = StageId> + Clone) {
        self.passed_over.let_back(verb, stages.clone());
        self.brake.passed(verb, stages);
    }

    /// Notes that an item was refused; returns whether it may become `FAILED` for it.
    pub(super) fn may_fail(&self, scope: Scope<'_>, refusal: &Refusal) -> bool {
        scope.refused_by(refusal, |refused| self.brake.refused(refused))
    }

    /// Makes a refused item `FAILED` with the reason, in the session's transaction. If the database refuses that too,
    /// this process's claims leave the key out for a while. Returns whether the item is `FAILED`.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        row: RefusedRow<'_>,
        now: Option<DateTime<Utc>>,
        reason: &str,
    ) -> Result<bool> {
        let mut text = stored_error(&format!("the database refuses this row: {reason}"));
        let mut failed = Box::pin(self.try_refuse(session, row, now, &text)).await?;
        if failed.as_ref().is_err_and(is_untranslatable) {
            text = text.replace(|c: char| !c.is_ascii(), "?");
            failed = Box::pin(self.try_refuse(session, row, now, &text)).await?;
        }
        let failed = match failed {
            Ok(failed) => failed,
            // Another transaction has it locked: its holder holds it, and asks again. For rows that this transaction
            // has locked itself, only the row's own trigger can raise this error.
            Err(error) if is_lock_timeout(&error) && matches!(row, RefusedRow::Held(_)) => return Err(error),
            Err(_) => false,
        };
        if !failed {
            self.leave_out(row, reason);
        }
        Ok(failed)
    }

    async fn try_refuse(
        &self,
        session: &mut Session,
        row: RefusedRow<'_>,
        now: Option<DateTime<Utc>>,
        text: &str,
    ) -> Result<Result<bool, Error>> {
        let (forms, item, token, keeps_token) = match row {
            RefusedRow::At(place) => (&self.statements.refuse_place, place.at.as_str(), None, false),
            RefusedRow::Held(lease) => (&self.statements.refuse_held, lease.key.as_str(), Some(lease.token), true),
            RefusedRow::Under(key, token) => (&self.statements.refuse, key.as_str(), Some(token), false),
        };
        let bind = |sql: &Arc<str>| {
            query(sql)
                .bind(item.to_owned())
                .bind(token.map(FencingToken::as_i64))
                .bind(now)
                .bind(keeps_token)
                .bind(text.to_owned())
        };
        let trial = Trial { is_single: true, is_unlogged: &mut false };
        match self.try_logged(session, forms, trial, bind).await? {
            Ok(rows) => {
                session.run("release savepoint part").await?;
                Ok(Ok(rows.first().map_or(Ok(false), |row| column("refuse", row, "is_failed"))?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The keys that a claim or a sweep leaves out, including these. `None` if there are none: then no row's key is
    /// converted to text to be compared.
    pub(super) fn keys_to_leave_out(&self, verb: &'static str, except: &[Key]) -> Option<Vec<String>> {
        let (excluded, passed_over) = (self.exclusions.keys(), self.passed_over.keys(verb));
        let keys: Vec<String> =
            excluded.iter().chain(&passed_over).chain(except).map(|key| key.as_str().to_owned()).collect();
        Some(keys).filter(|keys| !keys.is_empty())
    }

    /// Leaves the item out of this process's claims and sweeps for a while.
    pub(super) fn leave_out(&self, row: RefusedRow<'_>, reason: &str) {
        let key = match row {
            RefusedRow::At(place) => &place.key,
            RefusedRow::Held(lease) => &lease.key,
            RefusedRow::Under(key, _) => key,
        };
        self.exclusions.add(key.clone(), reason);
    }
}

/// A batch that was tried in parts.
pub(super) struct Tried {
    at_fault: AtFault<Refusal>,
    /// The items that failed alone.
    failed_alone: Vec<usize>,
    whole: Option<Error>,
}

impl Tried {
    pub(super) fn of(ladder: Ladder<Refusal>, whole: Option<Error>) -> Tried {
        Tried { failed_alone: ladder.failed_alone().collect(), at_fault: ladder.at_fault(), whole }
    }
}

/// One of its items, as the brake knows it.
pub(super) struct Scope<'a> {
    pub(super) verb: &'static str,
    /// The stage that it is in; `None` if that is unknown.
    pub(super) stage: Option<StageId>,
    pub(super) key: &'a Key,
}

impl<'a> Scope<'a> {
    pub(super) fn of_finish(finish: &'a Finish) -> Scope<'a> {
        Scope { verb: finish.outcome.name(), stage: Some(finish.lease.stage), key: &finish.lease.key }
    }

    pub(super) fn of_renewal(lease: &'a Lease) -> Scope<'a> {
        Scope { verb: "renew", stage: Some(lease.stage), key: &lease.key }
    }

    fn refused_by<T>(&self, refusal: &Refusal, then: impl FnOnce(Refused<'_>) -> T) -> T {
        let Scope { verb, stage, key } = *self;
        then(Refused { verb, stage, key, cause: &refusal.cause(key), reason: &refusal.reason() })
    }
}

/// How a part is tried.
pub(super) struct Trial<'a> {
    /// It is a single item.
    pub(super) is_single: bool,
    /// An item of this batch passed only without the failure log.
    pub(super) is_unlogged: &'a mut bool,
}

/// Where an error comes from, if the database says so: a constraint, a column, or the line of a function. None of these
/// differs from row to row.
fn origin(error: &Error) -> Option<String> {
    let Error::Database { source: sqlx::Error::Database(error), .. } = error else { return None };
    let error = error.try_downcast_ref::<PgDatabaseError>()?;
    let place = error.constraint().or_else(|| error.column()).or_else(|| error.r#where())?;
    Some(format!("{} {} {place}", error.code(), error.table().unwrap_or_default()))
}

/// The database's own words.
pub(super) fn refusal_reason(error: &Error) -> String {
    match error {
        Error::Database { source: sqlx::Error::Database(database), .. } => database.message().to_owned(),
        other => other.to_string(),
    }
}
