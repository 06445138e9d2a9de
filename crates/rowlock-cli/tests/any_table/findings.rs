//! Which findings of `rowlock check --json` are the planted mistakes.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::expected::Planted;
use crate::program::Ended;

/// The idea of a mistake, as expected.toml names it, and the rules of `check` that find it.
const RULES: &[(&str, &[&str])] = &[
    ("stuck_running", &["lease-missing", "lease-null", "lease-old", "lease-ahead"]),
    ("leased_terminal", &["lease-on-terminal"]),
    ("trigger_renews_lease", &["lease-trigger"]),
    ("over_limit", &["attempts-spent"]),
    ("null_state", &["status-null"]),
    ("unknown_word", &["status-unknown-word"]),
    ("two_states", &["states-overlap"]),
    ("check_accepts_anything", &["check-accepts-anything"]),
    ("check_ties_status", &["check-ties-status"]),
    ("status_partition_key", &["status-partition-key"]),
    ("text_times", &["time-forms-mixed"]),
    ("unreadable_time", &["time-unreadable"]),
    ("far_schedule", &["schedule-far"]),
    ("no_claim_index", &["claim-no-index"]),
    ("row_security", &["row-security"]),
    ("ready_deleted", &["ready-deleted"]),
];

/// The findings of a run of `check`, or why there are none.
pub(crate) fn findings(check: &Ended) -> Result<Vec<Value>> {
    let report: Value = serde_json::from_str(&check.stdout).with_context(|| check.said())?;
    let list = report.get("findings").unwrap_or(&report).as_array().cloned();
    let list = list.with_context(|| format!("no list of findings: {}", check.said()))?;
    // Findings that are only worth knowing may leave the status at 0.
    if check.status > i32::from(!list.is_empty()) {
        bail!("{} findings with the exit status {}", list.len(), check.status);
    }
    Ok(list)
}

/// What is missing of a planted mistake; `None` if it was found.
pub(crate) fn missing(planted: &Planted, findings: &[Value]) -> Option<String> {
    let Some((_, rules)) = RULES.iter().find(|(idea, _)| *idea == planted.rule) else {
        return Some(format!("no rule of `check` is known for {}", planted.rule));
    };
    let rule = |finding: &&Value| finding["rule"].as_str().is_some_and(|rule| rules.contains(&rule));
    let found: Vec<&Value> = findings.iter().filter(rule).collect();
    if found.is_empty() {
        let others: Vec<&str> = findings.iter().filter_map(|finding| finding["rule"].as_str()).collect();
        return Some(format!("{} is not found, only {}", planted.rule, others.join(", ")));
    }
    let rows = planted.rows?;
    let counted: i64 = found.iter().filter_map(|finding| count(&finding["rows"])).sum();
    (counted != rows).then(|| format!("{} is found with {counted} rows instead of {rows}", planted.rule))
}

/// A number of rows: plain, or with how it was come by.
fn count(rows: &Value) -> Option<i64> {
    rows.as_i64().or_else(|| rows["value"].as_i64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn planted(rows: Option<i64>) -> Planted {
        Planted { rule: "stuck_running".to_owned(), rows, as_role: None, without_file: false }
    }

    #[test]
    fn the_rows_of_all_rules_of_one_idea_are_added() {
        let found = [
            json!({"rule": "lease-null", "rows": {"value": 10, "is_estimate": false}}),
            json!({"rule": "lease-old", "rows": 15}),
            json!({"rule": "status-null", "rows": 3}),
        ];
        assert_eq!(missing(&planted(Some(25)), &found), None);
        assert_eq!(missing(&planted(None), &found), None);
        assert_ne!(missing(&planted(Some(24)), &found), None);
        assert_ne!(missing(&planted(None), &found[2..]), None);
    }
}
