//! The words of the status column: those that no state has, NULL, the default, and spellings.

use std::collections::HashMap;

use serde::Deserialize;

use super::ROWS_MAX;
use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, rows_text};
use crate::check::guess::words_of;
use crate::check::queue::Queue;
use crate::check::sql_text::words_of_check;
use crate::check::template::quote_literal;
use crate::check::words::{StateKind, classify_all};
use crate::survey::{TypeKind, quote_identifier};

pub(in crate::check) static STATUS_UNKNOWN: Rule = Rule {
    id: "status-unknown-word",
    title: "Rows have a word that no state has",
    severity: Severity::Warning,
    consequence: "no worker takes these rows up, no sweep takes them back, and no count shows them",
};

pub(in crate::check) static STATUS_NULL: Rule = Rule {
    id: "status-null",
    title: "Rows have no status",
    severity: Severity::Error,
    consequence: "`status = …`, `status <> …` and `status in (…)` all leave these rows out: they are in no state at \
                  all",
};

pub(in crate::check) static STATUS_NULLABLE: Rule = Rule {
    id: "status-nullable",
    title: "The status may be NULL",
    severity: Severity::Note,
    consequence: "one insert or update with NULL makes a row that no predicate over the status finds",
};

pub(in crate::check) static STATUS_DEFAULT: Rule = Rule {
    id: "status-default",
    title: "The default of the status is no word that waits",
    severity: Severity::Warning,
    consequence: "a row that is inserted without a status is never worked on",
};

pub(in crate::check) static STATUS_SPELLINGS: Rule = Rule {
    id: "status-spellings",
    title: "One word is spelt in several ways",
    severity: Severity::Warning,
    consequence: "a comparison finds one of the spellings and leaves the rows of the others where they are",
};

pub(in crate::check) static STATES_MISSING: Rule = Rule {
    id: "states-missing",
    title: "The status has no word for a state that every queue has",
    severity: Severity::Note,
    consequence: "without a word for failed, a row that cannot succeed is tried for ever or looks done; without one \
                  for in progress, two workers take the same row",
};

pub(in crate::check) static PRIORITY_WORDS: Rule = Rule {
    id: "priority-words",
    title: "The priority is a word",
    severity: Severity::Warning,
    consequence: "words are sorted by the alphabet: `high` comes before `low`, and `critical` before `urgent`, by \
                  accident or not at all; with `order by case …` each claim sorts the whole backlog",
};

#[derive(Debug, Deserialize)]
struct Stray {
    word: Option<String>,
    n: i64,
    item: Option<String>,
}

/// What the schema shows.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(default(queue));
    findings.extend(nullable(queue));
    findings.extend(spellings(queue));
    findings.extend(missing_states(queue));
    findings.extend(priority(queue));
    findings
}

/// Asks for rows whose status no state has.
pub(in crate::check) async fn of_rows(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let roles = queue.roles;
    let Some(name) = &roles.status else { return Ok(Vec::new()) };
    let states = [&roles.ready, &roles.running, &roles.succeeded, &roles.failed, &roles.cancelled, &roles.ignored];
    let known: Vec<String> = states.into_iter().filter_map(|state| queue.is(state)).collect();
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let column = quote_identifier(name);
    let sql = asker.dialect(include_str!("../sql/postgres/words.sql"), include_str!("../sql/sqlite/words.sql"));
    let answer = asker
        .about_rows::<Stray>(
            sql,
            &[("status", &column), ("item", &queue.key_text()), ("known", &known.join(" or ")), ("limit", ROWS_MAX)],
        )
        .await?;
    let (words, nulls): (Vec<&Stray>, Vec<&Stray>) = answer.value.iter().partition(|stray| stray.word.is_some());
    let words = if roles.is_guess { strange(queue, words) } else { words };
    let mut findings = Vec::new();
    if let Some(null) = nulls.first() {
        let rows = answer.count(null.n);
        let evidence = format!("{} with NULL in {name:?}{}", rows_text(rows), answer.basis_text());
        findings.push(
            Finding::new(&STATUS_NULL, name, evidence)
                .statement(format!(
                    "update {} set {column} = … where {column} is null; -- the word that these rows should have",
                    queue.table()
                ))
                .rows(rows)
                .example(null.item.clone()),
        );
    }
    if !words.is_empty() {
        let total = answer.count(words.iter().map(|stray| stray.n).sum());
        let listed: Vec<String> = words
            .iter()
            .map(|stray| format!("{:?} ({})", stray.word.as_deref().unwrap_or_default(), answer.count(stray.n)))
            .collect();
        findings.push(
            Finding::new(
                &STATUS_UNKNOWN,
                name,
                format!("{} with {}{}", rows_text(total), listed.join(", "), answer.basis_text()),
            )
            .advice(
                "Give each of these words a state, list it as `ignored`, or write the rows' true word. A CHECK over \
                 the list of words, added `not valid` and then validated, keeps others out.",
            )
            .rows(total)
            .example(words[0].item.clone()),
        );
    }
    Ok(findings)
}

/// The words that say nothing known. A word may be so rare that the guess, which knows a sample, has not seen it.
fn strange<'a>(queue: Queue<'_>, words: Vec<&'a Stray>) -> Vec<&'a Stray> {
    let mut all: Vec<String> = words.iter().filter_map(|stray| stray.word.clone()).collect();
    let count = all.len();
    // Some words can only be read beside the others.
    all.extend(queue.roles.known_words().into_iter().flatten());
    let kinds = classify_all(&all, queue.roles.is_kept_by_rowlock);
    let read = words.into_iter().zip(kinds.into_iter().take(count));
    read.filter(|(_, kind)| kind.is_none()).map(|(word, _)| word).collect()
}

