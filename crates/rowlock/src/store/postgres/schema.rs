//! What the table needs: `prepare`, `inspect`, and the trigger for notifications.

use sqlx::{AssertSqlSafe, Row};

use super::indexes::{INDEXES, IndexState, LOCK_RETRY, index_state, indexes, try_lock};
use super::rows::column;
use super::session::{Session, query};
use super::statements::SCHEMA;
use super::store::PostgresStore;
use super::variables::{hash, key_type, template};
use crate::limits::PREPARE_DEADLINE;
use crate::pipeline::Pipeline;
use crate::schema::{SCHEMA_VERSION, TableFacts, check_version, refused};
use crate::store::attach::{AttachStep, StepKind, StepLock};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::{Template, step};
use crate::{Error, Result};

/// How long `prepare` waits for the table's lock, so that it never queues everybody behind a long transaction.
const LOCK_TIMEOUT: &str = "5s";

/// What a look at the table found.
struct Look {
    /// What `prepare` cannot fix.
    problems: Vec<String>,
    /// What it can fix.
    lacking: Vec<String>,
    facts: TableFacts,
}

impl Look {
    fn is_complete(&self) -> bool {
        self.problems.is_empty() && self.lacking.is_empty()
    }
}

impl PostgresStore {
    /// Finds what is wrong before it changes anything. Then it makes the tables and columns in one short transaction,
    /// one preparer at a time; then, on a table in use, it builds the indexes one by one without blocking anybody. A
    /// table that lacks nothing is only read.
    pub(super) async fn prepare_schema(&self) -> Result<()> {
        let mut session = self.sessions.open("prepare").await?;
        session.extend_deadline(PREPARE_DEADLINE);
        if !self.look(&mut session).await?.is_complete() {
            begin_alone(&mut session).await?;
            if let Err(refused) = self.complete_table(&mut session).await {
                session.run("rollback").await?;
                session.done();
                return Err(refused);
            }
            session.run("commit").await?;
            self.build_indexes(&mut session).await?;
        }
        for remark in self.remarks(&mut session).await? {
            tracing::warn!(table = %self.pipeline.table(), "{remark}");
        }
        session.done();
        Ok(())
    }

    async fn complete_table(&self, session: &mut Session) -> Result<()> {
        self.check_known_schema(session).await?;
        let facts = self.table_facts(session).await?;
        let problems = facts.problems(&self.pipeline);
        if !problems.is_empty() {
            return Err(refused(&self.pipeline, &problems));
        }
        session.run(&self.own_tables_step().sql).await?;
        if facts.columns.is_empty() {
            let schema = session_schema(session).await?;
            return session.run(&self.table_step(&schema).sql).await;
        }
        let stamp = self.stamp(session, &facts).await?;
        for step in self.column_steps(&facts, stamp, 0) {
            session.run(&step.sql).await?;
        }
        Ok(())
    }

    pub(super) fn own_tables_step(&self) -> AttachStep {
        let template = self.ddl_template();
        let sql = template.render(step(SCHEMA, Some("own_tables")));
        let object = template.render(":rowlock_meta, :rowlock_stages, :rowlock_failures");
        let why = "Rowlock's own tables: the version, which stages are paused, and the last failures of items";
        AttachStep::brief(StepKind::OwnTables, StepLock::Nobody, object, sql, why)
    }

    /// The table with its indexes and its trigger, in one transaction: whatever is missing of them later was taken away
    /// on purpose.
    pub(super) fn table_step(&self, current_schema: &str) -> AttachStep {
        let template = self.ddl_template();
        let parts = ["table"].iter().chain(indexes(&self.pipeline));
        let mut sql: Vec<String> = parts.map(|part| template.render(step(SCHEMA, Some(*part)))).collect();
        sql.push(self.render_trigger(current_schema));
        let why = "there is no such table; the trigger wakes idle workers on an insert";
        let table = template.render(":table");
        AttachStep::brief(StepKind::Table, StepLock::Nobody, table, sql.join(";\n"), why)
    }

