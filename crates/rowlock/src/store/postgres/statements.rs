//! The statements of one pipeline, rendered once. Each is a file of the same name in `sql/`, or a form of one.

use std::sync::Arc;

use super::encoding::set_shown;
use super::schema::hash;
use crate::limits::{ERROR_MESSAGE_BYTES_MAX, FAILURES_KEPT_MAX, NEVER_DUE_FROM, RETRY_TABLE_ATTEMPTS_MAX};
use crate::pipeline::{Budget, KeyType, Pipeline, Role, Status};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::Template;

/// Defines the struct of statements, its rendering, and the list by which tests find all of them.
macro_rules! statements {
    ($($name:ident),* $(,)?) => {
        /// Every statement of the verbs.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Arc<str>,)*
            /// The COPY of `add_many`, which no server prepares.
            pub(super) copy_keys: String,
            /// `claim` for some of the items that `pick_locked` has named.
            pub(super) claim_part: Forms,
            /// `claim` of one stage's items, all of which are to be taken.
            pub(super) claim_plain: Arc<str>,
            /// The same for a full queue.
            pub(super) claim_full: Arc<str>,
            /// `list` and its forms, and `preview`, without rows whose bytes are not valid text.
            pub(super) list_legible: Arc<str>,
            pub(super) list_running_legible: Arc<str>,
            pub(super) list_stopped_legible: Arc<str>,
            pub(super) preview_legible: Arc<str>,
            /// For an error column that takes null, as nearly every one does.
            pub(super) complete: Arc<str>,
            /// `complete`, which may wait for the row.
            pub(super) complete_one: Arc<str>,
            /// `finish` that locks before it writes, and skips what is locked.
            pub(super) finish_locked: Forms,
            /// `finish` for one item, which may wait for the row.
            pub(super) finish_one: Forms,
            /// `refuse` by the key and the token.
            pub(super) refuse: Forms,
            /// `refuse` by the token under which the item is in progress.
            pub(super) refuse_held: Forms,
            /// `refuse` by the place that `pick_locked` or `pick_stale` has named.
            pub(super) refuse_place: Forms,
            /// `sweep` for some of the items that `pick_stale` has named.
            pub(super) sweep_part: Forms,
        }

        impl Statements {
            fn render(template: &Template) -> Statements {
                Statements {
                    $($name: template.render(include_str!(concat!("sql/", stringify!($name), ".sql"))).into(),)*
                    copy_keys: template.render(include_str!("sql/copy_keys.sql")),
                    claim_part: Forms::default(),
                    claim_plain: Arc::from(""),
                    claim_full: Arc::from(""),
                    complete: Arc::from(""),
                    complete_one: Arc::from(""),
                    list_legible: Arc::from(""),
                    list_running_legible: Arc::from(""),
                    list_stopped_legible: Arc::from(""),
                    preview_legible: Arc::from(""),
                    finish_locked: Forms::default(),
                    finish_one: Forms::default(),
                    refuse: Forms::default(),
                    refuse_held: Forms::default(),
                    refuse_place: Forms::default(),
                    sweep_part: Forms::default(),
                }
            }

            /// Each statement that a server prepares, with the name of its verb.
            pub(super) fn all(&self) -> Vec<(&'static str, &str)> {
                vec![
                    $((stringify!($name), &*self.$name),)*
                    ("claim_part", &*self.claim_part.logged),
                    ("claim_part_unlogged", &*self.claim_part.unlogged),
                    ("claim_plain", &*self.claim_plain),
                    ("claim_full", &*self.claim_full),
                    ("complete", &*self.complete),
                    ("complete_one", &*self.complete_one),
                    ("list_legible", &*self.list_legible),
                    ("list_running_legible", &*self.list_running_legible),
                    ("list_stopped_legible", &*self.list_stopped_legible),
                    ("preview_legible", &*self.preview_legible),
                    ("finish_locked", &*self.finish_locked.logged),
                    ("finish_locked_unlogged", &*self.finish_locked.unlogged),
                    ("finish_one", &*self.finish_one.logged),
                    ("finish_one_unlogged", &*self.finish_one.unlogged),
                    ("refuse", &*self.refuse.logged),
                    ("refuse_unlogged", &*self.refuse.unlogged),
                    ("refuse_held", &*self.refuse_held.logged),
                    ("refuse_held_unlogged", &*self.refuse_held.unlogged),
                    ("refuse_place", &*self.refuse_place.logged),
                    ("refuse_place_unlogged", &*self.refuse_place.unlogged),
                    ("sweep_part", &*self.sweep_part.logged),
                    ("sweep_part_unlogged", &*self.sweep_part.unlogged),
                ]
            }
        }
    };
}

