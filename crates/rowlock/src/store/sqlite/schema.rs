//! What the table needs: `prepare` creates it, `inspect` says what is missing.

use std::collections::HashSet;

use super::planned::Ahead;
use super::session::{Session, Verb};
use super::store::SqliteStore;
use super::{indexes, rows};
use crate::pipeline::Role;
use crate::schema::{SCHEMA_VERSION, TableFacts};
use crate::{Error, Result};

/// Rowlock's own tables and indexes that a file has.
#[derive(Debug, Default)]
pub(super) struct OwnObjects {
    pub(super) tables: HashSet<String>,
    /// And the user's own ones on the table.
    pub(super) indexes: HashSet<String>,
}

/// What a look at a file found.
struct Look {
    /// What `prepare` cannot fix.
    problems: Vec<String>,
    /// What it can fix.
    lacking: Vec<String>,
    /// Rows that are no items.
    strange_keys: Option<String>,
    facts: TableFacts,
}

impl Look {
    fn is_complete(&self) -> bool {
        self.problems.is_empty() && self.lacking.is_empty()
    }
}

impl SqliteStore {
    /// Finds what is wrong before it changes anything. It uses one transaction: a second preparer waits, and then finds
    /// the work done. A file that lacks nothing is only read.
    pub(super) async fn prepare_schema(&self, verb: &Verb) -> Result<()> {
        let mut session = self.take_writer(verb).await?;
        session.begin_reading().await?;
        let look = self.look(&mut session).await;
        session.roll_back().await?;
        if !look?.is_complete() {
            let mut session = self.write(verb).await?;
            self.complete_table(&mut session).await?;
            session.commit().await?;
        }
        let mut session = self.take_writer(verb).await?;
        for remark in self.remarks(&mut session).await? {
            tracing::warn!(table = %self.pipeline.table(), "{remark}");
        }
        session.keep();
        Ok(())
    }

    async fn complete_table(&self, session: &mut Session) -> Result<()> {
        for planned in self.plan_to_attach(session, Ahead::All).await? {
            planned.run(session).await?;
        }
        Ok(())
    }

    pub(super) async fn inspect_schema(&self, verb: &Verb) -> Result<Vec<String>> {
        let mut session = self.read(verb).await?;
        let look = self.look(&mut session).await;
        let remarks = match &look {
            Ok(look) if look.is_complete() => self.remarks_on_rows(&mut session).await,
            Ok(_) | Err(_) => Ok(Vec::new()),
        };
        let flaws = match &look {
            Ok(look) => self.flaws(&mut session, &look.facts).await,
            Err(_) => Ok(Vec::new()),
        };
        session.roll_back().await?;
        let look = look?;
        Ok([look.problems, look.lacking, flaws?, look.strange_keys.into_iter().collect(), remarks?].concat())
    }

    async fn remarks_on_rows(&self, session: &mut Session) -> Result<Vec<String>> {
        Ok([self.remarks(session).await?, self.unreadable_times(session).await?].concat())
    }

    /// What is wrong with the table and what it lacks.
    async fn look(&self, session: &mut Session) -> Result<Look> {
        self.check_version(session).await?;
        let facts = self.table_facts(session).await?;
        let own = self.own_objects(session).await?;
        let table = self.pipeline.table().name();
        let mut lacking = Vec::new();
        if facts.columns.is_empty() && facts.unusable.is_empty() {
            lacking.push(format!("there is no table {table:?}: run prepare"));
        } else {
            lacking.extend(facts.lacking(&self.pipeline));
            for kind in indexes::kinds(&self.pipeline) {
                let name = indexes::name(&self.pipeline, kind);
                if !own.indexes.contains(&name) {
                    lacking.push(format!("the table {table:?} lacks the index {name:?}: run prepare"));
                }
            }
        }
        for table in ["rowlock_failures", "rowlock_stages", "rowlock_meta"] {
            if !own.tables.contains(table) {
                lacking.push(format!("there is no table {table:?}: run prepare"));
            }
        }
        let problems = facts.problems(&self.pipeline);
        let strange_keys = self.strange_keys(session, &facts).await?;
        Ok(Look { problems, lacking, strange_keys, facts })
    }

    /// Rows whose key is not of the pipeline's type. They do not stop the work on the others.
    async fn strange_keys(&self, session: &mut Session, facts: &TableFacts) -> Result<Option<String>> {
        let key = self.pipeline.key();
        if facts.column(key).is_none() || facts.missing_roles(&self.pipeline).contains(&Role::Status) {
            return Ok(None);
        }
        let rows = session.rows(&self.statements.read_strange_key, []).await?;
        let sentence = |type_name: String| {
            format!(
                "a row's key ({key:?}) is of the type {type_name}, but the pipeline says {:?}: such rows are left \
                 alone; give them keys of that type",
                self.pipeline.key_type()
            )
        };
        Ok(rows.first().and_then(|row| rows::text(row, 0)).map(sentence))
    }

    pub(super) async fn own_objects(&self, session: &mut Session) -> Result<OwnObjects> {
        let table = self.pipeline.table().name();
        let mut own = OwnObjects::default();
        for row in session.rows(&self.statements.read_objects, [table.into()]).await? {
            let (Some(kind), Some(name)) = (rows::text(&row, 0), rows::text(&row, 1)) else { continue };
            match kind.as_str() {
                "index" => own.indexes.insert(name),
                _ => own.tables.insert(name),
            };
        }
        Ok(own)
    }

    /// Refuses a file that a newer Rowlock prepared.
    pub(super) async fn check_version(&self, session: &mut Session) -> Result<()> {
        let objects = session.rows(&self.statements.read_objects, ["".into()]).await?;
        if !objects.iter().any(|row| rows::text(row, 1).as_deref() == Some("rowlock_meta")) {
            return Ok(());
        }
        let version = session.rows(&self.statements.read_version, []).await?;
        match version.first().and_then(|row| rows::integer(row, 0)) {
            Some(version) if version > SCHEMA_VERSION.into() => {
                Err(Error::SchemaTooNew { found: i32::try_from(version).unwrap_or(i32::MAX), known: SCHEMA_VERSION })
            }
            Some(_) | None => Ok(()),
        }
    }
}
