//! The facts about a table: its columns, what its constraints refuse, its other properties, and which rows no worker
//! takes up.

use sqlx::AssertSqlSafe;

use super::rows::column;
use super::session::{Session, query};
use super::store::PostgresStore;
use crate::Result;
use crate::limits::{COUNT_EXACT_MAX, UNKNOWN_WORDS_MAX};
use crate::pipeline::Role;
use crate::schema::{
    ColumnKind, ForbiddenValues, FoundColumn, Reference, StrayRows, TableFacts, ambiguous_key, samples,
};
use crate::store::identifier::quote_identifier;
use crate::store::params::count_limit;

/// The verb under whose name the catalogue is read.
const VERB: &str = "inspect";

impl PostgresStore {
    pub(super) async fn table_facts(&self, session: &mut Session) -> Result<TableFacts> {
        let table = self.ddl_template().render(":table");
        let status = self.pipeline.columns().name(Role::Status);
        let mut facts = TableFacts {
            unusable: self.unusable(session, &table).await?,
            set_default: Some(format!("alter table {table} alter column {} set default", quote_identifier(status))),
            ..TableFacts::default()
        };
        let mut default = None;
        for row in &session.fetch(query(&self.statements.columns).bind(&table)).await? {
            let type_name: String = column(VERB, row, "type")?;
            let name: String = column(VERB, row, "name")?;
            if name == status {
                default = column::<Option<String>>(VERB, row, "default_value")?;
            }
            facts.columns.push(FoundColumn {
                name,
                ignores_case: false,
                kinds: kinds(&type_name),
                type_name,
                not_null: column(VERB, row, "not_null")?,
                is_generated: column(VERB, row, "is_generated")?,
                is_unique: column(VERB, row, "is_unique")?,
                blurs_texts: column(VERB, row, "blurs_texts")?,
                chars_max: column::<Option<i32>>(VERB, row, "chars_max")?.and_then(|chars| usize::try_from(chars).ok()),
            });
        }
        let has_status = facts.column(status).map(|column| column.kinds.contains(&ColumnKind::Text));
        if has_status == Some(true)
            && let Some(default) = default
        {
            let sql = format!("select ({default})::text as word");
            let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
            facts.default_word = rows.first().map_or(Ok(None), |row| column(VERB, row, "word"))?;
        }
        if has_status.is_none() && !facts.columns.is_empty() {
            let sql = self.ddl_template().render("select exists (select from :table) as found");
            let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
            facts.has_rows = rows.first().map_or(Ok(false), |row| column(VERB, row, "found"))?;
        }
        facts.unusable.extend(self.ambiguous_key(session, &table).await?);
        facts.forbidden = self.forbidden(session, &table, &facts).await?;
        facts.references = self.references(session, &table).await?;
        Ok(facts)
    }

    /// A key of several columns that two rows may share.
    async fn ambiguous_key(&self, session: &mut Session, table: &str) -> Result<Option<String>> {
        let key = self.pipeline.key_columns();
        if key.len() == 1 {
            return Ok(None);
        }
        let sql = query(&self.statements.has_unique_key).bind(table).bind(key.to_vec());
        let rows = session.fetch(sql).await?;
        let is_unique = rows.first().map_or(Ok(true), |row| column::<bool>(VERB, row, "found"))?;
        Ok((!is_unique).then(|| ambiguous_key(key)))
    }

