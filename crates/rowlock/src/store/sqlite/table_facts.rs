//! The facts about a table: its columns and how they convert values, what its constraints refuse, and which rows no
//! worker takes up.

use std::collections::HashSet;

use super::checks::checks;
use super::rows;
use super::session::{Session, Sql};
use super::store::SqliteStore;
use crate::Result;
use crate::limits::{COUNT_EXACT_MAX, TIMES_LOOKED_AT_MAX};
use crate::pipeline::{Form, Role};
use crate::schema::{
    ColumnKind, ForbiddenValues, FoundColumn, Reference, StrayRows, TableFacts, ambiguous_key, samples,
};
use crate::store::identifier::quote_identifier;
use crate::store::params::count_limit;

/// How a column converts the values that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    /// It leaves them as they are.
    None,
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    /// From the declared type, as SQLite determines it (<https://www.sqlite.org/datatype3.html>); in a strict table
    /// `any` is what an undeclared type is elsewhere.
    fn of(declared: &str, is_strict: bool) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        if declared.is_empty() || (is_strict && declared == "ANY") {
            Affinity::None
        } else if has(&["INT"]) {
            Affinity::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Affinity::Text
        } else if has(&["BLOB"]) {
            Affinity::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    /// The values that it can store and return unchanged. (A column declared as `datetime` or `uuid` is numeric, and
    /// keeps values that do not look like numbers.)
    fn kinds(self) -> Vec<ColumnKind> {
        match self {
            Affinity::None => [&TEXT_KINDS[..], &INTEGER_KINDS, &[ColumnKind::Time]].concat(),
            Affinity::Integer => INTEGER_KINDS.to_vec(),
            Affinity::Text => [&TEXT_KINDS[..], &[ColumnKind::Time]].concat(),
            Affinity::Blob | Affinity::Real => Vec::new(),
            Affinity::Numeric => {
                [&INTEGER_KINDS[..], &[ColumnKind::IndexedText, ColumnKind::Uuid, ColumnKind::Time]].concat()
            }
        }
    }
}

const TEXT_KINDS: [ColumnKind; 3] = [ColumnKind::Text, ColumnKind::IndexedText, ColumnKind::Uuid];

const INTEGER_KINDS: [ColumnKind; 4] = [ColumnKind::Int, ColumnKind::BigInt, ColumnKind::Count, ColumnKind::Token];

/// The roles that are times.
const TIMES: [Role; 5] = [Role::RetryAfter, Role::Heartbeat, Role::ClaimedAt, Role::CreatedAt, Role::UpdatedAt];

impl SqliteStore {
    pub(super) async fn table_facts(&self, session: &mut Session) -> Result<TableFacts> {
        let table = self.pipeline.table().name();
        let mut facts = TableFacts::default();
        let Some((kind, is_strict)) = self.kind_of_table(session).await? else { return Ok(facts) };
        match kind.as_str() {
            "table" => {}
            "view" => facts.unusable.push("it is a view: a queue needs a table; name the one behind it".to_owned()),
            kind => facts.unusable.push(format!("it is a {kind} table: a queue needs an ordinary one")),
        }
        let unique = self.unique_columns(session).await?;
        let mut default = None;
        for row in session.rows(&self.statements.read_columns, [table.into()]).await? {
            let name = rows::text(&row, 0).unwrap_or_default();
            let declared = rows::text(&row, 3).unwrap_or_default();
            if name.eq_ignore_ascii_case(self.pipeline.columns().name(Role::Status)) {
                default = rows::text(&row, 5);
            }
            facts.columns.push(FoundColumn {
                is_unique: unique.contains(&name.to_ascii_lowercase()),
                blurs_texts: false,
                name,
                ignores_case: true,
                kinds: Affinity::of(&declared, is_strict).kinds(),
                type_name: if declared.is_empty() { "none".to_owned() } else { declared },
                not_null: rows::integer(&row, 1) == Some(1),
                is_generated: matches!(rows::integer(&row, 4), Some(2 | 3)),
                chars_max: None,
            });
        }
        if kind != "table" {
            return Ok(facts);
        }
        match facts.column(self.pipeline.columns().name(Role::Status)) {
            None => {
                let rows = session.rows(&self.statements.has_rows, []).await?;
                facts.has_rows = rows.first().and_then(|row| rows::integer(row, 0)) == Some(1);
            }
            Some(_) => facts.default_word = self.evaluate(session, default.as_deref()).await?,
        }
        self.compare_texts(session, &mut facts).await?;
        facts.unusable.extend(self.numbers_for_times(session, &facts).await?);
        facts.unusable.extend(self.ambiguous_key(session).await?);
        facts.forbidden = self.forbidden(session, &facts).await?;
        facts.references = self.references(session).await?;
        Ok(facts)
    }

