//! Indexes: those that the claim, the sweep and the counts need, and those that cost more than they give.

use crate::check::finding::{Count, Finding, Rule, Severity, with_commas};
use crate::check::queue::Queue;
use crate::check::roles::{LeaseMeaning, State};
use crate::check::sql_text::{holds_word, is_column, mentions};
use crate::survey::{IndexInfo, quote_identifier};

/// Rows from which on a count that reads the table hurts.
const COUNT_ROWS_MIN: i64 = 1_000_000;

/// What stands for an expression among the columns of an index on SQLite.
const EXPRESSION: &str = "(expression)";

/// An update of the status writes an entry in each of them.
const INDEXES_MAX: usize = 8;

pub(in crate::check) static CLAIM_NO_INDEX: Rule = Rule {
    id: "claim-no-index",
    title: "No index finds the rows that wait",
    severity: Severity::Warning,
    consequence: "each claim reads the whole table, finished rows included: a drain costs the square of the table's \
                  size",
};

pub(in crate::check) static CLAIM_SORTS: Rule = Rule {
    id: "claim-order-no-index",
    title: "No index has the claim's order",
    severity: Severity::Warning,
    consequence: "each claim reads and sorts all rows that wait, to take a few",
};

pub(in crate::check) static SWEEP_NO_INDEX: Rule = Rule {
    id: "sweep-no-index",
    title: "No index finds the rows in progress",
    severity: Severity::Note,
    consequence: "each look for abandoned rows reads the whole table",
};

pub(in crate::check) static COUNTS_NO_INDEX: Rule = Rule {
    id: "counts-cost",
    title: "A count of what succeeded reads the table",
    severity: Severity::Warning,
    consequence: "a dashboard that counts by status every few seconds keeps the database busy with itself",
};

pub(in crate::check) static INDEX_ON_HEARTBEAT: Rule = Rule {
    id: "index-on-heartbeat",
    title: "An index contains the heartbeat",
    severity: Severity::Warning,
    consequence: "no heartbeat is a HOT update: each writes a new version of the row's entry in every index of the \
                  table, and leaves a dead one behind",
};

pub(in crate::check) static INDEX_INVALID: Rule = Rule {
    id: "index-invalid",
    title: "An index is invalid",
    severity: Severity::Warning,
    consequence: "a concurrent build broke off: the index is written at each change, and never read",
};

pub(in crate::check) static INDEX_DUPLICATE: Rule = Rule {
    id: "index-duplicate",
    title: "Two indexes are the same",
    severity: Severity::Note,
    consequence: "both are written at each change, and one of them is never needed",
};

pub(in crate::check) static INDEXES_MANY: Rule = Rule {
    id: "indexes-many",
    title: "The table has many indexes",
    severity: Severity::Note,
    consequence: "a change of the status, which some index contains, writes an entry in each of them: two or three \
                  times for each row that is worked on",
};

/// What the indexes show.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(claim(queue));
    findings.extend(sweep(queue));
    findings.extend(counts(queue));
    findings.extend(on_heartbeat(queue));
    findings.extend(many(queue));
    for index in queue.survey.indexes.iter().filter(|index| !index.valid) {
        let name = quote_identifier(&index.name);
        findings.push(
            Finding::new(&INDEX_INVALID, &index.name, format!("{:?} is not valid: {}", index.name, index.definition))
                .statement(format!("reindex index concurrently {name}; -- or: drop index concurrently {name};")),
        );
    }
    findings.extend(duplicates(queue));
    findings
}

