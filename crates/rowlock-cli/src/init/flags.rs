//! States without a status column: times that are NULL until something is done, truth values, and values that stand for
//! "nobody".

use super::proposal::{Confidence, Proposed, StageProposal, State};
use super::sql::{identifier, now};
use super::states::States;
use super::times::time_form;
use super::words::{Meaning, contains, read, tokens};
use crate::survey::{Database, Survey, SurveyColumn, TypeKind};

/// A column that says one thing of a row.
#[derive(Debug, Clone)]
struct Flag {
    column: String,
    /// SQL that is true if it says so, and SQL that is true if not.
    on: String,
    off: String,
    /// What makes the two true; without a value for "on" nothing general does.
    set_on: Option<String>,
    set_off: String,
    evidence: String,
    todo: Option<String>,
}

/// The states that flags say, and the columns that say them.
#[derive(Debug)]
pub(super) struct Flagged {
    pub(super) states: States,
    pub(super) columns: Vec<String>,
}

/// The first parts of names of times at which a worker took a row.
const CLAIMS: &str = "claimed locked leased picked reserved taken acquired dequeued";

/// Names of columns for who has a row.
const HOLDERS: &str = "worker worker_id runner runner_id holder lock_owner lease_owner";

/// Verbs whose times say nothing of a row's state.
const NO_RESULTS: &str = "created updated modified deleted removed archived inserted added queued enqueued \
    submitted scheduled requested received registered started attempted tried retried changed edited expired \
    recorded uploaded observed used visited accessed logged issued ordered joined opened born heartbeated seen \
    released verified confirmed approved saved planned assigned dispatched needed required paid activated disabled \
    enabled";

/// The states of a table without a status column; `None` if no column says whether a row is done, failed or taken.
pub(super) fn flagged(survey: &Survey) -> Option<Flagged> {
    let columns = || survey.columns.iter().filter(|column| !column.is_generated);
    let mut done: Vec<(Flag, Confidence)> = columns().filter_map(|column| done_flag(survey, column)).collect();
    done.sort_by_key(|(_, confidence)| std::cmp::Reverse(*confidence));
    let others: Vec<String> = done.iter().skip(1).map(|(flag, _)| flag.column.clone()).collect();
    let done = done.into_iter().next();
    let failed = columns().find_map(|column| event_flag(survey, column, Meaning::Failed));
    let cancelled = columns().find_map(|column| event_flag(survey, column, Meaning::Cancelled));
    let claimed = columns()
        .find_map(|column| nobody_flag(survey, column))
        .or_else(|| columns().find_map(|column| claim_flag(survey, column)));
    if done.is_none() && failed.is_none() && claimed.is_none() {
        return None;
    }
    let done_confidence = done.as_ref().map_or(Confidence::Unknown, |(_, confidence)| *confidence);
    let done = done.map(|(flag, _)| flag);
    // A row is in the first of these states whose flag is on; each is written with the ones before it off.
    let stops = [done.as_ref(), cancelled.as_ref(), failed.as_ref()];
    let stage = StageProposal {
        name: "process".to_owned(),
        ready: ready(&stops, claimed.as_ref()),
        running: running(&stops, claimed.as_ref()),
    };
    let stop = |flag: Option<&Flag>, before: &[Option<&Flag>]| flag.map(|flag| stopped(flag, before, claimed.as_ref()));
    let succeeded = stop(done.as_ref(), &[]).unwrap_or_else(|| {
        Proposed::default().todo(
            "nothing in the table says that a row is done; perhaps your workers delete it. Rowlock needs a sign that \
             stays: add a column, as completed_at, and write succeeded = { is = \"completed_at is not null\", set = { \
             completed_at = \"now()\" } }, with \"completed_at is null\" in the other states",
        )
    });
    let mut succeeded = Proposed { confidence: succeeded.confidence.min(done_confidence), ..succeeded };
    if done_confidence == Confidence::Guess {
        succeeded = succeeded.todo("is this what says that the work on a row is done?");
    }
    if !others.is_empty() {
        succeeded = succeeded.todo(format!(
            "{} may say it too: if they are work of their own, describe each in a file of its own",
            others.join(", ")
        ));
    }
    let failed_state = stop(failed.as_ref(), &stops[..2]).unwrap_or_else(|| {
        Proposed::default().because("no column says that a row failed: a column of Rowlock's own says it")
    });
    let cancelled_state = stop(cancelled.as_ref(), &stops[..1]).unwrap_or_else(|| {
        Proposed::default().because("no column says \"cancelled\": without one, `cancel` is refused")
    });
    let used = stops.into_iter().flatten().chain(&claimed).map(|flag| flag.column.clone()).collect();
    Some(Flagged {
        columns: used,
        states: States {
            stages: vec![stage],
            succeeded,
            failed: failed_state,
            cancelled: cancelled_state,
            ignored: Proposed::default(),
            done_word: None,
        },
    })
}

