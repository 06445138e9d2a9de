//! A survey of a table of SQLite.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use rowlock::TableName;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::sampling::{self, Counted};
use super::{
    CANDIDATES_MAX, Candidate, Database, ForeignKey, IndexInfo, SAMPLE_ROWS_MAX, Survey, SurveyColumn, TriggerInfo,
    TypeKind, create_statement, quote_identifier,
};

/// Columns that are looked through for candidates, at most.
const COLUMNS_MAX: i64 = 20_000;

/// Endings of the names of columns that look like a state.
const STATE_ENDINGS: [&str; 3] = ["status", "state", "phase"];

/// Names of columns that look like the sign of a state, without `is_` and underscores.
const STATE_SIGNS: &str = "processed done completed failed processedat completedat doneat finishedat sentat \
                           deliveredat claimedat lockedat claimedby lockedby";

/// Surveys a table. It reads only, and at most [`SAMPLE_ROWS_MAX`] rows.
///
/// # Errors
///
/// If the table does not exist, if it is a view or a virtual table, or if the file cannot be read.
pub async fn survey(connection: &mut SqliteConnection, table: &TableName) -> Result<Survey> {
    if let Some(schema) = table.schema() {
        bail!("SQLite has no schemas: name the table {:?} without {schema:?}", table.name());
    }
    let name = table.name();
    let mut survey = Survey::empty(Database::Sqlite, table.clone());
    let rows = fetch(connection, include_str!("sql/sqlite/relation.sql"), name).await?;
    let Some(row) = rows.first() else { bail!("there is no table {name:?} in this file") };
    match row.try_get::<String, _>("kind")?.as_str() {
        "table" => {}
        "view" => bail!("{name:?} is a view: a queue needs a table; name the one behind it"),
        kind => bail!("{name:?} is a {kind} table: a queue needs an ordinary one"),
    }
    survey.server_version = row.try_get("server_version")?;
    let is_without_rowid = row.try_get::<i64, _>("is_without_rowid")? != 0;
    let statement: String = row.try_get::<Option<String>, _>("statement")?.unwrap_or_default();
    read_columns(connection, name, &mut survey).await?;
    survey.checks = create_statement::checks(&statement, &survey.columns);
    read_indexes(connection, name, &mut survey).await?;
    read_foreign_keys(connection, name, &mut survey).await?;
    read_triggers(connection, name, &mut survey).await?;
    read_values(connection, &mut survey, !is_without_rowid).await?;
    Ok(survey)
}

/// The tables that look like queues, by name.
///
/// # Errors
///
/// If the file cannot be read.
pub async fn tables(connection: &mut SqliteConnection) -> Result<Vec<Candidate>> {
    let query = sqlx::query(include_str!("sql/sqlite/candidates.sql")).bind(COLUMNS_MAX);
    let rows = query.fetch_all(&mut *connection).await.context("the file's schema cannot be read")?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let column: String = row.try_get("column_name")?;
        if looks_like_a_state(&column) {
            found.entry(row.try_get("name")?).or_default().push(column);
        }
    }
    let candidate =
        |(name, columns): (String, Vec<String>)| Candidate { table: TableName::new(name), rows_estimate: -1, columns };
    let most = usize::try_from(CANDIDATES_MAX).unwrap_or(usize::MAX);
    Ok(found.into_iter().map(candidate).take(most).collect())
}

fn looks_like_a_state(column: &str) -> bool {
    let plain = column.to_ascii_lowercase().replace('_', "");
    STATE_ENDINGS.iter().any(|ending| plain.ends_with(ending))
        || STATE_SIGNS.split_ascii_whitespace().any(|sign| sign == plain || plain.strip_prefix("is") == Some(sign))
}

/// Runs one of the statements about the schema whose only bind is the table.
async fn fetch(connection: &mut SqliteConnection, sql: &'static str, table: &str) -> Result<Vec<SqliteRow>> {
    sqlx::query(sql)
        .bind(table.to_owned())
        .fetch_all(&mut *connection)
        .await
        .with_context(|| format!("the schema of the table {table:?} cannot be read"))
}

async fn read_columns(connection: &mut SqliteConnection, name: &str, survey: &mut Survey) -> Result<()> {
    let mut key = BTreeMap::new();
    for row in fetch(connection, include_str!("sql/sqlite/columns.sql"), name).await? {
        let type_name: String = row.try_get::<Option<String>, _>("type_name")?.unwrap_or_default();
        let place: i64 = row.try_get("pk")?;
        let column = SurveyColumn {
            name: row.try_get("name")?,
            kind: kind(&type_name),
            is_nullable: row.try_get::<i64, _>("not_null")? == 0,
            default: row.try_get("default_value")?,
            is_generated: row.try_get::<i64, _>("hidden")? > 1,
            is_identity: place > 0 && type_name.eq_ignore_ascii_case("integer"),
            enum_labels: Vec::new(),
            comment: None,
            values: None,
            type_name,
        };
        if place > 0 {
            key.insert(place, column.name.clone());
        }
        survey.columns.push(column);
    }
    survey.primary_key = key.into_values().collect();
    Ok(())
}

