//! Rejecting a pipeline that cannot work.

use std::collections::HashMap;
use std::time::Duration;

use super::{
    Assignment, Backoff, ColumnSpec, KeyType, Pipeline, RetryPolicy, Role, Sign, Status, StatusType, Word, expression,
};
use crate::limits::{IDENTIFIER_BYTES_MAX, RETRY_DELAY_MAX, STAGES_MAX, STATUS_WORD_BYTES_MAX};
use crate::{Error, Result};

/// Rejects a pipeline that cannot work; its signs are filled in.
///
/// # Errors
/// [`Error::InvalidPipeline`] names the first field that cannot work, its value and the rule that it breaks.
pub(super) fn validate(pipeline: &Pipeline) -> Result<()> {
    check_names(pipeline)?;
    check_stages(pipeline)?;
    check_words(pipeline)?;
    check_signs(pipeline)?;
    check_assignments(pipeline)?;
    check_limits(pipeline)?;
    check_times(pipeline)?;
    check_policy("retry", &pipeline.retry)?;
    for (index, stage) in pipeline.stages.iter().enumerate() {
        if let Some(policy) = stage.retry() {
            check_policy(&format!("stages[{index}].retry"), policy)?;
        }
    }
    Ok(())
}

fn refuse<T>(field: impl Into<String>, value: impl Into<String>, rule: impl Into<String>) -> Result<T> {
    Err(Error::InvalidPipeline { field: field.into(), value: value.into(), rule: rule.into() })
}

fn check_names(pipeline: &Pipeline) -> Result<()> {
    check_identifier("name", &pipeline.name)?;
    if let Some(schema) = pipeline.table.schema() {
        check_identifier("table.schema", schema)?;
    }
    check_identifier("table", pipeline.table.name())?;
    let mut roles: HashMap<&str, String> = HashMap::new();
    for column in &pipeline.key {
        check_identifier("key", column)?;
        if roles.insert(column, "key".to_owned()).is_some() {
            return refuse("key", format!("{column:?}"), "must not be named twice");
        }
    }
    if pipeline.key.len() > 1 && pipeline.key_type != KeyType::Text {
        return refuse("key_type", format!("{:?}", pipeline.key_type), "is Text for a key of several columns");
    }
    for role in Role::ALL {
        let column = pipeline.columns.name(role);
        let field = format!("columns.{}", role.default_column());
        check_identifier(&field, column)?;
        if let Some(other) = roles.insert(column, field.clone()) {
            return refuse(field, format!("{column:?}"), format!("is the column of {other} too: one column, one role"));
        }
        check_form(&field, role, pipeline.columns.spec(role))?;
    }
    let own_state = pipeline.columns.own_state();
    if pipeline.has_own_state() {
        check_identifier("own_prefix", own_state)?;
        if let Some(other) = roles.get(own_state) {
            return refuse("own_prefix", format!("{own_state:?}"), format!("is the column of {other} too"));
        }
    }
    Ok(())
}

/// What a column's form may say. Only a time may be kept: the token must go, and so must what belongs to one move.
fn check_form(field: &str, role: Role, spec: &ColumnSpec) -> Result<()> {
    let is_time =
        matches!(role, Role::RetryAfter | Role::Heartbeat | Role::ClaimedAt | Role::CreatedAt | Role::UpdatedAt);
    if spec.keep && !is_time {
        return refuse(field, "keep", "is for times only");
    }
    match &spec.none {
        Some(none) if role == Role::ClaimToken || !expression::is_literal(none) => {
            refuse(field, format!("none = {none:?}"), "is a number, or a text in quotes, and not for the token")
        }
        Some(_) | None => Ok(()),
    }
}

fn check_identifier(field: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return refuse(field, "\"\"", "must be given");
    }
    if name.contains('\0') {
        return refuse(field, format!("{name:?}"), "must not contain a NUL");
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return refuse(
            field,
            format!("{name:?} ({} bytes)", name.len()),
            format!("must be at most {IDENTIFIER_BYTES_MAX} bytes long, as PostgreSQL's identifiers are"),
        );
    }
    Ok(())
}

fn check_stages(pipeline: &Pipeline) -> Result<()> {
    let stages = &pipeline.stages;
    if stages.is_empty() {
        return refuse("stages", "none", "a pipeline has at least one stage");
    }
    if stages.len() > STAGES_MAX {
        return refuse("stages", stages.len().to_string(), format!("a pipeline has at most {STAGES_MAX} stages"));
    }
    for (index, stage) in stages.iter().enumerate() {
        check_identifier(&format!("stages[{index}].name"), stage.name())?;
        if stages[..index].iter().any(|earlier| earlier.name() == stage.name()) {
            return refuse(
                format!("stages[{index}].name"),
                format!("{:?}", stage.name()),
                "must not be the name of two stages",
            );
        }
    }
    Ok(())
}

