//! The results of a run of the suite: for people as a table, for machines as JSON.

use std::time::Duration;

use chrono::{DateTime, Utc};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use serde::Serialize;

use crate::audit::{Evidence, Findings, Move, Violation};

/// Violations of one fault that are written out: one mistake shows in many items, and the JSON has them all.
const VIOLATIONS_NAMED_MAX: usize = 20;

/// Injections, server crashes and fail-overs below which a whole run shows too little.
const FLOORS: [usize; 3] = [300, 30, 5];

/// When something bad was done.
#[derive(Debug, Clone, Default)]
pub struct Injections {
    at: Vec<DateTime<Utc>>,
}

impl Injections {
    /// One more.
    pub fn add(&mut self, at: DateTime<Utc>) {
        self.at.push(at);
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// From each injection to the first completion after it, if there was one.
    fn recoveries(&self, moves: &[Move]) -> Vec<Duration> {
        let completed: Vec<DateTime<Utc>> = {
            let mut times: Vec<_> = moves.iter().filter(|row| is_completion(row)).map(|row| row.at).collect();
            times.sort();
            times
        };
        let recovery = |at: &DateTime<Utc>| {
            let next = completed.partition_point(|time| time <= at);
            completed.get(next).and_then(|time| (*time - *at).to_std().ok())
        };
        self.at.iter().filter_map(recovery).collect()
    }
}

/// A completion leads out of an in-progress word, and not back.
fn is_completion(row: &Move) -> bool {
    let from = row.was.as_deref().unwrap_or_default();
    let to = row.became.as_deref().unwrap_or_default();
    let is_done = to == "SUCCEEDED" || to == from.replace("_IN_PROGRESS", "_COMPLETE");
    from.ends_with("_IN_PROGRESS") && is_done
}

/// The results of one scene of one fault.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// The number of injections.
    pub injected: usize,
    /// Of those, crashes of a server.
    pub server_crashes: usize,
    /// Of those, fail-overs to a standby.
    pub fail_overs: usize,
    /// Items in the scene.
    pub items: usize,
    /// The violations, in words.
    pub violations: Vec<String>,
    /// From an injection to the first completion after it.
    pub recovery_ms: Vec<u64>,
    /// Runs of handlers.
    pub runs: usize,
    /// Stages that were completed.
    pub completions: usize,
    /// Leases that were taken back.
    pub sweeps: usize,
    /// Of those, the leases of holders that were not harmed.
    pub unexplained_sweeps: usize,
    /// From the death of a holder to the sweep that took its item back.
    pub taken_back_ms: Vec<u64>,
    /// How long the scene took.
    pub duration_ms: u64,
}

impl Verdict {
    /// Summarises the evidence.
    pub fn new(injections: &Injections, evidence: &Evidence, findings: Findings, duration: Duration) -> Verdict {
        Verdict {
            injected: injections.at.len(),
            server_crashes: 0,
            fail_overs: 0,
            items: evidence.items_added,
            violations: findings.violations.iter().map(Violation::to_string).collect(),
            recovery_ms: injections.recoveries(&evidence.moves).into_iter().map(millis).collect(),
            runs: findings.runs,
            completions: findings.completions,
            sweeps: findings.sweeps,
            unexplained_sweeps: findings.unexplained_sweeps,
            taken_back_ms: findings.taken_back.into_iter().map(millis).collect(),
            duration_ms: millis(duration),
        }
    }

    /// Adds the results of another scene of the same fault.
    #[must_use]
    pub fn and(mut self, other: Verdict) -> Verdict {
        self.injected += other.injected;
        self.server_crashes += other.server_crashes;
        self.fail_overs += other.fail_overs;
        self.items += other.items;
        self.violations.extend(other.violations);
        self.recovery_ms.extend(other.recovery_ms);
        self.runs += other.runs;
        self.completions += other.completions;
        self.sweeps += other.sweeps;
        self.unexplained_sweeps += other.unexplained_sweeps;
        self.taken_back_ms.extend(other.taken_back_ms);
        self.duration_ms += other.duration_ms;
        self
    }

    /// Adds a violation that the fault itself looks for.
    #[must_use]
    pub fn with_violation(mut self, violation: impl Into<String>) -> Verdict {
        self.violations.push(violation.into());
        self
    }
}