    pub(super) async fn inspect_schema(&self) -> Result<Vec<String>> {
        let mut session = self.sessions.open("inspect").await?;
        let looked = self.look(&mut session).await?;
        let is_complete = looked.is_complete();
        let mut sentences = looked.problems;
        sentences.extend(looked.lacking);
        sentences.extend(self.flaws(&mut session, &looked.facts).await?);
        sentences.extend(self.missing_rights(&mut session).await?);
        if is_complete && sentences.is_empty() {
            sentences.extend(self.remarks(&mut session).await?);
        }
        session.done();
        Ok(sentences)
    }

    /// What is wrong with the table and what it lacks.
    async fn look(&self, session: &mut Session) -> Result<Look> {
        self.check_known_schema(session).await?;
        let facts = self.table_facts(session).await?;
        let mut lacking = Vec::new();
        for own in self.missing_own_tables(session).await? {
            lacking.push(format!("the table {own} is missing: run prepare"));
        }
        if facts.columns.is_empty() {
            lacking.push("the table is missing: run prepare".to_owned());
        } else {
            lacking.extend(facts.lacking(&self.pipeline));
            let rendered = self.ddl_template();
            for variable in indexes(&self.pipeline) {
                let name = self.index_name(&rendered, variable);
                if !matches!(index_state(session, &name).await?, IndexState::Valid | IndexState::ValidPart) {
                    lacking.push(format!("the index {name} is missing or was not built to its end: run prepare"));
                }
            }
        }
        Ok(Look { problems: facts.problems(&self.pipeline), lacking, facts })
    }

