//! The statements of one pipeline, rendered once. Each can be read from top to bottom in its file in `sql/`, which says
//! what each of its forms is for. Three fragments are shared: `:pick` (a step of claim.sql), `:stale` (of sweep.sql)
//! and `:log_failures`.
//!
//! Which text runs when, where a verb has more than one:
//!
//! | verb | text | when |
//! |---|---|---|
//! | claim | `claim_plain` | one stage, and the last `claim` met neither an item at a limit nor a suspect |
//! | | `claim_full` | the same, as long as the queue is full (`queue_head`) |
//! | | `claim` | several stages, or where the other two met what they leave to it |
//! | | `pick_locked`, `claim_part` | the batch failed, or a trigger suppressed updates: it is tried in parts |
//! | finish | `complete` | a single completion |
//! | | `complete_batch` | completions alone, at least 64 a claim |
//! | | `finish` | any other batch; parts; what the other two left out |
//! | | `complete_one`, `finish_one` | items that are tried one by one; in the user's transaction |
//! | sweep | `sweep` | first |
//! | | `pick_stale`, `sweep_part` | the batch failed, or a trigger suppressed updates: it is tried in parts |
//! | to fail a row | `refuse` | a trigger changed the status that a claim wrote |
//! | | `refuse_held` | the database refuses a finish, or the claimed key is not of the pipeline's type |
//! | | `refuse_place` | the database refuses a claim or a sweep |
//! | | `…_unlogged` | a single item fails with the failure log; the log never stops a move |
//! | list, preview | `…_legible` | the bytes of some row are not valid text |
//! | list | `list_running`, `list_stopped` | items in progress; items that failed or were cancelled |
//! | counts | `unfinished` | a worker asks what is left to wait for |
//! | | `counts`, `stage_counts` | otherwise, one after the other |
//! | add_many | `copy_keys` | the last call met no key that exists, and new items take the column's default |
//! | | `create_staging_table`, `add_many` | otherwise, or where `copy_keys` met a key that exists |
//!
//! What runs after `begin_parts` is planned for its own values. Everything else has one plan a connection.

use std::sync::Arc;

use super::encoding::set_shown;
use super::schema::hash;
use crate::limits::{ERROR_MESSAGE_BYTES_MAX, FAILURES_KEPT_MAX, NEVER_DUE_FROM, RETRY_TABLE_ATTEMPTS_MAX};
use crate::pipeline::{Budget, KeyType, Pipeline, Role, Status};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::{Template, step};

/// Defines the struct of statements, its rendering, and the list by which tests find all of them. A statement is named
/// by its file, the step of it, and the flags of its form.
macro_rules! statements {
    (
        plain { $($name:ident: $file:literal $(, $step:literal)? $(with $($flag:ident),+)?;)* }
        logged { $($logged:ident: $logged_file:literal $(with $($logged_flag:ident),+)?;)* }
        unprepared { $($unprepared:ident: $unprepared_file:literal, $unprepared_step:literal;)* }
    ) => {
        /// Every statement of the verbs.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Arc<str>,)*
            $(pub(super) $logged: Forms,)*
            $(pub(super) $unprepared: Arc<str>,)*
        }

        impl Statements {
            pub(super) fn new(pipeline: &Pipeline) -> Statements {
                let mut template = template(pipeline);
                for flag in FLAGS {
                    template.insert(flag, "false".to_owned());
                }
                let template = &template;
                Statements {
                    $($name: form(
                        template,
                        step(include_str!(concat!("sql/", $file, ".sql")), statements!(@step $($step)?)),
                        &[$($(stringify!($flag)),+)?],
                    ),)*
                    $($logged: Forms::new(
                        template,
                        include_str!(concat!("sql/", $logged_file, ".sql")),
                        &[$($(stringify!($logged_flag)),+)?],
                    ),)*
                    $($unprepared: form(
                        template,
                        step(include_str!(concat!("sql/", $unprepared_file, ".sql")), Some($unprepared_step)),
                        &[],
                    ),)*
                }
            }

            /// Each statement that a server prepares, with its name.
            pub(super) fn all(&self) -> Vec<(&'static str, &str)> {
                vec![
                    $((stringify!($name), &*self.$name),)*
                    $((stringify!($logged), &*self.$logged.logged),)*
                    $((concat!(stringify!($logged), "_unlogged"), &*self.$logged.unlogged),)*
                ]
            }
        }
    };
    (@step $step:literal) => { Some($step) };
    (@step) => { None };
}