fn claim(queue: Queue<'_>) -> Option<Finding> {
    let ready = queue.is(&queue.roles.ready)?;
    let leading: Vec<&IndexInfo> = valid(queue).filter(|index| finds(queue, index, &queue.roles.ready)).collect();
    let order = order(queue);
    let columns: Vec<String> = order.iter().map(|name| quote_identifier(name)).collect();
    let concurrently = if queue.is_postgres() { "concurrently " } else { "" };
    let statement = format!(
        "create index {concurrently}on {} ({}) where {ready};",
        queue.table(),
        if columns.is_empty() { quote_identifier(&queue.key_name()) } else { columns.join(", ") }
    );
    if leading.is_empty() {
        let rows = rows_said(queue);
        return Some(
            Finding::new(
                &CLAIM_NO_INDEX,
                queue.table(),
                format!("no index begins with, or is limited to, {ready}{rows}"),
            )
            .statement(statement),
        );
    }
    // A claim by the key alone needs no more than a partial index.
    if order.is_empty() || leading.iter().any(|index| is_in_order(queue, index, &order)) {
        return None;
    }
    let names: Vec<&str> = leading.iter().map(|index| index.name.as_str()).collect();
    Some(
        Finding::new(
            &CLAIM_SORTS,
            queue.table(),
            format!("{names:?} find the rows that wait, but none goes on with {}", order.join(", ")),
        )
        .statement(statement),
    )
}

fn sweep(queue: Queue<'_>) -> Option<Finding> {
    let running = queue.is(&queue.roles.running)?;
    if valid(queue).any(|index| finds(queue, index, &queue.roles.running)) {
        return None;
    }
    let key = queue.roles.key.first().map_or_else(|| "…".to_owned(), |name| quote_identifier(name));
    let concurrently = if queue.is_postgres() { "concurrently " } else { "" };
    Some(
        Finding::new(&SWEEP_NO_INDEX, queue.table(), format!("no index begins with, or is limited to, {running}"))
            .statement(format!("create index {concurrently}on {} ({key}) where {running};", queue.table())),
    )
}

fn counts(queue: Queue<'_>) -> Option<Finding> {
    let succeeded = queue.is(&queue.roles.succeeded)?;
    // Rowlock estimates what succeeded, and leaves it out of every index by intent.
    let is_large = queue.survey.rows_estimate >= COUNT_ROWS_MIN;
    if !is_large || queue.roles.is_kept_by_rowlock || !queue.roles.is_guess {
        return None;
    }
    if valid(queue).any(|index| finds(queue, index, &queue.roles.succeeded)) {
        return None;
    }
    Some(
        Finding::new(&COUNTS_NO_INDEX, queue.table(), format!("{succeeded} is in no index{}", rows_said(queue)))
            .advice(
                "Count the states that an index holds, and estimate the rest from the statistics; or let a count of \
                 what succeeded stop at a limit. An index over it would be one more write for each row.",
            )
            .rows(Count { value: queue.survey.rows_estimate, is_estimate: !queue.survey.rows_are_exact }),
    )
}

fn on_heartbeat(queue: Queue<'_>) -> Option<Finding> {
    let lease = queue.roles.lease.as_ref()?;
    let is_renewed = matches!(lease.meaning, LeaseMeaning::Heartbeat | LeaseMeaning::Expiry);
    // SQLite writes an entry only in the indexes that contain a changed column.
    if !queue.is_postgres() || !is_renewed {
        return None;
    }
    let index = valid(queue).find(|index| {
        let in_predicate = index.predicate.as_deref().is_some_and(|predicate| mentions(predicate, &lease.column));
        // A covering column counts as well, and only the definition shows it.
        let covers = index.definition.to_lowercase().contains(" include ");
        let covered = covers && mentions(&index.definition, &lease.column);
        in_predicate || covered || index.columns.iter().any(|column| mentions(column, &lease.column))
    })?;
    Some(
        Finding::new(
            &INDEX_ON_HEARTBEAT,
            &index.name,
            format!("{:?} contains {:?}: {}", index.name, lease.column, index.definition),
        )
        .statement(format!(
            "drop index concurrently {}; -- a partial index over the few rows in progress, without the heartbeat, \
             serves the sweep as well",
            quote_identifier(&index.name)
        )),
    )
}

