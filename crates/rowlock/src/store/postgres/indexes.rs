//! The indexes: whether they exist, and building them while others go on reading and writing the table.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use super::rows::column;
use super::session::{Session, query};
use super::statements::SCHEMA;
use super::store::PostgresStore;
use crate::Result;
use crate::pipeline::Pipeline;
use crate::store::attach::{AttachStep, Lasting, StepKind, StepLock};
use crate::store::identifier::quote_identifier;
use crate::store::template::{Template, step};

/// The indexes: each is a step of `SCHEMA` and the variable for the index's name. The last one is for a key of several
/// columns.
pub(super) const INDEXES: [&str; 4] = ["ready_index", "running_index", "stopped_index", "key_index"];

/// Time between two tries for the lock under which indexes are built.
pub(super) const LOCK_RETRY: Duration = Duration::from_millis(200);

/// What `attach` and `detach` ask of the catalogue about indexes, as steps.
pub(super) const ATTACH: &str = include_str!("sql/attach.sql");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexState {
    Missing,
    Invalid,
    /// The same, and a part of a partitioned index, together with which it is dropped.
    InvalidPart,
    Valid,
    ValidPart,
}

/// A table that holds rows of a partitioned one.
struct Leaf {
    /// As it is named in SQL.
    table: String,
    /// The schema, quoted.
    schema: String,
    number: String,
}

/// The indexes of a pipeline.
pub(super) fn indexes(pipeline: &Pipeline) -> &'static [&'static str] {
    if pipeline.key_columns().len() > 1 { &INDEXES } else { &INDEXES[..3] }
}

impl PostgresStore {
    /// Builds the missing indexes.
    pub(super) async fn build_indexes(&self, session: &mut Session) -> Result<()> {
        if self.index_steps(session).await?.is_empty() {
            return Ok(());
        }
        while !try_lock(session, "pg_try_advisory_lock").await? {
            tokio::time::sleep(LOCK_RETRY).await;
        }
        session.run("set statement_timeout = 0").await?;
        for step in self.index_steps(session).await? {
            session.run(&step.sql).await?;
        }
        session.run(&format!("set statement_timeout = {}", self.sessions.deadline().as_millis().max(1))).await?;
        session.run("select pg_advisory_unlock(hashtext('rowlock prepare'))").await
    }

    /// What builds the missing indexes, and drops those that were not built to their end. The index of a partitioned
    /// table cannot be built while others write to it: each partition's index is built concurrently, and then adopted.
    pub(super) async fn index_steps(&self, session: &mut Session) -> Result<Vec<AttachStep>> {
        let template = self.ddl_template();
        let lasts = Lasting::of_rows(self.rows_about(session).await?);
        let mut steps = self.remains(session, &template).await?;
        let mut leaves = None;
        for variable in indexes(&self.pipeline).iter().copied() {
            let name = self.index_name(&template, variable);
            let state = index_state(session, &name).await?;
            if matches!(state, IndexState::Valid | IndexState::ValidPart) {
                continue;
            }
            if leaves.is_none() {
                leaves = Some(leaves_of(session, &template).await?);
            }
            match leaves.as_ref().and_then(Option::as_ref) {
                None => steps.extend(build(&name, state, variable, &template, lasts)),
                Some(leaves) => {
                    let is_broken = state == IndexState::Invalid;
                    if is_broken {
                        steps.push(drop_whole(&name));
                    }
                    for leaf in leaves {
                        steps.extend(build_of_leaf(session, &template, variable, leaf, is_broken, lasts).await?);
                    }
                    let sql = template.render(step(SCHEMA, Some(variable)));
                    let why = "adopts the indexes of the partitions, and so reads no row";
                    steps.push(AttachStep::brief(StepKind::Index, StepLock::Writers, name, sql, why));
                }
            }
        }
        Ok(steps)
    }

    /// About how many rows the table has, by the server's statistics.
    pub(super) async fn rows_about(&self, session: &mut Session) -> Result<i64> {
        let sql = step(ATTACH, Some("rows_about"));
        let rows = session.fetch(sqlx::query(sql).bind(self.ddl_template().render(":table"))).await?;
        rows.first().map_or(Ok(0), |row| column("attach", row, "rows_about"))
    }

    /// What drops indexes of earlier definitions that were not built to their end: they are written and never used.
    async fn remains(&self, session: &mut Session, template: &Template) -> Result<Vec<AttachStep>> {
        let current: Vec<String> = INDEXES.iter().map(|variable| bare_name(template, variable)).collect();
        let sql = query(&step(ATTACH, Some("remains")).into());
        let rows = session.fetch(sql.bind(template.render(":table")).bind(current)).await?;
        rows.iter()
            .map(|row| {
                let name: String = column("attach", row, "name")?;
                Ok(if column("attach", row, "is_partitioned")? { drop_whole(&name) } else { drop_broken(&name) })
            })
            .collect()
    }
}

