//! `attach`: what `prepare` does, step by step on a table that others use meanwhile.
//!
//! A statement that keeps others out waits for its lock only for a moment, because whoever comes after it waits behind
//! it, and is tried again later. Each step is one transaction and may be repeated, so that a plan which was interrupted
//! at any point goes on from there.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;

use super::errors::{gave_way, is_deadlock};
use super::indexes::{ATTACH, IndexState, LOCK_RETRY, index_state, try_lock};
use super::rows::column;
use super::schema::session_schema;
use super::session::Session;
use super::statements::SCHEMA;
use super::store::PostgresStore;
use crate::backoff::RetryWait;
use crate::limits::{
    ATTACH_BATCH_PAGES, ATTACH_DEADLINE, ATTACH_LOCK_TIMEOUT, ATTACH_QUICK_TRIES, ATTACH_STATEMENT_MAX,
    ATTACH_TRIES_MAX, COUNT_EXACT_MAX, PREPARE_DEADLINE, VERB_BACKOFF_MAX, VERB_BACKOFF_MIN,
};
use crate::pipeline::Role;
use crate::schema::refused;
use crate::store::attach::{AttachEvent, AttachStep, StepKind, StepLock};
use crate::store::params::count_limit;
use crate::store::template::step;
use crate::{Error, Result};

const VERB: &str = "attach";

/// How often the concurrent build of an index is tried: it gives up where it would wait for somebody who waits for it.
const BUILDS_MAX: u32 = 3;

/// Passes over the table for the rows that move while they are stamped.
const STAMP_PASSES_MAX: u32 = 3;

/// Waits for another process after which the caller is told of it again.
const WAITS_BETWEEN_NEWS: u32 = 25;

/// Begins a look at the table, which may read all of it.
const LOOK: &str = "begin; set transaction read only; set local statement_timeout = 0";

/// A statement of a step.
#[derive(Clone, Copy)]
struct Statement<'a> {
    sql: &'a str,
    /// The first place in the table that a batch writes, and the one after the last.
    places: Option<&'a [String; 2]>,
}

impl PostgresStore {
    /// What [`PostgresStore::attach`] would do, statement by statement, to the table as it is now; nothing if the table
    /// lacks nothing. It only reads.
    ///
    /// # Errors
    /// [`Error::Schema`] if the table has a problem that a statement cannot mend, and those of the database.
    pub async fn attach_plan(&self) -> Result<Vec<AttachStep>> {
        let mut session = self.sessions.open(VERB).await?;
        session.extend_deadline(PREPARE_DEADLINE);
        session.run(LOOK).await?;
        let plan = self.plan_to_attach(&mut session).await;
        session.give_up_transaction().await;
        session.done();
        plan
    }

    /// Adds what the table lacks while others use it, and tells of each step. No reader or writer waits longer for it
    /// than a fifth of a second at once, unless the table has very many partitions. It may be interrupted at any point
    /// and called again.
    ///
    /// # Errors
    /// [`Error::Schema`] if the table has a problem that a statement cannot mend, or if others do not let go of it for
    /// about ten minutes, and those of the database.
    pub async fn attach(&self, mut progress: impl FnMut(AttachEvent<'_>) + Send) -> Result<()> {
        let store = self.directly()?;
        let mut session = store.sessions.open(VERB).await?;
        session.extend_deadline(ATTACH_DEADLINE);
        be_alone(&mut session, &mut progress).await?;
        let plan = store.plan_to_attach(&mut session).await?;
        store.run_steps(&mut session, &plan, &mut progress).await
        // The connection closes, and with it go the lock and the settings.
    }

    /// How many rows are in progress under no lease of Rowlock's: another program works on them, or left them behind.
    /// Counted no further than [`COUNT_EXACT_MAX`]; before the table is attached this may read all of it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unleased(&self) -> Result<i64> {
        let mut session = self.sessions.open(VERB).await?;
        session.extend_deadline(PREPARE_DEADLINE);
        session.run(LOOK).await?;
        let counted = self.count_unleased(&mut session).await;
        session.give_up_transaction().await;
        session.done();
        counted
    }

    async fn count_unleased(&self, session: &mut Session) -> Result<i64> {
        let facts = self.table_facts(session).await?;
        let missing = facts.missing_roles(&self.pipeline);
        if facts.columns.is_empty() || missing.contains(&Role::Status) || !facts.problems(&self.pipeline).is_empty() {
            return Ok(0);
        }
        let mut template = self.ddl_template();
        let has_token = !missing.contains(&Role::ClaimToken);
        template.set("and_unleased", if has_token { " and t.:\"claim_token\" is null" } else { "" });
        let sql = template.render(step(ATTACH, Some("unleased")));
        let rows = session.fetch(sqlx::query(AssertSqlSafe(sql)).bind(count_limit(COUNT_EXACT_MAX))).await?;
        rows.first().map_or(Ok(0), |row| column(VERB, row, "row_count"))
    }