fn many(queue: Queue<'_>) -> Option<Finding> {
    let count = valid(queue).count();
    if !queue.is_postgres() || count <= INDEXES_MAX {
        return None;
    }
    Some(Finding::new(&INDEXES_MANY, queue.table(), format!("it has {count} indexes")).advice(
        "Drop those that pg_stat_user_indexes shows as unused, or keep the state in a narrow table of its \
                     own.",
    ))
}

fn duplicates(queue: Queue<'_>) -> Vec<Finding> {
    let indexes: Vec<&IndexInfo> = valid(queue).collect();
    let mut findings = Vec::new();
    for (at, index) in indexes.iter().enumerate() {
        let same = |other: &&&IndexInfo| {
            // The definitions differ in the name only: another method, order or collation makes another index.
            other.columns == index.columns
                && other.predicate == index.predicate
                && nameless(other) == nameless(index)
                && !index.definition.is_empty()
                && !(other.unique && index.unique)
        };
        if let Some(other) = indexes[..at].iter().find(same) {
            let extra = if index.unique { other } else { index };
            let concurrently = if queue.is_postgres() { "concurrently " } else { "" };
            let evidence = format!("{:?} and {:?} are the same", other.name, index.name);
            findings.push(
                Finding::new(&INDEX_DUPLICATE, &extra.name, evidence)
                    .statement(format!("drop index {concurrently}{};", quote_identifier(&extra.name))),
            );
        }
    }
    findings
}

/// The definition from the table on, without the name.
fn nameless(index: &IndexInfo) -> String {
    let definition = index.definition.to_lowercase();
    definition.find(" on ").map_or_else(String::new, |at| definition[at..].to_owned())
}

fn valid(queue: Queue<'_>) -> impl Iterator<Item = &IndexInfo> {
    queue.survey.indexes.iter().filter(|index| index.valid)
}

/// Whether an index leads to the rows of a state: it begins with the status and holds its words, or holds little else.
fn finds(queue: Queue<'_>, index: &IndexInfo, state: &State) -> bool {
    let status = queue.roles.status.as_deref();
    if let (Some(status), false) = (status, state.words.is_empty()) {
        let first = index.columns.first().is_some_and(|column| is_column(column, status));
        let Some(predicate) = index.predicate.as_deref() else { return first };
        if !mentions(predicate, status) {
            return first;
        }
        // One index for each stage is as good as one for all.
        return state.words.iter().any(|word| holds_word(predicate, status, word.as_deref()));
    }
    // The state is an expression: an index that mentions each of its columns may lead there.
    let columns = queue.survey.columns.iter().map(|column| column.name.as_str());
    let read: Vec<&str> =
        columns.filter(|name| state.predicates.iter().any(|predicate| mentions(predicate, name))).collect();
    let mentioned = |name: &str| {
        index.predicate.as_deref().is_some_and(|predicate| mentions(predicate, name))
            || index.columns.first().is_some_and(|column| mentions(column, name))
    };
    read.iter().any(|name| mentioned(name))
}

/// The columns of the claim's order, as far as they are known.
fn order(queue: Queue<'_>) -> Vec<String> {
    let roles = queue.roles;
    let mut order: Vec<String> = roles.priority.iter().cloned().collect();
    order.extend(roles.due.clone().or_else(|| roles.created.clone()));
    order
}

/// Whether some column behind the status is, or is computed from, what the claim sorts by.
fn is_in_order(queue: Queue<'_>, index: &IndexInfo, order: &[String]) -> bool {
    let mut ages: Vec<&String> = [&queue.roles.due, &queue.roles.created].into_iter().flatten().collect();
    ages.extend(queue.roles.key.first());
    let is_behind = |column: &&String| queue.roles.status.as_deref().is_none_or(|status| !is_column(column, status));
    let Some(next) = index.columns.iter().find(is_behind) else { return false };
    // SQLite shows an expression nowhere but in the statement.
    let next = if next == EXPRESSION { &index.definition } else { next };
    order.iter().chain(ages).any(|name| mentions(next, name))
}

