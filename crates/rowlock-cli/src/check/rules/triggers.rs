//! Triggers that change what the queue relies on.

use crate::check::finding::{Finding, Rule, Severity};
use crate::check::queue::Queue;
use crate::check::roles::LeaseMeaning;
use crate::check::sql_text::{assigned_columns, has_word, is_conditional, raises_error};
use crate::survey::{TriggerInfo, quote_identifier};

pub(in crate::check) static LEASE_TRIGGER: Rule = Rule {
    id: "lease-trigger",
    title: "A trigger renews the lease",
    severity: Severity::Error,
    consequence: "any update of the row, by anyone, makes a dead worker look alive: a row that is edited, counted or \
                  reported on is never taken back",
};

pub(in crate::check) static TRIGGER_WRITES: Rule = Rule {
    id: "trigger-writes-role",
    title: "A trigger writes a column of the queue",
    severity: Severity::Warning,
    consequence: "what a worker writes there is overwritten or counted twice, and nothing in the worker's code shows \
                  it",
};

pub(in crate::check) static TRIGGER_RAISES: Rule = Rule {
    id: "trigger-raises",
    title: "A trigger may refuse an update",
    severity: Severity::Note,
    consequence: "one row that it refuses ends the statement for all rows of the batch: claims, heartbeats and sweeps",
};

pub(in crate::check) static TRIGGER_NOTIFIES: Rule = Rule {
    id: "trigger-notifies",
    title: "A trigger notifies at each insert",
    severity: Severity::Note,
    consequence: "each transaction that notifies takes one lock of the whole server when it commits, so that commits \
                  queue up behind one another",
};

/// Whether some trigger sets this column at an update.
pub(super) fn renews(queue: Queue<'_>, column: &str) -> bool {
    queue.survey.triggers.iter().any(|trigger| sets(queue, trigger).iter().any(|set| set == column))
}

/// What the triggers' sources show.
pub(in crate::check) fn of_schema(queue: Queue<'_>) -> Vec<Finding> {
    queue.survey.triggers.iter().flat_map(|trigger| of_trigger(queue, trigger)).collect()
}

fn of_trigger(queue: Queue<'_>, trigger: &TriggerInfo) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Rowlock's own, which says the states of a table twice where the table asks for it.
    let Some(source) = trigger.source.as_deref().filter(|_| !trigger.name.starts_with("rowlock")) else {
        return findings;
    };
    let condition = if is_conditional(source) { ", under a condition that may always hold" } else { "" };
    for column in sets(queue, trigger) {
        findings.extend(of_column(queue, trigger, &column, condition));
    }
    let when = trigger.when.to_lowercase();
    if when.contains("update") && when.contains("before") && raises_error(source) {
        findings.push(
            Finding::new(&TRIGGER_RAISES, &trigger.name, format!("{:?} ({when}) can raise an error", trigger.name))
                .advice("Read under which condition, and make sure that no move of the queue meets it."),
        );
    }
    if has_word(source, "pg_notify") && when.contains("insert") && !is_conditional(source) {
        findings.push(
            Finding::new(&TRIGGER_NOTIFIES, &trigger.name, format!("{:?} ({when}) calls pg_notify", trigger.name))
                .advice("Notify for each statement, and only while a worker waits."),
        );
    }
    findings
}

fn of_column(queue: Queue<'_>, trigger: &TriggerInfo, column: &str, condition: &str) -> Option<Finding> {
    let roles = queue.roles;
    let name = &trigger.name;
    if let Some(lease) = roles.lease.as_ref().filter(|lease| lease.column == column) {
        // A trigger that stamps the row when it is claimed does what a claim should do.
        let stamps = matches!(lease.meaning, LeaseMeaning::Stamp | LeaseMeaning::Expiry) && !condition.is_empty();
        return Some(
            Finding::new(
                &LEASE_TRIGGER,
                name,
                format!("{name:?} ({}) sets {column:?}{condition}, which is the lease", trigger.when),
            )
            .severity(if stamps { Severity::Warning } else { LEASE_TRIGGER.severity })
            .statement(format!(
                "alter table {} add column heartbeat_at {}; -- a lease that no trigger touches: let claims and \
                 heartbeats write it, and the sweep read it",
                queue.table(),
                if queue.is_postgres() { "timestamptz" } else { "text" }
            )),
        );
    }
    let written = [
        ("status", &roles.status),
        ("count of attempts", &roles.attempts),
        ("due time", &roles.due),
        ("error", &roles.error),
        ("holder", &roles.holder),
        ("token", &roles.token),
    ];
    let (role, _) = written.into_iter().find(|(_, found)| found.as_deref() == Some(column))?;
    Some(
        Finding::new(
            &TRIGGER_WRITES,
            name,
            format!("{name:?} ({}) sets {column:?}{condition}, which is the {role}", trigger.when),
        )
        .advice(format!(
            "Let the worker's own statement write {}, and drop that part of the trigger.",
            quote_identifier(column)
        )),
    )
}

/// The columns that a trigger sets when a row is updated.
fn sets(queue: Queue<'_>, trigger: &TriggerInfo) -> Vec<String> {
    let Some(source) = trigger.source.as_deref().filter(|_| trigger.when.to_lowercase().contains("update")) else {
        return Vec::new();
    };
    let mut columns = assigned_columns(source, queue.survey.table.name());
    // The function of the extension is written in C: the column is an argument of the trigger.
    if has_word(source, "moddatetime") {
        columns.extend(queue.roles.updated.clone());
    }
    // SQL does not tell `NEW.Updated_At` from `new.updated_at`, unless it is quoted.
    columns
        .into_iter()
        .filter_map(|name| queue.survey.columns.iter().find(|column| column.name.eq_ignore_ascii_case(&name)))
        .map(|column| column.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use rowlock::TableName;

    use super::*;
    use crate::check::roles::{Lease, Roles};
    use crate::survey::{Database, Survey, SurveyColumn, TypeKind};

    fn ids(when: &str, source: &str) -> Vec<&'static str> {
        let mut survey = Survey::empty(Database::Postgres, TableName::new("jobs"));
        for name in ["id", "status", "attempts", "updated_at"] {
            survey.columns.push(SurveyColumn::new(name, "text", TypeKind::Text));
        }
        survey.triggers.push(TriggerInfo {
            name: "u".to_owned(),
            when: when.to_owned(),
            source: Some(source.to_owned()),
        });
        let lease = Lease { column: "updated_at".to_owned(), meaning: LeaseMeaning::LastChange };
        let roles = Roles { attempts: Some("attempts".to_owned()), lease: Some(lease), ..Roles::default() };
        of_schema(Queue::new(&survey, &roles)).iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn a_trigger_that_touches_the_lease_at_each_update_renews_it() {
        assert_eq!(ids("before update", "begin NEW.updated_at := now(); return new; end"), ["lease-trigger"]);
        assert!(ids("before insert", "begin NEW.updated_at := now(); return new; end").is_empty());
        assert!(ids("before update", "begin return new; end").is_empty());
    }

    #[test]
    fn a_trigger_that_counts_attempts_counts_them_twice() {
        let source = "begin new.attempts := old.attempts + 1; return new; end";
        assert_eq!(ids("before update", source), ["trigger-writes-role"]);
    }

    #[test]
    fn rowlocks_own_notification_is_none_of_the_mistakes() {
        let source = "begin if exists (select from m) then perform pg_notify('c', ''); end if; return null; \
                      exception when others then return null; end";
        assert!(ids("after insert", source).is_empty());
        assert_eq!(ids("after insert", "begin perform pg_notify('c', ''); return new; end"), ["trigger-notifies"]);
    }
}
