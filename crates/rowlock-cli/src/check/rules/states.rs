//! States of a description that do not exclude each other: rows that are in several of them.

use serde::Deserialize;

use super::ROWS_MAX;
use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, rows_text};
use crate::check::queue::Queue;
use crate::check::template::quote_literal;

/// What stands before each state in the list of a row's states.
const SEPARATOR: &str = ", ";

pub(in crate::check) static STATES_OVERLAP: Rule = Rule {
    id: "states-overlap",
    title: "Rows are in several states at once",
    severity: Severity::Error,
    consequence: "by one of the states such a row is work, by another it is done or given up: `rowlock attach` refuses \
                  the description",
};

#[derive(Debug, Deserialize)]
struct Several {
    states: String,
    n: i64,
    item: Option<String>,
}

/// Asks for rows that are in more than one state of the description.
pub(in crate::check) async fn of_rows(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let described = &queue.roles.described;
    let said: Vec<(&str, String)> =
        described.iter().filter_map(|(name, state)| Some((name.as_str(), queue.is(state)?))).collect();
    // A column has one word, and no two states have the same.
    let has_predicates = described.iter().any(|(_, state)| !state.predicates.is_empty());
    if !has_predicates || said.len() < 2 {
        return Ok(Vec::new());
    }
    let name = |name: &str| quote_literal(&format!("{SEPARATOR}{name}"), queue.is_postgres());
    let names: Vec<String> =
        said.iter().map(|(state, is)| format!("case when {is} then {} else '' end", name(state))).collect();
    let counts: Vec<String> = said.iter().map(|(_, is)| format!("case when {is} then 1 else 0 end")).collect();
    let sql = asker.dialect(include_str!("../sql/postgres/states.sql"), include_str!("../sql/sqlite/states.sql"));
    let (item, states, how_many) = (queue.key_text(), names.join(" || "), counts.join(" + "));
    let names =
        [("item", item.as_str()), ("states", states.as_str()), ("how_many", how_many.as_str()), ("limit", ROWS_MAX)];
    let answer = asker.about_rows::<Several>(sql, &names).await?;
    let finding = |several: &Several| {
        let rows = answer.count(several.n);
        let states = several.states.strip_prefix(SEPARATOR).unwrap_or(&several.states);
        let evidence = format!("{} in all of these states: {states}{}", rows_text(rows), answer.basis_text());
        Finding::new(&STATES_OVERLAP, queue.table(), evidence)
            .advice(
                "Make the conditions of these states exclude each other: add to one of them that the other does not \
                 hold.",
            )
            .rows(rows)
            .example(several.item.clone())
    };
    Ok(answer.value.iter().map(finding).collect())
}