    /// The names of Rowlock's own tables that are missing.
    pub(super) async fn missing_own_tables(&self, session: &mut Session) -> Result<Vec<&'static str>> {
        let template = self.ddl_template();
        let mut missing = Vec::new();
        for own in ["rowlock_meta", "rowlock_stages", "rowlock_failures"] {
            if !self.relation_exists(session, &template.render(&format!(":{own}"))).await? {
                missing.push(own);
            }
        }
        Ok(missing)
    }

    /// Installs the trigger that wakes idle workers on an insert. `prepare` does it by itself only for a table that
    /// it creates.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn install_trigger(&self) -> Result<()> {
        let mut session = self.sessions.open("install_trigger").await?;
        session.run(&format!("begin; set local lock_timeout = '{LOCK_TIMEOUT}'")).await?;
        let schema = session_schema(&mut session).await?;
        session.run(&self.render_trigger(&schema)).await?;
        session.run("commit").await?;
        session.done();
        Ok(())
    }

    /// The trigger's function pins its search path, so everything in it is named with its schema.
    fn render_trigger(&self, current_schema: &str) -> String {
        let schema = self.pipeline.table().schema().unwrap_or(current_schema);
        let mut template = self.ddl_template();
        let qualify = |name: &str| format!("{}.{}", quote_identifier(schema), quote_identifier(name));
        template.insert("qualified_meta", qualify("rowlock_meta"));
        template.insert("notify_function", qualify(&self.notify_trigger()));
        template.insert("notify_trigger", quote_identifier(&self.notify_trigger()));
        template.insert("channel", quote_literal(&channel(&self.pipeline), Dialect::Postgres));
        template.render(step(SCHEMA, Some("trigger")))
    }

    pub(super) fn notify_trigger(&self) -> String {
        format!("rowlock_notify_{:016x}", hash(self.pipeline.name()))
    }

    /// Whether inserts send notifications: whether what `install_trigger` installs is there.
    pub(super) async fn inserts_notify(&self) -> Result<bool> {
        let mut session = self.sessions.open("listen").await?;
        let table = self.ddl_template().render(":table");
        let rows =
            session.fetch(query(&self.statements.inserts_notify).bind(table).bind(self.notify_trigger())).await?;
        session.done();
        rows.first().map_or(Ok(false), |row| column("listen", row, "inserts_notify"))
    }

    async fn check_schema_version(&self, session: &mut Session) -> Result<()> {
        let sql = self.ddl_template().render("select value from :rowlock_meta where key = 'schema_version'");
        let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
        let found = match rows.first() {
            Some(row) => column::<String>("prepare", row, "value")?,
            None => SCHEMA_VERSION.to_string(),
        };
        check_version(&found)
    }

    /// Refuses a database that a newer Rowlock prepared. One that was never prepared passes.
    pub(super) async fn refuse_newer_schema(&self) -> Result<()> {
        let mut session = self.sessions.open("connect").await?;
        self.check_known_schema(&mut session).await?;
        session.done();
        Ok(())
    }

    pub(super) async fn check_known_schema(&self, session: &mut Session) -> Result<()> {
        if self.relation_exists(session, &self.ddl_template().render(":rowlock_meta")).await? {
            self.check_schema_version(session).await?;
        }
        Ok(())
    }

    pub(super) async fn relation_exists(&self, session: &mut Session, quoted: &str) -> Result<bool> {
        let rows = session.fetch(sqlx::query("select to_regclass($1) is not null as found").bind(quoted)).await?;
        rows.first().map_or(Ok(false), |row| column("inspect", row, "found"))
    }

    /// The name of an index, with its schema.
    pub(super) fn index_name(&self, template: &Template, variable: &str) -> String {
        let quoted = template.render(&format!(":{variable}"));
        match self.pipeline.table().schema() {
            Some(schema) => format!("{}.{quoted}", quote_identifier(schema)),
            None => quoted,
        }
    }

    pub(super) fn ddl_template(&self) -> Template {
        let mut template = template(&self.pipeline);
        template.insert("schema_version", format!("'{SCHEMA_VERSION}'"));
        // An index is named after its definition: if the words change, `prepare` builds the index that fits.
        for variable in INDEXES {
            template.insert(variable, String::new());
            let definition = template.render(step(SCHEMA, Some(variable)));
            let name = format!("rowlock_{variable}_{:016x}", hash(&definition));
            template.insert(variable, quote_identifier(&name));
        }
        let roles = self.pipeline.roles().map(|role| self.column_definition(role));
        let columns: Vec<String> = roles.chain(self.own_state_definition()).collect();
        template.insert("role_columns", columns.join(",\n  "));
        template.insert("key_type", key_type(self.pipeline.key_type()).to_owned());
        template.set_key_definition(key_type(self.pipeline.key_type()));
        template
    }
}

/// Begins a transaction as the only preparer.
async fn begin_alone(session: &mut Session) -> Result<()> {
    let begin = format!("begin; set local lock_timeout = '{LOCK_TIMEOUT}'; set local statement_timeout = 0");
    loop {
        session.run(&begin).await?;
        if try_lock(session, "pg_try_advisory_xact_lock").await? {
            return Ok(());
        }
        session.run("rollback").await?;
        tokio::time::sleep(LOCK_RETRY).await;
    }
}

pub(super) async fn session_schema(session: &mut Session) -> Result<String> {
    let rows = session.fetch(sqlx::query("select current_schema()::text as schema")).await?;
    match rows.first().map(|row| row.try_get::<Option<String>, _>("schema")) {
        Some(Ok(Some(schema))) => Ok(schema),
        _ => Err(Error::Schema {
            table: "rowlock_meta".to_owned(),
            problem: "no schema of the search path exists: create one, or name the table's schema".to_owned(),
        }),
    }
}

/// The channel for notifications of a pipeline's new items.
pub(super) fn channel(pipeline: &Pipeline) -> String {
    format!("rowlock_{:016x}", hash(&format!("{} {}", pipeline.table(), pipeline.name())))
}
