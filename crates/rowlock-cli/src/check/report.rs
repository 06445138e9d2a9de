//! The report for people.

use std::fmt::Write as _;

use super::Report;
use super::finding::{Count, Finding, Remedy, Severity, rows_text};
use crate::survey::Database;

/// Where lines are broken.
const WIDTH: usize = 100;

/// The report, the worst first, with what was not checked at the end.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!("{}: {}\n", report.table, about(report));
    if !report.is_read_as_queue {
        text.push_str("  it does not look like a queue: only what is wrong with any table was checked\n");
    }
    for guess in &report.guesses {
        wrapped(&mut text, "  read as a queue, by guess: ", guess);
    }
    for finding in &report.findings {
        text.push('\n');
        one(&mut text, finding);
    }
    if !report.not_checked.is_empty() {
        text.push('\n');
        for rule in &report.not_checked {
            wrapped(&mut text, "not checked: ", &format!("{}: {}", rule.rule, rule.reason));
        }
    }
    if !report.sampled.is_empty() {
        text.push('\n');
        wrapped(&mut text, "checked on a sample of the rows only: ", &report.sampled.join(", "));
    }
    text.push('\n');
    text.push_str(&summary(report));
    text
}

fn one(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "{}[{}]: {}", finding.severity, finding.rule.id, finding.rule.title);
    wrapped(text, "  seen:    ", &finding.evidence);
    if !finding.examples.is_empty() {
        let _ = writeln!(text, "  example: {}", finding.examples.join(", "));
    }
    wrapped(text, "  follows: ", &finding.consequence);
    match &finding.remedy {
        // On one line, as it is: it is there to be copied, and blanks in its literals count.
        Remedy::Statement(sql) => {
            let _ = writeln!(text, "  mend:    {sql}");
        }
        Remedy::Advice(advice) if advice.is_empty() => {}
        Remedy::Advice(advice) => wrapped(text, "  mend:    ", advice),
    }
}

fn about(report: &Report) -> String {
    let database = match report.database {
        Database::Postgres => "PostgreSQL",
        Database::Sqlite => "SQLite",
    };
    let rows = match report.rows {
        Count { value, .. } if value < 0 => "an unknown number of rows".to_owned(),
        count => rows_text(count),
    };
    format!("{rows}, {database} {}", report.server_version)
}

fn summary(report: &Report) -> String {
    if report.findings.is_empty() {
        return "no findings".to_owned();
    }
    let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .filter_map(|severity| {
            let count = report.findings.iter().filter(|finding| finding.severity == severity).count();
            (count > 0).then(|| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
        })
        .collect();
    counts.join(", ")
}

/// Writes a text behind a label, and its further lines under its first. A word longer than a line stays whole.
fn wrapped(text: &mut String, label: &str, content: &str) {
    let indent = if label.starts_with("  ") { label.chars().count() } else { 2 };
    let mut column = label.chars().count();
    let mut is_first = true;
    text.push_str(label);
    for word in content.split_whitespace() {
        let width = word.chars().count();
        if !is_first && column + 1 + width > WIDTH {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if !is_first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
        is_first = false;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_under_their_beginning() {
        let mut text = String::new();
        wrapped(&mut text, "  seen:    ", &"word ".repeat(40));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[1].starts_with("           word"));
    }
}
