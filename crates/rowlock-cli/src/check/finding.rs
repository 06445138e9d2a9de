//! What a rule reports.

use serde::Serialize;

/// How much a finding matters. The order is that of `--fail-on`: an error matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing: nothing is lost by it.
    Note,
    /// Work is slow, or goes wrong under conditions that do occur.
    Warning,
    /// Work is lost, done twice, or stuck for ever.
    Error,
}

impl Severity {
    /// The word in reports, in `--fail-on` and in SARIF.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl std::str::FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Severity, String> {
        match text {
            "note" => Ok(Severity::Note),
            "warning" => Ok(Severity::Warning),
            "error" => Ok(Severity::Error),
            _ => Err(format!("{text:?} is no severity: say error, warning or note")),
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A mistake that `rowlock check` knows. `docs/check.md` has a section for each, under the same id.
#[derive(Debug)]
pub struct Rule {
    /// Stable: it stands in other people's configurations.
    pub id: &'static str,
    /// The mistake, in a few words.
    pub title: &'static str,
    /// The severity of its findings, unless the evidence makes one more or less severe.
    pub severity: Severity,
    /// What follows from the mistake.
    pub consequence: &'static str,
}

/// One mistake in one table.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which mistake it is.
    pub rule: &'static Rule,
    /// How much it matters here.
    pub severity: Severity,
    /// The column, index, constraint or trigger that it is about; the table's name if it is about the whole table.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
    /// What follows from it.
    pub consequence: String,
    /// What mends it.
    pub remedy: Remedy,
    /// Keys of rows that show it.
    pub examples: Vec<String>,
    /// How many rows show it.
    pub rows: Option<Count>,
    /// Which reading of the table was guessed, where the finding depends on one.
    pub guess: Option<String>,
}

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A statement to run as it is, or after its comments are read.
    Statement(String),
    /// Something to do that is no single statement.
    Advice(String),
}

impl Remedy {
    /// The statement or the advice.
    pub fn text(&self) -> &str {
        match self {
            Remedy::Statement(text) | Remedy::Advice(text) => text,
        }
    }
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub value: i64,
    /// Whether it was derived from a sample or from statistics, or is a lower bound.
    pub is_estimate: bool,
}

impl Count {
    /// A number that was counted.
    pub fn exact(value: i64) -> Count {
        Count { value, is_estimate: false }
    }

    /// A number that was not counted.
    pub fn estimate(value: i64) -> Count {
        Count { value, is_estimate: true }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_estimate {
            f.write_str("about ")?;
        }
        f.write_str(&with_commas(self.value))
    }
}

impl Finding {
    /// A finding with what its rule says, and no remedy yet.
    pub(super) fn new(rule: &'static Rule, subject: impl Into<String>, evidence: impl Into<String>) -> Finding {
        Finding {
            rule,
            severity: rule.severity,
            subject: subject.into(),
            evidence: evidence.into(),
            consequence: rule.consequence.to_owned(),
            remedy: Remedy::Advice(String::new()),
            examples: Vec::new(),
            rows: None,
            guess: None,
        }
    }

    pub(super) fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    pub(super) fn consequence(mut self, consequence: impl Into<String>) -> Finding {
        self.consequence = consequence.into();
        self
    }

    pub(super) fn statement(mut self, sql: impl Into<String>) -> Finding {
        self.remedy = Remedy::Statement(sql.into());
        self
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Finding {
        self.remedy = Remedy::Advice(advice.into());
        self
    }

    pub(super) fn rows(mut self, count: Count) -> Finding {
        self.rows = Some(count);
        self
    }

    pub(super) fn example(mut self, key: Option<String>) -> Finding {
        self.examples.extend(key);
        self
    }
}

/// A number with a comma between the thousands.
pub(super) fn with_commas(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 row" or "5,133 rows", with "about" before an estimate.
pub(super) fn rows_text(count: Count) -> String {
    if count.value == 1 { format!("{count} row") } else { format!("{count} rows") }
}

/// A duration in the unit in which people would say it.
pub(super) fn age_text(secs: f64) -> String {
    let (value, unit) = match secs {
        secs if secs >= 2.0 * 86_400.0 => (secs / 86_400.0, "days"),
        secs if secs >= 2.0 * 3_600.0 => (secs / 3_600.0, "hours"),
        secs if secs >= 120.0 => (secs / 60.0, "minutes"),
        secs => (secs, "seconds"),
    };
    format!("{value:.0} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!(with_commas(5_133), "5,133");
        assert_eq!(with_commas(-1_234_567), "-1,234,567");
        assert_eq!(with_commas(7), "7");
        assert_eq!(rows_text(Count::exact(1)), "1 row");
        assert_eq!(rows_text(Count::estimate(120_000)), "about 120,000 rows");
        assert_eq!(age_text(40.0 * 86_400.0), "40 days");
        assert_eq!(age_text(5_400.0), "90 minutes");
    }

    #[test]
    fn an_error_is_more_than_a_warning_and_a_warning_more_than_a_note() {
        assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Note);
        assert_eq!("warning".parse(), Ok(Severity::Warning));
        assert!("fatal".parse::<Severity>().is_err());
    }
}
