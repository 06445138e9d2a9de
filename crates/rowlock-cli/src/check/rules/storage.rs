//! How PostgreSQL keeps the table: dead rows, updates that are not HOT, vacuum, and durability.

use serde::Deserialize;

use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Count, Finding, Rule, Severity, age_text, with_commas};
use crate::check::queue::Queue;
use crate::check::template::{quote_literal, render};

/// Fewer dead rows are a passing state of any table that is updated.
const DEAD_MIN: i64 = 10_000;

/// So many are no passing state, even if vacuum was here a minute ago.
const DEAD_MANY: i64 = 100_000;

/// A vacuum that is this long ago does not keep up with a queue.
const VACUUM_SECS: f64 = 3_600.0;

/// Fewer updates say nothing.
const UPDATES_MIN: i64 = 1_000;

/// From this width on the row itself costs more than the entries in indexes. It is what stands in the row: what is
/// stored out of line does not count.
const WIDE_BYTES: i64 = 500;

/// A share of HOT updates below this is low.
const HOT_SHARE_MIN: f64 = 0.5;

pub(in crate::check) static BLOAT: Rule = Rule {
    id: "bloat",
    title: "Most of the table is dead rows",
    severity: Severity::Warning,
    consequence: "each claim walks over the entries of rows that were finished long ago: it becomes slower with every \
                  row that is worked on",
};

pub(in crate::check) static NOT_HOT: Rule = Rule {
    id: "updates-not-hot",
    title: "Wide rows are rewritten at each change of their state",
    severity: Severity::Warning,
    consequence: "each move copies the whole row and writes an entry in every index, and all of it is dead after the \
                  next move",
};

pub(in crate::check) static AUTOVACUUM_OFF: Rule = Rule {
    id: "autovacuum-off",
    title: "Autovacuum is off for the table",
    severity: Severity::Error,
    consequence: "dead rows are never removed: a queue makes two or three for each row that it works on",
};

pub(in crate::check) static UNLOGGED: Rule = Rule {
    id: "table-unlogged",
    title: "The table is not logged",
    severity: Severity::Error,
    consequence: "a crash of the server empties the table, and a replica has none of it: the queue is lost",
};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Storage {
    live: i64,
    dead: i64,
    updated: i64,
    updated_hot: i64,
    vacuumed_secs_ago: Option<f64>,
    row_bytes: i64,
    unlogged: i64,
    autovacuum_off: i64,
}

/// Asks the catalogue and the statistics views; nothing on SQLite.
pub(in crate::check) async fn ask(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    if !queue.is_postgres() {
        return Ok(Vec::new());
    }
    let table = quote_literal(&queue.table(), true);
    let sql = render(include_str!("../sql/postgres/storage.sql"), &[("table_text", table.as_str())]);
    let storage: Vec<Storage> = asker.rows(&sql).await?;
    Ok(storage.first().map(|storage| findings(queue, storage)).unwrap_or_default())
}

fn findings(queue: Queue<'_>, storage: &Storage) -> Vec<Finding> {
    let table = queue.table();
    let mut findings = Vec::new();
    if is_bloated(storage) {
        let vacuumed = match storage.vacuumed_secs_ago {
            Some(secs) => format!("the last vacuum was {} ago", age_text(secs)),
            None => "it was never vacuumed".to_owned(),
        };
        findings.push(
            Finding::new(
                &BLOAT,
                &table,
                format!(
                    "{} dead rows beside {} live ones by the statistics; {vacuumed}",
                    with_commas(storage.dead),
                    with_commas(storage.live)
                ),
            )
            .statement(format!(
                "alter table {table} set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000); \
                 vacuum (analyze) {table}; -- if dead rows stay, an old snapshot keeps them: see snapshot-old"
            ))
            .rows(Count::estimate(storage.dead)),
        );
    }
    if let Some(share) = hot_share(storage).filter(|share| *share < HOT_SHARE_MIN) {
        let indexes = queue.survey.indexes.len();
        findings.push(
            Finding::new(
                &NOT_HOT,
                &table,
                format!(
                    "of {} updates {:.0} % were HOT; a row has {} bytes in line and entries in {indexes} indexes \
                     (statistics)",
                    with_commas(storage.updated),
                    share * 100.0,
                    with_commas(storage.row_bytes)
                ),
            )
            .statement(format!(
                "alter table {table} set (fillfactor = 80); -- room for HOT updates in pages written from now on; \
                 moving the wide columns into a table of their own mends the rest"
            )),
        );
    }
    if storage.autovacuum_off > 0 {
        findings.push(
            Finding::new(&AUTOVACUUM_OFF, &table, "it is stored with autovacuum_enabled=false")
                .statement(format!("alter table {table} reset (autovacuum_enabled);")),
        );
    }
    if storage.unlogged > 0 {
        findings.push(
            Finding::new(&UNLOGGED, &table, "it was created as an unlogged table")
                .statement(format!("alter table {table} set logged; -- rewrites the table under an exclusive lock")),
        );
    }
    findings
}

fn is_bloated(storage: &Storage) -> bool {
    // A table that is new was never vacuumed, and has a minute's dead rows from its first load and drain.
    let vacuum_is_late = storage.vacuumed_secs_ago.map_or(storage.autovacuum_off > 0, |secs| secs > VACUUM_SECS);
    let is_much = storage.dead >= DEAD_MANY || (storage.dead >= DEAD_MIN && vacuum_is_late);
    is_much && storage.dead > storage.live
}

/// The share of updates that were HOT; `None` if the rows are narrow or the updates few.
fn hot_share(storage: &Storage) -> Option<f64> {
    let is_worth_it = storage.updated >= UPDATES_MIN && storage.row_bytes >= WIDE_BYTES;
    is_worth_it.then(|| storage.updated_hot as f64 / storage.updated as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_rows_are_bloat_once_they_outnumber_the_live_and_vacuum_is_late() {
        let storage = |dead, live, vacuumed_secs_ago| Storage { dead, live, vacuumed_secs_ago, ..Storage::default() };
        assert!(is_bloated(&storage(20_000, 5_000, Some(86_400.0))));
        assert!(!is_bloated(&storage(20_000, 5_000, Some(60.0))));
        assert!(!is_bloated(&storage(20_000, 5_000, None)));
        assert!(is_bloated(&Storage { autovacuum_off: 1, ..storage(20_000, 5_000, None) }));
        assert!(is_bloated(&storage(200_000, 5_000, None)));
        assert!(is_bloated(&storage(200_000, 5_000, Some(60.0))));
        assert!(!is_bloated(&storage(20_000, 500_000, None)));
        assert!(!is_bloated(&storage(900, 0, None)));
    }

    #[test]
    fn updates_that_are_not_hot_matter_for_wide_rows_only() {
        let storage = |row_bytes| Storage { updated: 100_000, updated_hot: 1_000, row_bytes, ..Storage::default() };
        assert!(hot_share(&storage(2_000)).is_some_and(|share| share < HOT_SHARE_MIN));
        assert_eq!(hot_share(&storage(120)), None);
    }
}
