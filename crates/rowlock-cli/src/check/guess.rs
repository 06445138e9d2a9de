//! Which part each column plays, from its name, and which state each word says, from the word.
//!
//! A guess is good enough to look for mistakes, and says so in each finding. It is not good enough to move rows by.

use std::time::Duration;

use super::queue::may_hold_time;
use super::roles::{AttemptsMax, Lease, LeaseMeaning, Roles, State};
use super::sql_text::words_of_check;
use super::words::{StateKind, classify_all};
use crate::survey::{Survey, SurveyColumn, TypeKind, quote_identifier};

/// A sign of life in progress that is older than this is reported, where nothing says what is too old.
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);

/// Words that a status column has, at most: a column with more holds something else.
const WORDS_MAX: usize = 24;

const EXPIRIES: &[&str] = &[
    "locked_until",
    "lock_until",
    "leased_until",
    "lease_until",
    "lease_expires_at",
    "lock_expires_at",
    "claim_expires_at",
    "claimed_until",
    "processing_until",
    "invisible_until",
    "lease_expiry",
];
const HEARTBEATS: &[&str] = &[
    "heartbeat_at",
    "heartbeated_at",
    "last_heartbeat_at",
    "last_heartbeat",
    "heartbeat",
    "last_ping_at",
    "last_seen_at",
    "keepalive_at",
];
const STAMPS: &[&str] = &[
    "claimed_at",
    "locked_at",
    "leased_at",
    "processing_started_at",
    "picked_at",
    "reserved_at",
    "taken_at",
    "acquired_at",
    "started_at",
    "last_attempt_at",
    "attempted_at",
    "dequeued_at",
    "processing_at",
];
const UPDATED: &[&str] = &["updated_at", "modified_at", "last_modified", "last_updated", "updated", "changed_at"];
const CREATED: &[&str] =
    &["created_at", "inserted_at", "enqueued_at", "queued_at", "added_at", "created", "date_created", "submitted_at"];
const HOLDERS: &[&str] = &[
    "claimed_by",
    "locked_by",
    "leased_by",
    "reserved_by",
    "lock_owner",
    "worker_id",
    "worker",
    "worker_name",
    "collector_name",
    "runner_id",
    "processing_by",
    "lease_owner",
];
const TOKENS: &[&str] = &[
    "claim_token",
    "lock_token",
    "lease_token",
    "fencing_token",
    "fence",
    "lock_id",
    "lease_id",
    "claim_id",
    "job_token",
    "processing_job_token",
    "attempt_id",
];
const ATTEMPTS: &[&str] = &[
    "attempts",
    "attempt_count",
    "attempt",
    "retry_count",
    "retries",
    "retry",
    "tries",
    "try_count",
    "failures",
    "failure_count",
    "num_attempts",
    "error_count",
    "fail_count",
];
const ATTEMPTS_MAX: &[&str] = &["max_attempts", "max_retries", "max_tries", "attempts_max", "retry_limit"];
const DUE: &[&str] = &[
    "retry_after",
    "run_at",
    "scheduled_at",
    "scheduled_for",
    "available_at",
    "process_after",
    "next_attempt_at",
    "next_retry_at",
    "retry_at",
    "next_run_at",
    "not_before",
    "due_at",
    "visible_at",
    "start_after",
    "execute_at",
    "run_after",
];
const ERRORS: &[&str] = &[
    "error_message",
    "last_error",
    "error_msg",
    "error",
    "failure_reason",
    "failed_reason",
    "fallback_reason",
    "result_reason",
    "error_text",
    "last_error_message",
];
const DELETED: &[&str] = &["deleted_at", "is_deleted", "deleted", "removed_at"];
const PRIORITIES: &[&str] = &["priority", "prio", "importance"];
const FINISHED: &[&str] = &[
    "processed_at",
    "completed_at",
    "finished_at",
    "delivered_at",
    "sent_at",
    "published_at",
    "done_at",
    "handled_at",
];

const NUMBERED: &[&str] =
    &["status", "state", "job_status", "job_state", "task_status", "task_state", "queue_status", "processing_status"];

impl Roles {
    /// Reads the table as a queue, once for each of its status columns; nothing if it does not look like a queue.
    pub fn guess(survey: &Survey) -> Vec<Roles> {
        let statuses: Vec<&SurveyColumn> = survey.columns.iter().filter(|column| is_status(survey, column)).collect();
        if statuses.is_empty() {
            return without_status(survey).into_iter().collect();
        }
        let prefixes: Vec<String> = statuses.iter().map(|column| prefix_of(&column.name)).collect();
        statuses.iter().zip(&prefixes).map(|(column, prefix)| of_status(survey, column, prefix, &prefixes)).collect()
    }
}

