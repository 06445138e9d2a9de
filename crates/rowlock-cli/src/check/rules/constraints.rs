//! Constraints that accept anything, and constraints that refuse what a worker has to write.

use serde::Deserialize;

use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity};
use crate::check::queue::Queue;
use crate::check::sql_text::{lists_null, mentions};
use crate::check::template::quote_literal;
use crate::survey::{CheckConstraint, TypeKind, quote_identifier};

pub(in crate::check) static CHECK_ACCEPTS_ANYTHING: Rule = Rule {
    id: "check-accepts-anything",
    title: "A CHECK accepts any value",
    severity: Severity::Error,
    consequence: "`x in ('a', null)` is true or unknown and never false, and a CHECK refuses only what is false: a \
                  misspelt word is stored, and no worker ever finds it",
};

pub(in crate::check) static CHECK_TIES: Rule = Rule {
    id: "check-ties-status",
    title: "A CHECK ties the status to another column",
    severity: Severity::Warning,
    consequence: "an update of the status alone is refused, and takes the whole batch with it",
};

pub(in crate::check) static CHECK_REFUSES: Rule = Rule {
    id: "check-refuses-word",
    title: "The schema refuses a word that has to be written",
    severity: Severity::Error,
    consequence: "the move to this state fails each time, so that the work is done again and again, and never recorded",
};

pub(in crate::check) static STATUS_PARTITION: Rule = Rule {
    id: "status-partition-key",
    title: "The table is partitioned by a column that changes",
    severity: Severity::Error,
    consequence: "each move of a row deletes it in one partition and inserts it into another: a claim that runs at the \
                  same time fails (\"tuple to be locked was already moved\"), and the key is unique only together \
                  with it",
};

pub(in crate::check) static STATUS_PADDED: Rule = Rule {
    id: "status-padded",
    title: "The status is filled with blanks",
    severity: Severity::Note,
    consequence: "read as text, `'done   '` is not `'done'`: a comparison in another program, or with `::text`, fails",
};

#[derive(Debug, Deserialize)]
struct Refused {
    word: String,
}

/// What the schema shows.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = queue
        .survey
        .checks
        .iter()
        .filter_map(|check| accepts_anything(queue, check).or_else(|| ties_status(queue, check)))
        .collect();
    let moving = [&queue.roles.status, &queue.roles.due];
    let lease = queue.roles.lease.as_ref().map(|lease| &lease.column);
    for column in moving.into_iter().flatten().chain(lease) {
        if queue.survey.partition_columns.contains(column) {
            findings.push(
                Finding::new(
                    &STATUS_PARTITION,
                    column,
                    format!("the partition key is ({})", queue.survey.partition_columns.join(", ")),
                )
                .advice(
                    "Partition by the key or by the time of creation, which stay as they are, and index the status in \
                     each partition.",
                ),
            );
        }
    }
    if let Some(column) = queue.status_column()
        && queue.is_postgres()
        && queue.roles.is_guess
        && matches!(column.kind, TypeKind::Char(length) if length > 1)
    {
        findings.push(
            Finding::new(&STATUS_PADDED, &column.name, format!("{:?} is {}", column.name, column.type_name)).statement(
                format!(
                    "alter table {} alter column {} type text; -- rewrites the table under an exclusive lock",
                    queue.table(),
                    quote_identifier(&column.name)
                ),
            ),
        );
    }
    findings.extend(missing_labels(queue));
    findings
}

