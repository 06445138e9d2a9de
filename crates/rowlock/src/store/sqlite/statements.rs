//! The statements of one pipeline, rendered once.
//!
//! Which text runs when, where a verb has more than one:
//!
//! | verb | text | when |
//! |---|---|---|
//! | claim | `claim_plain` | first: by rowid where the table has one, else by key (`plain.rs`) |
//! | | `claim` | the heads of the queues are not plain, or the plain text did not write all of them |
//! | finish | `complete_plain` | completions alone, of few claims; from 256 items of a claim `many`, by the token |
//! | | `finish` | any other batch, or where the plain text did not write all of it |
//! | list | `any`, `running`, `stopped` | by the state asked for; `…_after` from the second page on |

use super::clock::NEVER;
use super::indexes;
use super::session::Sql;
use crate::limits::{NEVER_DUE_FROM, RETRY_TABLE_ATTEMPTS_MAX};
use crate::pipeline::{Budget, KeyType, Pipeline, Role};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::{Template, step};

/// What a batch statement returns for each row that it wrote.
const RETURNING: &str = "returning this.:\"key\", this.:\"status\", this.:\"claimed_by\", this.:\"error_message\", \
  this.:\"claim_token\"";

/// The error of an item that succeeded: none, or '' if the column takes no null. Looked up only if there is an error.
const ERROR_AFTER_SUCCESS: &str = "iif(t.:\"error_message\" is null, null, (
  select iif(c.\"notnull\", '', null)
  from pragma_table_info(:'table') as c
  where c.name = :'error_message' collate nocase
))";

/// A time in Rowlock's own form, which is read as it is.
const OWN_TIME: &str =
    ":column glob '????-??-??T??:??:??.???Z' and date(:column) = substr(:column, 1, 10) and typeof(:column) = 'text'";

macro_rules! statements {
    ($($name:ident: $file:literal $(, $step:literal)?;)*) => {
        /// Every statement, named after its file and step.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Sql,)*
            pub(super) claim_by_rowid: PlainClaim,
            pub(super) claim_by_key: PlainClaim,
        }

        impl Statements {
            pub(super) fn new(pipeline: &Pipeline) -> Statements {
                let template = template(pipeline);
                Statements {
                    $($name: Sql::new(template.render(step(
                        include_str!(concat!("sql/", $file, ".sql")),
                        statements!(@step $($step)?)
                    ))),)*
                    claim_by_rowid: PlainClaim::new(&template, "t._rowid_"),
                    claim_by_key: PlainClaim::new(&template, "t.:\"key\""),
                }
            }

            /// Each statement with its name, for the test that prepares them all.
            #[cfg(test)]
            pub(super) fn all(&self) -> Vec<(&'static str, &Sql)> {
                let plain = [("by rowid", &self.claim_by_rowid), ("by key", &self.claim_by_key)];
                let plain = plain
                    .into_iter()
                    .flat_map(|(name, claim)| [&claim.pick, &claim.take, &claim.read].map(|sql| (name, sql)));
                [$((stringify!($name), &self.$name)),*].into_iter().chain(plain).collect()
            }
        }
    };
    (@step $step:literal) => { Some($step) };
    (@step) => { None };
}

