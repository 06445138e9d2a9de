//! Asks all rules, and collects what they answer.

use super::ask::{Asker, Connection, Limits, Unanswered};
use super::finding::{Count, Finding, Rule};
use super::queue::Queue;
use super::roles::Roles;
use super::rules::{
    RULES, attempts, constraints, indexes, keys, leases, leftovers, security, snapshots, states, storage, times,
    triggers, words,
};
use super::{NotChecked, Report};
use crate::survey::{Survey, quote_table};

/// Checks a table. Each of the roles is one reading of it as a queue; without any, only what is wrong with every table
/// is found.
///
/// # Errors
///
/// The connection was lost. That a query is refused or takes too long is no error: the report says so.
pub async fn check_table(
    connection: Connection<'_>,
    survey: &Survey,
    roles: &[Roles],
    limits: Limits,
) -> Result<Report, sqlx::Error> {
    let asker = Asker::new(connection, limits, quote_table(&survey.table), survey.rows_estimate);
    let mut checker = Checker { asker, report: empty_report(survey, roles) };
    let plain = Roles { key: survey.primary_key.clone(), is_guess: true, ..Roles::default() };
    checker.table(Queue::new(survey, roles.first().unwrap_or(&plain))).await?;
    for roles in roles {
        checker.queue(Queue::new(survey, roles)).await?;
    }
    let mut report = checker.report;
    put_in_order(&mut report);
    Ok(report)
}

/// The worst first, each once: two readings of one table may show the same.
pub(super) fn put_in_order(report: &mut Report) {
    report.sampled.sort_unstable();
    report.sampled.dedup();
    let mut seen = std::collections::HashSet::new();
    report.findings.retain(|finding| seen.insert((finding.rule.id, finding.subject.clone(), finding.evidence.clone())));
    let place = |finding: &Finding| RULES.iter().position(|rule| rule.id == finding.rule.id);
    report.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), place(finding)));
}

fn empty_report(survey: &Survey, roles: &[Roles]) -> Report {
    Report {
        table: survey.table.to_string(),
        database: survey.database,
        server_version: survey.server_version.clone(),
        rows: Count { value: survey.rows_estimate, is_estimate: !survey.rows_are_exact },
        is_read_as_queue: !roles.is_empty(),
        guesses: roles.iter().filter(|roles| roles.is_guess).map(Roles::reading).collect(),
        findings: Vec::new(),
        not_checked: Vec::new(),
        sampled: Vec::new(),
    }
}

/// Collects what the rules find.
struct Checker<'c> {
    asker: Asker<'c>,
    report: Report,
}

impl Checker<'_> {
    /// What is wrong with the table, however it is read.
    async fn table(&mut self, queue: Queue<'_>) -> Result<(), sqlx::Error> {
        self.found(keys::of_schema(queue));
        self.found(security::of_schema(queue));
        let answer = keys::collations(queue, &mut self.asker).await;
        self.answered(&[&keys::KEY_COLLATION], None, answer)?;
        let answer = keys::values(queue, &mut self.asker).await;
        self.answered(&[&keys::KEY_VALUES, &keys::KEY_NEAR_END], None, answer)?;
        let answer = security::rows_seen(queue, &mut self.asker).await;
        self.answered(&[&security::ROW_SECURITY], None, answer)?;
        let answer = storage::ask(queue, &mut self.asker).await;
        let of_storage = [&storage::BLOAT, &storage::NOT_HOT, &storage::AUTOVACUUM_OFF, &storage::UNLOGGED];
        self.answered(&of_storage, None, answer)?;
        let answer = snapshots::ask(queue, &mut self.asker).await;
        self.answered(&[&snapshots::SNAPSHOT_OLD], None, answer)?;
        let answer = times::forms(queue, &mut self.asker).await;
        self.answered(&[&times::TIME_MIXED, &times::TIME_DIFFERS, &times::TIME_UNREADABLE], None, answer)
    }

    /// What is wrong with one reading of the table as a queue.
    async fn queue(&mut self, queue: Queue<'_>) -> Result<(), sqlx::Error> {
        let guess = queue.roles.is_guess.then(|| queue.roles.reading());
        let guess = guess.as_deref();
        let of_schema = [
            leases::of_roles(queue),
            triggers::of_schema(queue),
            attempts::of_roles(queue),
            words::of_schema(queue),
            constraints::of_schema(queue),
            times::of_schema(queue),
            indexes::of_schema(queue),
        ];
        self.found(of_schema.into_iter().flatten().map(|finding| guessed(finding, guess)).collect());
        let answer = leases::of_rows(queue, &mut self.asker).await;
        let of_leases = [&leases::LEASE_MISSING, &leases::LEASE_NULL, &leases::LEASE_OLD, &leases::LEASE_AHEAD];
        self.answered(&of_leases, guess, answer)?;
        let answer = words::of_rows(queue, &mut self.asker).await;
        self.answered(&[&words::STATUS_UNKNOWN, &words::STATUS_NULL], guess, answer)?;
        let answer = states::of_rows(queue, &mut self.asker).await;
        self.answered(&[&states::STATES_OVERLAP], guess, answer)?;
        let answer = attempts::of_rows(queue, &mut self.asker).await;
        let of_attempts = [&attempts::ATTEMPTS_SPENT, &attempts::ATTEMPTS_NULL, &attempts::ATTEMPTS_UNCOUNTED];
        self.answered(&of_attempts, guess, answer)?;
        let answer = times::schedule(queue, &mut self.asker).await;
        self.answered(&[&times::SCHEDULE_NULL, &times::SCHEDULE_FAR], guess, answer)?;
        let answer = leases::left_behind(queue, &mut self.asker).await;
        self.answered(&[&leases::LEASE_ON_TERMINAL, &leases::LEASE_ON_READY], guess, answer)?;
        let answer = leftovers::of_rows(queue, &mut self.asker).await;
        self.answered(&[&leftovers::ERROR_ON_SUCCESS, &leftovers::READY_DELETED], guess, answer)?;
        let answer = constraints::refused_words(queue, &mut self.asker).await;
        self.answered(&[&constraints::CHECK_REFUSES], guess, answer)
    }

    fn found(&mut self, findings: Vec<Finding>) {
        self.report.findings.extend(findings);
    }

    /// Takes an answer, or notes that there is none, for the rules that it decides.
    fn answered(
        &mut self,
        rules: &[&'static Rule],
        guess: Option<&str>,
        answer: Result<Vec<Finding>, Unanswered>,
    ) -> Result<(), sqlx::Error> {
        if self.asker.take_sampled() {
            self.report.sampled.extend(rules.iter().map(|rule| rule.id));
        }
        let (reason, is_refusal) = match answer {
            Ok(findings) => {
                self.found(findings.into_iter().map(|finding| guessed(finding, guess)).collect());
                return Ok(());
            }
            Err(Unanswered::TooCostly) => ("too costly: the time-out ended the query".to_owned(), false),
            Err(Unanswered::Refused(message)) => (format!("the database refused the query: {message}"), true),
            Err(Unanswered::Lost(error)) => return Err(error),
        };
        for rule in rules {
            let not_checked = NotChecked { rule: rule.id, reason: reason.clone(), is_refusal };
            if !self.report.not_checked.contains(&not_checked) {
                self.report.not_checked.push(not_checked);
            }
        }
        Ok(())
    }
}

fn guessed(finding: Finding, guess: Option<&str>) -> Finding {
    Finding { guess: guess.map(str::to_owned), ..finding }
}
