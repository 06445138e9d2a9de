//! Which rows are items at all, in which order, and what else a move writes.

use super::carrier::{Carrier, Others};
use super::flags::is_truth;
use super::proposal::{Assignment, Confidence, Proposed};
use super::roles::{Belonging, plain_name};
use super::sql::{identifier, now};
use super::times::time_form;
use super::words::{Meaning, contains, read, tokens};
use crate::survey::{Database, Survey, SurveyColumn, TypeKind};

/// Times that say that a row is gone.
const DELETIONS: &str = "deleted_at deleted_on removed_at trashed_at discarded_at soft_deleted_at";

/// Truth values that say so.
const DELETED: &str = "is_deleted deleted soft_deleted is_removed removed is_trashed";

/// Columns that may keep a row from workers; only its owner knows.
const MAYBE_OFF: &str = "archived is_archived archived_at paused is_paused paused_at disabled is_disabled on_hold \
    suspended hidden is_hidden blocked is_blocked";

/// The same the other way round.
const MAYBE_ON: &str = "enabled is_enabled is_active visible is_visible";

const PRIORITIES: &str = "priority prio importance urgency weight rank queue_priority";

/// Times at which work ended.
const SUCCESS_TIMES: &str = "completed_at finished_at done_at succeeded_at processed_at ended_at completion_time \
    end_time completed_on processed_on finished_on processing_finished_at processing_completed_at";

const FAILURE_TIMES: &str = "failed_at errored_at last_failed_at last_failure_at failed_on";

const CLAIM_TIMES: &str =
    "started_at processing_started_at last_attempt_at last_attempted_at attempted_at last_tried_at";

/// Which rows are items: those that are not deleted.
pub(super) fn condition(survey: &Survey) -> Proposed<String> {
    let mut conditions = Vec::new();
    let mut proposed = Proposed::<String>::default();
    for column in &survey.columns {
        let name = tokens(&column.name).join("_");
        let sql = identifier(&column.name);
        let rows = |set: Option<i64>| {
            let Some(values) = &column.values else { return "its name says which rows are".to_owned() };
            let of = if values.is_whole { "" } else { "sampled " };
            format!("{} of {} {of}rows are", set.unwrap_or(0), values.sampled)
        };
        if contains(DELETIONS, &name) && column.is_nullable {
            let set = column.values.as_ref().map(|values| values.sampled - values.nulls());
            proposed = proposed.because(format!("{}: {} deleted", column.name, rows(set)));
            conditions.push(format!("{sql} is null"));
        } else if contains(DELETED, &name) && is_truth(survey, column) {
            let yes = if survey.database == Database::Postgres { "true" } else { "1" };
            let set = column.values.as_ref().and_then(|values| values.rows_with(yes));
            proposed = proposed.because(format!("{}: {} deleted", column.name, rows(set)));
            conditions.push(is_not(survey, column));
        } else if contains(MAYBE_OFF, &name) || contains(MAYBE_ON, &name) {
            let off = if is_truth(survey, column) {
                Some(if contains(MAYBE_OFF, &name) { is_not(survey, column) } else { is(survey, column) })
            } else {
                (name.ends_with("_at") && column.is_nullable).then(|| format!("{sql} is null"))
            };
            let todo = |off: String| format!("does {:?} keep a row from workers? Then add: {off}", column.name);
            proposed.todo.extend(off.map(todo));
        }
    }
    if !conditions.is_empty() {
        (proposed.value, proposed.confidence) = (Some(conditions.join(" and ")), Confidence::Likely);
    }
    proposed
}

fn is(survey: &Survey, column: &SurveyColumn) -> String {
    let name = identifier(&column.name);
    match (survey.database, column.is_nullable) {
        (Database::Postgres, false) => name,
        (Database::Postgres, true) => format!("{name} is true"),
        (Database::Sqlite, _) => format!("coalesce({name}, 0) <> 0"),
    }
}

fn is_not(survey: &Survey, column: &SurveyColumn) -> String {
    let name = identifier(&column.name);
    match (survey.database, column.is_nullable) {
        (Database::Postgres, false) => format!("not {name}"),
        (Database::Postgres, true) => format!("{name} is not true"),
        (Database::Sqlite, false) => format!("{name} = 0"),
        (Database::Sqlite, true) => format!("coalesce({name}, 0) = 0"),
    }
}