statements!(
    add_many,
    cancel,
    canonical_keys,
    checks,
    claim,
    columns,
    columns_now,
    complete_batch,
    counts,
    explain,
    failures,
    find_claimed,
    finish,
    foreign_keys,
    get,
    held,
    hold_text,
    is_told,
    list,
    list_running,
    list_stopped,
    lock_items,
    now,
    pause,
    paused,
    pick_locked,
    pick_stale,
    preview,
    probe_lock,
    read_leases,
    relation,
    renew,
    requeue,
    resume,
    rights,
    set,
    stage_counts,
    stage_keys,
    stray_rows,
    sweep,
    sweep_turn,
    unfinished,
    unreadable_columns,
    wait,
);

/// A statement that writes to the failure log, and the same without that: the log never stops a move.
#[derive(Debug, Default)]
pub(super) struct Forms {
    pub(super) logged: Arc<str>,
    pub(super) unlogged: Arc<str>,
}

impl Forms {
    fn render(template: &Template, file: &str) -> Forms {
        let mut without = template.clone();
        without.set("log_failures", include_str!("sql/not_logged.sql"));
        Forms { logged: template.render(file).into(), unlogged: without.render(file).into() }
    }
}

/// A claim locks what it is about to take, and skips what others have locked.
const PICK_LOCK: &str = "for update of t skip locked";

/// What is ready for the one stage of a plain claim, by the queue's own index, unless the stage is paused.
const READY_FOR_ONE: &str = "t.:\"status\" = $1::text and t.:\"status\" in (:ready_words) and not exists (
  select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = $1::text)";

/// What is ready for a stage, by the queue's own index.
const READY_BY_AGE: &str = "t.:\"status\" = stage.ready and t.:\"status\" in (:ready_words) and $8::text[] is null";

/// The same for rows that are named by their places.
const READY_BY_PLACE: &str = "coalesce(t.:\"status\", '') = stage.ready and :by_place";

/// What is in progress, by its index.
const RUNNING: &str = "t.:\"status\" in (:running_words) and $6::text[] is null";

/// The same for rows that are named by their places.
const RUNNING_BY_PLACE: &str = "coalesce(t.:\"status\", '') in (:running_words) and :by_place";

/// By the token and not by the key: a key out of range of the pipeline's key type cannot be looked up as one.
const REFUSED_BY_TOKEN: &str =
    "t.:\"claim_token\" = $2::bigint and t.:\"status\" in (:running_words) and t.:\"key\"::text = $1::text";

/// Seconds since the last turn to sweep; null if the row's value is unreadable.
const SWEPT_AGE: &str = "(extract(epoch from statement_timestamp())::float8 \
  - substring(m.value from '^[0-9]{1,12}(?:[.][0-9]{1,9})?$')::float8)";

/// Rows that no other transaction has locked.
///
/// A row's `xmax` names the transaction that locked it last. A claim and a renewal lock what they then write, so theirs
/// is the transaction that also wrote the row (`xmin`); it is over, or the row could not be seen here. Any other name
/// may be that of a transaction which still has the row, or of a lock long gone: only an attempt to lock the row can
/// tell. A transaction that locks a row between the check and the write, some microseconds, is waited for as by any
/// update, up to the verb's deadline.
const LOCKED_BY_NOBODY: &str = "(t.xmax = t.xmin or t.xmax = '0'::xid)";

/// The rows that no other transaction has locked. Each is looked up by its key, checked and written before the next: an
/// array can be neither hashed nor merged, and so leaves the planner no join that would check all of them first.
const NOT_LOCKED: &str = "t.:\"key\" = any (array[i.key]) and :locked_by_nobody";