/// A state in which the work on a row has ended, so that nobody has it.
fn stopped(flag: &Flag, before: &[Option<&Flag>], claimed: Option<&Flag>) -> Proposed<State> {
    let mut value = state(Some(flag), before);
    if let (Some(State::Sql { set, .. }), Some(claimed)) = (&mut value, claimed) {
        set.push((claimed.column.clone(), claimed.set_off.clone()));
    }
    let mut proposed = Proposed { value, confidence: Confidence::Likely, ..Proposed::default() };
    proposed.todo.extend(flag.todo.clone());
    proposed.because(flag.evidence.clone())
}

/// A state in SQL: one flag on, others off. `None` if nothing general turns the flag on.
fn state(on: Option<&Flag>, off: &[Option<&Flag>]) -> Option<State> {
    let off = || off.iter().copied().flatten();
    let mut conditions: Vec<&str> = Vec::new();
    let mut set = Vec::new();
    if let Some(on) = on {
        conditions.push(&on.on);
        set.push((on.column.clone(), on.set_on.clone()?));
    }
    conditions.extend(off().map(|flag| flag.off.as_str()));
    set.extend(off().map(|flag| (flag.column.clone(), flag.set_off.clone())));
    Some(State::Sql { is: conditions.join(" and "), set })
}

fn ready(stops: &[Option<&Flag>; 3], claimed: Option<&Flag>) -> Proposed<State> {
    let off: Vec<Option<&Flag>> = stops.iter().copied().chain([claimed]).collect();
    let confidence = Confidence::Likely;
    let proposed = Proposed { value: state(None, &off), confidence, ..Proposed::default() };
    proposed.because("nothing has been done with the row, and nobody has it")
}

fn running(stops: &[Option<&Flag>; 3], claimed: Option<&Flag>) -> Proposed<State> {
    let Some(claimed) = claimed else {
        return Proposed::new(State::Own, Confidence::Likely)
            .because("no column says that work is going on: a column of Rowlock's own says it");
    };
    let value = state(Some(claimed), stops);
    if value.is_some() {
        let mut proposed = Proposed { value, confidence: Confidence::Likely, ..Proposed::default() };
        proposed.todo.extend(claimed.todo.clone());
        return proposed.because(claimed.evidence.clone());
    }
    let on = Flag { set_on: Some("0".to_owned()), ..claimed.clone() };
    let value = state(Some(&on), stops);
    let mut proposed = Proposed { value, confidence: Confidence::Guess, ..Proposed::default() };
    proposed.todo.extend(claimed.todo.clone());
    proposed.because(claimed.evidence.clone())
}

/// A column that says that a row is done.
fn done_flag(survey: &Survey, column: &SurveyColumn) -> Option<(Flag, Confidence)> {
    let tokens = tokens(&column.name);
    if let Some(flag) = truth_flag(survey, column, Meaning::Succeeded) {
        return Some((flag, Confidence::Likely));
    }
    let [verb, last] = tokens.as_slice() else { return None };
    if !matches!(last.as_str(), "at" | "on" | "time" | "date") || contains(NO_RESULTS, verb) {
        return None;
    }
    let reading = read(verb).filter(|reading| reading.meaning == Meaning::Succeeded)?;
    let confidence = if reading.is_by_form { Confidence::Guess } else { Confidence::Likely };
    null_flag(survey, column).map(|flag| (flag, confidence))
}

/// A column that says that something else ended a row.
fn event_flag(survey: &Survey, column: &SurveyColumn, meaning: Meaning) -> Option<Flag> {
    if let Some(flag) = truth_flag(survey, column, meaning) {
        return Some(flag);
    }
    let tokens = tokens(&column.name);
    let [verb, last] = tokens.as_slice() else { return None };
    let is_event = last == "at" && read(verb).is_some_and(|reading| reading.meaning == meaning && !reading.is_by_form);
    if is_event { null_flag(survey, column) } else { None }
}

/// A column that says when a worker took a row.
fn claim_flag(survey: &Survey, column: &SurveyColumn) -> Option<Flag> {
    let tokens = tokens(&column.name);
    let is_claim = match tokens.as_slice() {
        [verb, last] => last == "at" && contains(CLAIMS, verb),
        _ => false,
    };
    if is_claim { null_flag(survey, column) } else { None }
}