async fn read_indexes(connection: &mut SqliteConnection, name: &str, survey: &mut Survey) -> Result<()> {
    for row in fetch(connection, include_str!("sql/sqlite/indexes.sql"), name).await? {
        let index: String = row.try_get("name")?;
        let column: String = row.try_get::<Option<String>, _>("column_name")?.unwrap_or("(expression)".to_owned());
        match survey.indexes.last_mut().filter(|last| last.name == index) {
            Some(last) => last.columns.push(column),
            None => {
                let definition: String = row.try_get::<Option<String>, _>("statement")?.unwrap_or_default();
                let is_partial = row.try_get::<i64, _>("is_partial")? != 0;
                survey.indexes.push(IndexInfo {
                    name: index,
                    columns: vec![column],
                    predicate: is_partial.then(|| predicate(&definition)),
                    unique: row.try_get::<i64, _>("is_unique")? != 0,
                    valid: true,
                    definition,
                });
            }
        }
    }
    let is_key = |index: &&IndexInfo| {
        index.unique
            && index.predicate.is_none()
            && index.columns.iter().all(|name| survey.column(name).is_some())
            && index.columns != survey.primary_key
    };
    let keys: Vec<Vec<String>> = survey.indexes.iter().filter(is_key).map(|index| index.columns.clone()).collect();
    survey.unique_keys = keys;
    Ok(())
}

/// The predicate in the statement of a partial index: what follows its last `where`.
fn predicate(statement: &str) -> String {
    let at = statement.to_ascii_lowercase().rfind("where").map_or(statement.len(), |at| at + "where".len());
    statement[at..].trim().to_owned()
}

async fn read_foreign_keys(connection: &mut SqliteConnection, name: &str, survey: &mut Survey) -> Result<()> {
    for row in fetch(connection, include_str!("sql/sqlite/foreign_keys.sql"), name).await? {
        let id = row.try_get::<i64, _>("id")?.to_string();
        if survey.foreign_keys.last().is_none_or(|last| last.name != id) {
            let parent = row.try_get("parent")?;
            survey.foreign_keys.push(ForeignKey { name: id, parent, ..ForeignKey::default() });
        }
        if let Some(last) = survey.foreign_keys.last_mut() {
            last.columns.push(row.try_get("column_name")?);
            last.parent_columns.extend(row.try_get::<Option<String>, _>("parent_column")?);
        }
    }
    Ok(())
}

async fn read_triggers(connection: &mut SqliteConnection, name: &str, survey: &mut Survey) -> Result<()> {
    for row in fetch(connection, include_str!("sql/sqlite/triggers.sql"), name).await? {
        let statement: String = row.try_get("statement")?;
        survey.triggers.push(TriggerInfo {
            name: row.try_get("name")?,
            when: moment(&statement),
            source: Some(statement),
        });
    }
    Ok(())
}

/// When a trigger runs, from its statement: `create trigger name [before|after|instead of] update [of …] on table`.
fn moment(statement: &str) -> String {
    let lower = statement.to_ascii_lowercase();
    let head: Vec<&str> = lower.split_whitespace().take_while(|word| *word != "on" && *word != "begin").collect();
    let time = ["before", "instead"].into_iter().find(|time| head.contains(time));
    let time = time.map_or("after", |time| if time == "instead" { "instead of" } else { time });
    let event = head.iter().rev().find(|word| matches!(**word, "insert" | "update" | "delete"));
    format!("{time} {}", event.unwrap_or(&"update"))
}

/// The histograms: of a small table from all its rows; of a large one from its first and its last rows. The first alone
/// would show what was done long ago, the last alone what waits.
async fn read_values(connection: &mut SqliteConnection, survey: &mut Survey, has_rowid: bool) -> Result<()> {
    let table = quote_identifier(survey.table.name());
    let sql = format!("select count(*) as n from (select 1 from {table} limit {})", SAMPLE_ROWS_MAX + 1);
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await.context("the table cannot be read")?;
    let rows: i64 = row.try_get("n")?;
    let is_whole = rows <= SAMPLE_ROWS_MAX;
    let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(|name| has_rowid && survey.column(name).is_none());
    let names = sampling::sampled_names(&survey.columns);
    if !names.is_empty() {
        let half = SAMPLE_ROWS_MAX / 2;
        let sql = sampling::statement(Database::Sqlite, &names, |columns| match rowid {
            _ if is_whole => format!("select {columns} from {table}"),
            Some(rowid) => format!(
                "select * from (select {columns} from {table} order by {rowid} limit {half})
                 union all
                 select * from (select {columns} from {table} order by {rowid} desc limit {half})"
            ),
            None => format!("select {columns} from {table} limit {SAMPLE_ROWS_MAX}"),
        });
        let answer = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *connection).await;
        let rows = answer.context("the table's rows cannot be read")?;
        let counted = rows.iter().map(counted).collect::<Result<Vec<_>, sqlx::Error>>()?;
        sampling::assign(&mut survey.columns, &names, sampling::histograms(counted, is_whole), is_whole);
    }
    if is_whole {
        (survey.rows_estimate, survey.rows_are_exact) = (rows, true);
        return Ok(());
    }
    survey.rows_estimate = rows_estimate(connection, &table, survey.table.name(), rowid).await?;
    for name in sampling::listed_by_index(&survey.columns, &survey.indexes) {
        let sql = sampling::distinct_values_statement(&table, &name, Database::Sqlite);
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *connection).await?;
        let values = rows.iter().map(|row| row.try_get("value")).collect::<Result<Vec<String>, sqlx::Error>>()?;
        let column = survey.columns.iter_mut().find(|column| column.name == name);
        if let Some(histogram) = column.and_then(|column| column.values.as_mut()) {
            sampling::add_unsampled(histogram, values);
        }
    }
    Ok(())
}

