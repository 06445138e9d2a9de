//! A survey of a table of PostgreSQL, from 14 on.

use anyhow::{Context as _, Result, bail};
use rowlock::TableName;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::sampling::{self, Counted};
use super::{
    CANDIDATES_MAX, Candidate, CheckConstraint, Database, ForeignKey, Histogram, IndexInfo, RowSecurity,
    SAMPLE_ROWS_MAX, Statistics, Survey, SurveyColumn, TriggerInfo, TypeKind, VALUES_MAX, quote_table,
};

/// A file of at most this size is read from its start, as far as the sample reaches. A table whose rows died is larger
/// than its live rows need.
const READ_WHOLE_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// The size of a page, as the server is built nearly everywhere; a sample by pages needs no more than its order.
const PAGE_BYTES: i64 = 8192;

/// Pages that a sample takes from a large table: with few rows in a page it has fewer than [`SAMPLE_ROWS_MAX`] rows.
const SAMPLE_PAGES: i64 = 1000;

/// How long one statement may read rows.
const SAMPLE_TIMEOUT: &str = "set local statement_timeout = '5s'";

/// The widest value, in bytes on average, of a column whose statistics are read.
const STATISTICS_WIDTH_MAX: i32 = 128;

/// The longest source of a trigger's function that is read, in characters.
const SOURCE_CHARS_MAX: i32 = 20_000;

/// Names of columns that look like a state.
const STATE_NAMES: &str = "(^|_)(status|state|phase)$|(status|state)$|^(is_)?(processed|done|completed|failed)$\
                           |^(processed|completed|done|finished|sent|delivered|claimed|locked|failed)_?at$\
                           |^(claimed|locked)_?by$";

/// What the catalogue says of the table as a whole.
struct Relation {
    bytes: i64,
    rows_estimate: i64,
    is_partitioned: bool,
}

/// Surveys a table. It reads only, and each read of rows has a time-out of its own: what it could not read in time is
/// left out.
///
/// # Errors
///
/// If the table does not exist, if it is a view or a foreign table, or if the catalogue cannot be read.
pub async fn survey(connection: &mut PgConnection, table: &TableName) -> Result<Survey> {
    let name = quote_table(table);
    let mut survey = Survey::empty(Database::Postgres, table.clone());
    let relation = read_relation(connection, &name, &mut survey).await?;
    let readable = read_columns(connection, &name, &mut survey).await?;
    read_constraints(connection, &name, &mut survey).await?;
    read_indexes(connection, &name, &mut survey).await?;
    read_programs(connection, &name, &mut survey).await?;
    let names = sampling::sampled_names(&survey.columns);
    let names: Vec<String> = names.into_iter().filter(|name| readable.contains(name)).collect();
    read_values(connection, &mut survey, &relation, names).await?;
    Ok(survey)
}

/// The tables that look like queues, the largest first.
///
/// # Errors
///
/// If the catalogue cannot be read.
pub async fn tables(connection: &mut PgConnection) -> Result<Vec<Candidate>> {
    let query = sqlx::query(include_str!("sql/postgres/candidates.sql")).bind(STATE_NAMES).bind(CANDIDATES_MAX);
    let rows = query.fetch_all(&mut *connection).await.context("the catalogue of tables cannot be read")?;
    let mut candidates = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: String = row.try_get("name")?;
        let table = if row.try_get("is_in_search_path")? {
            TableName::new(name)
        } else {
            TableName::in_schema(row.try_get::<String, _>("schema")?, name)
        };
        let rows_estimate = row.try_get("rows_estimate")?;
        candidates.push(Candidate { table, rows_estimate, columns: row.try_get("columns")? });
    }
    Ok(candidates)
}

/// Runs one of the statements about the catalogue whose only bind is the table.
async fn fetch(connection: &mut PgConnection, sql: &'static str, table: &str) -> Result<Vec<PgRow>> {
    sqlx::query(sql)
        .bind(table)
        .fetch_all(&mut *connection)
        .await
        .with_context(|| format!("the catalogue cannot be read for the table {table}"))
}