/// The flags that tell the forms of a statement apart; each is false but in the forms that name it.
const FLAGS: [&str; 9] =
    ["by_place", "by_token", "legible", "locks", "may_be_full", "running", "stopped", "unlogged", "waits"];

statements! {
    plain {
        claim: "claim" with locks, may_be_full;
        claim_plain: "claim_plain";
        claim_full: "claim_full";
        pick_locked: "pick_locked" with locks;
        preview: "preview";
        preview_legible: "preview" with legible;
        find_claimed: "find_claimed";
        complete: "complete";
        complete_one: "complete" with waits;
        complete_batch: "complete_batch";
        renew: "renew";
        read_leases: "read_leases";
        probe_lock: "probe_lock";
        sweep: "sweep";
        sweep_turn: "sweep_turn";
        pick_stale: "pick_stale";
        set: "set";
        cancel: "cancel";
        requeue: "requeue";
        canonical_keys: "canonical_keys";
        lock_items: "lock_items";
        pause: "pause";
        resume: "resume";
        paused: "paused";
        create_staging_table: "add_many", "staging_table";
        add_many: "add_many", "insert";
        get: "get";
        list: "list";
        list_legible: "list" with legible;
        list_running: "list" with running;
        list_running_legible: "list" with running, legible;
        list_stopped: "list" with stopped;
        list_stopped_legible: "list" with stopped, legible;
        counts: "counts", "words";
        stage_counts: "counts", "stages";
        unfinished: "counts", "unfinished";
        explain: "explain";
        failures: "failures";
        held: "held";
        now: "now";
        wait: "wait";
        hold_text: "hold_text";
        stray_rows: "stray_rows";
        columns: "read_schema", "columns";
        columns_now: "read_schema", "columns_now";
        unreadable_columns: "read_schema", "unreadable_columns";
        checks: "read_schema", "checks";
        foreign_keys: "read_schema", "foreign_keys";
        relation: "read_schema", "relation";
        rights: "read_schema", "rights";
        is_told: "read_schema", "is_told";
    }
    logged {
        claim_part: "claim" with locks, may_be_full, by_place;
        finish: "finish";
        finish_one: "finish" with waits;
        refuse: "refuse";
        refuse_held: "refuse" with by_token;
        refuse_place: "refuse" with by_place;
        sweep_part: "sweep" with by_place;
    }
    unprepared {
        copy_keys: "add_many", "copy";
    }
}

/// The form of a statement with these flags.
fn form(template: &Template, file: &str, flags: &[&str]) -> Arc<str> {
    let mut template = template.clone();
    for flag in flags {
        template.insert(flag, "true".to_owned());
    }
    template.render(file).into()
}

/// A statement that writes to the failure log, and the same without that: the log never stops a move.
#[derive(Debug)]
pub(super) struct Forms {
    pub(super) logged: Arc<str>,
    pub(super) unlogged: Arc<str>,
}

impl Forms {
    fn new(template: &Template, file: &str, flags: &[&str]) -> Forms {
        let unlogged = [flags, &["unlogged"][..]].concat();
        Forms { logged: form(template, file, flags), unlogged: form(template, file, &unlogged) }
    }
}

/// Seconds since the last turn to sweep; null if the row's value is unreadable.
const SWEPT_AGE: &str = "(extract(epoch from statement_timestamp())::float8 \
  - substring(m.value from '^[0-9]{1,12}(?:[.][0-9]{1,9})?$')::float8)";

