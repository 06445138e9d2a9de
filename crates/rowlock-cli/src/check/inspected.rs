//! What the library itself says of a described table.

use anyhow::Result;
use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;

use super::finding::{Finding, Rule, Severity};
use super::guess::is_kept_by_rowlock;
use crate::config::Description;
use crate::database::{Kind, Target};
use crate::survey::Survey;

/// How the library ends a sentence about a column, index or table that `attach` adds.
const TO_BE_ADDED: &str = ": run prepare";

pub(super) static INSPECTED: Rule = Rule {
    id: "not-as-described",
    title: "The table is not as its description says",
    severity: Severity::Warning,
    consequence: "Rowlock refuses to work on the table, or leaves out rows that it cannot see or does not know",
};

/// What `inspect` says, each as a finding. What `attach` is about to add to a table that is not attached is one note.
///
/// `None` for an SQLite table to which no pipeline is attached: the library opens a file with a write-ahead log, and
/// making one is a change of the file, which a check must not make.
///
/// # Errors
///
/// The description makes no pipeline, or the database cannot be reached.
pub(super) async fn ask(
    target: &Target,
    description: &Description,
    survey: &Survey,
    is_attached: bool,
) -> Result<Option<Vec<Finding>>> {
    if target.kind() == Kind::Sqlite && !is_attached && !is_kept_by_rowlock(survey) {
        return Ok(None);
    }
    let pipeline = description.pipeline_with_key(target.key_type(description).await?)?;
    let lacks = match target.kind() {
        Kind::Postgres => of_store(PostgresStore::connect(target.url(), pipeline).await?).await?,
        Kind::Sqlite => of_store(SqliteStore::connect(target.url(), pipeline).await?).await?,
    };
    Ok(Some(findings(&description.table.to_string(), lacks, is_attached)))
}

async fn of_store<S: Store>(store: S) -> Result<Vec<String>> {
    let store = store.read_only().await?;
    let lacks = store.inspect().await;
    store.close().await;
    Ok(lacks?)
}

fn findings(table: &str, lacks: Vec<String>, is_attached: bool) -> Vec<Finding> {
    let (to_be_added, wrong): (Vec<String>, Vec<String>) =
        lacks.into_iter().partition(|lack| !is_attached && lack.ends_with(TO_BE_ADDED));
    let of_wrong = |lack: String| {
        Finding::new(&INSPECTED, table, lack)
            .advice("Change the table or the description, so that they agree; `rowlock attach` shows how.")
    };
    let not_attached = (!to_be_added.is_empty()).then(|| {
        let evidence = "not attached yet: Rowlock's own columns, indexes and tables are still to be added";
        Finding::new(&INSPECTED, table, evidence)
            .severity(Severity::Note)
            .consequence("no worker can start on it yet")
            .advice("`rowlock attach` shows what it would add.")
    });
    wrong.into_iter().map(of_wrong).chain(not_attached).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(is_attached: bool) -> Vec<(Severity, String)> {
        let lacks = [
            "the key column \"id\" is not unique",
            "there is no column \"claim_token\" (ClaimToken): run prepare",
            "the index i is missing or was not built to its end: run prepare",
        ];
        let lacks = lacks.iter().map(|lack| (*lack).to_owned()).collect();
        findings("jobs", lacks, is_attached).into_iter().map(|found| (found.severity, found.evidence)).collect()
    }

    #[test]
    fn what_attach_is_about_to_add_is_one_note_beside_what_is_wrong() {
        let seen = seen(false);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(seen[0], (Severity::Warning, "the key column \"id\" is not unique".to_owned()));
        assert!(seen[1].0 == Severity::Note && seen[1].1.starts_with("not attached yet"), "{seen:?}");
    }

    #[test]
    fn what_an_attached_table_lacks_is_said_each() {
        let seen = seen(true);
        assert!(seen.len() == 3 && seen.iter().all(|(severity, _)| *severity == Severity::Warning), "{seen:?}");
    }
}