/// The rows that this statement has locked, at their places. A row that changed in the moment before is locked at a
/// place that the statement does not see, and stays as it is. In a partitioned table other rows have the same places,
/// hence the key as well.
const LOCKED_HERE: &str = "t.ctid = any (array(select place from leases)) and t.:\"key\" = i.key";

/// The rows that this statement waited for, which may have moved in the meantime.
const LOCKED_IN_TURN: &str = "t.:\"key\" = any (array(select key from leases)) and t.:\"key\" = i.key";

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

impl Statements {
    pub(super) fn new(pipeline: &Pipeline) -> Statements {
        let mut template = template(pipeline);
        set_pick(&mut template, READY_BY_AGE, Some(("$12::bool", "null::timestamptz")), PICK_LOCK);
        template.set("unless_locked", include_str!("sql/unless_locked.sql"));
        template.set("leases", "select * from input");
        set_completed(&mut template, pipeline, ERROR_AFTER_SUCCESS);
        template.set("locked_by_nobody", LOCKED_BY_NOBODY);
        template.set("rows_to_write", NOT_LOCKED);
        let mut statements = Statements::render(&template);
        let mut without_look_up = template.clone();
        set_completed(&mut without_look_up, pipeline, "null");
        statements.complete = without_look_up.render(include_str!("sql/complete.sql")).into();
        template.set("lock_lease", "for no key update skip locked");
        template.set("leases", include_str!("sql/lock_leases.sql"));
        template.set("rows_to_write", LOCKED_HERE);
        statements.finish_locked = Forms::render(&template, include_str!("sql/finish.sql"));
        // The repetition one by one may wait for the row.
        template.set("lock_lease", "for no key update");
        template.set("leases", include_str!("sql/lock_leases.sql"));
        template.set("rows_to_write", LOCKED_IN_TURN);
        template.set("unless_locked", "");
        statements.complete_one = template.render(include_str!("sql/complete.sql")).into();
        statements.finish_one = Forms::render(&template, include_str!("sql/finish.sql"));
        set_pick(&mut template, READY_BY_AGE, None, PICK_LOCK);
        statements.pick_locked = template.render(include_str!("sql/pick_locked.sql")).into();
        set_places(&mut template, "$8::text[]");
        set_pick(&mut template, READY_BY_PLACE, Some(("$12::bool", "null::timestamptz")), PICK_LOCK);
        statements.claim_part = Forms::render(&template, include_str!("sql/claim.sql"));
        set_pick_plain(&mut template, None);
        statements.claim_plain = template.render(include_str!("sql/claim_plain.sql")).into();
        set_pick_plain(&mut template, Some(("true", "$10::timestamptz")));
        statements.claim_full = template.render(include_str!("sql/claim_full.sql")).into();
        // A preview locks nothing.
        set_pick(&mut template, READY_BY_AGE, None, "");
        statements.preview = template.render(include_str!("sql/preview.sql")).into();
        let mut legible = template.clone();
        legible.set("legible", include_str!("sql/legible.sql"));
        statements.preview_legible = legible.render(include_str!("sql/preview.sql")).into();
        statements.list_legible = legible.render(include_str!("sql/list.sql")).into();
        statements.list_running_legible = legible.render(include_str!("sql/list_running.sql")).into();
        statements.list_stopped_legible = legible.render(include_str!("sql/list_stopped.sql")).into();
        set_places(&mut template, "$6::text[]");
        set_stale(&mut template, RUNNING_BY_PLACE);
        statements.sweep_part = Forms::render(&template, include_str!("sql/sweep.sql"));
        let mut refuse = |refused_row: &str| {
            template.set("refused_row", refused_row);
            Forms::render(&template, include_str!("sql/refuse.sql"))
        };
        statements.refuse = refuse("t.:\"key\" = ($1::text):::key_type");
        statements.refuse_held = refuse(REFUSED_BY_TOKEN);
        set_places(&mut template, "array[$1::text]");
        template.set("refused_row", ":by_place");
        statements.refuse_place = Forms::render(&template, include_str!("sql/refuse.sql"));
        statements
    }
}

/// Sets the source of the places of rows.
fn set_places(template: &mut Template, places: &str) {
    template.set("places", places);
    template.set("by_place", include_str!("sql/by_place.sql"));
}

