//! What the table needs: `prepare`, `inspect`, and the trigger for notifications.

use sqlx::{AssertSqlSafe, Row};

use super::indexes::{INDEXES, IndexState, LOCK_RETRY, index_state, try_lock};
use super::rows::column;
use super::session::{Session, query};
use super::statements::SCHEMA;
use super::store::PostgresStore;
use super::variables::{hash, key_type, template};
use crate::limits::PREPARE_DEADLINE;
use crate::pipeline::{Pipeline, Role};
use crate::schema::{SCHEMA_VERSION, TableFacts, check_version, refused};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::{Template, step};
use crate::{Error, Result};

/// How long `prepare` waits for the table's lock, so that it never queues everybody behind a long transaction.
const LOCK_TIMEOUT: &str = "5s";

/// Stamps rows that another program may be working on.
const STAMP: &str = "update :table t set :\"heartbeat_at\" = statement_timestamp()
where t.:\"status\" in (:running_words) and t.:\"heartbeat_at\" is null";

/// What a look at the table found.
struct Look {
    /// What `prepare` cannot fix.
    problems: Vec<String>,
    /// What it can fix.
    lacking: Vec<String>,
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
        let template = self.ddl_template();
        session.run(&template.render(step(SCHEMA, Some("own_tables")))).await?;
        if facts.columns.is_empty() {
            session.run(&template.render(step(SCHEMA, Some("table")))).await?;
            for index in INDEXES {
                session.run(&template.render(step(SCHEMA, Some(index)))).await?;
            }
            let schema = session_schema(session).await?;
            return session.run(&self.render_trigger(&schema)).await;
        }
        self.add_columns(session, &facts).await
    }

    /// Adds what the table lacks. It reads everything that it needs of the rows before it adds the first column, which
    /// locks the table.
    async fn add_columns(&self, session: &mut Session, facts: &TableFacts) -> Result<()> {
        let template = self.ddl_template();
        let missing = facts.missing_roles(&self.pipeline);
        let is_adopted = [Role::ClaimToken, Role::Heartbeat].iter().any(|role| missing.contains(role));
        let may_be_held = is_adopted && !missing.contains(&Role::Status) && !self.pipeline.existing_leases_are_stale();
        let stamp_all = may_be_held && missing.contains(&Role::Heartbeat) && self.any_in_progress(session).await?;
        if may_be_held && !missing.contains(&Role::Heartbeat) {
            session.run(&template.render(STAMP)).await?;
        }
        let alter = template.render("alter table :table");
        for role in missing {
            let name = quote_identifier(self.pipeline.columns().name(role));
            let mut definition = self.column_definition(role);
            let mut then = None;
            if role == Role::Status
                && facts.has_rows
                && let Some(existing) = self.pipeline.existing_rows()
            {
                let word = |word: &str| quote_literal(word, Dialect::Postgres);
                definition = format!("{name} text not null default {}", word(existing.word(&self.pipeline)));
                then = Some(format!("set default {}", word(self.pipeline.stages()[0].ready_word())));
            }
            // A default that is constant at that time writes no row; rows that are not in progress carry a stamp that
            // nothing reads.
            if role == Role::Heartbeat && stamp_all {
                definition.push_str(" default statement_timestamp()");
                then = Some("drop default".to_owned());
            }
            session.run(&format!("{alter} add column {definition}")).await?;
            if let Some(then) = then {
                session.run(&format!("{alter} alter column {name} {then}")).await?;
            }
        }
        Ok(())
    }

    async fn any_in_progress(&self, session: &mut Session) -> Result<bool> {
        let sql = self
            .ddl_template()
            .render("select exists (select from :table t where t.:\"status\" in (:running_words)) as found");
        let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
        rows.first().map_or(Ok(false), |row| column("prepare", row, "found"))
    }

    pub(super) async fn inspect_schema(&self) -> Result<Vec<String>> {
        let mut session = self.sessions.open("inspect").await?;
        let looked = self.look(&mut session).await?;
        let is_complete = looked.is_complete();
        let mut sentences = looked.problems;
        sentences.extend(looked.lacking);
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
        let rendered = self.ddl_template();
        for own in ["rowlock_meta", "rowlock_stages", "rowlock_failures"] {
            if !self.relation_exists(session, &rendered.render(&format!(":{own}"))).await? {
                lacking.push(format!("the table {own} is missing: run prepare"));
            }
        }
        if facts.columns.is_empty() {
            lacking.push("the table is missing: run prepare".to_owned());
        } else {
            lacking.extend(facts.lacking(&self.pipeline));
            for variable in INDEXES {
                let name = self.index_name(&rendered, variable);
                if index_state(session, &name).await? != IndexState::Valid {
                    lacking.push(format!("the index {name} is missing or was not built to its end: run prepare"));
                }
            }
        }
        Ok(Look { problems: facts.problems(&self.pipeline), lacking })
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

    fn notify_trigger(&self) -> String {
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

    async fn check_known_schema(&self, session: &mut Session) -> Result<()> {
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
        let columns: Vec<String> = Role::ALL.iter().map(|role| self.column_definition(*role)).collect();
        template.insert("role_columns", columns.join(",\n  "));
        template.insert("key_type", key_type(self.pipeline.key_type()).to_owned());
        template
    }

    fn column_definition(&self, role: Role) -> String {
        let name = quote_identifier(self.pipeline.columns().name(role));
        let definition = match role {
            Role::Status => {
                format!(
                    "text not null default {}",
                    quote_literal(self.pipeline.stages()[0].ready_word(), Dialect::Postgres)
                )
            }
            Role::RetryCount | Role::ResetCount => "integer not null default 0".to_owned(),
            Role::CreatedAt | Role::UpdatedAt => "timestamptz not null default statement_timestamp()".to_owned(),
            Role::RetryAfter | Role::Heartbeat | Role::ClaimedAt => "timestamptz".to_owned(),
            Role::ErrorMessage | Role::ClaimedBy | Role::ResumeStatus => "text".to_owned(),
            Role::ClaimToken => "bigint".to_owned(),
        };
        format!("{name} {definition}")
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

async fn session_schema(session: &mut Session) -> Result<String> {
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