    async fn plan_to_attach(&self, session: &mut Session) -> Result<Vec<AttachStep>> {
        self.check_known_schema(session).await?;
        let facts = self.table_facts(session).await?;
        let problems = facts.problems(&self.pipeline);
        if !problems.is_empty() {
            return Err(refused(&self.pipeline, &problems));
        }
        let mut steps = Vec::new();
        if !self.missing_own_tables(session).await?.is_empty() {
            steps.push(self.own_tables_step());
        }
        if facts.columns.is_empty() {
            steps.push(self.table_step(&session_schema(session).await?));
            return Ok(steps);
        }
        let stamp = self.stamp(session, &facts).await?;
        let rows = self.rows_about(session).await?;
        steps.extend(self.column_steps(&facts, stamp, rows));
        steps.extend(self.index_steps(session).await?);
        if !steps.is_empty()
            && let Some(problem) = self.not_the_owner(session).await?
        {
            return Err(refused(&self.pipeline, &[problem]));
        }
        Ok(steps)
    }

    /// Only the owner of a table may add columns and indexes to it.
    async fn not_the_owner(&self, session: &mut Session) -> Result<Option<String>> {
        let asked = sqlx::query(step(ATTACH, Some("owner"))).bind(self.ddl_template().render(":table"));
        let rows = session.fetch(asked).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if column(VERB, row, "is_own")? {
            return Ok(None);
        }
        let owner: String = column(VERB, row, "owner")?;
        Ok(Some(format!("this role may not change the table, which belongs to {owner:?}: attach it as that role")))
    }

