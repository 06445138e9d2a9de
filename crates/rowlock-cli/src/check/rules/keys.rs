//! The key: whether there is one, and whether it tells rows apart.

use serde::Deserialize;

use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Count, Finding, Rule, Severity, rows_text, with_commas};
use crate::check::queue::Queue;
use crate::check::template::{quote_literal, render};
use crate::survey::{SurveyColumn, TypeKind, quote_identifier};

/// The share of a key's range that may be used up before it is said.
const USED_MAX: f64 = 0.7;

/// Keys that are read on SQLite.
const KEYS_MAX: &str = "50000";

pub(in crate::check) static KEY_MISSING: Rule = Rule {
    id: "key-missing",
    title: "The table has no key",
    severity: Severity::Error,
    consequence: "nothing names one row: a completion hits every row that looks alike, or none",
};

pub(in crate::check) static KEY_TYPE: Rule = Rule {
    id: "key-type",
    title: "The key has a type that programs read differently",
    severity: Severity::Warning,
    consequence: "the key that is read is not the key that is written: rounding, blanks or another spelling make the \
                  completion hit no row",
};

pub(in crate::check) static KEY_VALUES: Rule = Rule {
    id: "key-values",
    title: "The key holds values of different kinds, or none",
    severity: Severity::Error,
    consequence: "a worker that reads keys as one kind cannot read the others, and a row without a key cannot be \
                  named: it stops the batch or stays for ever",
};

pub(in crate::check) static KEY_COLLATION: Rule = Rule {
    id: "key-collation",
    title: "The key's collation takes different texts for the same",
    severity: Severity::Warning,
    consequence: "a row is found under another spelling of its key: answers that are matched to rows by the text are \
                  lost, although the row was moved",
};

pub(in crate::check) static KEY_NEAR_END: Rule = Rule {
    id: "key-near-end",
    title: "The key is near the end of its range",
    severity: Severity::Warning,
    consequence: "once the end is reached each insert fails",
};

#[derive(Debug, Deserialize)]
struct Collation {
    name: String,
    collation: String,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: String,
    n: i64,
    sample: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Highest {
    highest: Option<i64>,
}

/// What the schema shows.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    let survey = queue.survey;
    if survey.primary_key.is_empty() && survey.unique_keys.is_empty() {
        let finding = Finding::new(&KEY_MISSING, queue.table(), "it has no primary key and no unique key for all rows");
        return vec![if queue.is_postgres() {
            finding.statement(format!(
                "alter table {} add column id bigint generated always as identity primary key; -- rewrites the table \
                 under an exclusive lock",
                queue.table()
            ))
        } else {
            finding.advice("Rebuild the table with `id integer primary key`.")
        }];
    }
    key_columns(queue)
        .filter(|column| queue.is_postgres() && !is_convertible(column.kind))
        .map(|column| {
            Finding::new(&KEY_TYPE, &column.name, format!("the key {:?} is {}", column.name, column.type_name))
                .advice("Give the rows a unique column of type bigint, uuid or text, and let workers name rows by it.")
        })
        .collect()
}

/// Asks under which collations the key is unique.
pub(in crate::check) async fn collations(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let names: Vec<String> =
        key_columns(queue).map(|column| quote_literal(&column.name, queue.is_postgres())).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let survey = queue.survey;
    let table = if queue.is_postgres() { queue.table() } else { survey.table.name().to_owned() };
    let sql = asker.dialect(include_str!("../sql/postgres/key_facts.sql"), include_str!("../sql/sqlite/key_facts.sql"));
    let (table, names) = (quote_literal(&table, queue.is_postgres()), names.join(", "));
    let sql = render(sql, &[("table_text", table.as_str()), ("key_texts", names.as_str())]);
    let found: Vec<Collation> = asker.rows(&sql).await?;
    Ok(found
        .iter()
        .map(|found| {
            let (name, collation) = (&found.name, &found.collation);
            let evidence = format!("the key {name:?} has the collation {collation:?}");
            let finding = Finding::new(&KEY_COLLATION, name, evidence);
            if queue.is_postgres() {
                let column = quote_identifier(name);
                finding.statement(format!(
                    "alter table {} alter column {column} type text collate \"C\"; -- rewrites its indexes",
                    queue.table()
                ))
            } else {
                finding.advice("Rebuild the table with `collate binary` on the key; compare without case in the query.")
            }
        })
        .collect())
}

