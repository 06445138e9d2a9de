//! The report as SARIF 2.1.0, the form in which services collect what linters find.

use serde_json::{Value, json};

use super::Report;
use super::finding::{Finding, Rule};
use super::rules::RULES;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The report as one SARIF log with one run. A table is no file: its name is a logical location.
pub(super) fn render(report: &Report) -> String {
    format!("{:#}", value(report))
}

fn value(report: &Report) -> Value {
    let notifications: Vec<Value> = report
        .not_checked
        .iter()
        .map(|rule| {
            json!({
                "level": "note",
                "message": { "text": format!("{} was not checked: {}", rule.rule, rule.reason) },
                "associatedRule": { "id": rule.rule, "index": index_of(rule.rule) },
            })
        })
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "rowlock check",
                    "version": env!("CARGO_PKG_VERSION"),
                    "informationUri": env!("CARGO_PKG_REPOSITORY"),
                    "rules": RULES.iter().map(|rule| of_rule(rule)).collect::<Vec<_>>(),
                },
            },
            "invocations": [{
                "executionSuccessful": !report.not_checked.iter().any(|rule| rule.is_refusal),
                "toolExecutionNotifications": notifications,
            }],
            "results": report.findings.iter().map(|finding| of_finding(&report.table, finding)).collect::<Vec<_>>(),
        }],
    })
}

fn of_rule(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": format!("{}.", rule.title) },
        "fullDescription": { "text": rule.consequence },
        "defaultConfiguration": { "level": rule.severity.name() },
    })
}

fn of_finding(table: &str, finding: &Finding) -> Value {
    let text =
        format!("{}: {}. {}. {}", finding.rule.title, finding.evidence, finding.consequence, finding.remedy.text());
    let mut result = json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index_of(finding.rule.id),
        "level": finding.severity.name(),
        "message": { "text": text },
        "locations": [{
            "logicalLocations": [{
                "name": finding.subject,
                "fullyQualifiedName": format!("{table}/{}", finding.subject),
                "kind": "resource",
            }],
        }],
        // What stays the same from one run to the next, although the numbers change.
        "partialFingerprints": { "rowlock/v1": format!("{}/{table}/{}", finding.rule.id, finding.subject) },
        "properties": { "examples": finding.examples, "guess": finding.guess },
    });
    // It says how many rows there are, where that was counted.
    if let Some(rows) = finding.rows.filter(|rows| !rows.is_estimate && rows.value > 0) {
        result["occurrenceCount"] = json!(rows.value);
    }
    result
}

fn index_of(id: &str) -> Option<usize> {
    RULES.iter().position(|rule| rule.id == id)
}
