//! What the table needs: `prepare`, `inspect`, and the trigger for notifications.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};

use super::PostgresStore;
use super::claim::query;
use super::rows::column;
use super::session::Session;
use super::statements::{key_type, template};
use crate::limits::PREPARE_DEADLINE;
use crate::pipeline::{Pipeline, Role};
use crate::schema::{ColumnKind, FoundColumn, SCHEMA_VERSION, TableFacts, check_version};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::Template;
use crate::{Error, Result};

/// Preparing waits this long for the table's lock, so that it never queues everybody behind a long transaction.
const LOCK_TIMEOUT: &str = "5s";

/// Time between two tries for the lock under which indexes are built.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// The indexes: the variable that has their name, and their statement.
const CREATE_INDEX: [(&str, &str); 3] = [
    ("ready_index", include_str!("sql/create_ready_index.sql")),
    ("running_index", include_str!("sql/create_running_index.sql")),
    ("stopped_index", include_str!("sql/create_stopped_index.sql")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IndexState {
    Missing,
    Invalid,
    Valid,
}

impl PostgresStore {
    /// The tables and columns in one short transaction, one preparer at a time; then, on a table that is in use
    /// already, the indexes one by one without holding anybody up.
    pub(super) async fn prepare_schema(&self) -> Result<()> {
        let mut session = self.sessions.open("prepare").await?;
        session.extend_deadline(PREPARE_DEADLINE);
        begin_alone(&mut session).await?;
        let template = self.ddl_template();
        session.run(&template.render(include_str!("sql/create_own_tables.sql"))).await?;
        self.check_schema_version(&mut session).await?;
        let mut facts = self.table_facts(&mut session).await?;
        if facts.columns.is_empty() {
            session.run(&template.render(include_str!("sql/create_table.sql"))).await?;
            for (_, sql) in CREATE_INDEX {
                session.run(&template.render(sql)).await?;
            }
            let schema = session_schema(&mut session).await?;
            session.run(&self.render_trigger(&schema)).await?;
            facts = self.table_facts(&mut session).await?;
        }
        for role in facts.missing_roles(&self.pipeline) {
            let table = template.render(":table");
            session.run(&format!("alter table {table} add column {}", self.column_definition(role))).await?;
        }
        let facts = self.table_facts(&mut session).await?;
        if let Some(problem) = facts.problems(&self.pipeline).into_iter().next() {
            session.run("rollback").await?;
            session.done();
            return Err(Error::Schema { table: self.pipeline.table().to_string(), problem });
        }
        session.run("commit").await?;
        self.build_indexes(&mut session, &template).await?;
        session.done();
        Ok(())
    }

    /// Builds the indexes that are missing while others go on reading and writing the table.
    async fn build_indexes(&self, session: &mut Session, template: &Template) -> Result<()> {
        let mut missing = Vec::new();
        for (variable, sql) in CREATE_INDEX {
            let name = self.in_table_schema(&template.render(&format!(":{variable}")));
            if index_state(session, &name).await? != IndexState::Valid {
                missing.push((name, sql));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        while !try_lock(session, "pg_try_advisory_lock").await? {
            tokio::time::sleep(LOCK_RETRY).await;
        }
        session.run("set statement_timeout = 0").await?;
        for (name, sql) in missing {
            match index_state(session, &name).await? {
                IndexState::Valid => continue,
                // Somebody's build was interrupted, which leaves an index that is written but never used.
                IndexState::Invalid => session.run(&format!("drop index concurrently if exists {name}")).await?,
                IndexState::Missing => {}
            }
            let sql = template.render(sql).replacen("create index", "create index concurrently", 1);
            session.run(&sql).await?;
        }
        session.run(&format!("set statement_timeout = {}", self.sessions.deadline().as_millis().max(1))).await?;
        session.run("select pg_advisory_unlock(hashtext('rowlock prepare'))").await
    }

    pub(super) async fn inspect_schema(&self) -> Result<Vec<String>> {
        let mut session = self.sessions.open("inspect").await?;
        self.check_known_schema(&mut session).await?;
        let facts = self.table_facts(&mut session).await?;
        let mut problems = Vec::new();
        let rendered = self.ddl_template();
        for own in ["rowlock_meta", "rowlock_stages", "rowlock_failures"] {
            if !self.relation_exists(&mut session, &rendered.render(&format!(":{own}"))).await? {
                problems.push(format!("the table {own} is missing: run prepare"));
            }
        }
        if facts.columns.is_empty() {
            problems.push("the table is missing: run prepare".to_owned());
        } else {
            problems.extend(facts.problems(&self.pipeline));
            for (variable, _) in CREATE_INDEX {
                let name = self.in_table_schema(&rendered.render(&format!(":{variable}")));
                if index_state(&mut session, &name).await? != IndexState::Valid {
                    problems.push(format!("the index {name} is missing or was not built to its end: run prepare"));
                }
            }
        }
        session.done();
        Ok(problems)
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
        template.render(include_str!("sql/create_trigger.sql"))
    }

    fn notify_trigger(&self) -> String {
        format!("rowlock_notify_{:016x}", hash(self.pipeline.name()))
    }

    /// Whether inserts are told: what `install_trigger` installs is there.
    pub(super) async fn is_told(&self) -> Result<bool> {
        let mut session = self.sessions.open("listen").await?;
        let table = self.ddl_template().render(":table");
        let rows = session.fetch(query(&self.statements.is_told).bind(table).bind(self.notify_trigger())).await?;
        session.done();
        rows.first().map_or(Ok(false), |row| column("listen", row, "is_told"))
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

    /// Refuses a database that was prepared by a newer Rowlock; one that was never prepared is none.
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

    async fn table_facts(&self, session: &mut Session) -> Result<TableFacts> {
        let table = self.ddl_template().render(":table");
        let rows = session.fetch(query(&self.statements.columns).bind(&table)).await?;
        let mut columns = Vec::with_capacity(rows.len());
        for row in &rows {
            let type_name: String = column("inspect", row, "type")?;
            columns.push(FoundColumn {
                name: column("inspect", row, "name")?,
                kinds: kinds(&type_name),
                type_name,
                not_null: column("inspect", row, "not_null")?,
                is_unique: column("inspect", row, "is_unique")?,
                chars_max: column::<Option<i32>>("inspect", row, "chars_max")?
                    .and_then(|chars| usize::try_from(chars).ok()),
            });
        }
        let forbidden_words = self.forbidden_words(session, &table).await?;
        Ok(TableFacts { columns, forbidden_words })
    }

    /// Asks each constraint on the status alone about each word: a word that it refuses is refused for every row.
    async fn forbidden_words(&self, session: &mut Session, table: &str) -> Result<Vec<(String, Vec<String>)>> {
        let status = self.pipeline.columns().name(Role::Status);
        let words: Vec<&str> = self.pipeline.words();
        let mut forbidden = Vec::new();
        for row in session.fetch(query(&self.statements.status_checks).bind(table).bind(status)).await? {
            let expression: String = column("inspect", &row, "expression")?;
            let status = quote_identifier(status);
            let sql =
                format!("select {status} as word from unnest($1::text[]) as words ({status}) where not ({expression})");
            let refused = session.fetch(sqlx::query(AssertSqlSafe(sql)).bind(&words)).await?;
            let refused = refused.iter().map(|row| column("inspect", row, "word")).collect::<Result<Vec<String>>>()?;
            if !refused.is_empty() {
                forbidden.push((column("inspect", &row, "name")?, refused));
            }
        }
        Ok(forbidden)
    }

    async fn relation_exists(&self, session: &mut Session, quoted: &str) -> Result<bool> {
        let rows = session.fetch(sqlx::query("select to_regclass($1) is not null as found").bind(quoted)).await?;
        rows.first().map_or(Ok(false), |row| column("inspect", row, "found"))
    }

    fn in_table_schema(&self, quoted: &str) -> String {
        match self.pipeline.table().schema() {
            Some(schema) => format!("{}.{quoted}", quote_identifier(schema)),
            None => quoted.to_owned(),
        }
    }

    fn ddl_template(&self) -> Template {
        let mut template = template(&self.pipeline);
        template.insert("schema_version", format!("'{SCHEMA_VERSION}'"));
        // An index is named after its definition: where the words change, `prepare` makes the index that fits.
        for (variable, file) in CREATE_INDEX {
            template.insert(variable, String::new());
            let name = format!("rowlock_{variable}_{:016x}", hash(&template.render(file)));
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

async fn index_state(session: &mut Session, name: &str) -> Result<IndexState> {
    let sql = "select indisvalid as valid from pg_index where indexrelid = to_regclass($1)";
    let rows = session.fetch(sqlx::query(sql).bind(name)).await?;
    Ok(match rows.first().map(|row| column::<bool>("prepare", row, "valid")).transpose()? {
        None => IndexState::Missing,
        Some(false) => IndexState::Invalid,
        Some(true) => IndexState::Valid,
    })
}

/// Begins the transaction of the only preparer.
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

/// Tried and not waited for: a concurrent build waits for every statement and every snapshot that is under way, and so
/// for one that would wait for the lock under which it builds.
async fn try_lock(session: &mut Session, function: &str) -> Result<bool> {
    let sql = format!("select {function}(hashtext('rowlock prepare')) as locked");
    let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
    rows.first().map_or(Ok(false), |row| column("prepare", row, "locked"))
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

/// What a column of this type can be used as.
fn kinds(type_name: &str) -> Vec<ColumnKind> {
    match type_name {
        "text" | "character varying" => vec![ColumnKind::Text, ColumnKind::IndexedText],
        // An index over it is not used for a parameter of type text: every statement would read the table.
        "citext" => vec![ColumnKind::Text],
        "uuid" => vec![ColumnKind::Uuid],
        "smallint" => vec![ColumnKind::Count],
        "integer" => vec![ColumnKind::Count, ColumnKind::Int],
        "bigint" => vec![ColumnKind::Count, ColumnKind::BigInt],
        "timestamp with time zone" => vec![ColumnKind::Time],
        _ => Vec::new(),
    }
}

/// The channel on which new items of a pipeline are told.
pub(super) fn channel(pipeline: &Pipeline) -> String {
    format!("rowlock_{:016x}", hash(&format!("{} {}", pipeline.table(), pipeline.name())))
}

/// FNV-1a, 64 bits: names must be the same in every version of the library, which std's hasher does not promise.
/// Source: Fowler, Noll, Vo; draft-eastlake-fnv.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citext_is_no_type_for_a_column_that_is_searched() {
        assert!(kinds("text").contains(&ColumnKind::IndexedText));
        assert!(kinds("character varying").contains(&ColumnKind::IndexedText));
        assert_eq!(kinds("citext"), [ColumnKind::Text]);
    }
}
