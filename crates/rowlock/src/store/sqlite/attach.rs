//! `attach`: what `prepare` does, step by step on a file that others use meanwhile.
//!
//! SQLite has one writer, so each step is a transaction that the others wait for. What comes next is read in the same
//! transaction, so that a plan that was interrupted at any point goes on from there, and two processes cannot collide.

use std::collections::HashSet;
use std::time::Instant;

use super::planned::{Ahead, Planned, drop_index};
use super::schema::OwnObjects;
use super::session::{Bind, Session, Sql, Verb};
use super::statements::template;
use super::store::SqliteStore;
use super::{indexes, rows};
use crate::limits::{ATTACH_BATCH_ROWS, ATTACH_DEADLINE, COUNT_EXACT_MAX};
use crate::pipeline::Role;
use crate::schema::{SCHEMA_VERSION, TableFacts, refused};
use crate::store::attach::{AttachEvent, AttachStep, Lasting, StepKind, StepLock, purpose};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::params::count_limit;
use crate::store::template::step;
use crate::{Error, Result};

/// More steps than a plan can have: two for each role and index.
const STEPS_MAX: usize = 100;

/// How a plan shows the time that a step binds.
const NOW_SHOWN: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

impl SqliteStore {
    /// What [`SqliteStore::attach`] would do, statement by statement, to the table as it is now; nothing if the table
    /// lacks nothing. It only reads.
    ///
    /// # Errors
    /// [`Error::Schema`] if the table has a problem that a statement cannot mend, and those of the database.
    pub async fn attach_plan(&self) -> Result<Vec<AttachStep>> {
        let verb = Verb::new("attach", ATTACH_DEADLINE);
        verb.within(async {
            let mut session = self.read(&verb).await?;
            let plan = self.plan_to_attach(&mut session, Ahead::All).await;
            session.roll_back().await?;
            Ok(plan?.into_iter().map(|planned| planned.step).collect())
        })
        .await
    }

    /// Adds what the table lacks, and tells of each step. Others who write to the file wait for the step that runs. It
    /// may be interrupted at any point and called again.
    ///
    /// # Errors
    /// [`Error::Schema`] if the table has a problem that a statement cannot mend, and those of the database.
    pub async fn attach(&self, mut progress: impl FnMut(AttachEvent<'_>) + Send) -> Result<()> {
        let verb = Verb::new("attach", ATTACH_DEADLINE);
        verb.within(self.run_plan(&verb, &mut progress)).await
    }

    /// How many rows are in progress under no lease of Rowlock's: another program works on them, or left them behind.
    /// Counted no further than [`COUNT_EXACT_MAX`]; before the table is attached this may read all of it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unleased(&self) -> Result<i64> {
        let verb = Verb::new("attach", ATTACH_DEADLINE);
        verb.within(async {
            let mut session = self.read(&verb).await?;
            let counted = self.count_unleased(&mut session).await;
            session.roll_back().await?;
            counted
        })
        .await
    }

    async fn count_unleased(&self, session: &mut Session) -> Result<i64> {
        let facts = self.table_facts(session).await?;
        let missing = facts.missing_roles(&self.pipeline);
        if facts.columns.is_empty() || missing.contains(&Role::Status) || !facts.problems(&self.pipeline).is_empty() {
            return Ok(0);
        }
        let mut template = template(&self.pipeline);
        let has_token = !missing.contains(&Role::ClaimToken);
        template.set("and_unleased", if has_token { " and t.:\"claim_token\" is null" } else { "" });
        let sql = Sql::new(template.render(step(include_str!("sql/attach.sql"), Some("unleased"))));
        let found = session.rows(&sql, [count_limit(COUNT_EXACT_MAX).into()]).await?;
        Ok(found.first().and_then(|row| rows::integer(row, 0)).unwrap_or(0))
    }

