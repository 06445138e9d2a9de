//! `rowlock attach` and `rowlock detach`: what a table lacks, each statement that adds it, and how all of it is taken
//! back.
//!
//! Nothing changes before the description is proved: a table that has a problem which no statement here can mend is
//! refused, with the reason.

mod plan;
mod progress;
mod refusal;
mod store;

use anyhow::{Context as _, Result, bail};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::store::{AttachStep, DetachPlan, HeldItem, SweepParams};
use rowlock::{Error, Pipeline};
use serde_json::json;

use self::progress::Progress;
pub(crate) use self::store::Attachable;
use crate::ExitStatus;
use crate::cli::{AttachOptions, DetachOptions};
use crate::config::Description;
use crate::database::{Kind, Target};
use crate::output::{print, print_error, print_json, shown};

/// Items that are taken back from stopped workers in one statement, before a table is detached.
const SWEPT_AT_ONCE: usize = 1_000;

/// Items in progress that are listed.
const HELD_SHOWN_MAX: usize = 20;

/// Prints what the table lacks, and with `--apply` adds it.
///
/// # Errors
/// Those of the database and of the output.
pub async fn run(target: &Target, description: &Description, options: &AttachOptions) -> Result<ExitStatus> {
    target.check_file(true)?;
    if target.check_file(false).is_err() {
        return start_file(target, description, options).await;
    }
    let pipeline = description.pipeline_with_key(target.key_type(description).await?)?;
    let unusable = || format!("{target} cannot be used");
    match target.kind() {
        Kind::Postgres => {
            let store = PostgresStore::connect(target.url(), pipeline).await.with_context(unusable)?;
            attach(&store, target, description, options).await
        }
        Kind::Sqlite => {
            let store = SqliteStore::connect(target.url(), pipeline).await.with_context(unusable)?;
            attach(&store, target, description, options).await
        }
    }
}

/// A file that does not exist yet: there is no table to describe, and the plan makes one.
async fn start_file(target: &Target, description: &Description, options: &AttachOptions) -> Result<ExitStatus> {
    if !options.apply {
        if options.json {
            print_json(&json!({ "steps": [], "applied": false, "attached": false, "creates": target.displayable() }))?;
        } else {
            let told = format!("{target} does not exist yet: `rowlock attach --apply` creates it, with the table");
            print(format_args!("{}", shown(&told)))?;
        }
        return Ok(ExitStatus::Ok);
    }
    let separator = if target.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}mode=rwc", target.url());
    let store = SqliteStore::connect(&url, description.pipeline()?).await;
    let store = store.with_context(|| format!("{target} cannot be created"))?;
    attach(&store, target, description, options).await
}

async fn attach<S: Attachable>(
    store: &S,
    target: &Target,
    description: &Description,
    options: &AttachOptions,
) -> Result<ExitStatus> {
    let table = store.pipeline().table().to_string();
    let proof = store.proof().await?;
    if !proof.flaws.is_empty() {
        return refuse(&table, description, &proof.flaws, options.json);
    }
    let steps = match store.steps_to_attach().await {
        Err(Error::Schema { problem, .. }) => return refuse(&table, description, &[problem], options.json),
        steps => steps?,
    };
    let unleased = store.count_unleased().await?;
    if !options.json {
        print_attach_plan(&table, target, &steps, unleased, store.pipeline())?;
        if !options.apply && !steps.is_empty() && !proof.remarks.is_empty() {
            print(format_args!("\nNo worker takes these rows up:"))?;
            print_remarks(&proof.remarks)?;
        }
        if !options.apply && !steps.is_empty() {
            print(format_args!("\nNothing has changed. `rowlock attach --apply` runs these statements."))?;
        }
    }
    if options.apply && !steps.is_empty() {
        let mut progress = Progress::default();
        let attached = store.run_attach(&mut |event| progress.tell(event)).await;
        attached.with_context(|| format!("{table} is not attached to its end: run it again, and it goes on"))?;
    }
    let is_attached = options.apply || steps.is_empty();
    // Of an attached table the indexes tell exactly what the sample has shown.
    let remarks = if is_attached { store.inspect().await? } else { proof.remarks };
    if options.json {
        print_json(&json!({
            "table": table,
            "refused": [],
            "steps": steps.iter().map(plan::as_json).collect::<Vec<_>>(),
            "in_progress_without_lease": unleased,
            "applied": options.apply,
            "attached": is_attached,
            "remarks": remarks,
        }))?;
    } else if is_attached {
        print_end(&table, &steps, &remarks)?;
    }
    Ok(if remarks.is_empty() { ExitStatus::Ok } else { ExitStatus::Findings })
}

