//! Ending leases: `finish`. statements.rs says which text runs when.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::encoding::is_illegible;
use super::errors::{is_lock_timeout, may_be_a_rows, takes_no_null};
use super::refusal::{Refusal, RefusedRow, Scope, Trial, Tried};
use super::rows::{Unclaimed, column};
use super::session::{Session, begin_in_parts, query};
use super::store::PostgresStore;
use super::time::TIME_MIN;
use crate::limits::RETRY_DELAY_MAX;
use crate::pipeline::Role;
use crate::store::error_text::stored_error;
use crate::store::ladder::Ladder;
use crate::store::params::budget_limit;
use crate::store::{Finish, FinishParams, Finished, LeaseState, Outcome};
use crate::{Error, Lease, Result, Status};

/// How long one finish waits in all for rows that others have locked. An ordinary write of the user's is over by then;
/// someone who looks at a row in a transaction of hours must not keep a worker from its other items.
const ROW_LOCK_WAIT: Duration = Duration::from_millis(100);

/// Pauses before the items that a batch found locked are tried again: about as long as a claim of a full batch takes.
const PAUSES_BEFORE_REPEATS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(8)];

impl PostgresStore {
    /// One statement for all items in the ordinary case. `finish`, which locks, tries what `complete_batch` did not
    /// write; the items that are left are looked at one by one. Once something is committed, no error may hide it: the
    /// items that are still open are then busy.
    pub(super) async fn finish_batch(&self, finishing: &FinishParams) -> Result<Vec<Finished>> {
        let items = &finishing.items;
        let mut answers: Vec<Option<Finished>> = vec![None; items.len()];
        if items.is_empty() {
            return Ok(Vec::new());
        }
        for item in items {
            item.lease.key.check()?;
        }
        let mut session = self.sessions.open("finish").await?;
        let all: Vec<usize> = (0..items.len()).collect();
        let tokens = self.tokens_to_complete_by(items);
        let written = match &tokens {
            Some(tokens) => self.complete_batch(&mut session, finishing, tokens, &mut answers).await,
            None => match session.fetch(self.batch_query(finishing, &all)).await {
                Ok(rows) => self.note_written(&rows, &all, &mut answers),
                Err(error) => Err(error),
            },
        };
        if is_illegible(&written)
            && let Some(reduced) = Box::pin(self.reduced(&mut session, finishing)).await?
        {
            session.done();
            return Box::pin(self.finish_batch(&reduced)).await;
        }
        let mut are_untried = false;
        match written {
            Ok(()) => are_untried = tokens.is_some(),
            Err(error) if is_trigger_without_lock(&error) => {}
            Err(error) if may_be_a_rows(&error) => {
                if takes_no_null(&error, self.pipeline.columns().name(Role::ErrorMessage)) {
                    self.error_needs_text.store(true, Ordering::Relaxed);
                }
                Box::pin(self.finish_in_parts(&mut session, finishing, all, error, &mut answers)).await?;
            }
            Err(error) => return Err(error),
        }
        // The paths for a bad row are boxed, so that no ordinary call carries the space that they need.
        let missing = match self.finish_rest(&mut session, finishing, &mut answers, are_untried).await {
            Ok(()) => {
                session.done();
                Finished::LeaseLost
            }
            Err(error) if answers.iter().all(Option::is_none) => return Err(error),
            Err(_) => Finished::Busy,
        };
        self.note_passed(finishing, &answers);
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| missing.clone())).collect())
    }

    /// Tells the brake which items passed.
    fn note_passed(&self, finishing: &FinishParams, answers: &[Option<Finished>]) {
        if self.brake.is_counting() {
            for (finish, answer) in finishing.items.iter().zip(answers) {
                if matches!(answer, Some(Finished::Applied { .. })) {
                    self.brake.passed(finish.outcome.name(), [finish.lease.stage]);
                }
            }
        }
    }

    /// The cheapest statement for a whole batch. None of them waits for a row.
    fn batch_query<'q>(&'q self, finishing: &'q FinishParams, all: &[usize]) -> Query<'q, Postgres, PgArguments> {
        match finishing.items.as_slice() {
            [item] if matches!(item.outcome, Outcome::Complete) && !self.error_needs_text.load(Ordering::Relaxed) => {
                self.complete_query(&self.statements.complete, item, finishing.now)
            }
            _ => self.finish_query(&self.statements.finish.logged, finishing, all),
        }
    }

    /// Writes what can be written of a batch that failed as a whole by this error, and fails the items at fault. An
    /// item whose row others have locked stays without an answer.
    async fn finish_in_parts(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        batch: Vec<usize>,
        whole: Error,
        answers: &mut [Option<Finished>],
    ) -> Result<()> {
        self.begin_parts(session).await?;
        // None of it counts before the commit.
        let mut applied = answers.to_vec();
        let (mut ladder, mut is_unlogged) = (Ladder::new(batch.len()), false);
        while session.has_time()
            && let Some(part) = ladder.next()
        {
            let items: Vec<usize> = part.iter().map(|item| batch[*item]).collect();
            let bind = |sql: &Arc<str>| self.finish_query(sql, finishing, &items);
            let trial = Trial { is_single: part.len() == 1, is_unlogged: &mut is_unlogged };
            match self.try_logged(session, &self.statements.finish, trial, bind).await? {
                Ok(rows) => {
                    session.run("release savepoint part").await?;
                    self.note_written(&rows, &items, &mut applied)?;
                    ladder.passed(&part);
                }
                Err(error) => ladder.failed(part, Refusal::Loud(error)),
            }
        }
        ladder.untried().for_each(|item| applied[batch[item]] = Some(Finished::Busy));
        let probe = self.finish_query(&self.statements.finish.logged, finishing, &[]);
        self.note_passed(finishing, &applied);
        let scope = |item: usize| Scope::of_finish(&finishing.items[batch[item]]);
        let refused = self.settle_refused(session, Tried::of(ladder, Some(whole)), probe, scope).await?;
        session.run("commit").await?;
        answers.clone_from_slice(&applied);
        for (item, refusal) in refused {
            let item = batch[item];
            // What is committed is reported, whatever becomes of those.
            answers[item] = Some(match self.end_refused(session, finishing, item, &refusal).await {
                Ok(finished) => finished,
                Err(error) => {
                    session.give_up_transaction().await;
                    if error.may_have_been_applied() { Finished::Unknown } else { Finished::Busy }
                }
            });
        }
        Ok(())
    }

    /// What becomes of an item whose finish is refused: `FAILED`, or busy if the obstacle may go away by itself.
    async fn end_refused(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        item: usize,
        refusal: &Refusal,
    ) -> Result<Finished> {
        if !refusal.lasts() {
            return Ok(Finished::Busy);
        }
        let (reason, finish) = (refusal.reason(), &finishing.items[item]);
        if !self.may_fail(Scope::of_finish(finish), refusal) {
            return Ok(Finished::Busy);
        }
        match Box::pin(self.refuse_finish(session, finish, finishing.now, &reason)).await {
            Ok(failed) => Ok(Finished::Refused { reason, failed }),
            Err(error) if is_lock_timeout(&error) => Ok(Finished::Busy),
            Err(error) => Err(error),
        }
    }

    /// The items that a batch did not write: it waits a little for locked ones, and fails refused ones. An item without
    /// an answer afterwards is lost. Items of a batch that took no locks are untried: most were left out for a lock
    /// that is gone, e.g. by a row that refers to the item.
    async fn finish_rest(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        answers: &mut [Option<Finished>],
        are_untried: bool,
    ) -> Result<()> {
        let mut open: Vec<usize> = (0..answers.len()).filter(|index| answers[*index].is_none()).collect();
        let mut may_be_free_soon = true;
        if are_untried && !open.is_empty() {
            may_be_free_soon = self.finish_again(session, finishing, &mut open, answers).await?;
        }
        if open.is_empty() {
            return Ok(());
        }
        let leases: Vec<Lease> = open.iter().map(|index| finishing.items[*index].lease.clone()).collect();
        let states = self.read_lease_states(session, &leases).await?;
        let mut held: Vec<usize> = open
            .into_iter()
            .zip(states)
            .filter(|(_, state)| *state == LeaseState::Held)
            .map(|(index, _)| index)
            .collect();
        for pause in PAUSES_BEFORE_REPEATS {
            if may_be_free_soon && held.len() > 1 {
                tokio::time::sleep(pause).await;
                may_be_free_soon = self.finish_again(session, finishing, &mut held, answers).await?;
            }
        }
        held.sort_by(|a, b| finishing.items[*a].lease.key.cmp(&finishing.items[*b].lease.key));
        self.finish_one_by_one(session, finishing, held, answers).await
    }

    /// Rows that were locked in passing are soon free: a claim of another worker that meets a row which was claimed
    /// after it began holds the row until it commits. One further statement is far cheaper than one per row. False if
    /// the remaining items were refused or have a trigger that waits: those go one by one.
    async fn finish_again(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        held: &mut Vec<usize>,
        answers: &mut [Option<Finished>],
    ) -> Result<bool> {
        let statement = self.finish_query(&self.statements.finish.logged, finishing, held);
        let again = match session.fetch(statement).await {
            Ok(rows) => self.note_written(&rows, held, answers).map(|()| true),
            Err(error) if is_trigger_without_lock(&error) => Ok(false),
            Err(error) if may_be_a_rows(&error) => {
                Box::pin(self.finish_in_parts(session, finishing, held.clone(), error, answers)).await.map(|()| false)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &again
            && error.may_have_been_applied()
            && answers.iter().any(Option::is_some)
        {
            held.iter().for_each(|index| answers[*index] = Some(Finished::Unknown));
        }
        held.retain(|index| answers[*index].is_none());
        again
    }

    async fn finish_one_by_one(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        held: Vec<usize>,
        answers: &mut [Option<Finished>],
    ) -> Result<()> {
        if held.is_empty() {
            return Ok(());
        }
        // Each is tried, even when the wait is over: a row that refuses must be found behind any number of locked ones.
        session.set_lock_timeout(ROW_LOCK_WAIT).await?;
        let waited_from = Instant::now();
        let mut is_over = false;
        for index in held {
            if !is_over && waited_from.elapsed() >= ROW_LOCK_WAIT {
                session.set_lock_timeout(Duration::from_millis(1)).await?;
                is_over = true;
            }
            match self.finish_single(session, finishing, index).await {
                Ok(finished) => answers[index] = Some(finished),
                Err(error) if is_lock_timeout(&error) => {
                    answers[index] = Some(Finished::Busy);
                }
                Err(error) => {
                    if error.may_have_been_applied() && answers.iter().any(Option::is_some) {
                        answers[index] = Some(Finished::Unknown);
                    }
                    return Err(error);
                }
            }
        }
        session.set_lock_timeout(Duration::ZERO).await
    }

    async fn finish_single(&self, session: &mut Session, finishing: &FinishParams, index: usize) -> Result<Finished> {
        let item = &finishing.items[index];
        let refusal = match session.fetch(self.single_query(finishing, index)).await {
            Ok(rows) => {
                if let Some(row) = rows.first() {
                    return self.written(row);
                }
                if !self.is_held(session, &item.lease).await? {
                    return Ok(Finished::LeaseLost);
                }
                Refusal::Silent
            }
            Err(error) if is_lock_timeout(&error) || !may_be_a_rows(&error) => return Err(error),
            Err(error) => {
                if let Ok(rows) = session.fetch(self.unlogged_query(finishing, index)).await {
                    if let Some(row) = rows.first() {
                        self.say_log_is_lost(&error);
                        return self.written(row);
                    }
                    // Others may have taken the row in between, which proves nothing about it.
                    if !self.is_held(session, &item.lease).await? {
                        return Ok(Finished::LeaseLost);
                    }
                }
                // Without a row to blame, the fault is everybody's.
                session.fetch(self.finish_query(&self.statements.finish_one.logged, finishing, &[])).await?;
                Refusal::Loud(error)
            }
        };
        Box::pin(self.end_refused(session, finishing, index, &refusal)).await
    }

    pub(super) async fn refuse_finish(
        &self,
        session: &mut Session,
        item: &Finish,
        now: Option<DateTime<Utc>>,
        reason: &str,
    ) -> Result<bool> {
        session.run(&begin_in_parts(self.sessions.deadline())).await?;
        match self.refuse(session, RefusedRow::Held(&item.lease), now, reason).await {
            Ok(failed) => {
                session.run("commit").await?;
                Ok(failed)
            }
            Err(error) => {
                if is_lock_timeout(&error) {
                    session.run("rollback").await?;
                }
                Err(error)
            }
        }
    }

    fn note_written(&self, rows: &[PgRow], part: &[usize], answers: &mut [Option<Finished>]) -> Result<()> {
        for row in rows {
            let position: i32 = column("finish", row, "n")?;
            let index = usize::try_from(position - 1).ok().and_then(|position| part.get(position));
            if let Some(index) = index {
                answers[*index] = Some(self.written(row)?);
            }
        }
        Ok(())
    }

    pub(super) fn written(&self, row: &PgRow) -> Result<Finished> {
        Ok(self.written_as(column::<Option<&str>>("finish", row, "word")?.unwrap_or_default()))
    }

    pub(super) fn written_as(&self, word: &str) -> Finished {
        match self.pipeline.status(word) {
            Some(to) => Finished::Applied { to },
            None => Finished::Refused { reason: Unclaimed::Rewritten(word.to_owned()).to_string(), failed: false },
        }
    }

    /// The statement for one item, which waits for its row.
    pub(super) fn single_query<'q>(
        &'q self,
        finishing: &'q FinishParams,
        index: usize,
    ) -> Query<'q, Postgres, PgArguments> {
        let item = &finishing.items[index];
        match item.outcome {
            Outcome::Complete => self.complete_query(&self.statements.complete_one, item, finishing.now),
            _ => self.finish_query(&self.statements.finish_one.logged, finishing, &[index]),
        }
    }

    /// The same without the failure log.
    pub(super) fn unlogged_query<'q>(
        &'q self,
        finishing: &'q FinishParams,
        index: usize,
    ) -> Query<'q, Postgres, PgArguments> {
        self.finish_query(&self.statements.finish_one.unlogged, finishing, &[index])
    }

    /// Whether the only item of a finish is at fault, and neither its holder's other writes in the same transaction nor
    /// something that affects everybody. Writes nothing.
    pub(super) async fn fails_alone(&self, session: &mut Session, finishing: &FinishParams) -> Result<bool> {
        self.begin_parts(session).await?;
        let fails = self.try_part(session, self.unlogged_query(finishing, 0)).await?.is_err();
        let probe = self.finish_query(&self.statements.finish_one.unlogged, finishing, &[]);
        let is_its_own = fails && self.try_part(session, probe).await?.is_ok();
        session.run("rollback").await?;
        Ok(is_its_own)
    }

    fn complete_query<'q>(
        &'q self,
        sql: &Arc<str>,
        item: &'q Finish,
        now: Option<DateTime<Utc>>,
    ) -> Query<'q, Postgres, PgArguments> {
        query(sql)
            .bind(item.lease.key.as_str())
            .bind(item.lease.token.as_i64())
            .bind(now)
            .bind(self.pipeline.word(Status::InProgress(item.lease.stage)))
    }

    /// The statement for some of the items, in the order of `part`.
    fn finish_query<'q>(
        &'q self,
        sql: &Arc<str>,
        finishing: &'q FinishParams,
        part: &[usize],
    ) -> Query<'q, Postgres, PgArguments> {
        let items: Vec<&Finish> = part.iter().map(|index| &finishing.items[*index]).collect();
        let leases: Vec<&Lease> = items.iter().map(|item| &item.lease).collect();
        let own_delay_secs = |outcome: &Outcome| match outcome {
            Outcome::Retry { delay, .. } => delay.map(|delay| delay.min(RETRY_DELAY_MAX).as_secs_f64()),
            Outcome::SnoozeFor(delay) => Some((*delay).min(RETRY_DELAY_MAX).as_secs_f64()),
            Outcome::Complete | Outcome::Fail { .. } | Outcome::Release | Outcome::SnoozeUntil(_) => None,
        };
        let due = |outcome: &Outcome| match outcome {
            // The server's times begin later than chrono's.
            Outcome::SnoozeUntil(due) => Some((*due).max(TIME_MIN)),
            Outcome::Complete
            | Outcome::Retry { .. }
            | Outcome::Fail { .. }
            | Outcome::Release
            | Outcome::SnoozeFor(_) => None,
        };
        let policy = |lease: &Lease| i32::try_from(lease.stage.index() + 1).unwrap_or(i32::MAX);
        let delays = &self.delays;
        query(sql)
            .bind(keys(&leases))
            .bind(tokens(&leases))
            .bind(finishing.now)
            .bind(self.words_in_progress(&leases))
            .bind(items.iter().map(|item| item.outcome.name()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.outcome.error().map(stored_error)).collect::<Vec<_>>())
            .bind(items.iter().map(|item| own_delay_secs(&item.outcome)).collect::<Vec<_>>())
            .bind(items.iter().map(|item| due(&item.outcome)).collect::<Vec<_>>())
            .bind(leases.iter().map(|lease| policy(lease)).collect::<Vec<_>>())
            .bind(&delays.delays_secs)
            .bind(&delays.jitters)
            .bind(&delays.floors_secs)
            .bind(delays.columns)
            .bind(budget_limit(finishing.limits.max_retries))
            .bind(length(&leases))
    }

    pub(super) fn words_in_progress(&self, leases: &[&Lease]) -> Vec<&str> {
        leases.iter().map(|lease| self.pipeline.word(Status::InProgress(lease.stage))).collect()
    }
}

/// A statement for a whole batch waits for no row. If it got no lock, a trigger of the user's waited for a row: trying
/// items one by one shows which item's it was, and bisecting would wait for it again and again.
fn is_trigger_without_lock(error: &Error) -> bool {
    is_lock_timeout(error)
}

pub(super) fn keys<'a>(leases: &[&'a Lease]) -> Vec<&'a str> {
    leases.iter().map(|lease| lease.key.as_str()).collect()
}

pub(super) fn tokens(leases: &[&Lease]) -> Vec<i64> {
    leases.iter().map(|lease| lease.token.as_i64()).collect()
}

pub(super) fn length(leases: &[&Lease]) -> i32 {
    i32::try_from(leases.len()).unwrap_or(i32::MAX)
}