    async fn run_plan(&self, verb: &Verb, progress: &mut (impl FnMut(AttachEvent<'_>) + Send)) -> Result<()> {
        let of = self.attach_plan().await?.len();
        for number in 1..=STEPS_MAX {
            let mut session = self.write(verb).await?;
            let next = self.plan_to_attach(&mut session, Ahead::First).await?.into_iter().next();
            let Some(next) = next else { return session.roll_back().await };
            let (step, begin) = (&next.step, Instant::now());
            progress(AttachEvent::Began { step, number, of: of.max(number) });
            if step.kind == StepKind::Stamp && self.has_rowids(&mut session).await? {
                session.roll_back().await?;
                self.stamp_in_ranges(verb, step, progress).await?;
            } else {
                next.run(&mut session).await?;
                session.commit().await?;
            }
            progress(AttachEvent::Done { step, took: begin.elapsed() });
        }
        Err(Error::Schema {
            table: self.pipeline.table().to_string(),
            problem: format!("after {STEPS_MAX} steps it still lacks something: another program takes it away again"),
        })
    }

    /// The steps that the table lacks. The token's column comes last of all columns: a table that has it was adopted,
    /// and its rows in progress have their stamps.
    pub(super) async fn plan_to_attach(&self, session: &mut Session, ahead: Ahead) -> Result<Vec<Planned>> {
        self.check_version(session).await?;
        let facts = self.table_facts(session).await?;
        let problems = facts.problems(&self.pipeline);
        if !problems.is_empty() {
            return Err(refused(&self.pipeline, &problems));
        }
        let own = self.own_objects(session).await?;
        let mut plan = Vec::new();
        plan.extend(self.own_tables(&own));
        if facts.columns.is_empty() {
            plan.push(self.new_table());
            plan.extend(self.plan_of_indexes(&own, Lasting::Milliseconds));
            return Ok(plan);
        }
        let lasts = self.scan_lasts(session).await?;
        let mut missing = facts.missing_roles(&self.pipeline);
        plan.extend(self.notes(session, &own, &facts).await?);
        if facts.lacks_own_state(&self.pipeline) {
            plan.push(self.own_state());
        }
        let has_token = !missing.contains(&Role::ClaimToken);
        missing.retain(|role| *role != Role::ClaimToken);
        for role in missing {
            let mut column = self.column(role, &facts, lasts);
            // No later look would find out that the table is adopted.
            if role == Role::Heartbeat && has_token && self.needs_stamp(session, &facts).await? {
                column = column.and(self.stamp(session, lasts).await?);
            }
            plan.push(column);
        }
        if ahead == Ahead::First && !plan.is_empty() {
            return Ok(plan);
        }
        if !has_token {
            if self.needs_stamp(session, &facts).await? {
                plan.push(self.stamp(session, lasts).await?);
            }
            plan.push(self.column(Role::ClaimToken, &facts, lasts));
        }
        plan.extend(self.plan_of_indexes(&own, lasts));
        Ok(plan)
    }

    fn own_tables(&self, own: &OwnObjects) -> Option<Planned> {
        if ["rowlock_failures", "rowlock_stages", "rowlock_meta"].iter().all(|table| own.tables.contains(*table)) {
            return None;
        }
        let statements = &self.statements;
        let mut run: Vec<(Sql, Vec<Bind>)> = [
            &statements.create_failures,
            &statements.create_failures_index,
            &statements.create_stages,
            &statements.create_meta,
        ]
        .map(|sql| (sql.clone(), Vec::new()))
        .to_vec();
        run.push((statements.write_version.clone(), vec![SCHEMA_VERSION.to_string().into()]));
        let why = "Rowlock's own tables: the version, which stages are paused, and the last failures of items";
        let object = "rowlock_failures, rowlock_stages, rowlock_meta".to_owned();
        Some(Planned::new(StepKind::OwnTables, StepLock::Writers, object, run, why))
    }

    fn new_table(&self) -> Planned {
        let run = vec![(self.statements.create_table.clone(), Vec::new())];
        let why = "there is no such table";
        Planned::new(StepKind::Table, StepLock::Writers, self.quoted_table(), run, why)
    }

    /// Notes the columns before they are added: one that was added and not noted would stay for ever.
    async fn notes(&self, session: &mut Session, own: &OwnObjects, facts: &TableFacts) -> Result<Option<Planned>> {
        let columns = self.pipeline.columns();
        let missing = facts.missing_roles(&self.pipeline);
        let mut names: Vec<&str> = missing.iter().map(|role| columns.name(*role)).collect();
        names.extend(facts.lacks_own_state(&self.pipeline).then(|| columns.own_state()));
        let noted: HashSet<String> = if own.tables.contains("rowlock_meta") {
            self.noted(session, &names).await?.into_iter().map(|(note, _)| note).collect()
        } else {
            HashSet::new()
        };
        names.retain(|name| !noted.contains(&self.note(name)));
        if names.is_empty() {
            return Ok(None);
        }
        let notes = self.notes_as_json(&names);
        let run = vec![(self.statements.note.clone(), vec![notes.into(), self.pipeline.name().into()])];
        let why = "detach drops the columns that are noted here, and no other";
        Ok(Some(Planned::new(StepKind::Note, StepLock::Writers, "rowlock_meta".to_owned(), run, why)))
    }

    /// The key in `rowlock_meta` that notes a column of the table as Rowlock's own.
    pub(super) fn note(&self, name: &str) -> String {
        format!("column {}.{}", self.quoted_table(), quote_identifier(name))
    }

    fn notes_as_json(&self, names: &[&str]) -> String {
        serde_json::Value::from_iter(names.iter().map(|name| self.note(name))).to_string()
    }

    /// Which of these columns are noted, each with the pipeline that added it.
    pub(super) async fn noted(&self, session: &mut Session, names: &[&str]) -> Result<Vec<(String, String)>> {
        let found = session.rows(&self.statements.noted, [self.notes_as_json(names).into()]).await?;
        Ok(found.iter().filter_map(|row| Some((rows::text(row, 0)?, rows::text(row, 1)?))).collect())
    }

    fn own_state(&self) -> Planned {
        let run = vec![(self.statements.add_own_state.clone(), Vec::new())];
        let why = "says states that the table itself cannot say";
        let object = quote_identifier(self.pipeline.columns().own_state());
        Planned::new(StepKind::Column, StepLock::Writers, object, run, why)
    }

    /// The column of a role. That of the status comes together with the state of the rows that are there, because
    /// SQLite cannot change a column's default: between the two they would all be ready.
    fn column(&self, role: Role, facts: &TableFacts, lasts: Lasting) -> Planned {
        let name = quote_identifier(self.pipeline.columns().name(role));
        let mut run = vec![(self.statements.add_column(role).clone(), Vec::new())];
        let ready = self.pipeline.stages()[0].ready_word();
        let word = self.pipeline.existing_rows().map_or(ready, |existing| existing.word(&self.pipeline));
        if role == Role::Status && facts.has_rows && word != ready {
            run.push((self.statements.write_existing.clone(), vec![word.into()]));
            let why = format!("says the state of each row; the rows that are there are {word:?}, and new ones ready");
            return Planned::new(StepKind::Column, StepLock::Writers, name, run, &why).lasting(lasts);
        }
        Planned::new(StepKind::Column, StepLock::Writers, name, run, purpose(role))
    }

    /// Whether rows in progress lack a heartbeat, which another program may be working on.
    async fn needs_stamp(&self, session: &mut Session, facts: &TableFacts) -> Result<bool> {
        let missing = facts.missing_roles(&self.pipeline);
        if missing.contains(&Role::Status) || self.pipeline.existing_leases_are_stale() {
            return Ok(false);
        }
        let statements = &self.statements;
        let lacks_heartbeat = missing.contains(&Role::Heartbeat);
        let question = if lacks_heartbeat { &statements.any_in_progress } else { &statements.any_unstamped };
        let found = session.rows(question, []).await?;
        Ok(found.first().and_then(|row| rows::integer(row, 0)) == Some(1))
    }

    async fn stamp(&self, session: &mut Session, lasts: Lasting) -> Result<Planned> {
        let now = self.time(session, None).await?;
        let run = vec![(self.statements.stamp_in_progress.clone(), vec![now.clone().into()])];
        let why = "somebody may be working on the rows in progress that have no heartbeat: they become stale one \
                   stale_after later, and not at once; written some thousand rows at a time";
        let mut planned = Planned::new(StepKind::Stamp, StepLock::Writers, self.quoted_table(), run, why);
        planned.step.sql = planned.step.sql.replace(&quote_literal(&now, Dialect::Sqlite), NOW_SHOWN);
        Ok(planned.lasting(lasts))
    }

    fn plan_of_indexes(&self, own: &OwnObjects, lasts: Lasting) -> Vec<Planned> {
        let mut outdated: Vec<&String> =
            own.indexes.iter().filter(|index| indexes::is_outdated(&self.pipeline, index)).collect();
        outdated.sort_unstable();
        let why = "it is that of an earlier description";
        let mut plan: Vec<Planned> = outdated.into_iter().map(|name| drop_index(name, why)).collect();
        for kind in indexes::kinds(&self.pipeline) {
            let name = indexes::name(&self.pipeline, kind);
            if own.indexes.contains(&name) {
                continue;
            }
            let run = vec![(self.statements.create_index(kind).clone(), Vec::new())];
            let (object, why) = (quote_identifier(&name), indexes::why(kind));
            plan.push(Planned::new(StepKind::Index, StepLock::Writers, object, run, why).lasting(lasts));
        }
        plan
    }

    /// Stamps the rows in progress, some at a time: others write in between.
    async fn stamp_in_ranges(
        &self,
        verb: &Verb,
        step: &AttachStep,
        progress: &mut (impl FnMut(AttachEvent<'_>) + Send),
    ) -> Result<()> {
        let mut session = self.read(verb).await?;
        let of = self.last_rowid(&mut session).await?;
        session.roll_back().await?;
        let mut after = i64::MIN;
        loop {
            let mut session = self.write(verb).await?;
            let found = session.rows(&self.statements.stamp_until, [after.into(), ATTACH_BATCH_ROWS.into()]).await?;
            let Some(until) = found.first().and_then(|row| rows::integer(row, 0)) else {
                return session.roll_back().await;
            };
            let now = self.time(&mut session, None).await?;
            session.execute(&self.statements.stamp_range, [now.into(), after.into(), until.into()]).await?;
            session.commit().await?;
            progress(AttachEvent::Progressed { step, done: unsigned(until), of: unsigned(of.max(until)) });
            after = until;
        }
    }

    /// How long a scan of the table takes.
    pub(super) async fn scan_lasts(&self, session: &mut Session) -> Result<Lasting> {
        if !self.has_rowids(session).await? {
            return Ok(Lasting::Seconds);
        }
        Ok(Lasting::of_rows(self.last_rowid(session).await?))
    }

    async fn last_rowid(&self, session: &mut Session) -> Result<i64> {
        let found = session.rows(&self.statements.last_rowid, []).await?;
        Ok(found.first().and_then(|row| rows::integer(row, 0)).unwrap_or(0))
    }

    pub(super) async fn has_rowids(&self, session: &mut Session) -> Result<bool> {
        let found = session.rows(&self.statements.has_rowids, [self.pipeline.table().name().into()]).await?;
        Ok(found.first().and_then(|row| rows::integer(row, 0)) == Some(1))
    }

    pub(super) fn quoted_table(&self) -> String {
        quote_identifier(self.pipeline.table().name())
    }
}

fn unsigned(rowid: i64) -> u64 {
    u64::try_from(rowid).unwrap_or(0)
}