statements! {
    now: "now";
    pick: "claim", "pick";
    take: "claim", "take";
    read_claimed: "claim", "read";
    has_rowids: "claim_plain", "has_rowids";
    preview: "preview";
    renew_claimed: "find_claimed", "renew";
    find_claimed: "find_claimed", "find";
    finish: "finish";
    complete_few: "complete_plain", "few";
    has_index: "complete_plain", "has_index";
    complete_many: "complete_plain", "many";
    count_completed: "complete_plain", "as_written";
    let_go: "claim", "let_go";
    renew: "renew";
    read_leases: "read_leases";
    find_stale: "sweep", "find";
    take_back: "sweep", "take_back";
    refuse: "refuse";
    add_failures: "log_failures", "add";
    prune_failures: "log_failures", "prune";
    set: "set";
    cancel: "cancel";
    requeue: "requeue";
    pause: "pause";
    resume: "resume";
    paused: "paused";
    add_many: "add_many";
    get: "get";
    explain: "explain";
    unreadable_due: "unreadable_times", "due";
    unreadable_heartbeats: "unreadable_times", "heartbeats";
    list_any: "list", "any";
    list_any_after: "list", "any_after";
    list_running: "list", "running";
    list_running_after: "list", "running_after";
    list_stopped: "list", "stopped";
    list_stopped_after: "list", "stopped_after";
    count_ready: "counts", "ready";
    count_running: "counts", "running";
    count_succeeded: "counts", "succeeded";
    count_stopped: "counts", "stopped";
    count_strange_ready: "counts", "strange_ready";
    count_strange_running: "counts", "strange_running";
    failures: "failures";
    held: "held";
    refuse_writes: "refuse_writes";
    create_table: "schema", "create_table";
    add_status: "schema", "add_status";
    add_retry_count: "schema", "add_retry_count";
    add_reset_count: "schema", "add_reset_count";
    add_retry_after: "schema", "add_retry_after";
    add_error_message: "schema", "add_error_message";
    add_heartbeat: "schema", "add_heartbeat_at";
    add_claim_token: "schema", "add_claim_token";
    add_claimed_by: "schema", "add_claimed_by";
    add_claimed_at: "schema", "add_claimed_at";
    add_resume_status: "schema", "add_resume_status";
    add_created_at: "schema", "add_created_at";
    add_updated_at: "schema", "add_updated_at";
    add_own_state: "schema", "add_own_state";
    create_ready_index: "schema", "create_ready_index";
    create_running_index: "schema", "create_running_index";
    create_stopped_index: "schema", "create_stopped_index";
    create_key_index: "schema", "create_key_index";
    create_failures: "schema", "create_failures";
    create_failures_index: "schema", "create_failures_index";
    create_stages: "schema", "create_stages";
    create_meta: "schema", "create_meta";
    write_version: "schema", "write_version";
    read_columns: "read_schema", "columns";
    read_kind: "read_schema", "kind";
    read_create: "read_schema", "create";
    has_rows: "read_schema", "has_rows";
    write_existing: "schema", "write_existing";
    stamp_in_progress: "schema", "stamp_in_progress";
    any_in_progress: "attach", "any_in_progress";
    any_unstamped: "attach", "any_unstamped";
    last_rowid: "attach", "last_rowid";
    stamp_until: "attach", "stamp_until";
    stamp_range: "attach", "stamp_range";
    noted: "attach", "noted";
    note: "attach", "note";
    other_indexes: "detach", "other_indexes";
    forget_note: "detach", "forget_note";
    any_rows: "detach", "any_rows";
    forget_stages: "detach", "forget_stages";
    forget_failures: "detach", "forget_failures";
    drop_failures: "detach", "drop_failures";
    drop_stages: "detach", "drop_stages";
    drop_meta: "detach", "drop_meta";
    stray_rows: "stray_rows";
    read_strange_key: "read_schema", "strange_key";
    read_unique_columns: "read_schema", "unique_columns";
    has_unique_key: "read_schema", "has_unique_key";
    read_foreign_keys: "read_schema", "foreign_keys";
    read_objects: "read_schema", "objects";
    read_version: "read_schema", "version";
}

impl Statements {
    /// The statement that builds an index.
    pub(super) fn create_index(&self, kind: &str) -> &Sql {
        match kind {
            "ready" => &self.create_ready_index,
            "running" => &self.create_running_index,
            "stopped" => &self.create_stopped_index,
            _ => &self.create_key_index,
        }
    }

    /// The statement that adds the column of a role.
    pub(super) fn add_column(&self, role: Role) -> &Sql {
        match role {
            Role::Status => &self.add_status,
            Role::RetryCount => &self.add_retry_count,
            Role::ResetCount => &self.add_reset_count,
            Role::RetryAfter => &self.add_retry_after,
            Role::ErrorMessage => &self.add_error_message,
            Role::Heartbeat => &self.add_heartbeat,
            Role::ClaimToken => &self.add_claim_token,
            Role::ClaimedBy => &self.add_claimed_by,
            Role::ClaimedAt => &self.add_claimed_at,
            Role::ResumeStatus => &self.add_resume_status,
            Role::CreatedAt => &self.add_created_at,
            Role::UpdatedAt => &self.add_updated_at,
        }
    }
}

/// The statements of a plain claim, by what identifies the rows.
#[derive(Debug)]
pub(super) struct PlainClaim {
    pub(super) pick: Sql,
    pub(super) take: Sql,
    pub(super) read: Sql,
}

impl PlainClaim {
    fn new(template: &Template, address: &str) -> PlainClaim {
        let mut template = template.clone();
        template.set("address", address);
        let rendered = |name| Sql::new(template.render(step(include_str!("sql/claim_plain.sql"), Some(name))));
        PlainClaim { pick: rendered("pick"), take: rendered("take"), read: rendered("read") }
    }
}

