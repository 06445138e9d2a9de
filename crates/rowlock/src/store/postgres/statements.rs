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

use super::variables::template;
use crate::limits::RETRY_TABLE_ATTEMPTS_MAX;
use crate::pipeline::Pipeline;
use crate::store::template::{Template, step};

/// What `prepare` and `install_trigger` send, as steps. They have more variables than the statements of the verbs.
pub(super) const SCHEMA: &str = include_str!("sql/schema.sql");

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
        has_unique_key: "read_schema", "has_unique_key";
        foreign_keys: "read_schema", "foreign_keys";
        relation: "read_schema", "relation";
        rights: "read_schema", "rights";
        inserts_notify: "read_schema", "inserts_notify";
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

    /// The claims of plain items stop at what `claim` treats apart: items at a limit, and suspects.
    #[test]
    fn every_claim_takes_the_same_rows_for_special() {
        fn rule(file: &str, begins_after: &str, ends_before: &str) -> String {
            let file = file.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, after) = file.split_once(begins_after).expect("where the rule begins");
            let (rule, _) = after.split_once(ends_before).expect("where the rule ends");
            rule.replace("coalesce(t.:\"retry_count\", 0)", "retry_count")
                .replace("coalesce(t.:\"reset_count\", 0)", "reset_count")
        }
        let of_claim = rule(include_str!("sql/claim.sql"), "judged as materialized ( select n, key,", " as suspect");
        assert!(of_claim.contains(" as exhausted, "), "{of_claim}");
        let of_claim = of_claim.replace(" as exhausted, ", " or ");
        for plain in [include_str!("sql/claim_plain.sql"), include_str!("sql/claim_full.sql")] {
            assert_eq!(rule(plain, "t.:\"key\" as key,", " as is_special"), of_claim);
        }
    }
}