/// The result of one fault.
#[derive(Debug, Clone, Serialize)]
pub enum Outcome {
    /// It ran.
    Ran(Verdict),
    /// It could not run here, and why: this is not a pass.
    NotRun(String),
    /// The suite itself failed: this is not a pass either.
    Broken(String),
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The fault.
    pub fault: String,
    /// Its result.
    pub outcome: Outcome,
}

impl Line {
    /// For a person who watches.
    pub fn in_short(&self) -> String {
        match &self.outcome {
            Outcome::Ran(verdict) => format!(
                "{}: {} injected, {} violations, {}",
                self.fault,
                verdict.injected,
                verdict.violations.len(),
                seconds(verdict.duration_ms)
            ),
            Outcome::NotRun(why) => format!("{}: NOT RUN: {why}", self.fault),
            Outcome::Broken(why) => format!("{}: BROKEN: {why}", self.fault),
        }
    }
}

/// The report of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed, to repeat it.
    pub seed: u64,
    /// Whether it is a long round of every fault, which must do enough to show something.
    pub is_whole: bool,
    /// One line for each fault.
    pub lines: Vec<Line>,
}

impl Report {
    /// Injections, server crashes and fail-overs.
    fn totals(&self) -> [usize; 3] {
        self.lines.iter().fold([0; 3], |[injected, crashes, fail_overs], line| match &line.outcome {
            Outcome::Ran(verdict) => {
                [injected + verdict.injected, crashes + verdict.server_crashes, fail_overs + verdict.fail_overs]
            }
            Outcome::NotRun(_) | Outcome::Broken(_) => [injected, crashes, fail_overs],
        })
    }

    /// What a whole run did too little of to show anything.
    fn shortfalls(&self) -> Vec<String> {
        if !self.is_whole {
            return Vec::new();
        }
        let short =
            |((total, floor), what)| (total < floor).then(|| format!("only {total} {what}, of {floor} at least"));
        let names = ["faults injected", "server crashes", "fail-overs"];
        self.totals().into_iter().zip(FLOORS).zip(names).filter_map(short).collect()
    }

    /// Whether nothing was found, the suite itself did not fail, and a whole run did enough.
    pub fn is_clean(&self) -> bool {
        self.shortfalls().is_empty()
            && self.lines.iter().all(|line| match &line.outcome {
                Outcome::Ran(verdict) => verdict.violations.is_empty(),
                Outcome::NotRun(_) => true,
                Outcome::Broken(_) => false,
            })
    }

    /// For people.
    pub fn to_markdown(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header([
            "fault",
            "injected",
            "items",
            "violations",
            "recovery, median",
            "worst",
            "runs repeated",
            "swept",
            "unexplained",
            "taken back after death, median",
            "worst",
            "took",
        ]);
        let [injected, crashes, fail_overs] = self.totals();
        let mut notes = self.shortfalls();
        for line in &self.lines {
            match &line.outcome {
                Outcome::Ran(verdict) => {
                    table.add_row(row(&line.fault, verdict));
                    let named = verdict.violations.iter().take(VIOLATIONS_NAMED_MAX);
                    notes.extend(named.map(|violation| format!("{}: {violation}", line.fault)));
                    if let Some(more) = verdict.violations.len().checked_sub(VIOLATIONS_NAMED_MAX + 1) {
                        notes.push(format!("{}: and {} more", line.fault, more + 1));
                    }
                }
                Outcome::NotRun(why) => {
                    table.add_row([line.fault.clone(), format!("NOT RUN: {why}")]);
                }
                Outcome::Broken(why) => {
                    table.add_row([line.fault.clone(), "BROKEN".to_owned()]);
                    notes.push(format!("{}: the suite itself failed: {why}", line.fault));
                }
            }
        }
        let verdict = if self.is_clean() { "no violation" } else { "NOT CLEAN" };
        let mut text = format!(
            "# Faults, seed {}\n\n{verdict}; {injected} faults injected, {crashes} server crashes and {fail_overs} \
             fail-overs among them\n\n{table}\n",
            self.seed
        );
        for note in notes {
            text.push_str(&format!("\n- {note}"));
        }
        text
    }
}