async fn read_relation(connection: &mut PgConnection, name: &str, survey: &mut Survey) -> Result<Relation> {
    let rows = fetch(connection, include_str!("sql/postgres/relation.sql"), name).await?;
    let Some(row) = rows.first() else {
        bail!("there is no table {name}, or this role may not use its schema: name it as schema.table");
    };
    let kind: String = row.try_get("kind")?;
    match kind.as_str() {
        "r" | "p" => {}
        "v" | "m" => bail!("{name} is a view: a queue needs a table; name the one behind it"),
        "f" => bail!("{name} is a foreign table: a queue needs a table of this server"),
        _ => bail!("{name} is no table (pg_class calls it {kind:?}): a queue needs one"),
    }
    survey.server_version = row.try_get("server_version")?;
    survey.is_partitioned = kind == "p";
    survey.partition_columns = row.try_get("partition_columns")?;
    survey.rows_estimate = row.try_get("rows_estimate")?;
    survey.options = row.try_get("options")?;
    survey.is_published = row.try_get("is_published")?;
    survey.replica_identity = row.try_get("replica_identity")?;
    survey.row_security = RowSecurity {
        enabled: row.try_get("has_row_security")?,
        forced: row.try_get("is_row_security_forced")?,
        applies_to_me: row.try_get("is_row_security_active")?,
        policies: Vec::new(),
    };
    if row.try_get("is_counted")? {
        survey.statistics = Some(Statistics {
            n_live_tup: row.try_get("n_live_tup")?,
            n_dead_tup: row.try_get("n_dead_tup")?,
            n_tup_ins: row.try_get("n_tup_ins")?,
            n_tup_upd: row.try_get("n_tup_upd")?,
            n_tup_hot_upd: row.try_get("n_tup_hot_upd")?,
            last_vacuum: row.try_get("last_vacuum")?,
            last_analyze: row.try_get("last_analyze")?,
        });
    }
    Ok(Relation {
        bytes: row.try_get("bytes")?,
        rows_estimate: survey.rows_estimate,
        is_partitioned: survey.is_partitioned,
    })
}

/// Reads the columns, and returns the names of those that this role may read.
async fn read_columns(connection: &mut PgConnection, name: &str, survey: &mut Survey) -> Result<Vec<String>> {
    let mut readable = Vec::new();
    for row in fetch(connection, include_str!("sql/postgres/columns.sql"), name).await? {
        let column = SurveyColumn {
            name: row.try_get("name")?,
            type_name: row.try_get("type_name")?,
            kind: kind(&row.try_get::<String, _>("base_type")?, row.try_get("is_enum")?, row.try_get("chars_max")?),
            is_nullable: row.try_get("is_nullable")?,
            default: row.try_get("default_value")?,
            is_generated: row.try_get("is_generated")?,
            is_identity: row.try_get("is_identity")?,
            enum_labels: row.try_get("enum_labels")?,
            comment: row.try_get("comment")?,
            values: None,
        };
        if row.try_get("is_readable")? {
            readable.push(column.name.clone());
        }
        survey.columns.push(column);
    }
    Ok(readable)
}

async fn read_constraints(connection: &mut PgConnection, name: &str, survey: &mut Survey) -> Result<()> {
    for row in fetch(connection, include_str!("sql/postgres/checks.sql"), name).await? {
        survey.checks.push(CheckConstraint {
            name: row.try_get("name")?,
            definition: row.try_get("definition")?,
            columns: row.try_get("columns")?,
        });
    }
    for row in fetch(connection, include_str!("sql/postgres/foreign_keys.sql"), name).await? {
        survey.foreign_keys.push(ForeignKey {
            name: row.try_get("name")?,
            columns: row.try_get("columns")?,
            parent: row.try_get("parent")?,
            parent_columns: row.try_get("parent_columns")?,
        });
    }
    Ok(())
}

async fn read_indexes(connection: &mut PgConnection, name: &str, survey: &mut Survey) -> Result<()> {
    for row in fetch(connection, include_str!("sql/postgres/indexes.sql"), name).await? {
        let columns: Vec<String> = row.try_get("columns")?;
        if row.try_get("is_primary")? {
            survey.primary_key.clone_from(&columns);
        } else if row.try_get("is_key")? {
            survey.unique_keys.push(columns.clone());
        }
        survey.indexes.push(IndexInfo {
            name: row.try_get("name")?,
            columns,
            predicate: row.try_get("predicate")?,
            unique: row.try_get("is_unique")?,
            valid: row.try_get("is_valid")?,
            definition: row.try_get("definition")?,
        });
    }
    Ok(())
}

/// Triggers and policies: what the owner's own programs do to a row.
async fn read_programs(connection: &mut PgConnection, name: &str, survey: &mut Survey) -> Result<()> {
    let triggers = sqlx::query(include_str!("sql/postgres/triggers.sql")).bind(name).bind(SOURCE_CHARS_MAX);
    for row in triggers.fetch_all(&mut *connection).await.context("the catalogue of triggers cannot be read")? {
        survey.triggers.push(TriggerInfo {
            name: row.try_get("name")?,
            when: row.try_get("moment")?,
            source: row.try_get("source")?,
        });
    }
    for row in fetch(connection, include_str!("sql/postgres/policies.sql"), name).await? {
        survey.row_security.policies.push(row.try_get("policy")?);
    }
    Ok(())
}

