//! Times: forms that do not compare, times without a zone, and schedules that are lost.

use serde::Deserialize;

use super::ROWS_MAX;
use crate::check::ask::{Answer, Asker, Unanswered};
use crate::check::finding::{Count, Finding, Rule, Severity, age_text, rows_text};
use crate::check::guess::snake;
use crate::check::queue::Queue;
use crate::survey::{SurveyColumn, TypeKind, quote_identifier};

/// Columns whose forms are read, at most.
const COLUMNS_MAX: usize = 12;

/// A row that is due later than this is due never: the delay overflowed, or the unit was mistaken.
const FAR_SECS: f64 = 366.0 * 86_400.0;

/// Values that show which forms a column has.
const VALUES_MAX: i64 = 50_000;

pub(in crate::check) static TIME_MIXED: Rule = Rule {
    id: "time-forms-mixed",
    title: "One column holds times in several forms",
    severity: Severity::Error,
    consequence: "they do not compare: as text, `2026-01-02T00:00` is later than `2026-01-02 23:59`, and a number is \
                  earlier than any text",
};

pub(in crate::check) static TIME_DIFFERS: Rule = Rule {
    id: "time-forms-differ",
    title: "The columns hold times in different forms",
    severity: Severity::Warning,
    consequence: "compared with one another, or with `datetime('now')`, a time with `T` is later than every time of \
                  the same day with a blank: nothing is stale or due before midnight",
};

pub(in crate::check) static TIME_UNREADABLE: Rule = Rule {
    id: "time-unreadable",
    title: "A column of times holds what is no time",
    severity: Severity::Error,
    consequence: "the comparison is false, or true, whatever the time: the row is stuck, or is taken at once",
};

pub(in crate::check) static TIME_WITHOUT_ZONE: Rule = Rule {
    id: "time-without-zone",
    title: "A lease or schedule has no time zone",
    severity: Severity::Warning,
    consequence: "`now()` is converted by the time zone of the session: between two workers with different settings, \
                  or when the clock is put forward, leases are hours too old or too young",
};

pub(in crate::check) static SCHEDULE_NULL: Rule = Rule {
    id: "schedule-null",
    title: "The schedule is set to NULL",
    severity: Severity::Warning,
    consequence: "a claim that asks for `due <= now()` never takes the row: NULL is neither before nor after now",
};

pub(in crate::check) static SCHEDULE_FAR: Rule = Rule {
    id: "schedule-far",
    title: "Rows wait for a time that is far away",
    severity: Severity::Warning,
    consequence: "they are never due: the delay overflowed, or seconds were taken for milliseconds",
};

#[derive(Debug, Deserialize)]
struct Form {
    form: String,
    n: i64,
    item: Option<String>,
    sample: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schedule {
    waiting: i64,
    without_due: i64,
    without_due_item: Option<String>,
    far: i64,
    furthest_age: Option<f64>,
    far_item: Option<String>,
}

/// What the types show.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    if !queue.is_postgres() || !queue.roles.is_guess {
        return Vec::new();
    }
    let mut columns: Vec<&SurveyColumn> = queue.lease_column().into_iter().collect();
    columns.extend(queue.roles.due.as_deref().and_then(|name| queue.column(name)));
    columns
        .into_iter()
        .filter(|column| column.kind == TypeKind::Timestamp)
        .map(|column| {
            let name = quote_identifier(&column.name);
            let evidence = format!("{:?} is {}", column.name, column.type_name);
            Finding::new(&TIME_WITHOUT_ZONE, &column.name, evidence).statement(format!(
                "alter table {} alter column {name} type timestamptz using {name} at time zone 'UTC'; -- if the \
                     times are in UTC; rewrites the table under an exclusive lock",
                queue.table()
            ))
        })
        .collect()
}

