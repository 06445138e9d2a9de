//! The cost of each statement of a run, and how much it grows with more items.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

/// Fewer calls than this say little about the effect of more items: a sweep reads what is in progress at its moment.
const CALLS_MIN: f64 = 10.0;

/// Blocks a row that do not count as growth: a tree may have one more level.
const BLOCKS_MIN: f64 = 4.0;

/// By the statement's text without its constants: the statements' ids differ between databases.
pub(crate) type Statements = BTreeMap<String, Cost>;

/// The cost of all calls of a statement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) calls: f64,
    /// The rows that it returned, or that it wrote if it is a plain write.
    pub(crate) rows: f64,
    /// The log records that it wrote: a statement that returns a number may have written many rows.
    pub(crate) log_records: f64,
    pub(crate) blocks: f64,
    pub(crate) mean_ms: f64,
}

impl Cost {
    /// If a statement returns a number, the log shows how much it wrote. A call that returns nothing has still looked.
    fn blocks_per_row(self) -> f64 {
        self.blocks / (self.rows.max(self.log_records) + self.calls)
    }
}

pub(crate) async fn read(admin: &mut PgConnection, database: &str) -> Result<Statements> {
    let rows: Vec<(String, f64, f64, f64, f64, f64)> = sqlx::query_as(
        "select query, sum(calls)::float8, sum(rows)::float8, sum(wal_records)::float8, \
         sum(shared_blks_hit + shared_blks_read)::float8,
                sum(total_exec_time)::float8 / sum(calls)::float8
         from pg_stat_statements
         where dbid = (select oid from pg_database where datname = $1)
           and query not like '%pg_stat_user_tables%'
         group by query",
    )
    .bind(database)
    .fetch_all(admin)
    .await?;
    let cost = |(query, calls, rows, log_records, blocks, mean_ms)| {
        (query, Cost { calls, rows, log_records, blocks, mean_ms })
    };
    Ok(rows.into_iter().map(cost).filter(|(_, cost)| cost.calls >= CALLS_MIN).collect())
}

/// The statement whose blocks a row grew most from one run to another, and the factor. A statement that only one of
/// them ran cannot be compared.
pub(crate) fn worst_growth<'a>(few: &Statements, many: &'a Statements) -> Option<(&'a str, f64)> {
    let growth = |(text, cost): (&'a String, &Cost)| {
        let before = few.get(text)?.blocks_per_row().max(BLOCKS_MIN);
        Some((text.as_str(), cost.blocks_per_row().max(BLOCKS_MIN) / before))
    };
    many.iter().filter_map(growth).max_by(|one, other| one.1.total_cmp(&other.1))
}

/// The longest mean time of a call.
pub(crate) fn slowest_mean_ms(statements: &Statements) -> f64 {
    statements.values().map(|cost| cost.mean_ms).fold(0.0, f64::max)
}

/// The most blocks a row.
pub(crate) fn worst_blocks_per_row(statements: &Statements) -> f64 {
    statements.values().map(|cost| cost.blocks_per_row()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_statement_is_the_one_that_grew_and_not_the_hungriest() {
        let costs = |list: &[(&str, f64)]| -> Statements {
            let cost =
                |blocks| Cost { calls: 10.0, rows: 90.0, log_records: 0.0, blocks: blocks * 100.0, mean_ms: 1.0 };
            list.iter().map(|(text, blocks)| ((*text).to_owned(), cost(*blocks))).collect()
        };
        let few = costs(&[("claim", 10.0), ("count", 1_000.0), ("tiny", 0.1)]);
        let many = costs(&[("claim", 30.0), ("count", 1_100.0), ("tiny", 0.9), ("new", 9_000.0)]);
        assert_eq!(worst_growth(&few, &many), Some(("claim", 3.0)));
    }

    #[test]
    fn a_statement_that_answers_with_a_number_is_as_dear_as_what_it_writes() {
        let of = |log_records, blocks| {
            let cost = Cost { calls: 10.0, rows: 10.0, log_records, blocks, mean_ms: 1.0 };
            Statements::from([("complete".to_owned(), cost)])
        };
        let growth = |blocks| worst_growth(&of(990.0, 10_000.0), &of(3_990.0, blocks)).map(|(_, growth)| growth);
        assert_eq!((growth(40_000.0), growth(80_000.0)), (Some(1.0), Some(2.0)));
    }
}