/// Asks which values the key has.
pub(in crate::check) async fn values(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let mut findings = Vec::new();
    for column in key_columns(queue) {
        let name = quote_identifier(&column.name);
        if queue.is_postgres() {
            let Some(end) = end_of(column.kind).filter(|_| queue.roles.key.len() == 1) else { continue };
            let table = queue.table();
            let names = [("column", name.as_str()), ("table", table.as_str())];
            let sql = render(include_str!("../sql/postgres/key_highest.sql"), &names);
            let highest: Vec<Highest> = asker.rows(&sql).await?;
            findings.extend(highest.first().and_then(|h| h.highest).and_then(|h| near_end(queue, column, h, end)));
            continue;
        }
        let names = [("column", name.as_str()), ("limit", KEYS_MAX)];
        let answer = asker.about_rows::<Kind>(include_str!("../sql/sqlite/key_values.sql"), &names).await?;
        findings.extend(of_kinds(column, &answer.value));
    }
    Ok(findings)
}

fn key_columns(queue: Queue<'_>) -> impl Iterator<Item = &SurveyColumn> {
    queue.roles.key.iter().filter_map(move |name| queue.column(name))
}

fn is_convertible(kind: TypeKind) -> bool {
    match kind {
        TypeKind::Text | TypeKind::Varchar(_) | TypeKind::Uuid => true,
        TypeKind::SmallInt | TypeKind::Integer | TypeKind::BigInt => true,
        TypeKind::Char(_) | TypeKind::Enum | TypeKind::Boolean | TypeKind::Timestamptz | TypeKind::Timestamp => false,
        TypeKind::Date | TypeKind::Json | TypeKind::Jsonb | TypeKind::Bytea | TypeKind::Float => false,
        TypeKind::Numeric | TypeKind::Other => false,
    }
}

fn end_of(kind: TypeKind) -> Option<i64> {
    match kind {
        TypeKind::SmallInt => Some(i64::from(i16::MAX)),
        TypeKind::Integer => Some(i64::from(i32::MAX)),
        _ => None,
    }
}

fn near_end(queue: Queue<'_>, column: &SurveyColumn, highest: i64, end: i64) -> Option<Finding> {
    let used = highest as f64 / end as f64;
    if used < USED_MAX {
        return None;
    }
    let (highest, used) = (with_commas(highest), used * 100.0);
    Some(
        Finding::new(
            &KEY_NEAR_END,
            &column.name,
            format!("the highest key is {highest}, {used:.0} % of what {} holds", column.type_name),
        )
        .statement(format!(
            "alter table {} alter column {} type bigint; -- rewrites the table under an exclusive lock; on a large \
             table add a bigint column, fill it in batches, and swap the two",
            queue.table(),
            quote_identifier(&column.name)
        )),
    )
}

fn of_kinds(column: &SurveyColumn, kinds: &[Kind]) -> Option<Finding> {
    let is_plain = |kind: &Kind| kind.kind == "text" || kind.kind == "integer";
    let strange = kinds.iter().find(|kind| !is_plain(kind)).or_else(|| kinds.get(1))?;
    let listed: Vec<String> =
        kinds.iter().map(|kind| format!("{} in {}", kind.kind, rows_text(Count::exact(kind.n)))).collect();
    let finding = Finding::new(
        &KEY_VALUES,
        &column.name,
        format!("{:?} holds {} (among the first {KEYS_MAX})", column.name, listed.join(", ")),
    );
    Some(
        finding
            .advice("Correct these keys, and declare the key `not null` in a strict table.")
            .rows(Count::estimate(strange.n))
            .example(strange.sample.clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: &str, n: i64) -> Kind {
        Kind { kind: kind.to_owned(), n, sample: Some("1".to_owned()) }
    }

    #[test]
    fn keys_of_one_plain_kind_are_no_finding() {
        let column = SurveyColumn::new("id", "text", TypeKind::Text);
        assert!(of_kinds(&column, &[kind("text", 9)]).is_none());
        assert!(of_kinds(&column, &[kind("integer", 9)]).is_none());
        assert!(of_kinds(&column, &[]).is_none());
        assert!(of_kinds(&column, &[kind("text", 9), kind("null", 1)]).is_some());
        assert!(of_kinds(&column, &[kind("blob", 9)]).is_some());
        assert!(of_kinds(&column, &[kind("integer", 9), kind("text", 1)]).is_some());
    }
}