/// Asks for the forms of the times that are stored as texts or numbers.
pub(in crate::check) async fn forms(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let sql = asker.dialect(include_str!("../sql/postgres/times.sql"), include_str!("../sql/sqlite/times.sql"));
    let mut findings = Vec::new();
    let mut by_form: Vec<(&SurveyColumn, &'static str)> = Vec::new();
    for column in queue.survey.columns.iter().filter(|column| is_read(queue, column)).take(COLUMNS_MAX) {
        let names =
            [("item", queue.key_text()), ("column", quote_identifier(&column.name)), ("limit", VALUES_MAX.to_string())];
        let names: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = asker.about_rows::<Form>(sql, &names).await?;
        findings.extend(of_forms(column, &answer));
        if let Some(first) = answer.value.iter().find(|form| form.form != "none") {
            by_form.extend(text_form(&first.form).map(|form| (column, form)));
        }
        by_form.extend(form_of_default(column).map(|form| (column, form)));
    }
    // Rowlock writes its own columns in its own form, and reads the others in theirs.
    if !queue.roles.is_kept_by_rowlock {
        findings.extend(different(queue, &by_form));
    }
    Ok(findings)
}

/// Asks for rows that wait and are never due.
pub(in crate::check) async fn schedule(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let roles = queue.roles;
    let (Some(name), Some(waiting)) = (&roles.due, queue.is(&roles.ready)) else { return Ok(Vec::new()) };
    let (Some(column), Some(due_age)) = (queue.column(name), queue.age(name)) else { return Ok(Vec::new()) };
    let due = quote_identifier(name);
    let sql = asker.dialect(include_str!("../sql/postgres/schedule.sql"), include_str!("../sql/sqlite/schedule.sql"));
    let names = [
        ("item", queue.key_text()),
        ("due", due.clone()),
        ("due_age", due_age),
        ("far_secs", format!("{:.0}", -FAR_SECS)),
        ("waiting", waiting.clone()),
        ("limit", ROWS_MAX.to_owned()),
    ];
    let names: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = asker.about_rows_one::<Schedule>(sql, &names).await?;
    let found = &answer.value;
    let mut findings = Vec::new();
    // Where it is filled for a retry only, NULL says that the row is due.
    let is_unused = found.without_due == found.waiting;
    let is_for_retries = column.default.is_none() && (snake(name).contains("retry") || is_unused);
    if found.without_due > 0 && !is_for_retries && !roles.is_kept_by_rowlock {
        let rows = answer.count(found.without_due);
        let default = column.default.as_ref().map_or(String::new(), |default| format!(", whose default is {default}"));
        findings.push(
            Finding::new(
                &SCHEDULE_NULL,
                name,
                format!("{} wait with NULL in {name:?}{default}{}", rows_text(rows), answer.basis_text()),
            )
            .statement(format!(
                "update {} set {due} = {} where {waiting} and {due} is null; -- and `not null` on the column",
                queue.table(),
                column.default.as_deref().unwrap_or("…")
            ))
            .rows(rows)
            .example(found.without_due_item.clone()),
        );
    }
    if found.far > 0 {
        let rows = answer.count(found.far);
        let furthest = age_text(-found.furthest_age.unwrap_or_default());
        findings.push(
            Finding::new(
                &SCHEDULE_FAR,
                name,
                format!("{} due in more than a year, the last in {furthest}{}", rows_text(rows), answer.basis_text()),
            )
            .advice("Cap the delay, compute it in 64 bits, and write the time that was meant.")
            .rows(rows)
            .example(found.far_item.clone()),
        );
    }
    Ok(findings)
}

/// Whether the values of this column are read: it should hold times, and its type does not say so.
fn is_read(queue: Queue<'_>, column: &SurveyColumn) -> bool {
    let roles = queue.roles;
    let lease = roles.lease.as_ref().map(|lease| &lease.column);
    let mut of_roles = [&roles.due, &roles.created, &roles.updated].into_iter().flatten().chain(lease);
    let is_role = of_roles.any(|name| *name == column.name);
    let name = snake(&column.name);
    let is_named = ["_at", "_until", "_time", "timestamp", "_after"].iter().any(|end| name.ends_with(end));
    let fits = match column.kind {
        TypeKind::Text | TypeKind::Varchar(_) | TypeKind::BigInt => true,
        TypeKind::Timestamp | TypeKind::Timestamptz | TypeKind::Date | TypeKind::Integer | TypeKind::Other => {
            !queue.is_postgres()
        }
        _ => false,
    };
    fits && (is_role || is_named) && !column.is_generated
}

fn of_forms(column: &SurveyColumn, answer: &Answer<Vec<Form>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (name, forms, basis) = (&column.name, &answer.value, answer.basis_text());
    // Where as many values were read as may be, there are others.
    let is_cut = forms.iter().map(|form| form.n).sum::<i64>() >= VALUES_MAX;
    let count = |form: &Form| {
        let count = answer.count(form.n);
        Count { is_estimate: count.is_estimate || is_cut, ..count }
    };
    // Texts that are no times in a column that is no role may well be meant so.
    let readable: Vec<&Form> = forms.iter().filter(|form| form.form != "none" && form.form != "unreadable").collect();
    if readable.is_empty() {
        return findings;
    }
    if readable.len() > 1 {
        let listed: Vec<String> = readable
            .iter()
            .map(|form| format!("{} ({}, as {:?})", said(&form.form), rows_text(count(form)), shown(form)))
            .collect();
        findings.push(
            Finding::new(&TIME_MIXED, name, format!("{name:?} holds {}{basis}", listed.join(", ")))
                .advice("Write all of them in the form that the queries compare with, and let one place write them.")
                .example(readable[1].item.clone()),
        );
    }
    if let Some(form) = forms.iter().find(|form| form.form == "unreadable") {
        findings.push(
            Finding::new(
                &TIME_UNREADABLE,
                name,
                format!("{name:?} holds no time in {}, as {:?}{basis}", rows_text(count(form)), shown(form)),
            )
            .advice("Correct these rows, and add a CHECK on the form.")
            .rows(count(form))
            .example(form.item.clone()),
        );
    }
    findings
}

fn different(queue: Queue<'_>, by_form: &[(&SurveyColumn, &'static str)]) -> Option<Finding> {
    let with_t = by_form.iter().find(|(_, form)| *form == "T")?;
    let with_blank = by_form.iter().find(|(_, form)| *form == "blank")?;
    let evidence = if with_t.0.name == with_blank.0.name {
        format!("{:?} holds times in one form, and its default writes the other", with_t.0.name)
    } else {
        format!("{:?} has a `T` between day and time, {:?} a blank", with_t.0.name, with_blank.0.name)
    };
    let advice = "Write all times in one form, and compare with an expression that writes the same: \
                  `strftime('%Y-%m-%dT%H:%M:%fZ', 'now')` for the form with `T`.";
    Some(Finding::new(&TIME_DIFFERS, queue.table(), evidence).advice(advice))
}