/// Whether Rowlock keeps this table, whatever prefix its columns have.
pub fn is_kept_by_rowlock(survey: &Survey) -> bool {
    ["claim_token", "reset_count", "resume_status"]
        .iter()
        .all(|name| survey.columns.iter().any(|column| column.name.ends_with(name)))
}

/// The column that marks rows as deleted, by its name.
pub(super) fn deleted(survey: &Survey) -> Option<String> {
    find(survey, DELETED, "", &[String::new()], |_| true).map(str::to_owned)
}

/// The words of a status column that are known from its type, its CHECKs, its default and its rows.
pub(super) fn words_of(survey: &Survey, column: &SurveyColumn) -> Vec<String> {
    let mut words = column.enum_labels.clone();
    for check in survey.checks.iter().filter(|check| check.columns == [column.name.clone()]) {
        words.extend(words_of_check(&check.definition).into_iter().flatten());
    }
    words.extend(column.default_literal());
    if let Some(values) = &column.values {
        words.extend(values.texts().map(|(word, _)| word.to_owned()));
    }
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

fn is_status(survey: &Survey, column: &SurveyColumn) -> bool {
    let name = snake(&column.name);
    // Rowlock's own column for the word to which a requeue returns is no state.
    if name.ends_with("resume_status") || !["status", "state"].iter().any(|end| name.ends_with(end)) {
        return false;
    }
    // What the numbers mean is not to be guessed, and neither that a number such as `http_status` is a state.
    if column.kind.is_integer() {
        return NUMBERED.contains(&name.as_str());
    }
    if !column.kind.is_text() && column.kind != TypeKind::Enum {
        return false;
    }
    let words = words_of(survey, column);
    if words.len() > WORDS_MAX || column.values.as_ref().is_some_and(|values| values.has_more) {
        return false;
    }
    let kinds = classify_all(&words, is_kept_by_rowlock(survey));
    let has = |kind: StateKind| kinds.contains(&Some(kind));
    let has_end = has(StateKind::Succeeded) || has(StateKind::Failed);
    has(StateKind::Ready) && (has(StateKind::Running) || has_end || words.len() == 1)
}

fn of_status(survey: &Survey, column: &SurveyColumn, prefix: &str, prefixes: &[String]) -> Roles {
    let mut roles = Roles { status: Some(column.name.clone()), ..of_columns(survey, prefix, prefixes) };
    let words = words_of(survey, column);
    if !column.kind.is_integer() {
        for (word, kind) in words.iter().zip(classify_all(&words, roles.is_kept_by_rowlock)) {
            let state = match kind {
                Some(StateKind::Ready) => &mut roles.ready,
                Some(StateKind::Running) => &mut roles.running,
                Some(StateKind::Succeeded) => &mut roles.succeeded,
                Some(StateKind::Failed) => &mut roles.failed,
                Some(StateKind::Cancelled) => &mut roles.cancelled,
                Some(StateKind::Ignored) => &mut roles.ignored,
                None => continue,
            };
            state.words.push(Some(word.clone()));
        }
    }
    roles
}

/// A queue that says its states by other columns: a time that is null until the row is done, a holder with a value for
/// "nobody", a flag.
fn without_status(survey: &Survey) -> Option<Roles> {
    let mut roles = of_columns(survey, "", &[String::new()]);
    let finished =
        find(survey, FINISHED, "", &[String::new()], |column| column.is_nullable && may_hold_time(survey, column.kind));
    let flag = |name: &str| survey.columns.iter().find(|c| snake(&c.name) == name && c.kind == TypeKind::Boolean);
    let failed = flag("failed").or_else(|| flag("is_failed")).map(|column| quote_identifier(&column.name));
    let nobody = roles.holder.as_deref().and_then(|name| survey.column(name)).and_then(|column| {
        column.default_literal().filter(|_| !column.is_nullable).map(|value| (quote_identifier(&column.name), value))
    });
    let mut open = Vec::new();
    if let Some(finished) = finished {
        let finished = quote_identifier(finished);
        open.push(format!("{finished} is null"));
        roles.succeeded = State::of_predicate(format!("{finished} is not null"));
    }
    if let Some(failed) = &failed {
        open.push(format!("not {failed}"));
        roles.failed = State::of_predicate(failed.clone());
    }
    if let Some((holder, value)) = nobody.filter(|(_, value)| value.parse::<i64>().is_ok()) {
        let running = open.iter().cloned().chain([format!("{holder} <> {value}")]).collect::<Vec<_>>();
        roles.running = State::of_predicate(running.join(" and "));
        open.push(format!("{holder} = {value}"));
    } else if let Some(holder) = roles.holder.as_deref().map(quote_identifier).filter(|_| !open.is_empty()) {
        let running = open.iter().cloned().chain([format!("{holder} is not null")]).collect::<Vec<_>>();
        roles.running = State::of_predicate(running.join(" and "));
        open.push(format!("{holder} is null"));
    }
    // One such column alone is found in tables that nobody queues on.
    let looks_like_a_queue = roles.attempts.is_some() || roles.due.is_some() || roles.running.is_known();
    if open.is_empty() || !looks_like_a_queue {
        return None;
    }
    roles.ready = State::of_predicate(open.join(" and "));
    Some(roles)
}

fn of_columns(survey: &Survey, prefix: &str, prefixes: &[String]) -> Roles {
    let name = |names: &[&str], fits: &dyn Fn(&SurveyColumn) -> bool| {
        find(survey, names, prefix, prefixes, fits).map(str::to_owned)
    };
    let time = |column: &SurveyColumn| may_hold_time(survey, column.kind);
    let any = |_: &SurveyColumn| true;
    let text = |column: &SurveyColumn| column.kind.is_text() || matches!(column.kind, TypeKind::Json | TypeKind::Jsonb);
    let integer = |column: &SurveyColumn| column.kind.is_integer();
    let updated = name(UPDATED, &time);
    let meanings = [
        (EXPIRIES, LeaseMeaning::Expiry),
        (HEARTBEATS, LeaseMeaning::Heartbeat),
        (STAMPS, LeaseMeaning::Stamp),
        (UPDATED, LeaseMeaning::LastChange),
    ];
    let lease =
        meanings.into_iter().find_map(|(names, meaning)| name(names, &time).map(|column| Lease { column, meaning }));
    let key = if survey.primary_key.is_empty() { survey.unique_keys.first() } else { Some(&survey.primary_key) };
    Roles {
        key: key.cloned().unwrap_or_default(),
        lease,
        holder: name(HOLDERS, &any),
        token: name(TOKENS, &any),
        attempts: name(ATTEMPTS, &integer),
        attempts_max: name(ATTEMPTS_MAX, &integer).map_or(AttemptsMax::Unknown, AttemptsMax::Column),
        due: name(DUE, &time),
        created: name(CREATED, &time),
        updated,
        error: name(ERRORS, &text),
        deleted: name(DELETED, &any),
        priority: name(PRIORITIES, &any),
        stale_after: STALE_AFTER,
        is_guess: true,
        is_kept_by_rowlock: is_kept_by_rowlock(survey),
        ..Roles::default()
    }
}

/// The first of these names that a fitting column has: with the prefix of the status column, then without any, then,
/// where the table has one status column only, with any prefix.
fn find<'a>(
    survey: &'a Survey,
    names: &[&str],
    prefix: &str,
    prefixes: &[String],
    fits: impl Fn(&SurveyColumn) -> bool,
) -> Option<&'a str> {
    let columns: Vec<(String, &SurveyColumn)> =
        survey.columns.iter().filter(|column| fits(column)).map(|column| (snake(&column.name), column)).collect();
    let with_prefix = |name: &&str| {
        let whole = format!("{prefix}{name}");
        columns.iter().find(|(found, _)| *found == whole).map(|(_, column)| *column)
    };
    let plain = |name: &&str| columns.iter().find(|(found, _)| found == *name).map(|(_, column)| *column);
    let any_prefix = |name: &&str| {
        let end = format!("_{name}");
        columns.iter().find(|(found, _)| found.ends_with(&end)).map(|(_, column)| *column)
    };
    let own = if prefix.is_empty() { None } else { names.iter().find_map(with_prefix) };
    let found = own.or_else(|| names.iter().find_map(plain));
    let found = found.or_else(|| if prefixes.len() == 1 { names.iter().find_map(any_prefix) } else { None });
    found.map(|column| column.name.as_str())
}

/// `thumbnail_` of `thumbnail_status`.
fn prefix_of(status: &str) -> String {
    let name = snake(status);
    let stem = name.trim_end_matches("status").trim_end_matches("state");
    if stem.ends_with('_') { stem.to_owned() } else { String::new() }
}

/// `processingStartedAt` as `processing_started_at`.
pub(super) fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && after_lower {
            text.push('_');
        }
        after_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        text.extend(character.to_lowercase());
    }
    text
}