    /// The kind of table, and whether it is strict; `None` if there is no table.
    async fn kind_of_table(&self, session: &mut Session) -> Result<Option<(String, bool)>> {
        let table = self.pipeline.table().name();
        let found = session.rows(&self.statements.read_kind, [table.into()]).await?;
        let kind = found.first().map(|row| (rows::text(row, 0).unwrap_or_default(), rows::integer(row, 1) == Some(1)));
        Ok(kind)
    }

    /// A key of several columns that two rows may share.
    async fn ambiguous_key(&self, session: &mut Session) -> Result<Option<String>> {
        let key = self.pipeline.key_columns();
        if key.len() == 1 {
            return Ok(None);
        }
        let columns = serde_json::Value::from_iter(key.iter().cloned()).to_string();
        let binds = [self.pipeline.table().name().into(), columns.as_str().into()];
        let rows = session.rows(&self.statements.has_unique_key, binds).await?;
        let is_unique = rows.first().and_then(|row| rows::integer(row, 0)) == Some(1);
        Ok((!is_unique).then(|| ambiguous_key(key)))
    }

    /// Columns that are unique by themselves, in lower case.
    async fn unique_columns(&self, session: &mut Session) -> Result<HashSet<String>> {
        let table = self.pipeline.table().name();
        let unique = session.rows(&self.statements.read_unique_columns, [table.into()]).await?;
        Ok(unique.iter().filter_map(|row| rows::text(row, 0)).map(|name| name.to_ascii_lowercase()).collect())
    }

    /// The value of a column's default.
    async fn evaluate(&self, session: &mut Session, default: Option<&str>) -> Result<Option<String>> {
        let Some(default) = default else { return Ok(None) };
        let rows = session.rows(&Sql::new(format!("select cast(({default}) as text)")), []).await?;
        Ok(rows.first().and_then(|row| rows::text(row, 0)))
    }

    /// Finds out which columns of words equate different texts. SQLite does not tell the collation of a column, but the
    /// column of a compound query has that of its first part.
    async fn compare_texts(&self, session: &mut Session, facts: &mut TableFacts) -> Result<()> {
        let table = quote_identifier(self.pipeline.table().name());
        for role in self.pipeline.roles().filter(|role| Reference::is_of_words(*role)) {
            let name = self.pipeline.columns().name(role);
            let Some(found) = facts.columns.iter_mut().find(|column| column.name.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let column = quote_identifier(&found.name);
            let sql = Sql::new(format!(
                "select 1 from (select {column} as word from {table} where false \
                 union all select 'a' union all select 'b ')
                 where word = 'A' or word = 'b'"
            ));
            found.blurs_texts = !session.rows(&sql, []).await?.is_empty();
        }
        Ok(())
    }

    /// Asks the tables that columns of words refer to for the words. A table that cannot be asked counts as having
    /// none.
    async fn references(&self, session: &mut Session) -> Result<Vec<Reference>> {
        let mut references = Vec::new();
        for row in session.rows(&self.statements.read_foreign_keys, [self.pipeline.table().name().into()]).await? {
            let [Some(name), Some(parent)] = [0, 1].map(|at| rows::text(&row, at)) else { continue };
            let is_of = |role: &Role| self.pipeline.columns().name(*role).eq_ignore_ascii_case(&name);
            let Some(role) = self.pipeline.roles().find(is_of) else { continue };
            let words: Vec<String> = samples(&self.pipeline, role).into_iter().flatten().collect();
            let mut missing = Vec::new();
            if Reference::is_of_words(role) {
                let sql = Sql::new(format!(
                    "select value from json_each(?1) as asked
                     where not exists (select 1 from {} as known where known.{} = asked.value)",
                    quote_identifier(&parent),
                    quote_identifier(&rows::text(&row, 2).unwrap_or_default())
                ));
                let asked = serde_json::Value::from_iter(words.clone()).to_string();
                missing = match session.rows(&sql, [asked.as_str().into()]).await {
                    Ok(rows) => rows.iter().filter_map(|row| rows::text(row, 0)).collect(),
                    Err(_) => words,
                };
            }
            references.push(Reference { role, parent, missing });
        }
        Ok(references)
    }

    /// Columns of times that hold numbers although their type allows text, found in a sample of rows.
    async fn numbers_for_times(&self, session: &mut Session, facts: &TableFacts) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for role in TIMES {
            if self.pipeline.columns().spec(role).form != Form::Native {
                continue;
            }
            let name = self.pipeline.columns().name(role);
            let Some(found) = facts.column(name).filter(|found| found.kinds.contains(&ColumnKind::Time)) else {
                continue;
            };
            let (column, table) = (quote_identifier(&found.name), quote_identifier(self.pipeline.table().name()));
            let sql = format!(
                "select cast(value as text) from (select {column} as value from {table} limit {TIMES_LOOKED_AT_MAX})
                 where typeof(value) in ('integer', 'real') limit 1"
            );
            let numbers = session.rows(&Sql::new(sql), []).await?;
            problems.extend(numbers.first().and_then(|row| rows::text(row, 0)).map(|number| {
                format!(
                    "the column {:?} ({role:?}) holds numbers, as {number}, but a time must be text as \
                     strftime('%Y-%m-%dT%H:%M:%fZ') writes it: say that they are seconds or milliseconds (column_as \
                     with Form::EpochSeconds or Form::EpochMillis), or map the role to another column",
                    found.name
                )
            }));
        }
        Ok(problems)
    }

