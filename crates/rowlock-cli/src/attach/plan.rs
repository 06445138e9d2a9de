//! A plan, for people and as JSON.

use anyhow::Result;
use rowlock::store::{AttachStep, DetachPlan, StepKind, StepLock};
use rowlock::{Pipeline, limits};
use serde_json::{Value, json};

use crate::output::{print, shown};

/// Prints each statement, why, who waits for it and for how long.
pub(super) fn print_steps(steps: &[AttachStep]) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        print(format_args!("\n-- {}. {}: {}", index + 1, title(step.kind), shown(&step.why)))?;
        print(format_args!("-- {}", lock(step)))?;
        for line in format!("{};", step.sql).lines() {
            print(format_args!("{}", shown(line)))?;
        }
    }
    Ok(())
}

/// A step in a few words.
pub(super) fn title(kind: StepKind) -> &'static str {
    match kind {
        StepKind::OwnTables => "Rowlock's own tables",
        StepKind::Table => "the table",
        StepKind::Note => "a note",
        StepKind::Column => "a column",
        StepKind::Stamp => "stamps for rows in progress",
        StepKind::DropIndex => "an index goes",
        StepKind::Index => "an index",
        StepKind::DropTrigger => "the trigger goes",
        StepKind::DropColumns => "columns go",
        StepKind::ForgetRows => "the pipeline's own rows go",
        StepKind::DropOwnTables => "Rowlock's own tables go",
        _ => "a step",
    }
}

/// Who waits, and for how long.
fn lock(step: &AttachStep) -> String {
    let lasts = match step.lock {
        StepLock::Nobody | StepLock::SchemaChanges | StepLock::Rows => format!("it takes {}", step.lasts),
        _ => format!("for {}", step.lasts),
    };
    let tries = match step.lock {
        StepLock::Everybody => format!(
            "; it tries for the lock for {} ms at a time, again and again",
            limits::ATTACH_LOCK_TIMEOUT.as_millis()
        ),
        _ => String::new(),
    };
    format!("{}, {lasts}{tries}", step.lock)
}

/// What other programs still work on, or have left behind.
pub(super) fn held_by_others(unleased: i64, pipeline: &Pipeline) -> String {
    let is_cut = usize::try_from(unleased).is_ok_and(|unleased| unleased >= limits::COUNT_EXACT_MAX);
    let at_least = if is_cut { "at least " } else { "" };
    let rows = if unleased == 1 { "row is" } else { "rows are" };
    let then = if pipeline.existing_leases_are_stale() {
        "The description says that nobody works on them any more: the first sweep takes them back".to_owned()
    } else {
        format!(
            "They are taken back {} s after this, unless they are done by then; if your old workers have ended for \
             good, write `existing_leases = \"stale\"` into the file, and they are taken back at once",
            pipeline.stale_after().as_secs()
        )
    };
    format!("{at_least}{unleased} {rows} in progress under no lease of Rowlock's. {then}.")
}

pub(super) fn as_json(step: &AttachStep) -> Value {
    json!({
        "kind": format!("{:?}", step.kind),
        "object": step.object,
        "sql": step.sql,
        "why": step.why,
        "lock": format!("{:?}", step.lock),
        "who_waits": step.lock.to_string(),
        "lasts": step.lasts.to_string(),
    })
}

pub(super) fn detach_as_json(pipeline: &Pipeline, plan: &DetachPlan, applied: bool) -> Value {
    let held = plan.held.iter().map(|item| {
        json!({
            "key": item.key.as_str(),
            "stage": pipeline.stage(item.stage).name(),
            "holder": item.holder,
            "claimed_at": item.claimed_at,
            "heartbeat_at": item.heartbeat_at,
            "stale": item.stale,
        })
    });
    let lost = plan
        .lost
        .iter()
        .map(|lost| json!({ "state": pipeline.word(lost.status), "items": lost.count, "at_least": lost.at_least }));
    json!({
        "table": pipeline.table().to_string(),
        "steps": plan.steps.iter().map(as_json).collect::<Vec<_>>(),
        "held": held.collect::<Vec<_>>(),
        "lost": lost.collect::<Vec<_>>(),
        "kept": plan.kept,
        "applied": applied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> rowlock::PipelineBuilder {
        Pipeline::builder("videos").table("videos").key("id").stage("THUMBNAIL")
    }

    #[test]
    fn what_old_workers_hold_is_said_with_what_becomes_of_it() {
        let said = held_by_others(3, &pipeline().build().unwrap());
        assert!(said.starts_with("3 rows are in progress") && said.contains("300 s after this"), "{said}");
        let said = held_by_others(1, &pipeline().existing_leases_are_stale().build().unwrap());
        assert!(said.starts_with("1 row is in progress") && said.ends_with("first sweep takes them back."), "{said}");
        let said = held_by_others(i64::try_from(limits::COUNT_EXACT_MAX).unwrap(), &pipeline().build().unwrap());
        assert!(said.starts_with("at least 10000 rows"), "{said}");
    }
}