/// How much of an error its column holds. Looked up at most once per statement, and only by one that writes an error.
const ERROR_CHARS_MAX: &str = "(
  select case when a.atttypid = 'varchar'::regtype and a.atttypmod > 4 then a.atttypmod - 4 else :error_bytes_max end
  from pg_attribute a
  where a.attrelid = to_regclass(:'table') and a.attname = :'error_message'
)";

/// The error of an item that succeeded: none, or '' if the column takes no null. Looked up only if there is an error.
const ERROR_AFTER_SUCCESS: &str = "case when t.:\"error_message\" is not null then (
  select case when a.attnotnull then '' end
  from pg_attribute a
  where a.attrelid = to_regclass(:'table') and a.attname = :'error_message'
) end";

/// The same for an item whose stage is done: between two stages the last error stays.
const ERROR_AFTER_COMPLETION: &str = "case when t.:\"status\" = :'last_running' then :error_after_success \
  else t.:\"error_message\" end";

/// The same without looking up whether the column takes null.
const NULL_AFTER_COMPLETION: &str = "case when t.:\"status\" = :'last_running' then null \
  else t.:\"error_message\" end";

/// The variables of the pipeline, and those of this dialect. `set` renders a text at once, by the variables before it.
pub(super) fn template(pipeline: &Pipeline) -> Template {
    let literal = |text: &str| quote_literal(text, Dialect::Postgres);
    let mut template = Template::new(pipeline, Dialect::Postgres);
    template.insert("table_name", literal(&template.render(":table")));
    let key_type = asked_key_type(pipeline.key_type());
    template.set("key_type", key_type);
    template.set("key_array", &format!("{key_type}[]"));
    // A page begins after a key, or here: an index can serve the condition in either case.
    template.set("key_min", key_min(pipeline.key_type()));
    template.set("budget_is_per_stage", if pipeline.budget() == Budget::PerStage { "true" } else { "false" });
    let other_default = pipeline.allows_other_default();
    template.set("and_status", if other_default { ", :\"status\"" } else { "" });
    template.set("and_first_ready", if other_default { ", :'first_ready'" } else { "" });
    template.set("failures_kept", &FAILURES_KEPT_MAX.to_string());
    template.set("failures_kept_less_one", &(FAILURES_KEPT_MAX - 1).to_string());
    template.set("is_stopped", "coalesce(t.:\"status\", '') not in (:ready_words, :running_words, :'succeeded')");
    set_errors(&mut template, pipeline);
    template.insert("never", literal(&NEVER_DUE_FROM.to_rfc3339()));
    set_shown(&mut template);
    template.insert("waiting_key", literal(&waiting_key(pipeline)));
    template.set("swept_age", SWEPT_AGE);
    template.insert("swept_key", literal(&swept_key(pipeline)));
    template.insert("running_of_stopped", running_of_stopped(pipeline));
    template.add_fragment("pick", step(include_str!("sql/claim.sql"), Some("pick")));
    template.add_fragment("stale", step(include_str!("sql/sweep.sql"), Some("stale")));
    template.add_fragment("log_failures", include_str!("sql/log_failures.sql"));
    template
}

/// Sets what becomes of errors, according to what the column holds and to what the pipeline keeps.
fn set_errors(template: &mut Template, pipeline: &Pipeline) {
    let literal = |text: &str| quote_literal(text, Dialect::Postgres);
    let last = pipeline.stages().last().map_or("", crate::Stage::running_word);
    template.insert("'last_running'", literal(last));
    template.insert("'error_message'", literal(pipeline.columns().name(Role::ErrorMessage)));
    template.insert("'table'", literal(&template.render(":table")));
    template.set("error_bytes_max", &ERROR_MESSAGE_BYTES_MAX.to_string());
    template.set("error_chars_max", ERROR_CHARS_MAX);
    let kept = pipeline.keeps_error_after_success().then_some("t.:\"error_message\"");
    template.set("error_after_success", kept.unwrap_or(ERROR_AFTER_SUCCESS));
    template.set("error_after_completion", kept.unwrap_or(ERROR_AFTER_COMPLETION));
    template.set("null_after_completion", kept.unwrap_or(NULL_AFTER_COMPLETION));
}

