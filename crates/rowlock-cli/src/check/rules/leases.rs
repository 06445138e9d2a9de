//! Rows in progress: whether anything will ever tell that their worker is gone.

use serde::Deserialize;

use super::{ROWS_MAX, matching, put_back};
use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, age_text, rows_text};
use crate::check::queue::Queue;
use crate::check::roles::LeaseMeaning;
use crate::survey::{TypeKind, quote_identifier};

/// A time of a lease that is this far ahead was written by a wrong clock, or overflowed.
const AHEAD_SECS: f64 = 300.0;

/// A claim that ends later than this is no lease.
const EXPIRY_AHEAD_SECS: f64 = 7.0 * 86_400.0;

const DAY_SECS: f64 = 86_400.0;

pub(in crate::check) static LEASE_MISSING: Rule = Rule {
    id: "lease-missing",
    title: "Nothing tells how long a row has been in progress",
    severity: Severity::Warning,
    consequence: "a row whose worker dies stays in progress for ever, or is found by hand",
};

pub(in crate::check) static LEASE_NULL: Rule = Rule {
    id: "lease-null",
    title: "Rows in progress have no lease",
    severity: Severity::Error,
    consequence: "a sweep that asks for `lease < …` never finds them, because NULL is less than nothing: they are \
                  stuck for ever",
};

pub(in crate::check) static LEASE_OLD: Rule = Rule {
    id: "lease-old",
    title: "Rows in progress have an old lease",
    severity: Severity::Warning,
    consequence: "their workers are gone and nothing took them back, or they work for longer than the lease allows and \
                  are about to be done twice",
};

pub(in crate::check) static LEASE_AHEAD: Rule = Rule {
    id: "lease-ahead",
    title: "Rows in progress have a lease far in the future",
    severity: Severity::Warning,
    consequence: "they are not taken back until the clock has caught up, whatever happened to their workers",
};

pub(in crate::check) static LEASE_ON_TERMINAL: Rule = Rule {
    id: "lease-on-terminal",
    title: "Finished rows look leased",
    severity: Severity::Warning,
    consequence: "what lists or sweeps by the lease alone counts them as in progress, and may bring them back to life",
};

pub(in crate::check) static LEASE_ON_READY: Rule = Rule {
    id: "lease-on-ready",
    title: "Rows that wait look leased",
    severity: Severity::Warning,
    consequence: "a claim that leaves out leased rows never takes them",
};

pub(in crate::check) static LEASE_SHARED: Rule = Rule {
    id: "lease-is-last-change",
    title: "The only sign of life is the time of the last change",
    severity: Severity::Warning,
    consequence: "any change of the row, by anyone, renews the lease of a dead worker",
};

