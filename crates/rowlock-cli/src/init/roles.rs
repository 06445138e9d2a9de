//! Which columns play the roles beside the status.

use super::carrier::{Carrier, Others};
use super::constraints;
use super::proposal::{ColumnProposal, ColumnValue, Confidence, Proposed, Word};
use super::times::time_form;
use super::words::{contains, tokens};
use crate::survey::{Database, Survey, SurveyColumn, TypeKind};

/// A role, as the file names it, and what columns for it are called, the surest name first.
struct RoleNames {
    role: &'static str,
    holds: Holds,
    names: &'static str,
}

/// What a column for a role holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Count,
    Time,
    Error,
    Name,
    Token,
}

const ROLES: &[RoleNames] = &[
    RoleNames {
        role: "retry_count",
        holds: Holds::Count,
        names: "retry_count attempts attempt_count retries tries try_count failures failure_count attempts_count \
                attempts_made fail_count failed_attempts failed_count error_count num_attempts num_retries \
                number_of_attempts number_of_retries nb_attempts times_tried retries_count retry attempt \
                delivery_attempts delivery_count",
    },
    RoleNames {
        role: "retry_after",
        holds: Holds::Time,
        names: "retry_after retry_at next_retry_at next_retry next_attempt_at next_attempt next_try_at \
                backoff_until delay_until delayed_until available_at available_after visible_at visible_after \
                not_before run_after run_at next_run_at process_after process_at execute_after execute_at \
                perform_at scheduled_at scheduled_for schedule_at start_after deliver_after deliver_at send_after \
                send_at due_at due eta wake_at",
    },
    RoleNames {
        role: "error_message",
        holds: Holds::Error,
        names: "error_message last_error error error_msg last_error_message error_text error_details error_detail \
                failure_reason failed_reason fail_reason error_reason failure_message exception last_exception \
                error_info err_msg err failure",
    },
    RoleNames {
        role: "heartbeat_at",
        holds: Holds::Time,
        names: "heartbeat_at last_heartbeat_at last_heartbeat heartbeat heartbeated_at last_ping_at last_beat_at \
                lease_renewed_at alive_at",
    },
    RoleNames { role: "claim_token", holds: Holds::Token, names: "claim_token fencing_token lease_token lock_token" },
    RoleNames {
        role: "claimed_by",
        holds: Holds::Name,
        names: "claimed_by locked_by leased_by picked_by taken_by reserved_by worker worker_id worker_name \
                processing_by lock_owner lease_owner runner runner_id holder",
    },
    RoleNames {
        role: "claimed_at",
        holds: Holds::Time,
        names: "claimed_at locked_at leased_at picked_at picked_up_at taken_at reserved_at dequeued_at acquired_at \
                processing_started_at started_processing_at started_at start_time last_attempt_at \
                last_attempted_at attempted_at processing_at",
    },
    RoleNames {
        role: "created_at",
        holds: Holds::Time,
        names: "created_at created created_on creation_time created_time create_time inserted_at enqueued_at \
                queued_at submitted_at added_at date_created creation_date created_date date_added received_at \
                ctime",
    },
    RoleNames {
        role: "updated_at",
        holds: Holds::Time,
        names: "updated_at updated updated_on modified_at last_modified_at last_modified modified last_updated_at \
                last_updated changed_at update_time updated_time date_modified date_updated mtime",
    },
];

/// Columns that say when a lease ends.
const EXPIRIES: &str = "locked_until lock_until lease_until leased_until claimed_until reserved_until lease_expires_at \
     lock_expires_at claim_expires_at lease_expiry lock_expiry lease_expires processing_until visible_until \
     invisible_until";

/// What is proposed for the columns, with remarks about those that play no role.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) columns: Vec<ColumnProposal>,
    pub(super) remarks: Vec<String>,
}

/// How a column belongs to this pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Belonging {
    /// Its name begins as the status column's does.
    OfPipeline,
    OfTable,
}

/// A column's name without what the status column's begins with; `None` if it begins as another pipeline's.
pub(super) fn plain_name(name: &str, prefix: Option<&str>, others: &Others) -> Option<(String, Belonging)> {
    let joined = tokens(name).join("_");
    if let Some(rest) = prefix.and_then(|prefix| joined.strip_prefix(prefix)).and_then(|rest| rest.strip_prefix('_')) {
        return Some((rest.to_owned(), Belonging::OfPipeline));
    }
    let is_others = |other: &String| joined.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('_'));
    if others.prefixes.iter().any(is_others) {
        return None;
    }
    Some((joined, Belonging::OfTable))
}