/// The histograms: of a small table from all its rows; of a large one from the planner's statistics, and from pages
/// here and there where there are none. Then what indexes know beyond them.
async fn read_values(
    connection: &mut PgConnection,
    survey: &mut Survey,
    relation: &Relation,
    names: Vec<String>,
) -> Result<()> {
    let table = quote_table(&survey.table);
    if relation.bytes <= READ_WHOLE_BYTES_MAX && relation.rows_estimate <= 2 * SAMPLE_ROWS_MAX {
        let limit = SAMPLE_ROWS_MAX + 1;
        let sql = sampling::statement(Database::Postgres, &names, |columns| {
            format!("select {columns} from {table} limit {limit}")
        });
        if let Some(counted) = sample(connection, sql).await? {
            let sampled = counted.first().map_or(0, |row| row.sampled);
            if sampled < limit {
                sampling::assign(&mut survey.columns, &names, sampling::histograms(counted, true), true);
                if !names.is_empty() {
                    (survey.rows_estimate, survey.rows_are_exact) = (sampled, true);
                }
                return Ok(());
            }
        }
    }
    read_statistics(connection, &table, survey, &names).await?;
    let is_unknown = |name: &&String| survey.column(name).is_some_and(|column| column.values.is_none());
    let unknown: Vec<String> = names.iter().filter(is_unknown).cloned().collect();
    if !unknown.is_empty() {
        let pages = (relation.bytes / PAGE_BYTES).max(1);
        let percent = sampled_percent(pages);
        let sql = sampling::statement(Database::Postgres, &unknown, |columns| {
            format!("select {columns} from {table} tablesample system ({percent}) limit {SAMPLE_ROWS_MAX}")
        });
        // Nothing in the pages that were drawn says nothing of the table.
        if let Some(counted) = sample(connection, sql).await?.filter(|counted| !counted.is_empty()) {
            sampling::assign(&mut survey.columns, &unknown, sampling::histograms(counted, false), false);
        }
    }
    // The index of a partitioned table is one for each partition, along which no single walk goes.
    if !relation.is_partitioned {
        read_distinct_values(connection, &table, survey).await?;
    }
    Ok(())
}

/// The share of the pages that a sample takes, as the text of a number.
fn sampled_percent(pages: i64) -> String {
    let thousandths = (SAMPLE_PAGES * 100_000 / pages.max(1)).clamp(1, 100_000);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// Runs a statement that reads rows; `None` if it could not. It runs in a transaction, or behind a savepoint of the
/// caller's, that is rolled back: an error or the time-out harms nothing else.
async fn sample(connection: &mut PgConnection, sql: String) -> Result<Option<Vec<Counted>>> {
    let mut transaction = connection.begin().await.context("a transaction cannot begin")?;
    sqlx::query(SAMPLE_TIMEOUT).execute(&mut *transaction).await.context("a time-out cannot be set")?;
    let answer = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *transaction).await;
    transaction.rollback().await.context("the connection was lost while rows were read")?;
    let Ok(rows) = answer else { return Ok(None) };
    let counted = rows.iter().map(counted).collect::<Result<Vec<_>, sqlx::Error>>();
    Ok(Some(counted.context("the counted values cannot be read")?))
}

fn counted(row: &PgRow) -> Result<Counted, sqlx::Error> {
    Ok(Counted {
        column: row.try_get("number")?,
        value: row.try_get("value")?,
        rows: row.try_get("n")?,
        distinct: row.try_get("distinct_values")?,
        sampled: row.try_get("sampled")?,
    })
}

async fn read_statistics(
    connection: &mut PgConnection,
    table: &str,
    survey: &mut Survey,
    names: &[String],
) -> Result<()> {
    let query = sqlx::query(include_str!("sql/postgres/statistics.sql")).bind(table).bind(STATISTICS_WIDTH_MAX);
    let rows = query.fetch_all(&mut *connection).await.context("the planner's statistics cannot be read")?;
    for row in &rows {
        let name: String = row.try_get("name")?;
        if !names.contains(&name) {
            continue;
        }
        let known = Known {
            null_share: row.try_get("null_share")?,
            distinct_values: row.try_get("distinct_values")?,
            common: row.try_get::<Vec<String>, _>("common_values")?,
            shares: row.try_get::<Vec<f64>, _>("common_shares")?,
            examples: row.try_get::<Vec<Option<String>>, _>("examples")?.into_iter().flatten().collect(),
        };
        if let Some(column) = survey.columns.iter_mut().find(|column| column.name == name) {
            column.values = Some(known.histogram(column.kind));
        }
    }
    Ok(())
}

/// What the planner knows of a column.
struct Known {
    null_share: f64,
    /// Below zero: a share of the rows.
    distinct_values: f64,
    common: Vec<String>,
    shares: Vec<f64>,
    examples: Vec<String>,
}