/// The variables of the pipeline, and those of this dialect.
pub(super) fn template(pipeline: &Pipeline) -> Template {
    let mut template = Template::new(pipeline, Dialect::Sqlite);
    let key_type = match pipeline.key_type() {
        KeyType::Text | KeyType::Uuid => "text",
        KeyType::Int | KeyType::BigInt => "integer",
    };
    template.set("key_type", key_type);
    template.set_key_definition(&format!("{key_type} not null"));
    template.set("attempts", &RETRY_TABLE_ATTEMPTS_MAX.to_string());
    template.insert("bare_table", quote_identifier(pipeline.table().name()));

    // SQLite keeps a value of any type in a column of any type. A row whose key is not of the pipeline's type cannot be
    // found again by the key that was read from it: it is no item, and `inspect` reports it.
    let is_typed = match pipeline.key_type() {
        KeyType::Text | KeyType::Uuid => "typeof(t.:\"key\") = 'text' and instr(t.:\"key\", char(0)) = 0",
        KeyType::Int | KeyType::BigInt => "typeof(t.:\"key\") = 'integer'",
    };
    template.set("is_typed", is_typed);
    template.set("is_unicode", if is_text(pipeline) { include_str!("sql/is_utf8.sql") } else { "true" });
    template.set("is_item", "(:is_typed and :is_unicode)");
    // Every row is one of the two, and none is both.
    template.set("is_strange", "(not :is_item)");
    let of_text = "'text' then 'text with bytes that are no UTF-8, or with NUL'";
    template
        .insert("strange_text", if is_text(pipeline) { of_text.to_owned() } else { "'text' then 'text'".to_owned() });

    let other_default = pipeline.allows_other_default();
    template.set_added(other_default);

    template.insert("own_state", quote_identifier(pipeline.columns().own_state()));
    let literal = |text: &str| quote_literal(text, Dialect::Sqlite);
    template.insert("'last_running'", literal(pipeline.stages().last().map_or("", crate::Stage::running_word)));
    template.insert("'table'", literal(pipeline.table().name()));
    template.insert("'error_message'", literal(pipeline.columns().name(Role::ErrorMessage)));
    let kept = pipeline.keeps_error_after_success();
    template.set("error_after_success", if kept { "t.:\"error_message\"" } else { ERROR_AFTER_SUCCESS });

    // A count that is null or not a number counts from zero.
    template.set("retries", "coalesce(cast(t.:\"retry_count\" as integer), 0)");
    template.set("resets", "coalesce(cast(t.:\"reset_count\" as integer), 0)");
    set_times(&mut template);
    // As text before every spelling of a time of that day, and before the result for an unreadable time.
    template.insert("never", quote_literal(&NEVER_DUE_FROM.date_naive().to_string(), Dialect::Sqlite));
    // Not `is null or not in`: on a column that is not null SQLite drops the first half from the query but not from the
    // index, which then matches no query.
    template.set(
        "is_stopped",
        "coalesce(t.:\"status\", '') not in (:ready_words, :running_words, :'succeeded'):and_not_ignored",
    );
    template.add_fragment("items", include_str!("sql/items.sql"));
    template.set("returning", RETURNING);
    template.set("budget_is_per_stage", if pipeline.budget() == Budget::PerStage { "true" } else { "false" });

    for kind in indexes::KINDS {
        template.insert(&format!("{kind}_index"), quote_identifier(&indexes::name(pipeline, kind)));
    }
    template
}

/// Times as they are read. An item without a time has always been ready; one with an unreadable time never is.
fn set_times(template: &mut Template) {
    for (prefix, alias) in [("", "t"), ("this_", "this")] {
        for role in ["retry_after", "created_at", "heartbeat_at"] {
            template.set("column", &format!("{alias}.:\"{role}\""));
            template.set("own_time", OWN_TIME);
            let read = template.render(include_str!("sql/read_time.sql"));
            template.insert(&format!("{prefix}{role}_read"), read);
        }
        template.set(
            &format!("{prefix}ready_since"),
            &format!("coalesce(:{prefix}retry_after_read, :{prefix}created_at_read, '')"),
        );
        template.set(&format!("{prefix}queue_order"), &format!(":{prefix}order:{prefix}ready_since"));
    }
    template.set("column", "t.:\"heartbeat_at\"");
    template.set("heartbeat_is_own", OWN_TIME);
    // An unreadable heartbeat counts as missing, which is stale.
    template.set("heartbeat", &format!("nullif(:heartbeat_at_read, '{NEVER}')"));
    template.insert("unreadable", format!("'{NEVER}'"));
}

fn is_text(pipeline: &Pipeline) -> bool {
    matches!(pipeline.key_type(), KeyType::Text | KeyType::Uuid)
}

/// The retry policies as `finish.sql` reads them, one per stage.
pub(super) fn policies(pipeline: &Pipeline) -> String {
    let policies = pipeline.stage_ids().map(|stage| {
        let policy = pipeline.retry_policy(stage);
        serde_json::json!({
            "delays": policy.table().as_slice(),
            "jitter": policy.jitter(),
            "floor": policy.floor().as_secs_f64(),
        })
    });
    serde_json::Value::Array(policies.collect()).to_string()
}