/// Says why nothing is done.
fn refuse(table: &str, description: &Description, reasons: &[String], json: bool) -> Result<ExitStatus> {
    let reasons: Vec<String> = reasons.iter().map(|reason| refusal::in_words_of_file(reason)).collect();
    if json {
        print_json(&json!({ "table": table, "refused": reasons, "steps": [], "applied": false, "attached": false }))?;
    } else {
        let file = description.file();
        let head = format!("{table} cannot be attached as {file} describes it, and nothing has changed:");
        print(format_args!("{}", shown(&head)))?;
        for reason in reasons {
            print(format_args!("- {}", shown(&reason)))?;
        }
    }
    Ok(ExitStatus::Findings)
}

fn print_attach_plan(
    table: &str,
    target: &Target,
    steps: &[AttachStep],
    unleased: i64,
    pipeline: &Pipeline,
) -> Result<()> {
    let table = shown(table);
    if !steps.is_empty() {
        print(format_args!("{table} in {target} lacks the following. Each step may be interrupted and repeated."))?;
    }
    plan::print_steps(steps)?;
    if unleased > 0 {
        print(format_args!("\n{}", shown(&plan::held_by_others(unleased, pipeline))))?;
    }
    Ok(())
}

fn print_end(table: &str, steps: &[AttachStep], remarks: &[String]) -> Result<()> {
    let table = shown(table);
    match (steps.is_empty(), remarks.is_empty()) {
        (true, true) => print(format_args!("{table} is attached: it lacks nothing"))?,
        (true, false) => print(format_args!("{table} is attached: it lacks nothing, but:"))?,
        (false, true) => print(format_args!("\n{table} is attached"))?,
        (false, false) => print(format_args!("\n{table} is attached, but:"))?,
    }
    print_remarks(remarks)
}

fn print_remarks(remarks: &[String]) -> Result<()> {
    for remark in remarks {
        print(format_args!("- {}", shown(&refusal::in_words_of_file(remark))))?;
    }
    Ok(())
}

/// Prints how the pipeline is taken back from its table, and with `--apply` does it.
///
/// # Errors
/// Those of the database and of the output.
pub async fn detach(target: &Target, description: &Description, options: &DetachOptions) -> Result<ExitStatus> {
    target.check_file(false)?;
    let pipeline = description.pipeline_with_key(target.key_type(description).await?)?;
    let unusable = || format!("{target} cannot be used");
    match target.kind() {
        Kind::Postgres => {
            let store = PostgresStore::connect(target.url(), pipeline).await.with_context(unusable)?;
            take_back(&store, target, options).await
        }
        Kind::Sqlite => {
            let store = SqliteStore::connect(target.url(), pipeline).await.with_context(unusable)?;
            take_back(&store, target, options).await
        }
    }
}

