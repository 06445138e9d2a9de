//! The report for programs. `schema.json` describes it, and the two change together.

use serde_json::{Value, json};

use super::Report;
use super::finding::{Finding, Remedy};
use crate::survey::Database;

/// The version of the form. It changes when a field changes its meaning or goes; new fields may come without.
pub const SCHEMA_VERSION: u32 = 1;

/// The report as one JSON object.
pub(super) fn render(report: &Report) -> String {
    format!("{:#}", value(report))
}

fn value(report: &Report) -> Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "table": report.table,
        "database": match report.database {
            Database::Postgres => "postgres",
            Database::Sqlite => "sqlite",
        },
        "server_version": report.server_version,
        "rows": (report.rows.value >= 0).then_some(report.rows),
        "read_as_queue": report.is_read_as_queue,
        "guesses": report.guesses,
        "findings": report.findings.iter().map(of_finding).collect::<Vec<_>>(),
        "not_checked": report
            .not_checked
            .iter()
            .map(|rule| json!({ "rule": rule.rule, "reason": rule.reason, "refused": rule.is_refusal }))
            .collect::<Vec<_>>(),
        "sampled": report.sampled,
    })
}

fn of_finding(finding: &Finding) -> Value {
    let kind = match finding.remedy {
        Remedy::Statement(_) => "statement",
        Remedy::Advice(_) => "advice",
    };
    json!({
        "rule": finding.rule.id,
        "severity": finding.severity,
        "title": finding.rule.title,
        "subject": finding.subject,
        "evidence": finding.evidence,
        "consequence": finding.consequence,
        "remedy": { "kind": kind, "text": finding.remedy.text() },
        "examples": finding.examples,
        "rows": finding.rows,
        "guess": finding.guess,
    })
}