/// A time that is NULL until something is done.
fn null_flag(survey: &Survey, column: &SurveyColumn) -> Option<Flag> {
    if !column.is_nullable {
        return None;
    }
    let form = time_form(survey.database, column)?;
    let name = identifier(&column.name);
    let values = column.values.as_ref();
    let seen = values.map_or(String::new(), |values| {
        let set = values.sampled - values.nulls();
        format!("{set} of {} {}rows have it", values.sampled, if values.is_whole { "" } else { "sampled " })
    });
    let evidence = if seen.is_empty() { "it may be NULL".to_owned() } else { seen };
    Some(Flag {
        on: format!("{name} is not null"),
        off: format!("{name} is null"),
        set_on: Some(now(survey.database, form.form).to_owned()),
        set_off: "null".to_owned(),
        evidence: format!("{}: {evidence}", column.name),
        todo: form.todo.map(|todo| format!("{}: {todo}", column.name)),
        column: column.name.clone(),
    })
}

/// A truth value whose name is a word of this meaning, with or without `is`.
fn truth_flag(survey: &Survey, column: &SurveyColumn, meaning: Meaning) -> Option<Flag> {
    let tokens = tokens(&column.name);
    let words = match tokens.as_slice() {
        [first, rest @ ..] if matches!(first.as_str(), "is" | "was" | "has") => rest,
        all => all,
    };
    let reading = read(&words.join("_"))?;
    if reading.meaning != meaning || reading.stage.is_some() || !is_truth(survey, column) {
        return None;
    }
    let name = identifier(&column.name);
    let on_off = match (survey.database, column.is_nullable) {
        (Database::Postgres, false) => [name.clone(), format!("not {name}")],
        (Database::Postgres, true) => [format!("{name} is true"), format!("{name} is not true")],
        (Database::Sqlite, false) => [format!("{name} <> 0"), format!("{name} = 0")],
        (Database::Sqlite, true) => [format!("coalesce({name}, 0) <> 0"), format!("coalesce({name}, 0) = 0")],
    };
    let [on, off] = on_off;
    let (yes, no) = if survey.database == Database::Postgres { ("true", "false") } else { ("1", "0") };
    let rows = column.values.as_ref().map(|values| {
        let set = values.rows_with(yes).unwrap_or(0);
        format!("{set} of {} {}rows have it", values.sampled, if values.is_whole { "" } else { "sampled " })
    });
    Some(Flag {
        column: column.name.clone(),
        on,
        off,
        set_on: Some(yes.to_owned()),
        set_off: no.to_owned(),
        evidence: format!("{}: {}", column.name, rows.unwrap_or_else(|| "its name says so".to_owned())),
        todo: None,
    })
}

/// Whether a column holds true and false: by its type, or by its values on SQLite, which has no such type.
pub(super) fn is_truth(survey: &Survey, column: &SurveyColumn) -> bool {
    let texts = || column.values.iter().flat_map(|values| values.texts().map(|(text, _)| text));
    let are_truths = texts().all(|text| matches!(text, "0" | "1"));
    match (survey.database, column.kind) {
        (Database::Postgres, kind) => kind == TypeKind::Boolean,
        (Database::Sqlite, TypeKind::Boolean) => are_truths,
        (Database::Sqlite, kind) => kind.is_integer() && are_truths && texts().next().is_some(),
    }
}

/// A column that always names the holder of a row, and has a value for "nobody" as its default.
fn nobody_flag(survey: &Survey, column: &SurveyColumn) -> Option<Flag> {
    let tokens = tokens(&column.name);
    let is_holder = match tokens.as_slice() {
        [verb, by] if by == "by" => contains(CLAIMS, verb),
        _ => contains(HOLDERS, &tokens.join("_")),
    };
    if !is_holder || column.is_nullable || survey.primary_key.contains(&column.name) {
        return None;
    }
    let nobody = column.default_literal()?;
    let name = identifier(&column.name);
    let literal = if column.kind.is_integer() {
        nobody.parse::<i64>().ok()?.to_string()
    } else if column.kind.is_text() {
        format!("'{}'", nobody.replace('\'', "''"))
    } else {
        return None;
    };
    let rows = column.values.as_ref().map(|values| {
        let rows = values.rows_with(&nobody).unwrap_or(0);
        format!("{rows} of {} {}rows", values.sampled, if values.is_whole { "" } else { "sampled " })
    });
    let rows = rows.unwrap_or_else(|| "rows".to_owned());
    // Whom an integer names, only the owner knows.
    let set_on = column.kind.is_text().then(|| "'rowlock'".to_owned());
    let todo = if set_on.is_some() {
        "'rowlock' must be no worker of your own"
    } else {
        "which value do Rowlock's workers write? One that no worker of your own has"
    };
    Some(Flag {
        on: format!("{name} <> {literal}"),
        off: format!("{name} = {literal}"),
        set_on,
        set_off: literal.clone(),
        evidence: format!("{}: {rows} have its default {literal}, which stands for nobody", column.name),
        todo: Some(format!("{}: {todo}", column.name)),
        column: column.name.clone(),
    })
}
