//! The rules, a file for each group: what each looks at, and what it makes of it.

pub(super) mod attempts;
pub(super) mod constraints;
pub(super) mod indexes;
pub(super) mod keys;
pub(super) mod leases;
pub(super) mod leftovers;
pub(super) mod security;
pub(super) mod snapshots;
pub(super) mod states;
pub(super) mod storage;
pub(super) mod times;
pub(super) mod triggers;
pub(super) mod words;

use serde::Deserialize;

use super::ask::{Answer, Asker, Unanswered};
use super::finding::{Finding, Rule};
use super::inspected::INSPECTED;
use super::queue::Queue;
use super::template::quote_literal;
use crate::survey::quote_identifier;

/// Rows that a query about the rows of one state reads, at most.
const ROWS_MAX: &str = "1000000";

/// Every rule, in the order of `docs/check.md`.
pub static RULES: &[&Rule] = &[
    &leases::LEASE_MISSING,
    &leases::LEASE_NULL,
    &leases::LEASE_OLD,
    &leases::LEASE_AHEAD,
    &leases::LEASE_ON_TERMINAL,
    &leases::LEASE_ON_READY,
    &leases::LEASE_SHARED,
    &triggers::LEASE_TRIGGER,
    &leases::TOKEN_MISSING,
    &attempts::ATTEMPTS_MISSING,
    &attempts::ATTEMPTS_SPENT,
    &attempts::ATTEMPTS_NULL,
    &attempts::ATTEMPTS_UNCOUNTED,
    &words::STATUS_UNKNOWN,
    &words::STATUS_NULL,
    &words::STATUS_NULLABLE,
    &words::STATUS_DEFAULT,
    &words::STATUS_SPELLINGS,
    &words::STATES_MISSING,
    &words::PRIORITY_WORDS,
    &constraints::CHECK_ACCEPTS_ANYTHING,
    &constraints::CHECK_TIES,
    &constraints::CHECK_REFUSES,
    &constraints::STATUS_PARTITION,
    &constraints::STATUS_PADDED,
    &times::TIME_MIXED,
    &times::TIME_DIFFERS,
    &times::TIME_UNREADABLE,
    &times::TIME_WITHOUT_ZONE,
    &times::SCHEDULE_NULL,
    &times::SCHEDULE_FAR,
    &leftovers::ERROR_ON_SUCCESS,
    &leftovers::READY_DELETED,
    &keys::KEY_MISSING,
    &keys::KEY_TYPE,
    &keys::KEY_VALUES,
    &keys::KEY_COLLATION,
    &keys::KEY_NEAR_END,
    &indexes::CLAIM_NO_INDEX,
    &indexes::CLAIM_SORTS,
    &indexes::SWEEP_NO_INDEX,
    &indexes::COUNTS_NO_INDEX,
    &indexes::INDEX_ON_HEARTBEAT,
    &indexes::INDEX_INVALID,
    &indexes::INDEX_DUPLICATE,
    &indexes::INDEXES_MANY,
    &triggers::TRIGGER_WRITES,
    &triggers::TRIGGER_RAISES,
    &triggers::TRIGGER_NOTIFIES,
    &security::ROW_SECURITY,
    &security::REPLICA_IDENTITY,
    &storage::BLOAT,
    &storage::NOT_HOT,
    &storage::AUTOVACUUM_OFF,
    &storage::UNLOGGED,
    &snapshots::SNAPSHOT_OLD,
    &states::STATES_OVERLAP,
    &INSPECTED,
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Matching {
    n: i64,
    item: Option<String>,
}

/// How many rows match a predicate, with one of them.
async fn matching(queue: Queue<'_>, asker: &mut Asker<'_>, predicate: &str) -> Result<Answer<Matching>, Unanswered> {
    let sql = asker.dialect(include_str!("../sql/postgres/matching.sql"), include_str!("../sql/sqlite/matching.sql"));
    let item = queue.key_text();
    let names = [("item", item.as_str()), ("predicate", predicate), ("limit", ROWS_MAX)];
    asker.about_rows_one(sql, &names).await
}

/// Says how abandoned rows in progress become ready again.
fn put_back(queue: Queue<'_>, abandoned: &str, finding: Finding) -> Finding {
    let roles = queue.roles;
    if roles.is_kept_by_rowlock {
        return finding.advice("Start a worker of this pipeline: its sweep takes them back, and counts the crash.");
    }
    let running = queue.is(&roles.running);
    let word = roles.ready.words.iter().flatten().next();
    let (Some(status), Some(word), Some(running)) = (&roles.status, word, running) else {
        return finding.advice("Make them ready again, once it is certain that no worker holds them.");
    };
    let mut set = format!("{} = {}", quote_identifier(status), quote_literal(word, queue.is_postgres()));
    if let Some(column) = queue.lease_column().filter(|column| column.is_nullable) {
        set.push_str(&format!(", {} = null", quote_identifier(&column.name)));
    }
    finding.statement(format!(
        "update {} set {set} where {running} and {abandoned}; -- once it is certain that no worker holds them; and let \
         the claim stamp the lease, and a sweep ask for `is null or …`",
        queue.table()
    ))
}

/// Says how rows become failed.
fn put_failed(queue: Queue<'_>, which: &str, finding: Finding) -> Finding {
    let roles = queue.roles;
    let (Some(status), Some(word)) = (&roles.status, roles.failed.words.iter().flatten().next()) else {
        return finding.advice("Write them as failed, or set their count back if they should be tried again.");
    };
    finding.statement(format!(
        "update {} set {} = {} where {which}; -- or set their count back, if they should be tried again",
        queue.table(),
        quote_identifier(status),
        quote_literal(word, queue.is_postgres())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_the_rules_are_unique_and_documented() {
        let documented = include_str!("../../../docs/check.md");
        let mut seen = std::collections::HashSet::new();
        for rule in RULES {
            assert!(seen.insert(rule.id), "two rules are called {}", rule.id);
            assert!(documented.contains(&format!("\n### `{}`", rule.id)), "{} is not documented", rule.id);
            assert!(rule.title.len() < 100 && !rule.title.ends_with('.'), "{}", rule.title);
        }
    }
}