    /// Runs the steps of a plan.
    pub(super) async fn run_steps(
        &self,
        session: &mut Session,
        steps: &[AttachStep],
        progress: &mut (impl FnMut(AttachEvent<'_>) + Send),
    ) -> Result<()> {
        for (index, step) in steps.iter().enumerate() {
            let begin = Instant::now();
            progress(AttachEvent::Began { step, number: index + 1, of: steps.len() });
            match (step.kind, step.lock) {
                (StepKind::Stamp, _) => self.stamp_in_blocks(session, step, progress).await?,
                (_, StepLock::SchemaChanges) => self.run_beside_others(session, step, progress).await?,
                (_, StepLock::Nobody | StepLock::Rows | StepLock::Writers | StepLock::Everybody) => {
                    let what = Statement { sql: &step.sql, places: None };
                    self.run_in_a_moment(session, step, what, progress).await?;
                }
            }
            progress(AttachEvent::Done { step, took: begin.elapsed() });
        }
        Ok(())
    }

    /// Runs one statement, or several in one message and so in one transaction: nothing of it stays open if this
    /// process stops. It gives way to others, and tries again.
    async fn run_in_a_moment(
        &self,
        session: &mut Session,
        step: &AttachStep,
        statement: Statement<'_>,
        progress: &mut (impl FnMut(AttachEvent<'_>) + Send),
    ) -> Result<()> {
        let mut backoff = RetryWait::between(VERB_BACKOFF_MIN, VERB_BACKOFF_MAX);
        for tries in 1..=ATTACH_TRIES_MAX {
            set_timeouts(session, ATTACH_LOCK_TIMEOUT, statement_max(tries)).await?;
            let answer = match statement.places {
                None => session.run(statement.sql).await,
                Some([first, next]) => {
                    let sql = AssertSqlSafe(statement.sql.to_owned());
                    session.execute(sqlx::query(sql).bind(first).bind(next)).await.map(drop)
                }
            };
            match answer {
                Err(error) if gave_way(&error) => {
                    progress(AttachEvent::Retried { step, tries });
                    backoff.wait().await;
                }
                answer => return answer,
            }
        }
        Err(Error::Schema {
            table: self.pipeline.table().to_string(),
            problem: format!(
                "others did not let go of it in {ATTACH_TRIES_MAX} tries of `{}`: end the transaction that has been \
                 open for long (select pid, xact_start, query from pg_stat_activity order by xact_start), and call \
                 attach again: it goes on from here",
                step.sql
            ),
        })
    }

    /// Builds or drops an index concurrently. It waits for others, and nobody waits for it.
    async fn run_beside_others(
        &self,
        session: &mut Session,
        step: &AttachStep,
        progress: &mut (impl FnMut(AttachEvent<'_>) + Send),
    ) -> Result<()> {
        let mut backoff = RetryWait::between(VERB_BACKOFF_MIN, VERB_BACKOFF_MAX);
        for tries in 1..=BUILDS_MAX {
            set_timeouts(session, Duration::ZERO, Duration::ZERO).await?;
            match session.run(&step.sql).await {
                Err(error) if is_deadlock(&error) && tries < BUILDS_MAX => {
                    progress(AttachEvent::Retried { step, tries });
                    backoff.wait().await;
                    let state = index_state(session, &step.object).await?;
                    if step.kind == StepKind::Index && matches!(state, IndexState::Invalid | IndexState::InvalidPart) {
                        session.run(&format!("drop index concurrently if exists {}", step.object)).await?;
                    }
                }
                answer => return answer,
            }
        }
        Ok(())
    }

    /// Stamps the rows in progress, some pages at a time.
    async fn stamp_in_blocks(
        &self,
        session: &mut Session,
        step: &AttachStep,
        progress: &mut (impl FnMut(AttachEvent<'_>) + Send),
    ) -> Result<()> {
        for _ in 0..STAMP_PASSES_MAX {
            let heaps = self.heaps(session).await?;
            let of = heaps.iter().map(|(_, pages)| *pages).sum::<i64>();
            let mut before = 0;
            for (heap, pages) in heaps {
                let mut template = self.ddl_template();
                template.insert("table", heap);
                let sql = template.render(stamp_block());
                let mut first = 0;
                while first < pages {
                    let next = (first + ATTACH_BATCH_PAGES).min(pages);
                    let places = [first, next].map(|page| format!("({page},0)"));
                    let what = Statement { sql: &sql, places: Some(&places) };
                    self.run_in_a_moment(session, step, what, progress).await?;
                    first = next;
                    progress(AttachEvent::Progressed { step, done: unsigned(before + first), of: unsigned(of) });
                }
                before += pages;
            }
            set_timeouts(session, ATTACH_LOCK_TIMEOUT, Duration::ZERO).await?;
            if !self.asks(session, "any_unstamped").await? {
                break;
            }
        }
        Ok(())
    }

    /// The tables that hold the rows, each with its number of pages.
    async fn heaps(&self, session: &mut Session) -> Result<Vec<(String, i64)>> {
        let sql = sqlx::query(step(ATTACH, Some("heaps"))).bind(self.ddl_template().render(":table"));
        let rows = session.fetch(sql).await?;
        rows.iter().map(|row| Ok((column(VERB, row, "name")?, column(VERB, row, "pages")?))).collect()
    }

    /// The answer to a question of `schema.sql`.
    pub(super) async fn asks(&self, session: &mut Session, question: &str) -> Result<bool> {
        let sql = self.ddl_template().render(step(SCHEMA, Some(question)));
        let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
        rows.first().map_or(Ok(false), |row| column(VERB, row, "found"))
    }
}

/// Waits until no other process prepares, attaches or detaches: two builds of one index would wait for each other.
pub(super) async fn be_alone(session: &mut Session, progress: &mut (impl FnMut(AttachEvent<'_>) + Send)) -> Result<()> {
    let mut waits = 0;
    while !try_lock(session, "pg_try_advisory_lock").await? {
        if waits % WAITS_BETWEEN_NEWS == 0 {
            progress(AttachEvent::Waiting);
        }
        waits += 1;
        tokio::time::sleep(LOCK_RETRY).await;
    }
    session.run("set statement_timeout = 0").await
}

async fn set_timeouts(session: &mut Session, lock: Duration, statement: Duration) -> Result<()> {
    let (lock, statement) = (lock.as_millis(), statement.as_millis());
    session.run(&format!("set lock_timeout = {lock}; set statement_timeout = {statement}")).await
}

fn stamp_block() -> &'static str {
    step(ATTACH, Some("stamp_block"))
}

/// How long a statement may keep others out, at this try.
fn statement_max(tries: u32) -> Duration {
    if tries <= ATTACH_QUICK_TRIES { ATTACH_STATEMENT_MAX } else { ATTACH_STATEMENT_MAX * 4 }
}

fn unsigned(pages: i64) -> u64 {
    u64::try_from(pages).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_wait_no_longer_than_for_the_lock_and_a_moment() {
        for tries in 1..=ATTACH_QUICK_TRIES {
            assert!(statement_max(tries) <= ATTACH_LOCK_TIMEOUT + Duration::from_millis(50));
        }
        assert!(statement_max(ATTACH_QUICK_TRIES + 1) > ATTACH_STATEMENT_MAX);
    }
}