    /// Tries each constraint on a single column with the values that are written there: a value that it refuses is
    /// refused in every row.
    async fn forbidden(&self, session: &mut Session, table: &str, facts: &TableFacts) -> Result<Vec<ForbiddenValues>> {
        let mut forbidden = Vec::new();
        for row in session.fetch(query(&self.statements.checks).bind(table)).await? {
            let name: String = column(VERB, &row, "column")?;
            let Some(role) = self.pipeline.roles().find(|role| self.pipeline.columns().name(*role) == name) else {
                continue;
            };
            // With another type the expression could not be evaluated, and the type is refused anyway.
            let Some(found) = facts.column(&name).filter(|found| is_tried(&found.type_name)) else { continue };
            let expression: String = column(VERB, &row, "expression")?;
            let operand: String = column(VERB, &row, "operand")?;
            let (quoted, type_name) = (quote_identifier(&operand), &found.type_name);
            let sql = format!(
                "select sample from unnest($1::text[]) as samples (sample)
                 cross join lateral (select sample::{type_name} as {quoted}) as written
                 where not ({expression})"
            );
            let refused = session.fetch(sqlx::query(AssertSqlSafe(sql)).bind(samples(&self.pipeline, role))).await?;
            let values = refused.iter().map(|row| column(VERB, row, "sample")).collect::<Result<Vec<_>>>()?;
            if !values.is_empty() {
                forbidden.push(ForbiddenValues { constraint: column(VERB, &row, "name")?, role, values });
            }
        }
        Ok(forbidden)
    }

    /// Asks the tables that columns of words refer to for the words.
    async fn references(&self, session: &mut Session, table: &str) -> Result<Vec<Reference>> {
        let mut references = Vec::new();
        for row in session.fetch(query(&self.statements.foreign_keys).bind(table)).await? {
            let name: String = column(VERB, &row, "column")?;
            let Some(role) = self.pipeline.roles().find(|role| self.pipeline.columns().name(*role) == name) else {
                continue;
            };
            let parent: String = column(VERB, &row, "parent")?;
            let mut missing = Vec::new();
            if Reference::is_of_words(role) && column(VERB, &row, "is_readable")? {
                let parent_column: String = column(VERB, &row, "parent_column")?;
                let sql = format!(
                    "select asked.word from unnest($1::text[]) as asked (word)
                     where asked.word is not null
                       and not exists (select from {parent} as known where known.{parent_column}::text = asked.word)"
                );
                let rows = session.fetch(sqlx::query(AssertSqlSafe(sql)).bind(samples(&self.pipeline, role))).await?;
                missing = rows.iter().map(|row| column(VERB, row, "word")).collect::<Result<Vec<_>>>()?;
            }
            references.push(Reference { role, parent, missing });
        }
        Ok(references)
    }

    /// Why the relation as a whole cannot be a queue.
    async fn unusable(&self, session: &mut Session, table: &str) -> Result<Vec<String>> {
        let status = self.pipeline.columns().name(Role::Status);
        let rows = session.fetch(query(&self.statements.relation).bind(table).bind(status)).await?;
        let Some(row) = rows.first() else { return Ok(Vec::new()) };
        let mut unusable = Vec::new();
        match column::<String>(VERB, row, "kind")?.as_str() {
            "r" | "p" => {}
            "v" | "m" => unusable.push("it is a view: a queue needs a table; name the one behind it".to_owned()),
            "f" => unusable.push("it is a foreign table: a queue needs a table of this server".to_owned()),
            kind => unusable.push(format!("it is no table (pg_class calls it {kind:?}): a queue needs one")),
        }
        if let Some(child) = column::<Option<String>>(VERB, row, "child")? {
            unusable.push(format!(
                "the table {child} inherits from it: no key is unique over both, and neither are indexes; end the \
                 inheritance, or make partitions of it"
            ));
        }
        if column::<bool>(VERB, row, "is_partitioned_by_status")? {
            unusable.push(format!(
                "it is partitioned by the status {status:?}, so that each move would go from one partition to another: \
                 partition it by its key"
            ));
        }
        if let Some(part) = column::<Option<String>>(VERB, row, "foreign_part")?
            && unusable.is_empty()
        {
            unusable.push(format!("its partition {part} is a foreign table: a queue needs tables of this server"));
        }
        for row in session.fetch(query(&self.statements.unreadable_columns).bind(table)).await? {
            let (name, type_name): (String, String) = (column(VERB, &row, "name")?, column(VERB, &row, "type")?);
            unusable.push(format!(
                "the column {name:?} holds the type {type_name}, which the driver cannot read, so that each claim \
                 would fail: give it another type, or keep it in a table of its own"
            ));
        }
        if let (Some(part), Some(publication)) = (
            column::<Option<String>>(VERB, row, "part_without_identity")?,
            column::<Option<String>>(VERB, row, "publication")?,
        ) {
            unusable.push(format!(
                "the publication {publication:?} publishes the updates of {part}, which has no replica identity, so \
                 that the server refuses each of them: `alter table {part} replica identity full`, or give it a \
                 primary key"
            ));
        }
        Ok(unusable)
    }