/// The key in `rowlock_meta` under which workers of the pipeline announce that they wait.
pub(super) fn waiting_key(pipeline: &Pipeline) -> String {
    format!("waiting {}", pipeline.name())
}

/// The key in `rowlock_meta` that holds the time of the last sweep. All that sweep alike share it; a worker of another
/// table, with other words or with another stale time does not.
fn swept_key(pipeline: &Pipeline) -> String {
    let running: Vec<&str> = pipeline.stages().iter().map(crate::Stage::running_word).collect();
    let what = format!("{} {} {running:?} {:?}", pipeline.table(), pipeline.name(), pipeline.stale_after());
    format!("swept {:016x}", hash(&what))
}

/// The word in progress of an item that was just taken back, whether it is ready again or `FAILED`.
fn running_of_stopped(pipeline: &Pipeline) -> String {
    let literal = |word: &str| quote_literal(word, Dialect::Postgres);
    let status = quote_identifier(pipeline.columns().name(Role::Status));
    let resume = quote_identifier(pipeline.columns().name(Role::ResumeStatus));
    let failed = literal(pipeline.word(Status::Failed));
    let arms: Vec<String> = pipeline
        .stages()
        .iter()
        .map(|stage| format!("when {} then {}", literal(stage.ready_word()), literal(stage.running_word())))
        .collect();
    format!("case case when t.{status} = {failed} then t.{resume} else t.{status} end {} end", arms.join(" "))
}

/// The smallest key of a type.
fn key_min(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Text => "''",
        KeyType::Uuid => "'00000000-0000-0000-0000-000000000000'",
        KeyType::Int | KeyType::BigInt => "'-9223372036854775808'",
    }
}

/// The type in which keys are compared. An integer may be out of range of the column, and then no item has it; or the
/// column has become wider.
fn asked_key_type(asked: KeyType) -> &'static str {
    match asked {
        KeyType::Int => key_type(KeyType::BigInt),
        other => key_type(other),
    }
}

/// The type of the key's column.
pub(super) fn key_type(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Text => "text",
        KeyType::Uuid => "uuid",
        KeyType::Int => "int",
        KeyType::BigInt => "bigint",
    }
}

/// The retry policies of all stages as the arrays that `finish` takes: a row per stage, a column per attempt.
#[derive(Debug)]
pub(super) struct DelayTable {
    pub(super) delays_secs: Vec<f64>,
    pub(super) jitters: Vec<f64>,
    pub(super) floors_secs: Vec<f64>,
    pub(super) columns: i32,
}

impl DelayTable {
    pub(super) fn new(pipeline: &Pipeline) -> DelayTable {
        let policies = || pipeline.stage_ids().map(|stage| pipeline.retry_policy(stage));
        DelayTable {
            delays_secs: policies().flat_map(|policy| policy.table()).collect(),
            jitters: policies().map(|policy| policy.jitter()).collect(),
            floors_secs: policies().map(|policy| policy.floor().as_secs_f64()).collect(),
            columns: i32::try_from(RETRY_TABLE_ATTEMPTS_MAX).expect("the table has few columns"),
        }
    }
}

#[cfg(test)]
mod tests {
    /// Each claim can be read by itself, so that the rule of what is ready stands in three files.
    #[test]
    fn every_claim_takes_the_same_rows_for_ready() {
        fn conditions(file: &str) -> Vec<&str> {
            let (_, after) = file.split_once("and t.:\"key\" is not null").expect("where the rule begins");
            let (rule, _) = after.split_once("and (not $6::bool").expect("where the rule ends");
            rule.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--")).collect()
        }
        let of_claim = conditions(include_str!("sql/claim.sql"));
        assert!(of_claim.len() > 5, "{of_claim:?}");
        assert_eq!(conditions(include_str!("sql/claim_plain.sql")), of_claim);
        assert_eq!(conditions(include_str!("sql/claim_full.sql")), of_claim);
    }
}