/// Proposes a column for each role.
pub(super) fn roles(survey: &Survey, carrier: Option<&Carrier<'_>>, taken: &[String], others: &Others) -> Roles {
    let prefix = carrier.and_then(Carrier::prefix);
    let mut roles = Roles::default();
    let mut used: Vec<String> = taken.to_vec();
    used.extend(survey.primary_key.iter().cloned());
    for names in ROLES {
        let mut found: Vec<(Belonging, usize, &SurveyColumn)> = Vec::new();
        for column in &survey.columns {
            if used.contains(&column.name) || column.is_generated || column.is_identity {
                continue;
            }
            let Some((name, belonging)) = plain_name(&column.name, prefix.as_deref(), others) else { continue };
            if let Some(place) = names.names.split_ascii_whitespace().position(|known| known == name) {
                found.push((belonging, place, column));
            }
        }
        found.sort_by_key(|(belonging, place, _)| (*belonging, *place));
        let mut chosen = None;
        for (belonging, _, column) in found {
            match column_for(survey, names, column) {
                Ok(proposed) if chosen.is_none() => chosen = Some((belonging, column, proposed)),
                Ok(_) => {}
                Err(remark) => roles.remarks.push(remark),
            }
        }
        let Some((belonging, column, mut proposed)) = chosen else { continue };
        used.push(column.name.clone());
        let is_shared = matches!(names.role, "created_at" | "updated_at");
        if belonging == Belonging::OfTable && others.may_own_plain_columns && !is_shared {
            proposed.confidence = proposed.confidence.min(Confidence::Guess);
            proposed = proposed.todo("does it belong to this pipeline, or to another of the table?");
        }
        roles.columns.push(ColumnProposal { role: names.role, column: proposed });
    }
    expiry(survey, prefix.as_deref(), others, &used, &mut roles);
    near_misses(survey, &used, &mut roles);
    roles
}

/// The column as the role's, or why it cannot be.
fn column_for(survey: &Survey, names: &RoleNames, column: &SurveyColumn) -> Result<Proposed<ColumnValue>, String> {
    let value = ColumnValue { name: column.name.clone(), ..ColumnValue::default() };
    let unfit = |what: &str| {
        Err(format!(
            "{:?} looks like the {}, but is {}, {what}: a column of Rowlock's own is added for it",
            column.name, names.role, column.type_name
        ))
    };
    let proposed = match names.holds {
        Holds::Count if column.kind.is_integer() => {
            let counts_claims =
                tokens(&column.name).iter().any(|token| matches!(&**token, "attempt" | "attempts" | "tries"));
            let mut proposed = Proposed::new(value, Confidence::Likely).because("an integer that counts, by its name");
            if counts_claims {
                proposed = proposed.because("Rowlock counts failures in it, not claims");
            }
            for check in constraints::limiting(survey, &column.name) {
                proposed = proposed.todo(format!("keep max_retries within {}: {}", check.name, check.definition));
            }
            proposed
        }
        Holds::Count => return unfit("which counts nothing"),
        Holds::Error if column.kind.is_text() => with_none(survey, column, Proposed::new(value, Confidence::Likely)),
        Holds::Error if matches!(column.kind, TypeKind::Json | TypeKind::Jsonb) && column.is_nullable => {
            Proposed::new(ColumnValue { form: Some("json"), ..value }, Confidence::Likely)
        }
        Holds::Error => return unfit("which holds no text"),
        Holds::Name if column.kind.is_text() => with_none(survey, column, Proposed::new(value, Confidence::Likely)),
        Holds::Name => return unfit("and Rowlock writes a worker's name"),
        Holds::Token if is_token(survey.database, column) => Proposed::new(value, Confidence::Likely),
        Holds::Token => return unfit("and a fencing token is a bigint that may be NULL"),
        Holds::Time => {
            let Some(form) = time_form(survey.database, column) else { return unfit("which holds no time") };
            let mut proposed = Proposed::new(ColumnValue { form: form.form, ..value }, form.confidence);
            proposed.evidence.extend(form.evidence);
            proposed.todo.extend(form.todo);
            time_role(survey, names.role, column, proposed)
        }
    };
    Ok(proposed)
}

fn is_token(database: Database, column: &SurveyColumn) -> bool {
    let is_wide = column.kind == TypeKind::BigInt || (database == Database::Sqlite && column.kind.is_integer());
    is_wide && column.is_nullable
}

/// What stands for none, where NULL may not.
fn with_none(survey: &Survey, column: &SurveyColumn, mut proposed: Proposed<ColumnValue>) -> Proposed<ColumnValue> {
    let holds_empty = column.values.as_ref().and_then(|values| values.rows_with("")).unwrap_or(0) > 0;
    if !column.is_nullable
        && let Some(value) = proposed.value.as_mut()
    {
        value.none = Some(Word::Text(String::new()));
        proposed = proposed.because("the column is not null: an empty text stands for none");
    } else if holds_empty && let Some(value) = proposed.value.as_mut() {
        value.none = Some(Word::Text(String::new()));
        proposed = proposed.because("rows without one hold an empty text");
    }
    for check in constraints::tying(survey, &column.name) {
        proposed = proposed.todo(format!("{} ties it to other columns: {}", check.name, check.definition));
    }
    proposed
}