    /// The rights that this role lacks, each with the statement that grants it.
    pub(super) async fn missing_rights(&self, session: &mut Session) -> Result<Vec<String>> {
        let template = self.ddl_template();
        let columns: Vec<&str> = self.pipeline.roles().map(|role| self.pipeline.columns().name(role)).collect();
        let own = [":rowlock_meta", ":rowlock_stages", ":rowlock_failures"].map(|table| template.render(table));
        let rights = query(&self.statements.rights).bind(template.render(":table")).bind(columns).bind(own.to_vec());
        let rights = rights.bind(self.pipeline.key());
        let rows = session.fetch(rights).await?;
        let mut missing = Vec::with_capacity(rows.len());
        for row in &rows {
            let (who, statement): (String, String) = (column(VERB, row, "needed_by")?, column(VERB, row, "statement")?);
            missing.push(format!("this role lacks a right that {who} needs: `{statement}`"));
        }
        Ok(missing)
    }

    /// Remarks that stop no work: rows that no worker takes up, or cannot see.
    pub(super) async fn remarks(&self, session: &mut Session) -> Result<Vec<String>> {
        let table = self.ddl_template().render(":table");
        let limit = count_limit(COUNT_EXACT_MAX);
        let stray = query(&self.statements.stray_rows).bind(limit).bind(UNKNOWN_WORDS_MAX);
        let mut found = StrayRows { limit, ..StrayRows::default() };
        for row in &session.fetch(stray).await? {
            let (what, count): (String, i64) = (column(VERB, row, "what")?, column(VERB, row, "count")?);
            match what.as_str() {
                "unleased" => found.unleased = count,
                _ if count > 0 => found.unknown.push((column(VERB, row, "word")?, count)),
                _ => {}
            }
        }
        let mut remarks = found.remarks(&self.pipeline);
        let status = self.pipeline.columns().name(Role::Status);
        let rows = session.fetch(query(&self.statements.relation).bind(&table).bind(status)).await?;
        if let Some(row) = rows.first()
            && column::<bool>(VERB, row, "has_row_security")?
        {
            remarks.push(self.hidden_rows(session, column(VERB, row, "rows_about")?).await?);
        }
        Ok(remarks)
    }

    async fn hidden_rows(&self, session: &mut Session, about: i64) -> Result<String> {
        let sql = self.ddl_template().render("select count(*) as n from (select from :table limit $1::bigint) visible");
        let limit = count_limit(COUNT_EXACT_MAX);
        let rows = session.fetch(sqlx::query(AssertSqlSafe(sql)).bind(limit)).await?;
        let seen: i64 = rows.first().map_or(Ok(0), |row| column(VERB, row, "n"))?;
        let at_least = if seen >= limit { "at least " } else { "" };
        let of = if about > 0 { format!(" of about {about}") } else { String::new() };
        Ok(format!(
            "row security is on for this role, which sees {at_least}{seen}{of} rows: what a policy hides is no item of \
             this worker's; give the role a policy for all rows, or bypassrls"
        ))
    }
}

/// Whether a constraint on a column of this type can be tried with a text as its value.
fn is_tried(type_name: &str) -> bool {
    !kinds(type_name).is_empty() && type_name != "citext" && type_name != "uuid"
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
        "bigint" => vec![ColumnKind::Count, ColumnKind::BigInt, ColumnKind::Token],
        "timestamp with time zone" => vec![ColumnKind::Time],
        _ => Vec::new(),
    }
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
