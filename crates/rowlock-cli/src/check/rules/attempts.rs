//! The count of attempts: whether it exists, is counted, and is heeded.

use serde::Deserialize;

use super::{ROWS_MAX, put_failed};
use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, rows_text, with_commas};
use crate::check::queue::Queue;
use crate::check::roles::AttemptsMax;
use crate::survey::quote_identifier;

/// What a limit is taken to be, where nothing says it. Most are 3 or 5.
const LIMIT_GUESS: i64 = 10;

/// So many failed rows without one attempt are no coincidence.
const FAILED_MIN: i64 = 20;

pub(in crate::check) static ATTEMPTS_MISSING: Rule = Rule {
    id: "attempts-missing",
    title: "No column counts attempts",
    severity: Severity::Warning,
    consequence: "a row that fails each time, or kills its worker each time, is tried for ever",
};

pub(in crate::check) static ATTEMPTS_SPENT: Rule = Rule {
    id: "attempts-spent",
    title: "Rows wait whose attempts are spent",
    severity: Severity::Error,
    consequence: "a claim that asks for `attempts < limit` leaves them out for ever, and nothing lists them as failed",
};

pub(in crate::check) static ATTEMPTS_NULL: Rule = Rule {
    id: "attempts-null",
    title: "The count of attempts is NULL",
    severity: Severity::Error,
    consequence: "`attempts + 1` stays NULL, and so is never over the limit; `attempts < limit` leaves the row out \
                  for ever",
};

pub(in crate::check) static ATTEMPTS_UNCOUNTED: Rule = Rule {
    id: "attempts-uncounted",
    title: "Nobody counts attempts",
    severity: Severity::Warning,
    consequence: "no limit on attempts has an effect",
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tried {
    spent: i64,
    highest: Option<i64>,
    spent_item: Option<String>,
    uncounted: i64,
    uncounted_item: Option<String>,
    failed: i64,
    failed_counted: i64,
}

/// What the roles alone show.
pub(in crate::check) fn of_roles(queue: Queue<'_>) -> Vec<Finding> {
    // A described table that is not attached yet gets the column.
    if queue.roles.attempts.is_some() || !queue.roles.is_guess {
        return Vec::new();
    }
    vec![Finding::new(&ATTEMPTS_MISSING, queue.table(), "no column looks like a count of attempts").statement(format!(
        "alter table {} add column attempts integer not null default 0; -- and count at the claim, so that a row \
             that kills its worker is counted too",
        queue.table()
    ))]
}

/// Asks for the rows that wait and those that failed.
pub(in crate::check) async fn of_rows(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let roles = queue.roles;
    let (Some(name), Some(ready)) = (&roles.attempts, queue.is(&roles.ready)) else { return Ok(Vec::new()) };
    let column = quote_identifier(name);
    let (spent, limit) = match &roles.attempts_max {
        AttemptsMax::Column(max) => (format!("{column} >= {}", quote_identifier(max)), format!("the limit in {max:?}")),
        AttemptsMax::Number(max) => (format!("{column} >= {max}"), format!("the limit of {max}")),
        AttemptsMax::Unknown => {
            (format!("{column} >= {LIMIT_GUESS}"), format!("{LIMIT_GUESS}, which is a guess at the limit"))
        }
    };
    let never = if queue.is_postgres() { "false" } else { "0" };
    let failed = queue.is(&roles.failed).unwrap_or_else(|| never.to_owned());
    let sql = asker.dialect(include_str!("../sql/postgres/attempts.sql"), include_str!("../sql/sqlite/attempts.sql"));
    let names = [
        ("item", queue.key_text()),
        ("attempts", column.clone()),
        ("ready", ready.clone()),
        ("failed", failed.clone()),
        ("spent", spent.clone()),
        ("limit", ROWS_MAX.to_owned()),
    ];
    let names: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = asker.about_rows_one::<Tried>(sql, &names).await?;
    let (tried, basis) = (&answer.value, answer.basis_text());
    let mut findings = Vec::new();
    if tried.spent > 0 {
        let rows = answer.count(tried.spent);
        let highest = with_commas(tried.highest.unwrap_or_default());
        let finding = Finding::new(
            &ATTEMPTS_SPENT,
            name,
            format!("{} wait with {name:?} at or over {limit}; the highest is {highest}{basis}", rows_text(rows)),
        )
        .severity(if roles.attempts_max == AttemptsMax::Unknown { Severity::Warning } else { Severity::Error })
        .rows(rows)
        .example(tried.spent_item.clone());
        findings.push(put_failed(queue, &format!("{ready} and {spent}"), finding));
    }
    if tried.uncounted > 0 {
        let rows = answer.count(tried.uncounted);
        findings.push(
            Finding::new(&ATTEMPTS_NULL, name, format!("{} wait or failed with {name:?} NULL{basis}", rows_text(rows)))
                .statement(format!(
                    "update {table} set {column} = 0 where {column} is null; -- in batches on a large table, then: \
                     alter table {table} alter column {column} set default 0, alter column {column} set not null",
                    table = queue.table()
                ))
                .rows(rows)
                .example(tried.uncounted_item.clone()),
        );
    }
    // Rowlock counts what handlers report; a permanent failure is none that is retried, and crashes are counted apart.
    if tried.failed >= FAILED_MIN && tried.failed_counted == 0 && !roles.is_kept_by_rowlock {
        findings.push(
            Finding::new(
                &ATTEMPTS_UNCOUNTED,
                name,
                format!("of {} that failed, none has {name:?} above 0{basis}", rows_text(answer.count(tried.failed))),
            )
            .advice("Count in the statement that claims, so that a crash is counted as well.")
            .rows(answer.count(tried.failed)),
        );
    }
    Ok(findings)
}
