//! What the variables of the statements stand for: those of every dialect, and those of this one.

use crate::limits::{ERROR_MESSAGE_BYTES_MAX, FAILURES_KEPT_MAX, NEVER_DUE_FROM};
use crate::pipeline::{Budget, KeyType, Pipeline, Role, Status};
use crate::store::identifier::{Dialect, quote_literal};
use crate::store::template::{Template, step};

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

/// A pattern for the bytes of UTF-8 text in hexadecimal digits: the server has no function that only checks.
const LEGIBLE_HEX: &str = "concat(
    '^([0-7][0-9a-f]|(c[2-9a-f]|d[0-9a-f])[89ab][0-9a-f]|e0[ab][0-9a-f][89ab][0-9a-f]|e[1-9abcef]([89ab][0-9a-f]){2}',
    '|ed[89][0-9a-f][89ab][0-9a-f]|f0[9ab][0-9a-f]([89ab][0-9a-f]){2}|f[1-3]([89ab][0-9a-f]){3}',
    '|f48[0-9a-f]([89ab][0-9a-f]){2})*$'
  )";

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
    template.set_added(other_default);
    template.set("failures_kept", &FAILURES_KEPT_MAX.to_string());
    template.set("failures_kept_less_one", &(FAILURES_KEPT_MAX - 1).to_string());
    template.set(
        "is_stopped",
        "coalesce(t.:\"status\", '') not in (:ready_words, :running_words, :'succeeded'):and_not_ignored",
    );
    set_errors(&mut template, pipeline);
    template.insert("never", literal(&NEVER_DUE_FROM.to_rfc3339()));
    set_shown(&mut template);
    template.insert("waiting_key", literal(&waiting_key(pipeline)));
    template.set("swept_age", SWEPT_AGE);
    template.insert("swept_key", literal(&swept_key(pipeline)));
    let running_of_stopped = running_of_stopped(pipeline, &template);
    template.insert("running_of_stopped", running_of_stopped);
    for (prefix, alias) in [("", "t"), ("this_", "this")] {
        let order = template.render(&format!(":{prefix}order"));
        let due = format!("coalesce({alias}.:\"retry_after\", {alias}.:\"created_at\", '-infinity')");
        let due = template.render(&due);
        template.insert(&format!("{prefix}queue_order"), format!("{order}{due}"));
    }
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
fn waiting_key(pipeline: &Pipeline) -> String {
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
fn running_of_stopped(pipeline: &Pipeline, template: &Template) -> String {
    let literal = |word: &str| quote_literal(word, Dialect::Postgres);
    let [status, resume] = [Role::Status, Role::ResumeStatus].map(|role| template.read(role, "t"));
    let failed = literal(pipeline.word(Status::Failed));
    let arms: Vec<String> = pipeline
        .stages()
        .iter()
        .map(|stage| format!("when {} then {}", literal(stage.ready_word()), literal(stage.running_word())))
        .collect();
    format!("case case when {status} = {failed} then {resume} else {status} end {} end", arms.join(" "))
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

/// An expression that shows a text: as it is, or as its bytes if they are not valid text. A database with the encoding
/// SQL_ASCII takes such bytes, and sends them to no client.
pub(super) fn shown(text: &str) -> String {
    let hex = format!("encode(convert_to({text}, 'SQL_ASCII'), 'hex')");
    format!(
        "case when getdatabaseencoding() <> 'SQL_ASCII' or {hex} ~ :legible_hex then {text} \
         else concat('\\x', {hex}) end"
    )
}

/// Sets how the verbs for people show what may not be valid text.
fn set_shown(template: &mut Template) {
    template.set("legible_hex", LEGIBLE_HEX);
    for (name, text) in [
        ("shown_key", "t.:\"key\"::text"),
        ("shown_word", "t.:\"status\"::text"),
        ("shown_error", "t.:\"error_message\"::text"),
        ("shown_holder", "t.:\"claimed_by\"::text"),
        ("shown_resume", "t.:\"resume_status\"::text"),
        ("shown_other_word", "others.word"),
        ("shown_failed_word", "f.word"),
        ("shown_failed_holder", "f.holder"),
        ("shown_failed_error", "f.error"),
    ] {
        template.set(name, &shown(text));
    }
}

/// FNV-1a, 64 bits: names must be the same in every version of the library, which std's hasher does not promise.
/// Source: Fowler, Noll, Vo; draft-eastlake-fnv.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