/// How a text separates the day from the time; `None` for what is no text.
fn text_form(form: &str) -> Option<&'static str> {
    match form {
        "iso_utc" | "iso_offset" | "iso_local" => Some("T"),
        "datetime" | "datetime_zone" => Some("blank"),
        _ => None,
    }
}

fn form_of_default(column: &SurveyColumn) -> Option<&'static str> {
    let default = column.default.as_deref()?.to_lowercase();
    // On PostgreSQL the default of a text is a cast, whose form is that of the session.
    if default.contains("datetime(") || default.trim_matches(['(', ')', ' ']) == "current_timestamp" {
        return Some("blank");
    }
    (default.contains("strftime(") && default.contains("%dt%h")).then_some("T")
}

fn said(form: &str) -> &'static str {
    match form {
        "milliseconds" => "milliseconds since 1970",
        "seconds" => "seconds since 1970",
        "iso_utc" => "ISO 8601 with T and Z",
        "iso_offset" => "ISO 8601 with T and an offset",
        "iso_local" => "ISO 8601 with T and no zone",
        "datetime" => "the form of datetime()",
        "datetime_zone" => "day and time with a zone",
        "day" => "days",
        _ => "another form",
    }
}

fn shown(form: &Form) -> &str {
    form.sample.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::ask::Basis;

    fn of(forms: Vec<Form>) -> Vec<Finding> {
        of_forms(&column(), &Answer { value: forms, basis: Basis::Whole })
    }

    fn form(form: &str, n: i64) -> Form {
        Form { form: form.to_owned(), n, item: Some("k1".to_owned()), sample: Some("x".to_owned()) }
    }

    fn column() -> SurveyColumn {
        SurveyColumn::new("claimed_at", "text", TypeKind::Text)
    }

    #[test]
    fn two_forms_in_one_column_do_not_compare() {
        let findings = of(vec![form("iso_utc", 90), form("datetime", 10), form("none", 5)]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].rule.id, TIME_MIXED.id);
        assert!(findings[0].evidence.contains("the form of datetime() (10 rows"));
    }

    #[test]
    fn one_form_and_no_value_are_no_finding() {
        assert!(of(vec![form("iso_utc", 90), form("none", 5)]).is_empty());
        assert!(of(Vec::new()).is_empty());
        // A column of other texts that is only called like a time.
        assert!(of(vec![form("unreadable", 90)]).is_empty());
    }

    #[test]
    fn rows_whose_time_cannot_be_read_are_counted() {
        let findings = of(vec![form("datetime", 90), form("unreadable", 3)]);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].rule.id, findings[0].rows), (TIME_UNREADABLE.id, Some(Count::exact(3))));
        let many = of(vec![form("datetime", VALUES_MAX - 3), form("unreadable", 3)]);
        assert_eq!(many[0].rows, Some(Count::estimate(3)), "the rest of the table was not read");
    }

    #[test]
    fn the_form_of_a_default_is_read_from_its_text() {
        let of = |default: &str| form_of_default(&SurveyColumn { default: Some(default.to_owned()), ..column() });
        assert_eq!(of("CURRENT_TIMESTAMP"), Some("blank"));
        assert_eq!(of("(datetime('now'))"), Some("blank"));
        assert_eq!(of("(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"), Some("T"));
        assert_eq!(of("'x'"), None);
    }
}