fn rows_said(queue: Queue<'_>) -> String {
    match queue.survey.rows_estimate {
        rows if rows > 0 && queue.survey.rows_are_exact => format!("; the table has {} rows", with_commas(rows)),
        rows if rows > 0 => format!("; the table has about {} rows", with_commas(rows)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use rowlock::TableName;

    use super::*;
    use crate::check::roles::Roles;
    use crate::survey::{Database, Survey, SurveyColumn, TypeKind};

    fn survey(indexes: &[(&[&str], Option<&str>)]) -> Survey {
        let mut survey = Survey::empty(Database::Postgres, TableName::new("jobs"));
        for name in ["id", "status", "retry_after", "created_at", "claim_token"] {
            survey.columns.push(SurveyColumn::new(name, "text", TypeKind::Text));
        }
        for (number, (columns, predicate)) in indexes.iter().enumerate() {
            survey.indexes.push(IndexInfo {
                name: format!("i{number}"),
                columns: columns.iter().map(|column| (*column).to_owned()).collect(),
                predicate: predicate.map(str::to_owned),
                unique: false,
                valid: true,
                definition: format!("create index i{number} on jobs ({})", columns.join(", ")),
            });
        }
        survey
    }

    fn roles() -> Roles {
        Roles {
            key: vec!["id".to_owned()],
            status: Some("status".to_owned()),
            ready: State::of_words(["PENDING"]),
            running: State::of_words(["A_IN_PROGRESS"]),
            succeeded: State::of_words(["SUCCEEDED"]),
            due: Some("retry_after".to_owned()),
            created: Some("created_at".to_owned()),
            is_guess: true,
            ..Roles::default()
        }
    }

    fn ids(indexes: &[(&[&str], Option<&str>)]) -> Vec<&'static str> {
        let (survey, roles) = (survey(indexes), roles());
        of_schema(Queue::new(&survey, &roles)).iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn rowlocks_own_indexes_are_enough() {
        let ready: &[&str] = &["status", "COALESCE(retry_after, created_at, '-infinity'::text)"];
        let stopped = "COALESCE(status, ''::text) <> ALL (ARRAY['PENDING'::text, 'A_IN_PROGRESS'::text, \
                       'SUCCEEDED'::text])";
        let found = ids(&[
            (ready, Some("status = 'PENDING'::text")),
            (&["claim_token"], Some("status = 'A_IN_PROGRESS'::text")),
            (&["status", "id"], Some(stopped)),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_table_without_an_index_over_the_status_is_read_whole() {
        assert_eq!(ids(&[(&["id"], None)]), ["claim-no-index", "sweep-no-index"]);
        let stopped = "status <> ALL (ARRAY['PENDING'::text, 'A_IN_PROGRESS'::text])";
        assert_eq!(ids(&[(&["id"], Some(stopped))]), ["claim-no-index", "sweep-no-index"]);
    }

    #[test]
    fn the_index_of_another_pipeline_of_the_table_is_none_of_this_one() {
        let of_another = "claim_token = 'PENDING'::text AND status = 'DONE'::text";
        assert_eq!(ids(&[(&["created_at"], Some(of_another))]), ["claim-no-index", "sweep-no-index"]);
    }

    #[test]
    fn an_index_over_the_status_alone_leaves_the_order_to_a_sort() {
        assert_eq!(ids(&[(&["status"], None)]), ["claim-order-no-index"]);
        assert!(ids(&[(&["status", "retry_after DESC"], None)]).is_empty());
    }

    #[test]
    fn the_same_index_twice_is_once_too_often() {
        let found = ids(&[(&["status", "created_at"], None), (&["status", "created_at"], None)]);
        assert_eq!(found, ["index-duplicate"]);
    }
}