/// Asks which of the words that have to be written a CHECK refuses.
pub(in crate::check) async fn refused_words(
    queue: Queue<'_>,
    asker: &mut Asker<'_>,
) -> Result<Vec<Finding>, Unanswered> {
    let Some(column) = queue.status_column().filter(|_| !queue.roles.is_guess) else { return Ok(Vec::new()) };
    // The words of an enum are its labels, and a number is not tried as a text.
    if !column.kind.is_text() {
        return Ok(Vec::new());
    }
    let name = quote_identifier(&column.name);
    let roles = queue.roles;
    let written: Vec<String> = [&roles.ready, &roles.running, &roles.succeeded, &roles.failed, &roles.cancelled]
        .into_iter()
        .flat_map(|state| state.words.iter().flatten())
        .map(|word| quote_literal(word, queue.is_postgres()))
        .collect();
    let mut findings = Vec::new();
    if written.is_empty() {
        return Ok(findings);
    }
    for check in queue.survey.checks.iter().filter(|check| check.columns == [column.name.clone()]) {
        let Some(expression) = expression_of(&check.definition) else { continue };
        let rows: Vec<String> = written
            .iter()
            .map(|word| {
                if queue.is_postgres() {
                    format!("select {word}::text as word, cast({word} as {}) as {name}", column.type_name)
                } else {
                    format!("select {word} as word, {word} as {name}")
                }
            })
            .collect();
        let sql = format!("select word from ({}) as written where not ({expression})", rows.join(" union all "));
        let refused: Vec<Refused> = asker.rows(&sql).await?;
        if !refused.is_empty() {
            let words: Vec<&str> = refused.iter().map(|refused| refused.word.as_str()).collect();
            findings.push(
                Finding::new(&CHECK_REFUSES, &check.name, format!("{} refuses {words:?}", check.definition))
                    .advice("Add the words to the list: a new CHECK `not valid`, validated, then the old one dropped."),
            );
        }
    }
    Ok(findings)
}

fn missing_labels(queue: Queue<'_>) -> Option<Finding> {
    let column = queue.status_column().filter(|column| column.kind == TypeKind::Enum && !queue.roles.is_guess)?;
    let known = queue.roles.known_words();
    let missing: Vec<&String> = known.iter().flatten().filter(|word| !column.enum_labels.contains(word)).collect();
    let first = missing.first()?;
    Some(
        Finding::new(
            &CHECK_REFUSES,
            &column.name,
            format!("the type {} has no label {missing:?}; it has {:?}", column.type_name, column.enum_labels),
        )
        .statement(format!("alter type {} add value {};", column.type_name, quote_literal(first, true))),
    )
}

fn accepts_anything(queue: Queue<'_>, check: &CheckConstraint) -> Option<Finding> {
    if !lists_null(&check.definition) {
        return None;
    }
    let table = queue.table();
    let name = quote_identifier(&check.name);
    let finding =
        Finding::new(&CHECK_ACCEPTS_ANYTHING, &check.name, format!("{}: the list contains NULL", check.definition));
    let is_status = queue.roles.status.as_ref().is_some_and(|status| check.columns.contains(status));
    let finding = if is_status { finding } else { finding.severity(Severity::Warning) };
    Some(if queue.is_postgres() {
        finding.statement(format!(
            "alter table {table} drop constraint {name}, add constraint {name} check (…) not valid; -- the list \
             without NULL, `or … is null` if NULL is meant; then: alter table {table} validate constraint {name};"
        ))
    } else {
        finding.advice("Take NULL out of the list when the table is next rebuilt; say `or … is null` if it is meant.")
    })
}

fn ties_status(queue: Queue<'_>, check: &CheckConstraint) -> Option<Finding> {
    let status = queue.roles.status.as_deref()?;
    let involves = |name: &str| match check.columns.as_slice() {
        [] => mentions(&check.definition, name),
        columns => columns.iter().any(|column| column == name),
    };
    if !involves(status) {
        return None;
    }
    let others: Vec<&str> = queue
        .survey
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| *name != status && involves(name))
        .collect();
    if others.is_empty() {
        return None;
    }
    Some(Finding::new(&CHECK_TIES, &check.name, format!("{} ties {status:?} to {others:?}", check.definition)).advice(
        "Write the other columns in the statement that writes the status (in a description: under `[on]`), or drop \
             the constraint.",
    ))
}

/// What stands between the outer brackets of `CHECK (…)`.
fn expression_of(definition: &str) -> Option<&str> {
    let start = definition.find('(')?;
    let end = definition.rfind(')')?;
    if !definition[..start].trim().to_lowercase().ends_with("check") || end <= start {
        return None;
    }
    definition.get(start + 1..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_of_a_check_is_what_stands_in_its_brackets() {
        assert_eq!(expression_of("CHECK ((a > 1)) NOT VALID"), Some("(a > 1)"));
        assert_eq!(expression_of("check (s in ('a', 'b'))"), Some("s in ('a', 'b')"));
        assert_eq!(expression_of("a > 1"), None);
    }
}