fn row(fault: &str, verdict: &Verdict) -> Vec<String> {
    let [recovery, slowest_recovery] = median_and_worst(&verdict.recovery_ms);
    let [taken_back, taken_back_last] = median_and_worst(&verdict.taken_back_ms);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let repeated = 100.0 * verdict.runs.saturating_sub(verdict.completions) as f64 / verdict.completions.max(1) as f64;
    vec![
        fault.to_owned(),
        verdict.injected.to_string(),
        verdict.items.to_string(),
        verdict.violations.len().to_string(),
        recovery,
        slowest_recovery,
        format!("{repeated:.1} %"),
        verdict.sweeps.to_string(),
        verdict.unexplained_sweeps.to_string(),
        taken_back,
        taken_back_last,
        seconds(verdict.duration_ms),
    ]
}

/// In words; empty if nothing was measured.
fn median_and_worst(ms: &[u64]) -> [String; 2] {
    let mut sorted = ms.to_vec();
    sorted.sort_unstable();
    [sorted.get(sorted.len() / 2), sorted.last()].map(|ms| ms.map_or_else(String::new, |ms| seconds(*ms)))
}

fn seconds(ms: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a time is far below 2^52 ms")]
    let seconds = ms as f64 / 1e3;
    format!("{seconds:.2} s")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_run_that_did_too_little_is_unclean() {
        let verdict = |injected, server_crashes, fail_overs| Verdict {
            injected,
            server_crashes,
            fail_overs,
            ..Verdict::default()
        };
        let report = |is_whole, verdict| Report {
            seed: 1,
            is_whole,
            lines: vec![Line { fault: "a".to_owned(), outcome: Outcome::Ran(verdict) }],
        };
        assert!(report(true, verdict(300, 30, 5)).is_clean());
        assert!(report(false, verdict(1, 0, 0)).is_clean());
        for few in [verdict(299, 30, 5), verdict(300, 29, 5), verdict(300, 30, 4)] {
            assert!(!report(true, few.clone()).is_clean());
            assert!(report(true, few).to_markdown().contains("NOT CLEAN"));
        }
        assert!(report(true, verdict(300, 30, 4)).to_markdown().contains("only 4 fail-overs, of 5 at least"));
    }

    fn moved(was: &str, became: &str) -> Move {
        Move {
            n: 1,
            item: "a".to_owned(),
            was: Some(was.to_owned()),
            became: Some(became.to_owned()),
            token: Some(1),
            holder: None,
            heartbeat_at: None,
            retries: None,
            resets: None,
            error: None,
            at: Utc::now(),
        }
    }

    #[test]
    fn a_completion_leads_on_and_a_retry_leads_back() {
        assert!(is_completion(&moved("ONE_IN_PROGRESS", "ONE_COMPLETE")));
        assert!(is_completion(&moved("THREE_IN_PROGRESS", "SUCCEEDED")));
        assert!(!is_completion(&moved("TWO_IN_PROGRESS", "ONE_COMPLETE")));
        assert!(!is_completion(&moved("ONE_IN_PROGRESS", "PENDING")));
        assert!(!is_completion(&moved("ONE_IN_PROGRESS", "FAILED")));
        assert!(!is_completion(&moved("TWO_IN_PROGRESS", "THREE_IN_PROGRESS")));
        assert!(!is_completion(&moved("TWO_IN_PROGRESS", "TWO_IN_PROGRESS")));
    }

    #[test]
    fn a_violation_makes_a_report_unclean_and_what_was_not_run_does_not() {
        let line = |outcome| Line { fault: "a".to_owned(), outcome };
        let not_run = Report { seed: 1, is_whole: false, lines: vec![line(Outcome::NotRun("no rights".to_owned()))] };
        assert!(not_run.is_clean());
        assert!(not_run.to_markdown().contains("NOT RUN: no rights"));
        let bad = Verdict::default().with_violation("an item was lost");
        assert!(!Report { seed: 1, is_whole: false, lines: vec![line(Outcome::Ran(bad))] }.is_clean());
        assert!(
            !Report { seed: 1, is_whole: false, lines: vec![line(Outcome::Broken("no server".to_owned()))] }.is_clean()
        );
    }
}
