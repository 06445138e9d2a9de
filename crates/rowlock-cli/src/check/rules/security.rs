//! Rows that this role, or a worker's, does not see, and updates that the server refuses.

use serde::Deserialize;

use crate::check::ask::{Asker, Unanswered};
use crate::check::finding::{Finding, Rule, Severity, with_commas};
use crate::check::queue::Queue;
use crate::check::template::render;

/// Rows that are counted to compare what is seen with what there is.
const SEEN_MAX: &str = "100000";

pub(in crate::check) static ROW_SECURITY: Rule = Rule {
    id: "row-security",
    title: "Row security hides rows",
    severity: Severity::Warning,
    consequence: "a worker whose role the policies do not let through finds nothing to do over a full queue, and no \
                  error says so",
};

pub(in crate::check) static REPLICA_IDENTITY: Rule = Rule {
    id: "replica-identity",
    title: "The table is published, and its rows have no identity",
    severity: Severity::Error,
    consequence: "the server refuses every update and delete of the table while a publication publishes them",
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Visible {
    seen: i64,
}

/// What the schema shows.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    let survey = queue.survey;
    let identity = survey.replica_identity.as_str();
    let has_none = identity == "nothing" || (identity == "default" && survey.primary_key.is_empty());
    if !survey.is_published || !has_none {
        return Vec::new();
    }
    let statement = if survey.primary_key.is_empty() { "replica identity full" } else { "replica identity default" };
    vec![
        Finding::new(
            &REPLICA_IDENTITY,
            queue.table(),
            format!("a publication publishes its updates, and its replica identity is {identity}"),
        )
        .statement(format!("alter table {} {statement};", queue.table())),
    ]
}

/// Asks how many rows this role sees, where policies may hide some.
pub(in crate::check) async fn rows_seen(queue: Queue<'_>, asker: &mut Asker<'_>) -> Result<Vec<Finding>, Unanswered> {
    let security = &queue.survey.row_security;
    if !security.enabled {
        return Ok(Vec::new());
    }
    let policies = match security.policies.as_slice() {
        [] => "there is no policy, so that other roles see no row at all".to_owned(),
        policies => format!("the policies are: {}", policies.join("; ")),
    };
    let statement = format!(
        "create policy workers on {} to … using (true) with check (true); -- the role of the workers; or give that \
         role bypassrls",
        queue.table()
    );
    if !security.applies_to_me {
        let evidence = format!("row security is on, but does not apply to this role; {policies}");
        let finding = Finding::new(&ROW_SECURITY, queue.table(), evidence).statement(statement);
        return Ok(vec![if security.policies.is_empty() { finding } else { finding.severity(Severity::Note) }]);
    }
    let table = queue.table();
    let names = [("table", table.as_str()), ("limit", SEEN_MAX)];
    let seen: Vec<Visible> = asker.rows(&render(include_str!("../sql/postgres/visible.sql"), &names)).await?;
    let seen = seen.first().map_or(0, |visible| visible.seen);
    let of = match queue.survey.rows_estimate {
        rows if rows > 0 => format!(" of about {} by the statistics", with_commas(rows)),
        _ => String::new(),
    };
    let evidence = format!("row security applies to this role, which sees {} rows{of}; {policies}", with_commas(seen));
    let hides = queue.survey.rows_estimate > seen && SEEN_MAX.parse::<i64>().is_ok_and(|limit| seen < limit);
    Ok(vec![
        Finding::new(&ROW_SECURITY, queue.table(), evidence)
            .severity(if hides { Severity::Error } else { Severity::Warning })
            .statement(statement),
    ])
}