    /// Tries each constraint on a single column with the values that are written there: a value that it refuses is
    /// refused in every row. A constraint that cannot be evaluated alone is left to the rows.
    async fn forbidden(&self, session: &mut Session, facts: &TableFacts) -> Result<Vec<ForbiddenValues>> {
        let table = self.pipeline.table().name();
        let created = session.rows(&self.statements.read_create, [table.into()]).await?;
        let Some(create) = created.first().and_then(|row| rows::text(row, 0)) else { return Ok(Vec::new()) };
        let mut forbidden = Vec::new();
        for check in checks(&create) {
            let named = facts.columns.iter().filter(|column| check.words.contains(&column.name.to_ascii_lowercase()));
            let [column] = &named.collect::<Vec<_>>()[..] else { continue };
            let is_of = |role: &Role| self.pipeline.columns().name(*role).eq_ignore_ascii_case(&column.name);
            let Some(role) = self.pipeline.roles().find(is_of) else { continue };
            let type_name = if column.kinds.contains(&ColumnKind::Count) { "integer" } else { "text" };
            let sql = Sql::new(format!(
                "select value from json_each(?1) as samples
                 where not (select {} from (select cast(samples.value as {type_name}) as {}))",
                check.expression,
                quote_identifier(&column.name)
            ));
            let values = serde_json::Value::from_iter(samples(&self.pipeline, role)).to_string();
            let Ok(refused) = session.rows(&sql, [values.as_str().into()]).await else { continue };
            let values: Vec<Option<String>> = refused.iter().map(|row| rows::text(row, 0)).collect();
            if !values.is_empty() {
                forbidden.push(ForbiddenValues { constraint: check.name, role, values });
            }
        }
        Ok(forbidden)
    }

    /// Remarks that stop no work: rows that no worker takes up. For a table that has its columns and indexes.
    pub(super) async fn remarks(&self, session: &mut Session) -> Result<Vec<String>> {
        let limit = count_limit(COUNT_EXACT_MAX);
        let mut found = StrayRows { limit, ..StrayRows::default() };
        let is_unknown = |word: &Option<String>| word.as_ref().is_none_or(|word| self.pipeline.status(word).is_none());
        let stopped = self.count_stopped(session, limit).await?;
        found.unknown = stopped.into_iter().filter(|(word, count)| *count > 0 && is_unknown(word)).collect();
        let unleased = session.rows(&self.statements.stray_rows, [limit.into()]).await?;
        found.unleased = unleased.first().and_then(|row| rows::integer(row, 0)).unwrap_or(0);
        Ok(found.remarks(&self.pipeline))
    }
}
