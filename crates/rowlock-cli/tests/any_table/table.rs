//! One folder of tests/tables: the table is made, described, checked, attached and drained, and then compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::copy::{FullCopy, Intent, Intents, differences};
use crate::database::Database;
use crate::expected::{Condition, Expected, Group, Outcome, Run, read_toml};
use crate::findings::{findings, missing};
use crate::program::{self, Ended};

/// How one run with one description ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Attached, and every column of every row is as intended.
    Right,
    /// Refused as it must be, with the reason, and nothing is changed.
    RightlyRefused,
    /// Refused although it could be attached; nothing is changed.
    Refused(String),
    /// Anything else: each difference.
    Wrong(Vec<String>),
}

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) folder: String,
    pub(crate) file: String,
    pub(crate) verdict: Verdict,
    /// The planted mistakes that `check` has not found.
    pub(crate) missed: Vec<String>,
    /// Rows by their state before and after, as in "80 ready → succeeded".
    pub(crate) rows: String,
    /// The lines that `init` has left to its user.
    pub(crate) todos: usize,
}

/// Does all that a folder says.
pub(crate) async fn try_table(folder: &Path) -> Result<Vec<Report>> {
    let name = folder.file_name().and_then(|name| name.to_str()).context("a folder without a name")?.to_owned();
    let expected = Expected::read(folder)?;
    let mut database = Database::create(expected.database, &name).await?;
    for file in ["create.sql", "rows.sql"] {
        let path = folder.join(file);
        let sql = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        database.run(&sql).await.with_context(|| path.display().to_string())?;
    }
    // As after the first round of autovacuum, so that estimates are there.
    database.run("analyze").await?;
    let scratch = tempfile::tempdir()?;
    let described = read_toml(&folder.join(&expected.run[0].file))?;
    let table = described["table"].as_str().context("the description names no table")?;
    let todos = try_init(&mut database, table, &expected, &scratch.path().join("rowlock.toml")).await?;
    let mut reports = Vec::new();
    for run in &expected.run {
        let file = folder.join(&run.file);
        let tried = try_run(&mut database, table, &file, &expected, run).await;
        let (verdict, missed) = tried.with_context(|| run.file.clone())?;
        reports.push(Report {
            folder: name.clone(),
            file: run.file.clone(),
            verdict,
            missed,
            rows: in_words(&run.rows),
            todos,
        });
    }
    database.remove().await?;
    Ok(reports)
}

/// `init` writes a file, and changes nothing. Returns how many lines it leaves to its user.
async fn try_init(database: &mut Database, table: &str, expected: &Expected, file: &Path) -> Result<usize> {
    let before = State::of(database, expected).await?;
    let ended = program::init(&database.url(), table, file).await?;
    ensure!(ended.status != 2, "init: {}", ended.said());
    let written = std::fs::read_to_string(file).with_context(|| format!("init wrote no file: {}", ended.said()))?;
    ensure!(written.contains("pipeline"), "init wrote no description:\n{written}");
    ensure!(State::of(database, expected).await? == before, "init has changed the database");
    Ok(written.lines().filter(|line| line.contains("TODO")).count())
}

async fn try_run(
    database: &mut Database,
    table: &str,
    file: &Path,
    expected: &Expected,
    run: &Run,
) -> Result<(Verdict, Vec<String>)> {
    let before = State::of(database, expected).await?;
    let intents = intents(database, expected, run, &before.copy).await?;
    let missed = try_check(database, table, file, run).await?;
    ensure!(State::of(database, expected).await? == before, "check has changed the database");
    let from = database.now().await?;
    let attached = program::attach(&database.url(), file).await?;
    // With something that should be looked at the status is 1, whether it was attached or not.
    let is_refused = match attached.status {
        0 => false,
        1 => State::of(database, expected).await? == before,
        _ => true,
    };
    if is_refused {
        return Ok((refusal(database, expected, run, &before, &attached).await?, missed));
    }
    let drained = program::drain(&database.url(), file).await?;
    // With rows that failed or have an unknown word the status is 1.
    ensure!(drained.status != 2, "drain: {}", drained.said());
    let until = database.now().await?;
    let after = State::of(database, expected).await?;
    let mut wrong = differences(&before.copy, &after.copy, &intents, Database::rounded(from, until));
    let gone = before.definitions.iter().filter(|line| !after.definitions.contains(line));
    wrong.extend(gone.map(|line| format!("no longer there: {line}")));
    wrong.extend(wrong_counts(&program::status(&database.url(), file).await?, &run.rows)?);
    if run.outcome == Outcome::Refused {
        wrong.push("attached, and must be refused".to_owned());
    }
    Ok((if wrong.is_empty() { Verdict::Right } else { Verdict::Wrong(wrong) }, missed))
}

/// The numbers of `status` that differ from the groups'. They show the states that only a column of Rowlock's says.
fn wrong_counts(status: &Ended, groups: &[Group]) -> Result<Vec<String>> {
    let counts: Value = serde_json::from_str(&status.stdout).with_context(|| status.said())?;
    let sum = |list: &str, key: &str| {
        counts[list].as_array().into_iter().flatten().filter_map(|entry| entry[key].as_u64()).sum::<u64>()
    };
    let items = |state: &str| counts[state]["items"].as_u64().unwrap_or_default();
    let told = [
        (Condition::Ready, sum("stages", "ready")),
        (Condition::Running, sum("stages", "running")),
        (Condition::Succeeded, items("succeeded")),
        (Condition::Failed, items("failed")),
        (Condition::Cancelled, items("cancelled")),
        (Condition::Unknown, sum("unknown_words", "items")),
    ];
    let mut wrong = Vec::new();
    for (condition, told) in told {
        let intended: usize = groups.iter().filter(|group| group.after == condition).map(|group| group.count).sum();
        if u64::try_from(intended)? != told {
            wrong.push(format!("status counts {told} {condition} instead of {intended}"));
        }
    }
    Ok(wrong)
}