/// What a time that may be missing looks like then, and what else writes it.
fn time_role(
    survey: &Survey,
    role: &str,
    column: &SurveyColumn,
    mut proposed: Proposed<ColumnValue>,
) -> Proposed<ColumnValue> {
    if role == "created_at" {
        if column.is_nullable && column.default.is_none() {
            proposed = proposed.because("it may be NULL: such rows come first");
        }
        return proposed;
    }
    if role == "updated_at" {
        if let Some(trigger) = constraints::setting(survey, &column.name) {
            proposed = proposed.because(format!(
                "the trigger {} sets it at every update of a row, so it is no lease: heartbeats have a column of their \
                 own",
                trigger.name
            ));
        }
        return proposed;
    }
    let zero = column.default_literal().as_deref() == Some("0")
        || column.values.as_ref().and_then(|values| values.rows_with("0")).unwrap_or(0) > 0;
    let is_schedule = role == "retry_after"
        && !tokens(&column.name)
            .iter()
            .any(|token| matches!(&**token, "retry" | "attempt" | "try" | "backoff" | "delay" | "delayed"));
    let Some(value) = proposed.value.as_mut() else { return proposed };
    if column.kind.is_integer() && (zero || !column.is_nullable) {
        value.none = Some(Word::Integer(0));
        proposed = proposed.because("0 stands for none");
    } else if column.kind.is_text() && !column.is_nullable {
        value.none = Some(Word::Text(String::new()));
        proposed = proposed.because("the column is not null: an empty text stands for none");
    } else if !column.is_nullable {
        value.keep = true;
        proposed = proposed.because("the column is not null: its last time stays");
    } else if is_schedule {
        value.keep = true;
        proposed = proposed.because("it is your own schedule: it says when a row is first due, and is never emptied");
    }
    if role == "heartbeat_at"
        && let Some(trigger) = constraints::setting(survey, &column.name)
    {
        proposed.confidence = Confidence::Guess;
        let todo = format!("the trigger {} renews it at any update of a row: it is no lease", trigger.name);
        proposed = proposed.todo(todo);
    }
    proposed
}

/// A lease as the time at which it ends.
fn expiry(survey: &Survey, prefix: Option<&str>, others: &Others, used: &[String], roles: &mut Roles) {
    let has_heartbeat = roles.columns.iter().any(|column| column.role == "heartbeat_at");
    for column in survey.columns.iter().filter(|column| !used.contains(&column.name)) {
        let Some((name, _)) = plain_name(&column.name, prefix, others) else { continue };
        if !contains(EXPIRIES, &name) {
            continue;
        }
        if has_heartbeat || column.kind != TypeKind::Timestamptz || survey.database != Database::Postgres {
            roles.remarks.push(format!(
                "{:?} says when a lease ends, in a form that Rowlock does not write: its heartbeats have a column of \
                 their own, and programs that read yours see no lease of Rowlock's",
                column.name
            ));
            continue;
        }
        let keep = !column.is_nullable;
        let value = ColumnValue { name: column.name.clone(), form: Some("expiry"), none: None, keep };
        let column = Proposed::new(value, Confidence::Likely)
            .because("a lease that is written as the time at which it ends, by its name");
        roles.columns.push(ColumnProposal { role: "heartbeat_at", column });
        return;
    }
}

/// Columns whose names say nearly enough.
fn near_misses(survey: &Survey, used: &[String], roles: &mut Roles) {
    let has = |roles: &Roles, role: &str| roles.columns.iter().any(|column| column.role == role);
    for column in survey.columns.iter().filter(|column| !used.contains(&column.name)) {
        let name = tokens(&column.name).join("_");
        let is_number = name.ends_with("attempt_number") || name.ends_with("attempt_no");
        if is_number && column.kind.is_integer() && !has(roles, "retry_count") {
            let value = ColumnValue { name: column.name.clone(), ..ColumnValue::default() };
            let column = Proposed::new(value, Confidence::Guess)
                .todo("does it count failed attempts? If it is a version that grows with each success, leave this out");
            roles.columns.push(ColumnProposal { role: "retry_count", column });
        } else if matches!(name.as_str(), "timestamp" | "time" | "date" | "ts" | "when") {
            let free = ["created_at", "retry_after"].into_iter().find(|role| !has(roles, role));
            let (Some(role), Some(form)) = (free, time_form(survey.database, column)) else { continue };
            let none = (role == "retry_after" && !column.is_nullable).then_some(Word::Integer(0));
            let none = none.filter(|_| column.kind.is_integer());
            let value = ColumnValue { name: column.name.clone(), form: form.form, none, keep: false };
            let mut proposed = Proposed::new(value, Confidence::Guess);
            proposed.evidence.extend(form.evidence);
            let column = proposed.todo(
                "what does this time say: when the row was made (created_at), or before when it is not due \
                 (retry_after)?",
            );
            roles.columns.push(ColumnProposal { role, column });
        }
    }
}
