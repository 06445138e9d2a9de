//! The three indexes: whether they exist, and building them while others go on reading and writing the table.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::rows::column;
use super::session::{Session, query};
use super::statements::SCHEMA;
use super::store::PostgresStore;
use crate::Result;
use crate::store::identifier::quote_identifier;
use crate::store::template::{Template, step};

/// The indexes: each is a step of `SCHEMA` and the variable for the index's name.
pub(super) const INDEXES: [&str; 3] = ["ready_index", "running_index", "stopped_index"];

/// Time between two tries for the lock under which indexes are built.
pub(super) const LOCK_RETRY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexState {
    Missing,
    Invalid,
    Valid,
}

/// The tables that hold the rows of a partitioned table; none if it is not partitioned.
const LEAVES: &str = "select t.relid::regclass::text as leaf, t.relid::oid::text as number
from pg_partition_tree(to_regclass($1)) t
join pg_class c on c.oid = t.relid
join pg_class parent on parent.oid = to_regclass($1) and parent.relkind = 'p'
where c.relkind = 'r'";

impl PostgresStore {
    /// Builds the missing indexes. Those of a partitioned table cannot be built while others write to it: each
    /// partition's index is built concurrently, and then attached.
    pub(super) async fn build_indexes(&self, session: &mut Session) -> Result<()> {
        let template = self.ddl_template();
        let mut missing = Vec::new();
        for variable in INDEXES {
            let name = self.index_name(&template, variable);
            if index_state(session, &name).await? != IndexState::Valid {
                missing.push((variable, name, step(SCHEMA, Some(variable))));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        while !try_lock(session, "pg_try_advisory_lock").await? {
            tokio::time::sleep(LOCK_RETRY).await;
        }
        session.run("set statement_timeout = 0").await?;
        let leaves = session.fetch(query(&LEAVES.into()).bind(template.render(":table"))).await?;
        for (variable, name, sql) in missing {
            let state = index_state(session, &name).await?;
            if state == IndexState::Valid {
                continue;
            }
            if leaves.is_empty() {
                build_concurrently(session, &name, state, &template.render(sql)).await?;
                continue;
            }
            // Together with the partitions' indexes that it has adopted.
            if state == IndexState::Invalid {
                session.run(&format!("drop index if exists {name}")).await?;
            }
            for leaf in &leaves {
                let (leaf, number): (String, String) =
                    (column("prepare", leaf, "leaf")?, column("prepare", leaf, "number")?);
                build_of_leaf(session, &template, variable, sql, &leaf, &number).await?;
            }
            // It adopts the indexes of the partitions, and so reads no row.
            session.run(&template.render(sql)).await?;
        }
        session.run(&format!("set statement_timeout = {}", self.sessions.deadline().as_millis().max(1))).await?;
        session.run("select pg_advisory_unlock(hashtext('rowlock prepare'))").await
    }
}

async fn build_concurrently(session: &mut Session, name: &str, state: IndexState, sql: &str) -> Result<()> {
    if state == IndexState::Valid {
        return Ok(());
    }
    // A build was interrupted, which leaves an index that is written but never used.
    if state == IndexState::Invalid {
        session.run(&format!("drop index concurrently if exists {name}")).await?;
    }
    session.run(&sql.replacen("create index", "create index concurrently", 1)).await
}

/// The index of one partition. Its name ends in the partition's number, because the schema may have more of them.
async fn build_of_leaf(
    session: &mut Session,
    template: &Template,
    variable: &str,
    sql: &str,
    leaf: &str,
    number: &str,
) -> Result<()> {
    let parent = template.render(&format!(":{variable}"));
    let name = format!("{}_{number}", parent.trim_matches('"'));
    let schema = "select n.nspname::text as schema from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where c.oid = to_regclass($1)";
    let rows = session.fetch(sqlx::query(AssertSqlSafe(schema)).bind(leaf)).await?;
    let schema: String = rows.first().map_or(Ok(String::new()), |row| column("prepare", row, "schema"))?;
    let qualified = format!("{}.{}", quote_identifier(&schema), quote_identifier(&name));
    let state = index_state(session, &qualified).await?;
    let mut template = template.clone();
    template.insert("table", leaf.to_owned());
    template.insert(variable, quote_identifier(&name));
    build_concurrently(session, &qualified, state, &template.render(sql)).await
}

pub(super) async fn index_state(session: &mut Session, name: &str) -> Result<IndexState> {
    let sql = "select indisvalid as valid from pg_index where indexrelid = to_regclass($1)";
    let rows = session.fetch(sqlx::query(sql).bind(name)).await?;
    Ok(match rows.first().map(|row| column::<bool>("prepare", row, "valid")).transpose()? {
        None => IndexState::Missing,
        Some(false) => IndexState::Invalid,
        Some(true) => IndexState::Valid,
    })
}

/// Tries and does not wait: a concurrent build waits for every running statement and every snapshot, and so for one
/// that would wait for the lock under which it builds.
pub(super) async fn try_lock(session: &mut Session, function: &str) -> Result<bool> {
    let sql = format!("select {function}(hashtext('rowlock prepare')) as locked");
    let rows = session.fetch(sqlx::query(AssertSqlSafe(sql))).await?;
    rows.first().map_or(Ok(false), |row| column("prepare", row, "locked"))
}