fn default(queue: Queue<'_>) -> Option<Finding> {
    let column = queue.status_column()?;
    let ready = queue.roles.ready.words.iter().flatten().next();
    // Rowlock can be told to leave the default as it is: then whoever inserts names the word.
    let known = !queue.roles.ready.words.is_empty();
    if !known || column.is_generated || (queue.roles.is_kept_by_rowlock && column.default.is_some()) {
        return None;
    }
    let reads_null = queue.roles.known_words().contains(&None);
    let evidence = match (column.default_literal(), &column.default) {
        (Some(word), _) if queue.roles.ready.words.contains(&Some(word.clone())) => return None,
        // A row may begin in a state that is no worker's business, until something else is ready.
        (Some(word), _) if queue.roles.ignored.words.contains(&Some(word.clone())) => return None,
        (Some(word), _) => format!("the default is {word:?}"),
        (None, Some(_)) => return None,
        // Then an insert has to name the word.
        (None, None) if !column.is_nullable || reads_null => return None,
        (None, None) => "there is no default, so that an insert without a status writes NULL".to_owned(),
    };
    let finding = Finding::new(&STATUS_DEFAULT, &column.name, evidence);
    Some(match ready {
        Some(word) if queue.is_postgres() => finding.statement(format!(
            "alter table {} alter column {} set default {};",
            queue.table(),
            quote_identifier(&column.name),
            quote_literal(word, true)
        )),
        _ => finding.advice("Give the column the word that waits as its default. On SQLite that takes a new table."),
    })
}

fn nullable(queue: Queue<'_>) -> Option<Finding> {
    let column = queue.status_column()?;
    let reads_null = queue.roles.known_words().contains(&None);
    let has_nulls = column.values.as_ref().is_some_and(|values| values.nulls() > 0);
    if !column.is_nullable || column.is_generated || reads_null || has_nulls || queue.roles.has_predicates() {
        return None;
    }
    let name = quote_identifier(&column.name);
    let finding = Finding::new(&STATUS_NULLABLE, &column.name, format!("{:?} has no NOT NULL", column.name));
    let table = queue.table();
    Some(if queue.is_postgres() {
        finding.statement(format!(
            "alter table {table} add constraint status_not_null check ({name} is not null) not valid; alter table \
             {table} validate constraint status_not_null; alter table {table} alter column {name} set not null;"
        ))
    } else {
        finding.advice("Declare the column `not null` when the table is next rebuilt.")
    })
}

fn spellings(queue: Queue<'_>) -> Option<Finding> {
    let column = queue.status_column()?;
    let values = column.values.as_ref()?;
    let mut spelt: HashMap<String, Vec<&str>> = HashMap::new();
    for (word, _) in values.texts() {
        let plain = word.trim().to_lowercase().replace(['-', ' '], "_");
        spelt.entry(plain).or_default().push(word);
    }
    let mut several: Vec<Vec<&str>> = spelt.into_values().filter(|words| words.len() > 1).collect();
    several.sort_unstable();
    if several.is_empty() || column.kind.is_integer() {
        return None;
    }
    let listed: Vec<String> = several.iter().map(|words| format!("{words:?}")).collect();
    let (first, other) = (several[0][0], several[0][1]);
    Some(Finding::new(&STATUS_SPELLINGS, &column.name, format!("found side by side: {}", listed.join(", "))).statement(
        format!(
            "update {} set {column} = {} where {column} = {}; -- whichever spelling the workers use",
            queue.table(),
            quote_literal(first, queue.is_postgres()),
            quote_literal(other, queue.is_postgres()),
            column = quote_identifier(&column.name)
        ),
    ))
}

/// Only where the schema lists the words: a word that no row has today may be written tomorrow.
fn missing_states(queue: Queue<'_>) -> Option<Finding> {
    let column = queue.status_column()?;
    let listed = queue.survey.checks.iter().any(|check| {
        check.columns == [column.name.clone()] && words_of_check(&check.definition).is_some_and(|words| words.len() > 1)
    });
    if !queue.roles.is_guess || queue.roles.has_predicates() || !(listed || column.kind == TypeKind::Enum) {
        return None;
    }
    let words = words_of(queue.survey, column);
    let kinds = classify_all(&words, queue.roles.is_kept_by_rowlock);
    let missing: Vec<&str> = [(StateKind::Failed, "failed"), (StateKind::Running, "in progress")]
        .into_iter()
        .filter(|(kind, _)| !kinds.contains(&Some(*kind)))
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return None;
    }
    Some(
        Finding::new(
            &STATES_MISSING,
            &column.name,
            format!("of the words {words:?} none seems to say {}", missing.join(", nor one ")),
        )
        .advice("Add the word to the list that the schema allows, and write it."),
    )
}

fn priority(queue: Queue<'_>) -> Option<Finding> {
    let column = queue.roles.priority.as_deref().and_then(|name| queue.column(name))?;
    if !column.kind.is_text() {
        return None;
    }
    let found: Vec<&str> =
        column.values.iter().flat_map(|values| values.texts()).map(|(word, _)| word).take(6).collect();
    if found.iter().all(|word| word.parse::<f64>().is_ok()) && !found.is_empty() {
        return Some(
            Finding::new(&PRIORITY_WORDS, &column.name, format!("{:?} holds numbers as text", column.name))
                .consequence("as text, 10 comes before 9")
                .advice("Make it a column of numbers."),
        );
    }
    let seen = if found.is_empty() { String::new() } else { format!(", with {found:?}") };
    Some(
        Finding::new(&PRIORITY_WORDS, &column.name, format!("{:?} is {}{seen}", column.name, column.type_name))
            .statement(format!(
                "alter table {} add column priority_rank smallint not null default 0; -- a number that says the same, \
                 in the claim's order and its index",
                queue.table()
            )),
    )
}