fn counted(row: &SqliteRow) -> Result<Counted, sqlx::Error> {
    Ok(Counted {
        column: row.try_get("number")?,
        value: row.try_get("value")?,
        rows: row.try_get("n")?,
        distinct: row.try_get("distinct_values")?,
        sampled: row.try_get("sampled")?,
    })
}

/// The number of rows of a large table: as `analyze` counted it, else as the rowids reach; -1 if neither tells it.
async fn rows_estimate(connection: &mut SqliteConnection, table: &str, name: &str, rowid: Option<&str>) -> Result<i64> {
    let has_statistics = "select count(*) as n from sqlite_schema where name = 'sqlite_stat1'";
    let row = sqlx::query(has_statistics).fetch_one(&mut *connection).await?;
    if row.try_get::<i64, _>("n")? > 0 {
        let sql = "select max(cast(stat as integer)) as n from sqlite_stat1 where tbl = ?1 collate nocase";
        let row = sqlx::query(sql).bind(name.to_owned()).fetch_one(&mut *connection).await?;
        if let Some(rows) = row.try_get::<Option<i64>, _>("n")? {
            return Ok(rows);
        }
    }
    let Some(rowid) = rowid else { return Ok(-1) };
    let sql = format!("select (select max({rowid}) from {table}) - (select min({rowid}) from {table}) + 1 as n");
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
    Ok(row.try_get::<Option<i64>, _>("n").ok().flatten().unwrap_or(-1))
}

/// What a column is meant for, from its declared type. SQLite itself only knows the affinity, which follows the same
/// order: a type that contains INT holds integers, whatever else it says.
fn kind(declared: &str) -> TypeKind {
    let declared = declared.to_ascii_uppercase();
    let (base, width) = match declared.split_once('(') {
        Some((base, rest)) => (base.trim(), rest.split([')', ',']).next().and_then(|n| n.trim().parse().ok())),
        None => (declared.as_str(), None),
    };
    let has = |parts: &[&str]| parts.iter().any(|part| base.contains(part));
    if has(&["BOOL"]) {
        TypeKind::Boolean
    } else if has(&["BIGINT", "INT8"]) {
        TypeKind::BigInt
    } else if has(&["SMALLINT", "TINYINT", "INT2"]) {
        TypeKind::SmallInt
    } else if has(&["INT"]) {
        TypeKind::Integer
    } else if has(&["VARCHAR", "VARYING"]) {
        TypeKind::Varchar(width)
    } else if has(&["CHAR"]) {
        width.map_or(TypeKind::Text, TypeKind::Char)
    } else if has(&["CLOB", "TEXT"]) {
        TypeKind::Text
    } else if has(&["BLOB"]) {
        TypeKind::Bytea
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        TypeKind::Float
    } else if has(&["TIMESTAMPTZ"]) {
        TypeKind::Timestamptz
    } else if has(&["DATETIME", "TIMESTAMP"]) {
        TypeKind::Timestamp
    } else if has(&["DATE"]) {
        TypeKind::Date
    } else if has(&["JSON"]) {
        TypeKind::Json
    } else if has(&["UUID"]) {
        TypeKind::Uuid
    } else if has(&["NUMERIC", "DECIMAL"]) {
        TypeKind::Numeric
    } else {
        TypeKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_say_what_a_column_is_meant_for() {
        assert_eq!(kind("varchar(15)"), TypeKind::Varchar(Some(15)));
        assert_eq!(kind("CHAR(32)"), TypeKind::Char(32));
        assert_eq!(kind("datetime"), TypeKind::Timestamp);
        assert_eq!(kind("integer"), TypeKind::Integer);
        assert_eq!(kind("bool"), TypeKind::Boolean);
        assert_eq!(kind(""), TypeKind::Other);
    }

    #[test]
    fn the_moment_of_a_trigger_is_read_from_its_statement() {
        assert_eq!(moment("create trigger t before update on jobs begin select 1; end"), "before update");
        assert_eq!(moment("CREATE TRIGGER t UPDATE OF a, b ON jobs BEGIN select 1; END"), "after update");
        assert_eq!(moment("create trigger t\n after insert on jobs begin update jobs set a = 1; end"), "after insert");
    }

    #[test]
    fn columns_that_look_like_a_state() {
        for name in ["status", "taggingStatus", "is_done", "processedAt", "locked_by", "issue_state"] {
            assert!(looks_like_a_state(name), "{name}");
        }
        assert!(!looks_like_a_state("created_at"));
    }
}