fn check_words(pipeline: &Pipeline) -> Result<()> {
    let mut owners: HashMap<&str, String> = HashMap::new();
    for status in pipeline.statuses() {
        let word = pipeline.word(status);
        let field = format!("word of {status:?}");
        if word.is_empty() {
            return refuse(field, "\"\"", "must not be empty");
        }
        if word.contains('\0') {
            return refuse(field, format!("{word:?}"), "must not contain a NUL");
        }
        if word.contains(['\u{1}', '\u{2}']) {
            return refuse(field, format!("{word:?}"), "must not contain a control character");
        }
        if word.len() > STATUS_WORD_BYTES_MAX {
            return refuse(
                field,
                format!("{word:?} ({} bytes)", word.len()),
                format!("must be at most {STATUS_WORD_BYTES_MAX} bytes long"),
            );
        }
        if let Some(other) = owners.insert(word, field.clone()) {
            return refuse(field, format!("{word:?}"), format!("is the {other} too: no two states may share a word"));
        }
    }
    Ok(())
}

/// Each value of the status column says one state, and each state is said in a way that its table can hold.
fn check_signs(pipeline: &Pipeline) -> Result<()> {
    let mut owners: HashMap<&Word, String> = HashMap::new();
    for status in pipeline.statuses() {
        let field = format!("word of {status:?}");
        match pipeline.sign(status) {
            Sign::Words(words) if words.is_empty() => return refuse(field, "[]", "needs at least one word"),
            Sign::Words(words) => {
                for word in words {
                    check_word_type(pipeline, &field, word)?;
                    if let Some(other) = owners.insert(word, field.clone()) {
                        let rule = format!("is the {other} too: no two states may share a word");
                        return refuse(field, format!("{:?}", word.shown()), rule);
                    }
                }
            }
            Sign::Sql { is, set } => {
                check_sql(&field, is)?;
                if set.is_empty() {
                    return refuse(field, is, "needs assignments that make it true");
                }
                for (column, value) in set {
                    check_identifier(&field, column)?;
                    check_sql(&field, value)?;
                    if let Some(owner) = written_otherwise(pipeline, column) {
                        let rule = format!("is {owner}, which moves write themselves: say the state by other columns");
                        return refuse(field, format!("{column:?}"), rule);
                    }
                }
            }
            Sign::Own if matches!(status, Status::Ready(_) | Status::Succeeded) => {
                return refuse(
                    field,
                    "own",
                    "must be said by the table: only states beside these may be Rowlock's own",
                );
            }
            Sign::Own => {}
        }
    }
    for word in &pipeline.ignored {
        check_word_type(pipeline, "ignored", word)?;
        if let Some(other) = owners.get(word) {
            return refuse("ignored", format!("{:?}", word.shown()), format!("is the {other}"));
        }
    }
    Ok(())
}

/// What a column is that moves write for another reason than a state.
fn written_otherwise(pipeline: &Pipeline, column: &str) -> Option<String> {
    let is_called = |name: &str| name.eq_ignore_ascii_case(column);
    if pipeline.key.iter().any(|key| is_called(key)) {
        return Some("the key".to_owned());
    }
    if is_called(pipeline.columns.own_state()) {
        return Some("the library's column for states".to_owned());
    }
    let mut roles = Role::ALL.into_iter().filter(|role| *role != Role::Status);
    roles.find(|role| is_called(pipeline.columns.name(*role))).map(|role| format!("the column of {role:?}"))
}

/// A word is of the status column's type.
fn check_word_type(pipeline: &Pipeline, field: &str, word: &Word) -> Result<()> {
    let fits = match (word, pipeline.status_type) {
        (Word::Null, _) => true,
        (Word::Text(_), StatusType::Text | StatusType::Enum | StatusType::Char) => true,
        (Word::Integer(_), status_type) => status_type == StatusType::Integer,
        (Word::Boolean(_), status_type) => status_type == StatusType::Boolean,
        (Word::Text(_), StatusType::Integer | StatusType::Boolean) => false,
    };
    if fits {
        return Ok(());
    }
    refuse(field, format!("{:?}", word.shown()), format!("is no word of a column of type {:?}", pipeline.status_type))
}