/// What builds an index beside its table's users.
fn build(name: &str, state: IndexState, variable: &str, template: &Template, lasts: Lasting) -> Vec<AttachStep> {
    let mut steps = Vec::new();
    if state == IndexState::Invalid {
        steps.push(drop_broken(name));
    }
    let sql = template.render(step(SCHEMA, Some(variable)));
    let sql = sql.replacen("create index", "create index concurrently", 1);
    let index =
        AttachStep::brief(StepKind::Index, StepLock::SchemaChanges, name.to_owned(), sql, why(variable)).lasting(lasts);
    steps.push(index);
    steps
}

/// The index of one partition. Its name ends in the partition's number, because the schema may have more of them.
async fn build_of_leaf(
    session: &mut Session,
    template: &Template,
    variable: &str,
    leaf: &Leaf,
    is_dropped_before: bool,
    lasts: Lasting,
) -> Result<Vec<AttachStep>> {
    let name = quote_identifier(&format!("{}_{}", bare_name(template, variable), leaf.number));
    let qualified = format!("{}.{name}", leaf.schema);
    let state = match index_state(session, &qualified).await? {
        IndexState::ValidPart | IndexState::InvalidPart if is_dropped_before => IndexState::Missing,
        IndexState::Valid | IndexState::ValidPart => return Ok(Vec::new()),
        IndexState::Invalid | IndexState::InvalidPart => IndexState::Invalid,
        IndexState::Missing => IndexState::Missing,
    };
    let mut template = template.clone();
    template.insert("table", leaf.table.clone());
    template.insert(variable, name);
    Ok(build(&qualified, state, variable, &template, lasts))
}

fn drop_broken(name: &str) -> AttachStep {
    let why = "a build of it was interrupted, which leaves an index that is written but never used";
    let sql = format!("drop index concurrently if exists {name}");
    AttachStep::brief(StepKind::DropIndex, StepLock::SchemaChanges, name.to_owned(), sql, why)
}

/// The index of a partitioned table goes together with the partitions' indexes that it has adopted.
fn drop_whole(name: &str) -> AttachStep {
    let why = "it lacks the index of some partition, or that one was not built to its end";
    let sql = format!("drop index if exists {name}");
    AttachStep::brief(StepKind::DropIndex, StepLock::Everybody, name.to_owned(), sql, why)
}

/// What an index is for.
fn why(variable: &str) -> &'static str {
    match variable {
        "ready_index" => "the queue: a claim reads the next items in their order, and sorts nothing",
        "running_index" => "the items in progress: the sweep, and the search for a claim whose answer was lost",
        "stopped_index" => "items that failed, were cancelled or have an unknown word are counted without a full scan",
        _ => "finds an item by its key, which has several columns",
    }
}

/// The name of an index without its quotes.
pub(super) fn bare_name(template: &Template, variable: &str) -> String {
    template.render(&format!(":{variable}")).trim_matches('"').to_owned()
}

/// The tables that hold the rows of a partitioned table; `None` if it is not partitioned.
async fn leaves_of(session: &mut Session, template: &Template) -> Result<Option<Vec<Leaf>>> {
    let rows = session.fetch(query(&step(ATTACH, Some("leaves")).into()).bind(template.render(":table"))).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let leaf = |row: &PgRow| -> Result<Option<Leaf>> {
        let Some(table) = column::<Option<String>>("attach", row, "leaf")? else { return Ok(None) };
        let schema = quote_identifier(&column::<String>("attach", row, "schema")?);
        Ok(Some(Leaf { table, schema, number: column("attach", row, "number")? }))
    };
    rows.iter().filter_map(|row| leaf(row).transpose()).collect::<Result<Vec<Leaf>>>().map(Some)
}

pub(super) async fn index_state(session: &mut Session, name: &str) -> Result<IndexState> {
    let sql = step(ATTACH, Some("index_state"));
    let rows = session.fetch(sqlx::query(sql).bind(name)).await?;
    let Some(row) = rows.first() else { return Ok(IndexState::Missing) };
    let (is_valid, is_part): (bool, bool) = (column("prepare", row, "valid")?, column("prepare", row, "is_part")?);
    Ok(match (is_valid, is_part) {
        (true, false) => IndexState::Valid,
        (true, true) => IndexState::ValidPart,
        (false, false) => IndexState::Invalid,
        (false, true) => IndexState::InvalidPart,
    })
}

/// Tries and does not wait: a concurrent build waits for every running statement and every snapshot, and so for one
/// that would wait for the lock under which it builds.
pub(super) async fn try_lock(session: &mut Session, function: &str) -> Result<bool> {
    let sql = format!("select {function}(hashtext('rowlock prepare')) as locked");
    let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
    rows.first().map_or(Ok(false), |row| column("prepare", row, "locked"))
}