/// Sets the source of the keys to leave out.
fn set_left_out(template: &mut Template, keys: &str) {
    template.set("keys_to_leave_out", keys);
    template.set("left_out", include_str!("sql/left_out.sql"));
}

/// Sets which rows a sweep looks at.
fn set_stale(template: &mut Template, stale_rows: &str) {
    template.set("stale_rows", stale_rows);
    set_left_out(template, "$5::text[]");
    template.set("stale", include_str!("sql/stale.sql"));
}

/// Sets what is picked, and how it is locked.
fn set_pick(template: &mut Template, ready_for_stage: &str, full_queue: Option<(&str, &str)>, lock: &str) {
    set_ready_rows(template, ready_for_stage, full_queue, lock);
    template.set("pick", include_str!("sql/pick.sql"));
}

/// Sets what a claim of plain items picks, and how it takes them.
fn set_pick_plain(template: &mut Template, full_queue: Option<(&str, &str)>) {
    set_ready_rows(template, READY_FOR_ONE, full_queue, PICK_LOCK);
    template.set("pick_plain", include_str!("sql/pick_plain.sql"));
    template.set("take_plain", include_str!("sql/take_plain.sql"));
}

/// Sets what is ready for a stage, and how it is locked; and the binds for whether the queue is full and where to begin
/// then, if the statement has them.
fn set_ready_rows(template: &mut Template, ready_for_stage: &str, full_queue: Option<(&str, &str)>, lock: &str) {
    template.set("ready_for_stage", ready_for_stage);
    set_left_out(template, "$7::text[]");
    template.set("lock", lock);
    let (queue_is_full, from) = full_queue.unwrap_or_default();
    template.set("queue_is_full", queue_is_full);
    template.set("from", from);
    template.set("of_full_queue", if full_queue.is_some() { include_str!("sql/of_full_queue.sql") } else { "" });
    template.set("ready_rows", include_str!("sql/ready_rows.sql"));
}

/// The variables of the pipeline, and those of this dialect.
pub(super) fn template(pipeline: &Pipeline) -> Template {
    let mut template = Template::new(pipeline, Dialect::Postgres);
    template.insert("table_name", quote_literal(&template.render(":table"), Dialect::Postgres));
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
    template.insert("never", quote_literal(&NEVER_DUE_FROM.to_rfc3339(), Dialect::Postgres));
    template.set("snapshot", include_str!("sql/snapshot.sql"));
    set_stale(&mut template, RUNNING);
    template.set("legible", "");
    set_shown(&mut template);
    template.set("place", include_str!("sql/place.sql"));
    template.set("log_failures", include_str!("sql/log_failures.sql"));
    template.insert("waiting_key", quote_literal(&waiting_key(pipeline), Dialect::Postgres));
    template.set("swept_age", SWEPT_AGE);
    template.insert("swept_key", quote_literal(&swept_key(pipeline), Dialect::Postgres));
    template.insert("running_of_stopped", running_of_stopped(pipeline));
    template
}

/// Sets what becomes of errors, according to what the column holds.
fn set_errors(template: &mut Template, pipeline: &Pipeline) {
    let literal = |text: &str| quote_literal(text, Dialect::Postgres);
    let last = pipeline.stages().last().map_or("", crate::Stage::running_word);
    template.insert("'last_running'", literal(last));
    template.insert("'error_message'", literal(pipeline.columns().name(Role::ErrorMessage)));
    template.insert("'table'", literal(&template.render(":table")));
    template.set("error_bytes_max", &ERROR_MESSAGE_BYTES_MAX.to_string());
    template.set("error_chars_max", ERROR_CHARS_MAX);
    set_completed(template, pipeline, ERROR_AFTER_SUCCESS);
}

/// Sets what a completion writes, and what becomes of an error.
fn set_completed(template: &mut Template, pipeline: &Pipeline, error_after_success: &str) {
    let kept = pipeline.keeps_error_after_success();
    template.set("error_after_success", if kept { "t.:\"error_message\"" } else { error_after_success });
    template.set("error_after_completion", if kept { "t.:\"error_message\"" } else { ERROR_AFTER_COMPLETION });
    template.set("completed", include_str!("sql/completed.sql"));
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