/// What `check` has missed of the mistakes that were planted.
async fn try_check(database: &mut Database, table: &str, file: &Path, run: &Run) -> Result<Vec<String>> {
    let url = database.url();
    let described = findings(&program::check(&url, file).await?)?;
    let guessed = findings(&program::check_table(&url, table).await?)?;
    let mut missed = Vec::new();
    for planted in &run.finding {
        missed.extend(match &planted.as_role {
            Some(role) => missing(planted, &findings(&program::check(&database.url_as(role), file).await?)?),
            None if planted.without_file => missing(planted, &guessed),
            None => missing(planted, &described),
        });
    }
    Ok(missed)
}

/// A refusal is right only if nothing was changed.
async fn refusal(
    database: &mut Database,
    expected: &Expected,
    run: &Run,
    before: &State,
    attached: &Ended,
) -> Result<Verdict> {
    let said = attached.said();
    if State::of(database, expected).await? != *before {
        return Ok(Verdict::Wrong(vec![format!("refused, but after something was changed: {said}")]));
    }
    Ok(match run.outcome {
        Outcome::Attached => Verdict::Refused(said),
        Outcome::Refused => {
            let lower = said.to_lowercase();
            let is_unsaid = |word: &&String| !lower.contains(&word.to_lowercase());
            let unsaid: Vec<String> = run.reason.iter().filter(is_unsaid).cloned().collect();
            if unsaid.is_empty() {
                Verdict::RightlyRefused
            } else {
                Verdict::Wrong(vec![format!("refused without the words {}: {said}", unsaid.join(", "))])
            }
        }
    })
}

/// All that can be seen of a database.
#[derive(Debug, PartialEq, Eq)]
struct State {
    copy: FullCopy,
    definitions: Vec<String>,
}

impl State {
    async fn of(database: &mut Database, expected: &Expected) -> Result<State> {
        let copy = database.copy(&expected.table, &expected.key).await?;
        let definitions = database.definitions().await?;
        Ok(State { copy, definitions })
    }
}

/// What is intended for each row, and that the groups are what they say: each has its number of rows, and no row is in
/// two of them or in none.
async fn intents(database: &mut Database, expected: &Expected, run: &Run, before: &FullCopy) -> Result<Intents> {
    if run.outcome == Outcome::Refused {
        return Ok(Intents::new());
    }
    let mut intents = Intents::new();
    for group in &run.rows {
        let fixed = fixed_intents(database, group);
        let named: BTreeSet<&String> = fixed.keys().chain(group.sql.keys()).collect();
        if let Some(unknown) = named.iter().find(|column| !before.columns.contains(**column)) {
            bail!("{:?} names the column {unknown}, which the table has not", group.what);
        }
        let expressions: Vec<&String> = group.sql.values().collect();
        let rows = database.rows_where(&expected.table, &expected.key, &expressions, &group.predicate).await?;
        ensure!(rows.len() == group.count, "{:?} are {} rows, not {}", group.what, rows.len(), group.count);
        for (key, values) in rows {
            let computed = group.sql.keys().cloned().zip(values.into_iter().map(Intent::Is));
            let intended: BTreeMap<String, Intent> = fixed.clone().into_iter().chain(computed).collect();
            ensure!(intents.insert(key.clone(), intended).is_none(), "{key:?} is in two groups: {:?}", group.what);
        }
    }
    let forgotten = before.rows.keys().filter(|key| !intents.contains_key(*key)).count();
    ensure!(forgotten == 0, "{forgotten} rows are in no group");
    Ok(intents)
}

/// What is the same for every row of a group.
fn fixed_intents(database: &Database, group: &Group) -> BTreeMap<String, Intent> {
    let set = group.set.iter().map(|(column, value)| (column.clone(), Intent::Is(Some(database.shown_value(value)))));
    let null = group.null.iter().map(|column| (column.clone(), Intent::Is(None)));
    let now = group.now.iter().map(|column| (column.clone(), Intent::IsNow));
    let some = group.some.iter().map(|column| (column.clone(), Intent::IsAnother));
    set.chain(null).chain(now).chain(some).collect()
}

/// The groups in words, added up by their states.
fn in_words(groups: &[Group]) -> String {
    let mut moves = BTreeMap::new();
    for group in groups {
        *moves.entry((group.before, group.after)).or_insert(0) += group.count;
    }
    let in_words = |(states, count): (&(Condition, Condition), &usize)| {
        let (before, after) = states;
        if before == after { format!("{count} {before}") } else { format!("{count} {before} → {after}") }
    };
    moves.iter().map(in_words).collect::<Vec<_>>().join(", ")
}

/// The folders of tests/tables, in order.
pub(crate) fn folders() -> Result<Vec<PathBuf>> {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables");
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&tables).with_context(|| tables.display().to_string())? {
        let path = entry?.path();
        if path.join("expected.toml").exists() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}