pub(in crate::check) static TOKEN_MISSING: Rule = Rule {
    id: "token-missing",
    title: "No column tells one claim of a row from the next",
    severity: Severity::Note,
    consequence: "a worker that lost its row, after a pause or a restart under the same name, can still complete it \
                  and overwrite what the next holder wrote",
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Held {
    running: i64,
    unleased: i64,
    unleased_age: Option<f64>,
    unleased_item: Option<String>,
    old: i64,
    old_age: Option<f64>,
    oldest_age: Option<f64>,
    old_item: Option<String>,
    ahead: i64,
    furthest_age: Option<f64>,
    ahead_item: Option<String>,
}

/// What the roles alone show.
pub(in crate::check) fn of_roles(queue: Queue<'_>) -> Vec<Finding> {
    let roles = queue.roles;
    let mut findings = Vec::new();
    if !roles.running.is_known() {
        return findings;
    }
    if let Some(lease) = &roles.lease
        && lease.meaning == LeaseMeaning::LastChange
        && !super::triggers::renews(queue, &lease.column)
    {
        findings.push(
            Finding::new(
                &LEASE_SHARED,
                &lease.column,
                format!("no column but {:?} says since when a row has been in progress", lease.column),
            )
            .advice("Add a column that the claim stamps and that only the holder renews."),
        );
    }
    // A described table that is not attached yet gets the column.
    if roles.token.is_none() && roles.is_guess {
        let about = roles.holder.as_ref().map_or(String::new(), |holder| {
            format!("; {holder:?} names the holder, but a worker that starts again has the same name")
        });
        findings.push(
            Finding::new(&TOKEN_MISSING, queue.table(), format!("no column holds a token of the claim{about}")).advice(
                "Add a column that each claim sets to a new value, and complete with `where id = … and token = …`.",
            ),
        );
    }
    findings
}

/// Asks for the rows in progress.
pub(in crate::check) async fn of_rows(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let Some(running) = queue.is(&queue.roles.running) else { return Ok(Vec::new()) };
    let lease = queue.roles.lease.as_ref();
    let none = if queue.is_postgres() { "null::float8" } else { "null" };
    let lease_age = lease.and_then(|lease| queue.age(&lease.column)).unwrap_or_else(|| none.to_owned());
    let row_age = queue.age_of_row(lease.map_or("", |lease| lease.column.as_str()));
    let is_expiry = lease.is_some_and(|lease| lease.meaning == LeaseMeaning::Expiry);
    // An expiry is over once it has passed; the minute is for workers whose clocks differ.
    let stale_secs = if is_expiry { 60.0 } else { queue.roles.stale_after.as_secs_f64() };
    let ahead_secs = if is_expiry { EXPIRY_AHEAD_SECS } else { AHEAD_SECS };
    let sql = asker.dialect(include_str!("../sql/postgres/leases.sql"), include_str!("../sql/sqlite/leases.sql"));
    let answer = asker
        .about_rows_one::<Held>(
            sql,
            &[
                ("item", &queue.key_text()),
                ("lease_age", &lease_age),
                ("row_age", &row_age),
                ("running", &running),
                ("stale_secs", &format!("{stale_secs:.0}")),
                ("ahead_secs", &format!("{:.0}", -ahead_secs)),
                ("limit", ROWS_MAX),
            ],
        )
        .await?;
    let (held, basis) = (&answer.value, answer.basis_text());
    let count = |rows| answer.count(rows);
    let mut findings = Vec::new();
    let age = held.unleased_age.map_or(String::new(), |age| format!(", last changed {} ago on average", age_text(age)));
    let Some(lease) = lease else {
        if held.running == 0 && !queue.roles.is_guess {
            return Ok(findings);
        }
        let now = if held.running > 0 {
            format!("{} in progress now{age}{basis}", rows_text(count(held.running)))
        } else {
            "no row is in progress now".to_owned()
        };
        let finding = Finding::new(&LEASE_MISSING, queue.table(), format!("no column looks like a lease; {now}"))
            .severity(if held.running > 0 { Severity::Error } else { Severity::Warning })
            .advice("Add a column that the claim stamps and that the holder renews, and sweep by it.")
            .example(held.unleased_item.clone());
        findings.push(if held.running > 0 { finding.rows(count(held.running)) } else { finding });
        return Ok(findings);
    };
    let column = quote_identifier(&lease.column);
    if held.unleased > 0 {
        let rows = count(held.unleased);
        let evidence = format!("{} in progress without a value in {:?}{age}{basis}", rows_text(rows), lease.column);
        let finding = Finding::new(&LEASE_NULL, &lease.column, evidence).rows(rows).example(held.unleased_item.clone());
        findings.push(put_back(queue, &format!("{column} is null"), finding));
    }
    if held.old > 0 {
        let (old, oldest) = (held.old_age.unwrap_or_default(), held.oldest_age.unwrap_or_default());
        let what = if is_expiry { "expired" } else { "last alive" };
        let guess = if queue.roles.is_guess && !is_expiry {
            format!("; that more than {} is too old is a guess", age_text(stale_secs))
        } else {
            String::new()
        };
        findings.push(put_back(
            queue,
            &is_older(queue, &lease.column, stale_secs),
            Finding::new(
                &LEASE_OLD,
                &lease.column,
                format!(
                    "{}, {what} {} ago on average, the oldest {} ago{basis}{guess}",
                    rows_text(count(held.old)),
                    age_text(old),
                    age_text(oldest)
                ),
            )
            .severity(if oldest > DAY_SECS { Severity::Error } else { Severity::Warning })
            .rows(count(held.old))
            .example(held.old_item.clone()),
        ));
    }
    if held.ahead > 0 {
        let furthest = age_text(-held.furthest_age.unwrap_or_default());
        findings.push(
            Finding::new(
                &LEASE_AHEAD,
                &lease.column,
                format!("{}, up to {furthest} ahead of the database's clock{basis}", rows_text(count(held.ahead))),
            )
            .advice("Let the database's clock write the time, not the worker's, and look for overflow in the delay.")
            .rows(count(held.ahead))
            .example(held.ahead_item.clone()),
        );
    }
    Ok(findings)
}

/// Asks for rows that are not in progress, but look held.
pub(in crate::check) async fn left_behind(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    // Rowlock leaves the token of the last claim in place, and never reads it without the state.
    if queue.roles.is_kept_by_rowlock {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    let terminal = queue.roles.terminal();
    for (rule, state) in [(&LEASE_ON_TERMINAL, &terminal), (&LEASE_ON_READY, &queue.roles.ready)] {
        // An expression that says a state may say it by these very columns.
        let Some(is_state) = queue.is(state).filter(|_| state.predicates.is_empty()) else { continue };
        for (column, looks_held, severity) in signs_of_a_holder(queue) {
            let predicate = format!("{is_state} and {looks_held}");
            let answer = matching(queue, asker, &predicate).await?;
            if answer.value.n == 0 {
                continue;
            }
            let rows = answer.count(answer.value.n);
            findings.push(
                Finding::new(
                    rule,
                    &column,
                    format!(
                        "{} in the state {state} with a value in {column:?}{}",
                        rows_text(rows),
                        answer.basis_text()
                    ),
                )
                .severity(severity)
                .statement(format!(
                    "update {} set {} = null where {predicate}; -- and let completion and retry clear it; if it is \
                     kept as a record of who did the work, give the record a column of its own",
                    queue.table(),
                    quote_identifier(&column)
                ))
                .rows(rows)
                .example(answer.value.item.clone()),
            );
        }
    }
    Ok(findings)
}

/// The columns that say that somebody holds the row, with the predicate. The name of a holder alone may be a record.
fn signs_of_a_holder(queue: Queue<'_>) -> Vec<(String, String, Severity)> {
    let roles = queue.roles;
    let mut signs = Vec::new();
    for (column, severity) in [(&roles.token, Severity::Warning), (&roles.holder, Severity::Note)] {
        let Some(found) = column.as_deref().and_then(|name| queue.column(name)) else { continue };
        let name = quote_identifier(&found.name);
        let none = found.default_literal().filter(|_| !found.is_nullable);
        let predicate = match none {
            Some(none) if found.kind.is_integer() => format!("{name} <> {none}"),
            _ if found.kind.is_text() => format!("{name} <> ''"),
            _ => format!("{name} is not null"),
        };
        signs.push((found.name.clone(), predicate, severity));
    }
    if let Some(lease) = &roles.lease
        && lease.meaning == LeaseMeaning::Expiry
        && let Some(age) = queue.age(&lease.column)
    {
        signs.push((lease.column.clone(), format!("({age}) < 0"), Severity::Warning));
    }
    signs
}

fn is_older(queue: Queue<'_>, column: &str, secs: f64) -> String {
    let is_native = queue.is_postgres() && queue.lease_column().is_some_and(|c| c.kind == TypeKind::Timestamptz);
    if is_native {
        return format!("{} < now() - interval '{secs:.0} seconds'", quote_identifier(column));
    }
    format!("({}) > {secs:.0}", queue.age(column).unwrap_or_default())
}