async fn take_back<S: Attachable>(store: &S, target: &Target, options: &DetachOptions) -> Result<ExitStatus> {
    let mut plan = store.plan_to_detach().await?;
    if options.apply && is_held(&plan) {
        // What stopped workers held goes back to the queue, so that the table says the truth about it.
        take_back_items(store).await?;
        plan = store.plan_to_detach().await?;
    }
    let is_held = is_held(&plan);
    if !options.json {
        print_detach_plan(store.pipeline(), target, &plan)?;
    }
    let applies = options.apply && !is_held && !plan.steps.is_empty();
    if applies {
        let mut progress = Progress::default();
        let detached = store.run_detach(&mut |event| progress.tell(event)).await;
        detached.context("it is not taken back to its end: run it again, and it goes on")?;
    }
    if options.json {
        print_json(&plan::detach_as_json(store.pipeline(), &plan, applies))?;
    } else if applies {
        print(format_args!("\nThe pipeline is taken back"))?;
    } else if options.apply && is_held {
        print_error(format_args!("nothing has changed: items are held, so stop the workers first, and run it again"));
    } else if !options.apply && !plan.steps.is_empty() {
        print(format_args!("\nNothing has changed. `rowlock detach --apply` runs these statements."))?;
    }
    Ok(if options.apply && is_held { ExitStatus::Findings } else { ExitStatus::Ok })
}

/// Whether workers of Rowlock's hold items. What others of the team's work on is theirs, and stays so.
fn is_held(plan: &DetachPlan) -> bool {
    plan.held.iter().any(|item| item.holder.is_some() || item.claimed_at.is_some())
}

/// Takes back the items of stopped workers.
async fn take_back_items<S: Attachable>(store: &S) -> Result<()> {
    let pipeline = store.pipeline();
    let sweeping = SweepParams {
        limit: SWEPT_AT_ONCE,
        stale_after: pipeline.stale_after(),
        max_resets: pipeline.max_resets(),
        now: None,
    };
    let mut taken = 0;
    loop {
        let swept = store.sweep(&sweeping).await?;
        taken += swept.items.len();
        if let Some((key, reason)) = swept.refused.first() {
            bail!("the database refuses to take back the item {key}: {reason}");
        }
        if !swept.may_have_more || swept.items.is_empty() {
            break;
        }
    }
    if taken > 0 {
        print_error(format_args!("{taken} items were taken back from workers that had stopped"));
    }
    Ok(())
}

fn print_detach_plan(pipeline: &Pipeline, target: &Target, plan: &DetachPlan) -> Result<()> {
    let table = shown(&pipeline.table().to_string());
    if plan.steps.is_empty() {
        print(format_args!("{table} in {target} has nothing of Rowlock's to take back"))?;
    } else {
        print(format_args!("{table} in {target} has the following of Rowlock's."))?;
    }
    plan::print_steps(&plan.steps)?;
    if !plan.held.is_empty() {
        print(format_args!("\nThese items are in progress, and would stay so for ever: stop the workers first."))?;
        for item in plan.held.iter().take(HELD_SHOWN_MAX) {
            print(format_args!("- {}", shown(&held(pipeline, item))))?;
        }
        if plan.held.len() > HELD_SHOWN_MAX {
            print(format_args!("- and at least {} more", plan.held.len() - HELD_SHOWN_MAX))?;
        }
    }
    if !plan.lost.is_empty() {
        print(format_args!("\nThese states are said by Rowlock's own column alone, and are lost:"))?;
        for lost in &plan.lost {
            let at_least = if lost.at_least { "at least " } else { "" };
            let word = shown(pipeline.word(lost.status));
            print(format_args!("- {word}: {at_least}{} items; the table itself says another state", lost.count))?;
        }
    }
    for kept in &plan.kept {
        print(format_args!("\nStays: {}", shown(kept)))?;
    }
    Ok(())
}

/// Who holds an item, and since when.
fn held(pipeline: &Pipeline, item: &HeldItem) -> String {
    let stage = pipeline.stage(item.stage).name();
    let holder = item.holder.as_deref().unwrap_or("somebody without a name");
    let since = item.claimed_at.map(|at| format!(" since {}", at.to_rfc3339())).unwrap_or_default();
    let stale = if item.stale { "; its heartbeat is old or missing" } else { "" };
    format!("{} in {stage}, held by {holder}{since}{stale}", item.key)
}
