//! What keeps dead rows from being removed right now.

use serde::Deserialize;

use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, age_text};
use crate::check::queue::Queue;
use crate::check::template::{quote_literal, render};

/// A transaction that is older than this holds up a queue that makes a few hundred dead rows a second.
const OLD_SECS: &str = "300";

/// How far a replication slot may be behind, in transactions.
const OLD_TRANSACTIONS: &str = "1000000";

pub(in crate::check) static SNAPSHOT_OLD: Rule = Rule {
    id: "snapshot-old",
    title: "An old snapshot keeps dead rows",
    severity: Severity::Warning,
    consequence: "vacuum removes no row that died since, in any table: each claim walks over all of them, and a drain \
                  falls to a third of its rate within the hour",
};

#[derive(Debug, Deserialize)]
struct Snapshot {
    kind: String,
    name: String,
    age: Option<f64>,
    what: Option<String>,
}

/// Asks the server's activity; nothing on SQLite.
pub(in crate::check) async fn ask(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    if !queue.is_postgres() {
        return Ok(Vec::new());
    }
    let names = [("old_secs", OLD_SECS), ("old_transactions", OLD_TRANSACTIONS)];
    let sql = render(include_str!("../sql/postgres/snapshots.sql"), &names);
    let snapshots: Vec<Snapshot> = asker.rows(&sql).await?;
    Ok(snapshots.iter().map(finding).collect())
}

fn finding(snapshot: &Snapshot) -> Finding {
    let age = snapshot.age.map_or(String::new(), |age| format!(", {} old", age_text(age)));
    let what = snapshot.what.as_deref().unwrap_or_default();
    let name = &snapshot.name;
    match snapshot.kind.as_str() {
        "prepared" => Finding::new(&SNAPSHOT_OLD, name, format!("the prepared transaction {name:?}{age}, {what}"))
            .severity(Severity::Error)
            .statement(format!(
                "rollback prepared {}; -- or commit it: whoever prepared it knows",
                quote_literal(name, true)
            )),
        "slot" => {
            Finding::new(&SNAPSHOT_OLD, name, format!("the replication slot {name:?}, {what}")).statement(format!(
                "select pg_drop_replication_slot({}); -- if nobody reads from it any more",
                quote_literal(name, true)
            ))
        }
        _ => Finding::new(&SNAPSHOT_OLD, name, format!("the transaction of process {name}{age}, {what}")).statement(
            format!(
                "select pg_terminate_backend({name}); -- after a look at what it does in pg_stat_activity; \
                 idle_in_transaction_session_timeout keeps it from coming back"
            ),
        ),
    }
}
