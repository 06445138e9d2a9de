//! `rowlock status`: how many items are in which state, and how long the oldest has waited.

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::store::{Counts, StageCounts};
use rowlock::{JsonRecord, Pipeline, Repository, Status};
use serde_json::json;

use crate::ExitStatus;
use crate::attach::Attachable;
use crate::cli::StatusOptions;
use crate::config::Description;
use crate::database::{Kind, Target};
use crate::output::{print, print_json, shown};

/// Prints the numbers of a pipeline.
///
/// # Errors
/// If the table is not attached, and those of the database.
pub async fn run(target: &Target, description: &Description, options: &StatusOptions) -> Result<ExitStatus> {
    target.check_file(false)?;
    let pipeline = description.pipeline_with_key(target.key_type(description).await?)?;
    let unusable = || format!("{target} cannot be used");
    let counts = match target.kind() {
        Kind::Postgres => {
            counts_of(PostgresStore::connect(target.url(), pipeline.clone()).await.with_context(unusable)?).await?
        }
        Kind::Sqlite => {
            counts_of(SqliteStore::connect(target.url(), pipeline.clone()).await.with_context(unusable)?).await?
        }
    };
    if options.json {
        print_json(&as_json(&pipeline, &counts))?;
    } else {
        print_tables(&pipeline, &counts)?;
    }
    Ok(ExitStatus::Ok)
}

async fn counts_of<S: Attachable>(store: S) -> Result<Counts> {
    let store = store.read_only().await?;
    refuse_unattached(&store).await?;
    let counts = Repository::<S, JsonRecord>::new(store.clone()).counts().await?;
    store.close().await;
    Ok(counts)
}

/// Refuses a table that lacks something. Rows that no worker takes up are no reason.
///
/// # Errors
/// What it lacks, and those of the database.
pub(crate) async fn refuse_unattached<S: Attachable>(store: &S) -> Result<()> {
    let table = store.pipeline().table();
    let unattached = || format!("the table {table} is not attached; `rowlock attach` shows what to do about it");
    let steps = store.steps_to_attach().await.with_context(unattached)?;
    if steps.is_empty() {
        return Ok(());
    }
    let objects: Vec<&str> = steps.iter().map(|step| step.object.as_str()).collect();
    bail!("{}: it lacks {}", unattached(), objects.join(", "));
}

/// How many of a stage's ready items are due, where the counts tell it.
fn due(ready: i64, stage: &StageCounts) -> Option<i64> {
    if stage.oldest_ready_since.is_none() {
        return Some(0);
    }
    stage.next_due_at.is_none().then(|| (ready - stage.never_due).max(0))
}

fn as_json(pipeline: &Pipeline, counts: &Counts) -> serde_json::Value {
    let stage = |stage: &StageCounts| {
        let ready = counts.count(Status::Ready(stage.stage));
        let due = due(ready, stage);
        json!({
            "stage": pipeline.stage(stage.stage).name(),
            "paused": stage.paused,
            "ready": ready,
            "due": due,
            "delayed": due.map(|due| ready - due),
            "never_due": stage.never_due,
            "running": counts.count(Status::InProgress(stage.stage)),
            "oldest_due_since": stage.oldest_ready_since,
            "oldest_due_secs": stage.oldest_ready_since.map(|since| (counts.at - since).num_seconds().max(0)),
            "next_due_at": stage.next_due_at,
            "oldest_heartbeat_at": stage.oldest_heartbeat_at,
        })
    };
    let terminal = |status: Status| json!({ "word": pipeline.word(status), "items": counts.count(status) });
    json!({
        "pipeline": pipeline.name(),
        "table": pipeline.table().to_string(),
        "at": counts.at,
        "stages": counts.stages.iter().map(stage).collect::<Vec<_>>(),
        "succeeded": terminal(Status::Succeeded),
        "failed": terminal(Status::Failed),
        "cancelled": terminal(Status::Cancelled),
        "unknown_words": counts
            .unknown_words()
            .map(|entry| json!({ "word": entry.word, "items": entry.count }))
            .collect::<Vec<_>>(),
        "counts_stop_at": rowlock::limits::COUNT_EXACT_MAX,
    })
}

fn print_tables(pipeline: &Pipeline, counts: &Counts) -> Result<()> {
    print(format_args!("{} in the table {}", shown(pipeline.name()), shown(&pipeline.table().to_string())))?;
    let mut stages = table(["stage", "ready", "due", "delayed", "running", "oldest due", "next due in"]);
    for stage in &counts.stages {
        let name = shown(pipeline.stage(stage.stage).name());
        let ready = counts.count(Status::Ready(stage.stage));
        let due = due(ready, stage);
        // Both kinds are there; how many of each would take a count of its own.
        let some = || "some".to_owned();
        stages.add_row([
            if stage.paused { format!("{name} (paused)") } else { name },
            number(counts, Status::Ready(stage.stage)),
            due.map_or_else(some, |due| due.to_string()),
            due.map_or_else(some, |due| (ready - due).to_string()),
            number(counts, Status::InProgress(stage.stage)),
            stage.oldest_ready_since.map_or_else(dash, |since| age(since, counts.at)),
            stage.next_due_at.map_or_else(dash, |due| age(counts.at, due)),
        ]);
    }
    print(format_args!("{stages}"))?;
    let mut ends = table(["state", "word", "items"]);
    for (name, status) in
        [("succeeded", Status::Succeeded), ("failed", Status::Failed), ("cancelled", Status::Cancelled)]
    {
        ends.add_row([name.to_owned(), shown(pipeline.word(status)), number(counts, status)]);
    }
    for entry in counts.unknown_words() {
        let word = if entry.word.is_empty() { "NULL".to_owned() } else { shown(&entry.word) };
        ends.add_row(["unknown".to_owned(), word, count(entry.count, entry.at_least)]);
    }
    print(format_args!("{ends}"))
}

fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(columns);
    table
}

/// The count of a status, with a sign where it stopped.
fn number(counts: &Counts, status: Status) -> String {
    let entry = counts.statuses.iter().find(|entry| entry.status == Some(status));
    entry.map_or_else(|| "0".to_owned(), |entry| count(entry.count, entry.at_least))
}

fn count(count: i64, at_least: bool) -> String {
    if at_least { format!("{count}+") } else { count.to_string() }
}

fn dash() -> String {
    "–".to_owned()
}

/// The time from one to the other, in whole units.
fn age(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let seconds = (to - from).num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