/// What comes before age.
pub(super) fn order(survey: &Survey) -> Proposed<Vec<String>> {
    let is_priority = |column: &&SurveyColumn| contains(PRIORITIES, &tokens(&column.name).join("_"));
    let Some(column) = survey.columns.iter().find(is_priority) else { return Proposed::default() };
    let sql = identifier(&column.name);
    if column.kind.is_text() {
        let values: Vec<&str> = column.values.iter().flat_map(|v| v.texts().map(|(text, _)| text)).take(8).collect();
        let example = format!("case {sql} when 'high' then 0 when 'normal' then 1 else 2 end");
        return Proposed::new(vec![example], Confidence::Guess)
            .because(format!("{:?} holds texts, as {}", column.name, values.join(", ")))
            .todo("texts sort by the alphabet: write the order of yours as a case expression");
    }
    if !column.kind.is_integer() && !matches!(column.kind, TypeKind::Enum | TypeKind::Float | TypeKind::Numeric) {
        return Proposed::default();
    }
    let descending = format!("{sql} desc");
    let has_descending = survey.indexes.iter().find(|index| {
        index.definition.to_lowercase().replace('"', "").contains(&descending.to_lowercase().replace('"', ""))
    });
    match has_descending {
        Some(index) => Proposed::new(vec![descending], Confidence::Likely)
            .because(format!("the index {} has it in this order", index.name)),
        None => Proposed::new(vec![descending], Confidence::Guess).todo(format!(
            "is the highest {:?} first? Then take this; if the lowest is: order = [{sql:?}]",
            column.name
        )),
    }
}

/// What else a move writes: the times and truths that the owner's programs keep beside the status.
pub(super) fn on(
    survey: &Survey,
    carrier: &Carrier<'_>,
    taken: &[String],
    others: &Others,
    done_word: Option<&str>,
) -> Vec<Assignment> {
    let prefix = carrier.prefix();
    let done_name = done_word.map(|word| format!("{}_at", tokens(word).join("_")));
    let mut assignments: Vec<Assignment> = Vec::new();
    for column in &survey.columns {
        if taken.contains(&column.name) || column.is_generated || survey.primary_key.contains(&column.name) {
            continue;
        }
        let Some((name, belonging)) = plain_name(&column.name, prefix.as_deref(), others) else { continue };
        let is_done_time = contains(SUCCESS_TIMES, &name) || done_name.as_deref() == Some(name.as_str());
        let event = match name.as_str() {
            _ if is_done_time => "success",
            name if contains(FAILURE_TIMES, name) => "failure",
            name if contains(CLAIM_TIMES, name) => "claim",
            "lock_version" | "row_version" => "every_move",
            _ if is_done_truth(survey, column, &name) => "success",
            _ => continue,
        };
        let Some(mut value) = assigned(survey, column, event) else { continue };
        if belonging == Belonging::OfTable && others.may_own_plain_columns {
            value.confidence = Confidence::Guess;
            value = value.todo("does it belong to this pipeline, or to another of the table?");
        }
        assignments.push(Assignment { event, column: column.name.clone(), value });
    }
    assignments
}

fn is_done_truth(survey: &Survey, column: &SurveyColumn, name: &str) -> bool {
    let name = name.strip_prefix("is_").unwrap_or(name);
    let is_done = |reading: super::words::Reading| reading.meaning == Meaning::Succeeded && reading.stage.is_none();
    read(name).is_some_and(is_done) && is_truth(survey, column)
}

fn assigned(survey: &Survey, column: &SurveyColumn, event: &str) -> Option<Proposed<String>> {
    if event == "every_move" {
        let name = identifier(&column.name);
        let value = format!("{name} + 1");
        return column.kind.is_integer().then(|| {
            Proposed::new(value, Confidence::Guess)
                .todo("does each update raise it, so that a later one with the old number is refused? Then keep this")
        });
    }
    if is_truth(survey, column) {
        let yes = if survey.database == Database::Postgres { "true" } else { "1" };
        let value = Proposed::new(yes.to_owned(), Confidence::Likely);
        return Some(value.because(format!("{} is a truth value beside the status, by its name", column.name)));
    }
    let form = time_form(survey.database, column)?;
    let value = now(survey.database, form.form).to_owned();
    let mut proposed = Proposed::new(value, form.confidence).because(format!("{} is a time, by its name", column.name));
    proposed.todo.extend(form.todo);
    Some(proposed)
}
