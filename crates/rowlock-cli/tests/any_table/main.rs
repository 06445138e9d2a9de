//! Any table: real tables that teams queue on, with the mistakes that they have, are described, checked, attached and
//! drained by the program itself, and then every column of every row is compared with what was intended.
//!
//! tests/tables/README.md says what is in the folders.

mod copy;
mod database;
mod expected;
mod findings;
mod new_table;
mod program;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::task::JoinSet;

use crate::table::{Report, Verdict, folders, try_table};

/// Tables that are tried at the same time: each runs one process of the program after the other.
const AT_ONCE: usize = 4;

/// The tables that were found with others; those from 90 on are of our own invention.
const FOUND: usize = 20;

/// How many of the found tables may be refused although their description is right.
const REFUSED_MAX: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_attached_as_intended_or_refused_before_anything_changes() {
    let reports = try_all(folders().expect("tests/tables can be read")).await;
    print_summary(&reports);
    let wrong: Vec<String> = reports.iter().filter_map(wrong_in_words).collect();
    assert!(wrong.is_empty(), "wrong:\n{}", wrong.join("\n"));
    let missed: Vec<String> = reports.iter().filter_map(missed_in_words).collect();
    assert!(missed.is_empty(), "`check` has missed:\n{}", missed.join("\n"));
    let tables = right_by_number(&reports);
    let (found, invented): (Vec<_>, Vec<_>) = tables.into_iter().partition(|(number, _)| number.as_str() < "90");
    assert_eq!(found.len(), FOUND, "of which tables is there no folder?");
    let refused = |tables: &[(String, bool)]| tables.iter().filter(|(_, is_right)| !is_right).count();
    assert!(refused(&found) <= REFUSED_MAX, "{} of {FOUND} found tables are refused", refused(&found));
    assert_eq!(refused(&invented), 0, "of the tables that were invented");
}

async fn try_all(folders: Vec<PathBuf>) -> Vec<Report> {
    let mut reports = Vec::new();
    for folders in folders.chunks(AT_ONCE) {
        let mut tables = JoinSet::new();
        for folder in folders {
            let folder = folder.clone();
            tables.spawn(async move {
                let tried = try_table(&folder).await;
                tried.unwrap_or_else(|error| vec![broken(&folder.display().to_string(), &format!("{error:#}"))])
            });
        }
        reports.extend(tables.join_all().await.into_iter().flatten());
    }
    reports.sort_by(|a, b| a.folder.cmp(&b.folder));
    reports
}

/// A table with which the test itself did not come to its end.
fn broken(folder: &str, why: &str) -> Report {
    Report {
        folder: folder.rsplit('/').next().unwrap_or(folder).to_owned(),
        file: String::new(),
        verdict: Verdict::Wrong(vec![why.to_owned()]),
        missed: Vec::new(),
        rows: String::new(),
        todos: 0,
    }
}

fn print_summary(reports: &[Report]) {
    println!("{:<26} {:<28} {:<16} {:>5}  rows", "table", "description", "outcome", "TODOs");
    for report in reports {
        let outcome = match &report.verdict {
            Verdict::Right => "right",
            Verdict::RightlyRefused => "rightly refused",
            Verdict::Refused(_) => "REFUSED",
            Verdict::Wrong(_) => "WRONG",
        };
        let Report { folder, file, todos, rows, .. } = report;
        println!("{folder:<26} {file:<28} {outcome:<16} {todos:>5}  {rows}");
        if let Verdict::Refused(why) = &report.verdict {
            println!("    {}", why.replace('\n', "\n    "));
        }
    }
}

fn wrong_in_words(report: &Report) -> Option<String> {
    /// A table that is wrong in one row is often wrong in many.
    const SHOWN_MAX: usize = 8;
    let Verdict::Wrong(differences) = &report.verdict else { return None };
    let shown = differences.iter().take(SHOWN_MAX).map(|difference| format!("\n  {difference}")).collect::<String>();
    Some(format!("{} {}: {} differences{shown}", report.folder, report.file, differences.len()))
}

fn missed_in_words(report: &Report) -> Option<String> {
    (!report.missed.is_empty()).then(|| format!("{} {}: {}", report.folder, report.file, report.missed.join("; ")))
}

/// The tables by the number that their folders begin with, and whether all their runs are right.
fn right_by_number(reports: &[Report]) -> Vec<(String, bool)> {
    let mut tables: BTreeMap<String, bool> = BTreeMap::new();
    for report in reports {
        let number: String = report.folder.chars().take_while(char::is_ascii_digit).collect();
        let is_right = matches!(report.verdict, Verdict::Right | Verdict::RightlyRefused);
        *tables.entry(number).or_insert(true) &= is_right;
    }
    tables.into_iter().collect()
}
