//! `detach`: takes back what `attach` and `prepare` added, and nothing else.

use std::collections::HashMap;
use std::time::Instant;

use super::planned::{Planned, drop_index};
use super::schema::OwnObjects;
use super::session::{Session, Sql, Verb};
use super::store::SqliteStore;
use super::{indexes, rows};
use crate::limits::{ATTACH_DEADLINE, PAGE_ITEMS_MAX};
use crate::pipeline::Role;
use crate::schema::TableFacts;
use crate::store::attach::{AttachEvent, DetachPlan, StepKind, StepLock, lost_states};
use crate::store::identifier::quote_identifier;
use crate::store::{CountParams, Store as _};
use crate::{Error, Result};

/// More steps than a plan can have: one for each role and index, and those for Rowlock's own tables.
const STEPS_MAX: usize = 100;

/// What a look at the file found.
#[derive(Default)]
struct Parting {
    steps: Vec<Planned>,
    kept: Vec<String>,
}

impl SqliteStore {
    /// How to take the pipeline back from its table: its indexes, the columns that Rowlock added, and Rowlock's own
    /// tables if no other pipeline uses them. A column that the table's owner made is never among them. It only reads.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn detach_plan(&self) -> Result<DetachPlan> {
        let verb = Verb::new("detach", ATTACH_DEADLINE);
        let (parting, facts) = verb
            .within(async {
                let mut session = self.read(&verb).await?;
                let parting = self.parting(&mut session).await;
                let facts = self.table_facts(&mut session).await;
                session.roll_back().await?;
                Ok((parting?, facts?))
            })
            .await?;
        let steps = parting.steps.into_iter().map(|planned| planned.step).collect();
        let mut plan = DetachPlan { steps, kept: parting.kept, ..DetachPlan::default() };
        // Without every column no worker can have left anything.
        if facts.has_every_column(&self.pipeline) {
            plan.held = self.held(PAGE_ITEMS_MAX).await?;
            plan.lost = lost_states(&self.pipeline, &self.counts(&CountParams::default()).await?);
        }
        Ok(plan)
    }

    /// Takes the pipeline back from its table. Others who write to the file wait for the step that runs: SQLite writes
    /// a table anew to drop a column. Stop the workers first: their items would stay in progress. It may be interrupted
    /// at any point and called again.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn detach(&self, mut progress: impl FnMut(AttachEvent<'_>) + Send) -> Result<()> {
        let verb = Verb::new("detach", ATTACH_DEADLINE);
        verb.within(self.run_parting(&verb, &mut progress)).await
    }

    async fn run_parting(&self, verb: &Verb, progress: &mut (impl FnMut(AttachEvent<'_>) + Send)) -> Result<()> {
        let mut of = 0;
        for number in 1..=STEPS_MAX {
            let mut session = self.write(verb).await?;
            let steps = self.parting(&mut session).await?.steps;
            of = of.max(number + steps.len().saturating_sub(1));
            let Some(next) = steps.into_iter().next() else { return session.roll_back().await };
            let (step, begin) = (&next.step, Instant::now());
            progress(AttachEvent::Began { step, number, of });
            next.run(&mut session).await?;
            session.commit().await?;
            progress(AttachEvent::Done { step, took: begin.elapsed() });
        }
        Err(Error::Schema {
            table: self.pipeline.table().to_string(),
            problem: format!("after {STEPS_MAX} steps something of Rowlock's is still there: another program adds it"),
        })
    }

    async fn parting(&self, session: &mut Session) -> Result<Parting> {
        self.check_version(session).await?;
        let facts = self.table_facts(session).await?;
        let mut parting = Parting::default();
        if facts.columns.is_empty() {
            parting.kept.push("there is no such table: nothing is attached to it".to_owned());
            return Ok(parting);
        }
        let own = self.own_objects(session).await?;
        let is_shared = self.drop_indexes(session, &mut parting).await?;
        self.drop_columns(session, &facts, &own, &mut parting).await?;
        self.leave_own_tables(session, &own, is_shared, &mut parting).await?;
        Ok(parting)
    }

    /// Whether other indexes show that another pipeline uses Rowlock's own tables.
    async fn drop_indexes(&self, session: &mut Session, parting: &mut Parting) -> Result<bool> {
        let current: Vec<String> = indexes::KINDS.iter().map(|kind| indexes::name(&self.pipeline, kind)).collect();
        let mut is_shared = false;
        for row in session.rows(&self.statements.other_indexes, []).await? {
            let (Some(name), Some(table)) = (rows::text(&row, 0), rows::text(&row, 1)) else { continue };
            let is_of_table = table.eq_ignore_ascii_case(self.pipeline.table().name());
            if is_of_table && (current.contains(&name) || indexes::is_outdated(&self.pipeline, &name)) {
                parting.steps.push(drop_index(&name, "only the pipeline's statements use it"));
            } else {
                is_shared = true;
                let kept = format!("Rowlock's own tables serve another pipeline as well, on the table {table:?}");
                parting.kept.push(kept);
            }
        }
        parting.kept.dedup();
        Ok(is_shared)
    }

    /// Drops the columns that are noted as Rowlock's. One that the pipeline maps is its owner's, whatever the note
    /// says.
    async fn drop_columns(
        &self,
        session: &mut Session,
        facts: &TableFacts,
        own: &OwnObjects,
        parting: &mut Parting,
    ) -> Result<()> {
        let columns = self.pipeline.columns();
        let roles = Role::ALL.into_iter().filter(|role| !columns.is_mapped(*role)).map(|role| columns.name(role));
        let found: Vec<&str> = roles
            .chain([columns.own_state()])
            .filter(|name| facts.column(name).is_some())
            .filter(|name| !self.pipeline.key_columns().iter().any(|key| key.eq_ignore_ascii_case(name)))
            .collect();
        let noted: HashMap<String, String> = if own.tables.contains("rowlock_meta") {
            self.noted(session, &found).await?.into_iter().collect()
        } else {
            HashMap::new()
        };
        let lasts = self.scan_lasts(session).await?;
        let mut others = Vec::new();
        for name in found {
            let note = self.note(name);
            if noted.get(&note).map(String::as_str) != Some(self.pipeline.name()) {
                others.push(quote_identifier(name));
                continue;
            }
            let object = quote_identifier(name);
            let drop = format!("alter table {} drop column {object}", self.quoted_table());
            let run = vec![(Sql::new(drop), Vec::new()), (self.statements.forget_note.clone(), vec![note.into()])];
            let why = "Rowlock added it; what it holds is lost";
            let planned = Planned::new(StepKind::DropColumns, StepLock::Writers, object, run, why);
            parting.steps.push(planned.lasting(lasts));
        }
        if !others.is_empty() {
            parting.kept.push(format!(
                "the columns {} stay: no note says that Rowlock added them to a table of yours",
                others.join(", ")
            ));
        }
        Ok(())
    }

    async fn leave_own_tables(
        &self,
        session: &mut Session,
        own: &OwnObjects,
        is_shared: bool,
        parting: &mut Parting,
    ) -> Result<()> {
        let tables = ["rowlock_failures", "rowlock_stages", "rowlock_meta"];
        let there = tables.iter().filter(|table| own.tables.contains(**table)).count();
        let statements = &self.statements;
        let pipeline = self.pipeline.name();
        let object = tables.join(", ");
        if !is_shared && there > 0 {
            let drops = [&statements.drop_failures, &statements.drop_stages, &statements.drop_meta];
            let run = drops.map(|sql| (sql.clone(), Vec::new())).to_vec();
            let why = "no other pipeline uses Rowlock's own tables; the history of failures goes with them";
            parting.steps.push(Planned::new(StepKind::DropOwnTables, StepLock::Writers, object, run, why));
        } else if there == tables.len() {
            let found = session.rows(&statements.any_rows, [pipeline.into()]).await?;
            if found.first().and_then(|row| rows::integer(row, 0)) == Some(1) {
                let forget = [&statements.forget_stages, &statements.forget_failures];
                let run = forget.map(|sql| (sql.clone(), vec![pipeline.into()])).to_vec();
                let why = "other pipelines use Rowlock's own tables: only this pipeline's pauses and failures go";
                parting.steps.push(Planned::new(StepKind::ForgetRows, StepLock::Writers, object, run, why));
            }
        }
        Ok(())
    }
}
