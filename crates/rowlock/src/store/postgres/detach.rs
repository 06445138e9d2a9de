//! `detach`: takes back what `attach` and `prepare` added, and nothing else.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;

use super::attach::be_alone;
use super::indexes::{ATTACH, INDEXES, bare_name};
use super::rows::column;
use super::schema::session_schema;
use super::session::Session;
use super::store::PostgresStore;
use crate::Result;
use crate::limits::{ATTACH_DEADLINE, PAGE_ITEMS_MAX};
use crate::pipeline::Role;
use crate::schema::TableFacts;
use crate::store::attach::{AttachEvent, AttachStep, DetachPlan, StepKind, StepLock, lost_states};
use crate::store::identifier::{Dialect, quote_identifier, quote_literals};
use crate::store::template::step;
use crate::store::{CountParams, Store as _};

const VERB: &str = "detach";

const DETACH: &str = include_str!("sql/detach.sql");

impl PostgresStore {
    /// How to take the pipeline back from its table: its indexes, the trigger that notifies of new items, the columns
    /// that Rowlock added, and Rowlock's own tables if no other pipeline uses them. A column that the table's owner
    /// made is never among them. It only reads.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn detach_plan(&self) -> Result<DetachPlan> {
        let mut session = self.sessions.open(VERB).await?;
        let mut plan = self.plan_to_detach(&mut session).await?;
        let facts = self.table_facts(&mut session).await?;
        session.done();
        // Without every column no worker can have left anything.
        if facts.has_every_column(&self.pipeline) {
            plan.held = self.held_items(PAGE_ITEMS_MAX).await?;
            plan.lost = lost_states(&self.pipeline, &self.counts(&CountParams::default()).await?);
        }
        Ok(plan)
    }

    /// Takes the pipeline back from its table while others use it. Stop the workers first: their items would stay in
    /// progress. It may be interrupted at any point and called again.
    ///
    /// # Errors
    /// As [`PostgresStore::attach`].
    pub async fn detach(&self, mut progress: impl FnMut(AttachEvent<'_>) + Send) -> Result<()> {
        let store = self.directly()?;
        let mut session = store.sessions.open(VERB).await?;
        session.extend_deadline(ATTACH_DEADLINE);
        be_alone(&mut session, &mut progress).await?;
        let plan = store.plan_to_detach(&mut session).await?;
        store.run_steps(&mut session, &plan.steps, &mut progress).await
    }

    async fn plan_to_detach(&self, session: &mut Session) -> Result<DetachPlan> {
        self.check_known_schema(session).await?;
        let facts = self.table_facts(session).await?;
        let mut plan = DetachPlan::default();
        if facts.columns.is_empty() {
            plan.kept.push("there is no such table: nothing is attached to it".to_owned());
            return Ok(plan);
        }
        plan.steps.extend(self.drop_trigger(session).await?);
        let is_shared = self.drop_indexes(session, &mut plan).await?;
        let has_own_tables = self.missing_own_tables(session).await?.is_empty();
        self.drop_columns(session, &facts, has_own_tables, &mut plan).await?;
        if has_own_tables {
            plan.steps.push(self.leave_own_tables(is_shared));
        }
        Ok(plan)
    }

    async fn drop_trigger(&self, session: &mut Session) -> Result<Option<AttachStep>> {
        let mut template = self.ddl_template();
        let asked = sqlx::query(step(DETACH, Some("has_trigger"))).bind(template.render(":table"));
        let rows = session.fetch(asked.bind(self.notify_trigger())).await?;
        if !rows.first().map_or(Ok(false), |row| column::<bool>(VERB, row, "found"))? {
            return Ok(None);
        }
        let schema = match self.pipeline.table().schema() {
            Some(schema) => schema.to_owned(),
            None => session_schema(session).await?,
        };
        let name = quote_identifier(&self.notify_trigger());
        template.insert("notify_function", format!("{}.{name}", quote_identifier(&schema)));
        template.insert("notify_trigger", name.clone());
        let sql = template.render(step(DETACH, Some("drop_trigger")));
        let why = "it wakes workers of the pipeline on an insert";
        Ok(Some(AttachStep::brief(StepKind::DropTrigger, StepLock::Everybody, name, sql, why)))
    }

    /// Whether other indexes show that another pipeline uses Rowlock's own tables.
    async fn drop_indexes(&self, session: &mut Session, plan: &mut DetachPlan) -> Result<bool> {
        let template = self.ddl_template();
        let current: HashSet<String> = INDEXES.iter().map(|variable| bare_name(&template, variable)).collect();
        let asked = sqlx::query(step(ATTACH, Some("indexes"))).bind(template.render(":table"));
        let mut is_shared = false;
        for row in &session.fetch(asked.bind(template.render(":rowlock_meta"))).await? {
            let (bare, name): (String, String) = (column(VERB, row, "bare_name")?, column(VERB, row, "name")?);
            let is_of_table: bool = column(VERB, row, "is_of_table")?;
            if !is_of_table || !current.contains(&bare) {
                is_shared = true;
                let table: String = column(VERB, row, "on_table")?;
                if is_of_table {
                    plan.kept.push(format!(
                        "the index {name} is another pipeline's on this table, or that of an earlier description: if \
                         it is the latter, `drop index concurrently {name}`"
                    ));
                } else {
                    plan.kept.push(format!("Rowlock's own tables serve the table {table} as well ({name})"));
                }
                continue;
            }
            plan.steps.push(drop_index(name, column(VERB, row, "is_partitioned")?));
        }
        plan.kept.dedup();
        Ok(is_shared)
    }

    /// Drops the columns that are noted as Rowlock's. One that the pipeline maps is its owner's, whatever the note
    /// says.
    async fn drop_columns(
        &self,
        session: &mut Session,
        facts: &TableFacts,
        has_own_tables: bool,
        plan: &mut DetachPlan,
    ) -> Result<()> {
        let columns = self.pipeline.columns();
        let roles = Role::ALL.into_iter().filter(|role| !columns.is_mapped(*role)).map(|role| columns.name(role));
        let found: Vec<&str> = roles
            .chain([columns.own_state()])
            .filter(|name| facts.column(name).is_some() && !self.pipeline.key_columns().iter().any(|key| key == name))
            .collect();
        let noted = if has_own_tables { self.noted(session, &found).await? } else { HashSet::new() };
        let (added, others): (Vec<&str>, Vec<&str>) =
            found.into_iter().partition(|name| noted.contains(&self.note(name)));
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().map(quote_identifier).collect();
            plan.kept.push(format!(
                "the columns {} stay: no note says that Rowlock added them to a table of yours",
                others.join(", ")
            ));
        }
        if added.is_empty() {
            return Ok(());
        }
        let mut template = self.ddl_template();
        let drops: Vec<String> =
            added.iter().map(|name| format!("drop column if exists {}", quote_identifier(name))).collect();
        let notes: Vec<String> = added.iter().map(|name| self.note(name)).collect();
        template.insert("drop_columns", drops.join(",\n  "));
        template.insert("notes", quote_literals(notes.iter().map(String::as_str), Dialect::Postgres));
        let sql = template.render(step(DETACH, Some("drop_columns")));
        let names: Vec<String> = added.into_iter().map(quote_identifier).collect();
        let why = "Rowlock added them; what they hold is lost";
        let names = names.join(", ");
        plan.steps.push(AttachStep::brief(StepKind::DropColumns, StepLock::Everybody, names, sql, why));
        Ok(())
    }

    /// The notes of these columns that are the pipeline's.
    async fn noted(&self, session: &mut Session, names: &[&str]) -> Result<HashSet<String>> {
        let notes: Vec<String> = names.iter().map(|name| self.note(name)).collect();
        let sql = self.ddl_template().render(step(ATTACH, Some("noted")));
        let asked = sqlx::query(AssertSqlSafe(sql)).bind(notes).bind(self.pipeline.name());
        session.fetch(asked).await?.iter().map(|row| column(VERB, row, "key")).collect()
    }

    fn leave_own_tables(&self, is_shared: bool) -> AttachStep {
        let template = self.ddl_template();
        let object = template.render(":rowlock_failures, :rowlock_stages, :rowlock_meta");
        let rendered = |name| template.render(step(DETACH, Some(name)));
        if is_shared {
            let why = "other pipelines use Rowlock's own tables: only this pipeline's pauses and failures go";
            let sql = rendered("forget");
            return AttachStep::brief(StepKind::ForgetRows, StepLock::Nobody, object, sql, why);
        }
        let why = "no other pipeline uses Rowlock's own tables; the history of failures goes with them";
        AttachStep::brief(StepKind::DropOwnTables, StepLock::Nobody, object, rendered("drop_own_tables"), why)
    }
}

fn drop_index(name: String, is_partitioned: bool) -> AttachStep {
    let why = "only the pipeline's statements use it";
    let (lock, sql) = if is_partitioned {
        (StepLock::Everybody, format!("drop index if exists {name}"))
    } else {
        (StepLock::SchemaChanges, format!("drop index concurrently if exists {name}"))
    };
    AttachStep::brief(StepKind::DropIndex, lock, name, sql, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_dropped_beside_the_tables_users_where_the_server_can() {
        assert_eq!(drop_index("a".to_owned(), false).sql, "drop index concurrently if exists a");
        assert_eq!(drop_index("a".to_owned(), true).lock, StepLock::Everybody);
    }
}
