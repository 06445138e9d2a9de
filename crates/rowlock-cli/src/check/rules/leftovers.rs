//! Values that contradict the state: errors on rows that succeeded, and deleted rows that wait.

use super::matching;
use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, rows_text};
use crate::check::queue::Queue;
use crate::survey::{SurveyColumn, TypeKind, quote_identifier};

pub(in crate::check) static ERROR_ON_SUCCESS: Rule = Rule {
    id: "error-on-success",
    title: "Rows that succeeded have an error",
    severity: Severity::Note,
    consequence: "whoever looks for errors finds work that was done: the error is that of an earlier attempt, or a \
                  failure is stored as a success",
};

pub(in crate::check) static READY_DELETED: Rule = Rule {
    id: "ready-deleted",
    title: "Deleted rows wait to be worked on",
    severity: Severity::Warning,
    consequence: "a claim that does not leave them out works on what its owner has deleted",
};

/// Asks for both.
pub(in crate::check) async fn of_rows(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let mut findings = Vec::new();
    findings.extend(errors(queue, asker).await?);
    findings.extend(deleted(queue, asker).await?);
    Ok(findings)
}

async fn errors(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Option<Finding>, Unanswered> {
    let roles = queue.roles;
    let column = roles.error.as_deref().and_then(|name| queue.column(name));
    let (Some(column), Some(succeeded)) = (column, queue.is(&roles.succeeded)) else { return Ok(None) };
    // A pipeline of Rowlock's can be told to keep the error, and says so nowhere in the table.
    if roles.is_kept_by_rowlock {
        return Ok(None);
    }
    let name = quote_identifier(&column.name);
    let has_error = if column.kind.is_text() { format!("{name} <> ''") } else { format!("{name} is not null") };
    let predicate = format!("{succeeded} and {has_error}");
    let answer = matching(queue, asker, &predicate).await?;
    if answer.value.n == 0 {
        return Ok(None);
    }
    let rows = answer.count(answer.value.n);
    let basis = answer.basis_text();
    let evidence = format!("{} that succeeded with a text in {:?}{basis}", rows_text(rows), column.name);
    let finding = Finding::new(&ERROR_ON_SUCCESS, &column.name, evidence)
        .statement(format!(
            "update {} set {name} = null where {predicate}; -- and let completion clear it",
            queue.table()
        ))
        .rows(rows)
        .example(answer.value.item.clone());
    Ok(Some(finding))
}

async fn deleted(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Option<Finding>, Unanswered> {
    let roles = queue.roles;
    let column = roles.deleted.as_deref().and_then(|name| queue.column(name));
    let (Some(column), Some(ready)) = (column, queue.is(&roles.ready)) else { return Ok(None) };
    if roles.leaves_out_deleted {
        return Ok(None);
    }
    let is_deleted = is_deleted(column);
    let answer = matching(queue, asker, &format!("{ready} and {is_deleted}")).await?;
    if answer.value.n == 0 {
        return Ok(None);
    }
    let rows = answer.count(answer.value.n);
    let evidence = format!("{} wait although {is_deleted}{}", rows_text(rows), answer.basis_text());
    let finding = Finding::new(&READY_DELETED, &column.name, evidence)
        .advice(format!("Add `and not ({is_deleted})` to the claim and to the predicate of its index."))
        .rows(rows)
        .example(answer.value.item.clone());
    Ok(Some(finding))
}

fn is_deleted(column: &SurveyColumn) -> String {
    let name = quote_identifier(&column.name);
    match column.kind {
        TypeKind::Boolean => name,
        TypeKind::SmallInt | TypeKind::Integer | TypeKind::BigInt => format!("{name} <> 0"),
        _ => format!("{name} is not null"),
    }
}