impl Known {
    /// The shares as rows of a sample of [`SAMPLE_ROWS_MAX`] rows, which is about what they stand on.
    fn histogram(self, kind: TypeKind) -> Histogram {
        let shown = |value: String| match (kind, value.as_str()) {
            (TypeKind::Boolean, "t") => "true".to_owned(),
            (TypeKind::Boolean, "f") => "false".to_owned(),
            _ => value,
        };
        let mut values: Vec<(Option<String>, i64)> = Vec::new();
        if self.null_share > 0.0 {
            values.push((None, rows(self.null_share)));
        }
        let different = self.common.len();
        let listed: f64 = self.shares.iter().sum::<f64>() + self.null_share;
        let common = self.common.into_iter().map(shown).zip(self.shares);
        values.extend(common.map(|(value, share)| (Some(value), rows(share))));
        values.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        let most = usize::try_from(VALUES_MAX).unwrap_or(usize::MAX);
        let has_more = different > most || self.distinct_values < 0.0 || (listed < 0.999 && !self.examples.is_empty());
        values.truncate(most);
        let mut histogram = Histogram { sampled: SAMPLE_ROWS_MAX, is_whole: false, values, has_more };
        sampling::add_unsampled(&mut histogram, self.examples.into_iter().map(shown).collect());
        histogram
    }
}

/// A share of the sample, in rows.
#[expect(clippy::cast_possible_truncation, reason = "a share of ten thousand is small")]
fn rows(share: f64) -> i64 {
    (share * SAMPLE_ROWS_MAX as f64).round() as i64
}

/// Rare words are in no sample: where an index begins with the column, it lists them.
async fn read_distinct_values(connection: &mut PgConnection, table: &str, survey: &mut Survey) -> Result<()> {
    for name in sampling::listed_by_index(&survey.columns, &survey.indexes) {
        let sql = sampling::distinct_values_statement(table, &name, Database::Postgres);
        let mut transaction = connection.begin().await.context("a transaction cannot begin")?;
        sqlx::query(SAMPLE_TIMEOUT).execute(&mut *transaction).await.context("a time-out cannot be set")?;
        let answer = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *transaction).await;
        transaction.rollback().await.context("the connection was lost while an index was read")?;
        let Ok(rows) = answer else { continue };
        let values = rows.iter().map(|row| row.try_get("value")).collect::<Result<Vec<String>, sqlx::Error>>()?;
        let column = survey.columns.iter_mut().find(|column| column.name == name);
        if let Some(histogram) = column.and_then(|column| column.values.as_mut()) {
            sampling::add_unsampled(histogram, values);
        }
    }
    Ok(())
}

fn kind(base_type: &str, is_enum: bool, chars_max: Option<i32>) -> TypeKind {
    match base_type {
        _ if is_enum => TypeKind::Enum,
        "text" | "citext" | "name" => TypeKind::Text,
        "character varying" => TypeKind::Varchar(chars_max),
        "character" | "bpchar" => chars_max.map_or(TypeKind::Text, TypeKind::Char),
        "boolean" => TypeKind::Boolean,
        "smallint" => TypeKind::SmallInt,
        "integer" => TypeKind::Integer,
        "bigint" => TypeKind::BigInt,
        "uuid" => TypeKind::Uuid,
        "timestamp with time zone" => TypeKind::Timestamptz,
        "timestamp without time zone" => TypeKind::Timestamp,
        "date" => TypeKind::Date,
        "json" => TypeKind::Json,
        "jsonb" => TypeKind::Jsonb,
        "bytea" => TypeKind::Bytea,
        "real" | "double precision" => TypeKind::Float,
        "numeric" => TypeKind::Numeric,
        _ => TypeKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_a_large_table_takes_few_of_its_pages() {
        assert_eq!(sampled_percent(10), "100.000");
        assert_eq!(sampled_percent(100_000), "1.000");
        assert_eq!(sampled_percent(20_000_000), "0.005");
        assert_eq!(sampled_percent(i64::MAX), "0.001");
    }

    #[test]
    fn the_planners_statistics_become_rows_of_a_sample() {
        let known = Known {
            null_share: 0.25,
            distinct_values: 2.0,
            common: vec!["f".to_owned(), "t".to_owned()],
            shares: vec![0.5, 0.25],
            examples: Vec::new(),
        };
        let histogram = known.histogram(TypeKind::Boolean);
        assert_eq!(histogram.rows_with("false"), Some(5000));
        assert_eq!(histogram.rows_with("true"), Some(2500));
        assert_eq!((histogram.nulls(), histogram.has_more), (2500, false));
    }
}