/// A piece of SQL of the user's: it becomes part of statements, so it must end where it seems to.
fn check_sql(field: &str, sql: &str) -> Result<()> {
    match expression::check(sql) {
        Ok(()) => Ok(()),
        Err(rule) => refuse(field, format!("{sql:?}"), rule),
    }
}

/// What is written at events is no column that moves write anyway.
fn check_assignments(pipeline: &Pipeline) -> Result<()> {
    if let Some(condition) = &pipeline.claim_where {
        check_sql("where", condition)?;
    }
    for expression in &pipeline.order {
        check_sql("order", expression)?;
    }
    let written = |column: &str| {
        let by_state = pipeline.statuses().any(|status| match pipeline.sign(status) {
            Sign::Sql { set, .. } => set.iter().any(|(written, _)| written == column),
            Sign::Words(_) | Sign::Own => false,
        });
        let is_status = pipeline.has_status_column() && column == pipeline.columns.name(Role::Status);
        let by_role = Role::ALL.into_iter().any(|role| role != Role::Status && pipeline.columns.name(role) == column);
        by_state || is_status || by_role || pipeline.key.iter().any(|key| key == column)
    };
    for (index, assignment) in pipeline.assignments.iter().enumerate() {
        let field = format!("on.{:?}", assignment.event);
        check_identifier(&field, &assignment.column)?;
        check_sql(&field, &assignment.value)?;
        if written(&assignment.column) {
            let rule = "is written by the moves themselves: leave it out here";
            return refuse(field, format!("{:?}", assignment.column), rule);
        }
        let is_repeated =
            |earlier: &Assignment| earlier.event == assignment.event && earlier.column == assignment.column;
        if pipeline.assignments[..index].iter().any(is_repeated) {
            return refuse(field, format!("{:?}", assignment.column), "must not be written twice at one event");
        }
    }
    Ok(())
}

fn check_limits(pipeline: &Pipeline) -> Result<()> {
    for (field, limit) in [("max_retries", pipeline.max_retries), ("max_resets", pipeline.max_resets)] {
        if limit < 1 {
            return refuse(
                field,
                limit.to_string(),
                "must be at least 1: it is the number of attempts, not of repeats",
            );
        }
        if i32::try_from(limit).is_err() {
            let rule = format!("must be at most {}: the counts have 32 bits, one of them for the sign", i32::MAX);
            return refuse(field, limit.to_string(), rule);
        }
    }
    Ok(())
}

fn check_times(pipeline: &Pipeline) -> Result<()> {
    let stale_after = pipeline.stale_after;
    let interval = pipeline.heartbeat_interval;
    if stale_after < MIN_STALE_AFTER {
        return refuse("stale_after", format!("{stale_after:?}"), format!("must be at least {MIN_STALE_AFTER:?}"));
    }
    if stale_after > RETRY_DELAY_MAX {
        return refuse("stale_after", format!("{stale_after:?}"), "must be at most a year");
    }
    if interval.is_zero() {
        return refuse("heartbeat_interval", "0s", "must be longer than zero");
    }
    if interval > stale_after / 3 {
        return refuse(
            "heartbeat_interval",
            format!("{interval:?}"),
            format!(
                "must be at most a third of stale_after ({:?}): two renewals may be lost before a lease is",
                stale_after / 3
            ),
        );
    }
    for (index, stage) in pipeline.stages.iter().enumerate() {
        if stage.timeout() == Some(Duration::ZERO) {
            return refuse(format!("stages[{index}].timeout"), "0s", "must be longer than zero");
        }
    }
    Ok(())
}

/// On SQLite the database's clock counts milliseconds, and each renewal is a commit.
const MIN_STALE_AFTER: Duration = Duration::from_millis(100);

fn check_policy(field: &str, policy: &RetryPolicy) -> Result<()> {
    if !(0.0..=1.0).contains(&policy.jitter) {
        return refuse(format!("{field}.jitter"), policy.jitter.to_string(), "must be from 0 to 1");
    }
    if policy.floor > RETRY_DELAY_MAX {
        return refuse(format!("{field}.floor"), format!("{:?}", policy.floor), "must be at most a year");
    }
    match &policy.backoff {
        Backoff::Exponential { base, cap } if cap < base => refuse(
            format!("{field}.cap"),
            format!("{cap:?}"),
            format!("must be at least the base ({base:?}), or the base would never be used"),
        ),
        Backoff::Listed(delays) if delays.is_empty() => {
            refuse(format!("{field}.delays"), "none", "a list of delays has at least one")
        }
        Backoff::Exponential { .. } | Backoff::Constant(_) | Backoff::Listed(_) => Ok(()),
    }
}
