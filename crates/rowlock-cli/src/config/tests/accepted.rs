//! Every way to say something.

use std::time::Duration;

use rowlock::pipeline::{Event, Sign, StatusType, Word};
use rowlock::{Budget, Existing, KeyType, RetryPolicy, Role, TableName};

use super::super::{ColumnForm, Place, Timeout};
use super::{read, with};

#[test]
fn the_least_leaves_everything_else_open() {
    let description = read(&with("", ""));
    assert_eq!(description.pipeline, "videos");
    assert_eq!(description.table, TableName::new("videos"));
    assert_eq!(description.key, ["id"]);
    assert_eq!(description.succeeded, Sign::from("completed"));
    assert_eq!(description.failed, None);
    assert_eq!(description.cancelled, None);
    assert_eq!(description.status_type, StatusType::Text);
    assert_eq!(description.stages.len(), 1);
    assert_eq!(description.stages[0].ready, Sign::from("queued"));
    assert_eq!(description.stages[0].running, Sign::from("processing"));
    assert_eq!(description.stages[0].timeout, None);
    assert!(description.columns.is_empty());
    assert_eq!(description.limits, super::super::Limits::default());
}

#[test]
fn a_state_is_words_or_sql_or_ones_own() {
    let top = "failed = [\"failed\", \"error\", { null = true }]\ncancelled = { own = true }";
    let end = "[[stage]]\nname = \"send\"\n\
               ready = { is = \"delivered_at is null\", set = { delivered_at = \"null\" } }\n\
               running = { null = false, own = true }";
    // Two marks say two things.
    assert!(super::told(&with(top, end)).contains("does not say one thing"));
    let description = read(&with(top, &end.replace("null = false, ", "")));
    let words = [Word::from("failed"), Word::from("error"), Word::Null];
    assert_eq!(description.failed, Some(Sign::Words(words.to_vec())));
    assert_eq!(description.cancelled, Some(Sign::Own));
    assert_eq!(description.stages[1].ready, Sign::sql("delivered_at is null", [("delivered_at", "null")]));
    assert_eq!(description.stages[1].running, Sign::Own);
}

#[test]
fn a_state_may_have_a_heading_of_its_own() {
    let end = "[failed]\nis = \"error is not null\"\n[failed.set]\nerror = \"coalesce(error, 'given up')\"";
    let description = read(&with("", end));
    assert_eq!(description.failed, Some(Sign::sql("error is not null", [("error", "coalesce(error, 'given up')")])));
}

#[test]
fn the_words_tell_the_type_of_their_column() {
    let text = "pipeline = \"r\"\ntable = \"t\"\nkey = \"id\"\nsucceeded = 3\nfailed = [4, 7]\n\
                ignored = [5, { null = true }]\n[[stage]]\nname = \"run\"\nready = 1\nrunning = [2, 9]\n";
    let description = read(text);
    assert_eq!(description.status_type, StatusType::Integer);
    assert_eq!(description.ignored, [Word::Integer(5), Word::Null]);
    assert_eq!(read(&text.replace("[5, { null = true }]", "5")).ignored, [Word::Integer(5)]);

    let columns = "[columns]\nstatus = { name = \"state\", as = \"enum\" }";
    assert_eq!(read(&with("", columns)).status_type, StatusType::Enum);
}

#[test]
fn a_table_is_named_with_or_without_its_schema() {
    for (written, table) in [
        ("'media.videos'", TableName::in_schema("media", "videos")),
        ("'\"odd.name\"'", TableName::new("odd.name")),
        ("'media.\"a \"\"b\"\".c\"'", TableName::in_schema("media", "a \"b\".c")),
    ] {
        let text = with("", "").replace("table = \"videos\"", &format!("table = {written}"));
        assert_eq!(read(&text).table, table, "{written}");
    }
}

#[test]
fn the_top_of_the_file_says_more() {
    let top = "key_type = \"uuid\"\ndatabase = \"postgres://me@host/db\"\nwhere = \"deleted_at is null\"\n\
               order = [\"priority desc\", \"id\"]\nexisting = \"succeeded\"\nexisting_leases = \"stale\"\n\
               without_ready_default = true\nkeep_error_after_success = true\nignored = \"manual\"";
    let description = read(&with(top, ""));
    assert_eq!(description.key_type, Some(KeyType::Uuid));
    assert_eq!(description.database.as_deref(), Some("postgres://me@host/db"));
    assert_eq!(description.claim_where.as_deref(), Some("deleted_at is null"));
    assert_eq!(description.order, ["priority desc", "id"]);
    assert_eq!(description.existing, Some(Existing::Succeeded));
    assert!(description.existing_leases_are_stale);
    assert!(description.without_ready_default);
    assert!(description.keep_error_after_success);
    assert_eq!(description.ignored, [Word::from("manual")]);
}

#[test]
fn a_key_may_have_several_columns() {
    let text = with("", "").replace("key = \"id\"", "key = [\"tenant_id\", \"id\"]");
    assert_eq!(read(&text).key, ["tenant_id", "id"]);
}

#[test]
fn columns_have_names_and_forms() {
    let end = "[columns]\nretry_count = \"attempts\"\ncreated_at = { name = \"made\", as = \"timestamp_utc\" }\n\
               retry_after = { name = \"run_at\", as = \"epoch_s\", none = 0, keep = true }\n\
               error_message = { name = \"error\", none = \"\" }\nprefix = \"queue_\"";
    let description = read(&with("", end));
    assert_eq!(description.prefix.as_deref(), Some("queue_"));
    assert_eq!(description.column(Role::RetryCount).unwrap().name, "attempts");
    assert_eq!(description.column(Role::CreatedAt).unwrap().form, ColumnForm::TimestampUtc);
    let due = description.column(Role::RetryAfter).unwrap();
    assert_eq!((due.name.as_str(), due.form, due.keep), ("run_at", ColumnForm::EpochSeconds, true));
    assert_eq!(due.none, Some(Word::Integer(0)));
    assert_eq!(description.column(Role::ErrorMessage).unwrap().none, Some(Word::from("")));
    assert_eq!(description.column(Role::Heartbeat), None);
}

#[test]
fn events_write_columns() {
    let end = "[on]\nclaim = { started_at = \"now()\", tries = \"tries + 1\" }\nevery_move = { moved_at = \"now()\" }\n\
               failure = {}";
    let on = read(&with("", end)).on;
    let written: Vec<_> = on.iter().map(|on| (on.event, on.column.as_str(), on.value.as_str())).collect();
    let expected = [
        (Event::Claim, "started_at", "now()"),
        (Event::Claim, "tries", "tries + 1"),
        (Event::EveryMove, "moved_at", "now()"),
    ];
    assert_eq!(written, expected);
}

#[test]
fn limits_and_policies_are_read() {
    let end = "timeout = \"10m\"\nretry = { kind = \"listed\", delays = [\"1s\", \"1m\"], jitter = 0 }\n\
               [[stage]]\nname = \"b\"\nready = \"b\"\nrunning = \"c\"\ntimeout = \"none\"\n\
               [limits]\nmax_retries = 7\nmax_resets = 2\nbudget = \"per_item\"\nstale_after = \"90s\"\n\
               heartbeat_interval = \"500ms\"\n\
               retry = { kind = \"exponential\", base = \"2s\", cap = \"1h\", jitter = 0.5, floor = \"1s\" }";
    let description = read(&with("", end));
    assert_eq!(description.stages[0].timeout, Some(Timeout::After(Duration::from_secs(600))));
    let listed = RetryPolicy::listed([Duration::from_secs(1), Duration::from_secs(60)]).with_jitter(0.0);
    assert_eq!(description.stages[0].retry, Some(listed));
    assert_eq!(description.stages[1].timeout, Some(Timeout::Never));
    let limits = description.limits;
    assert_eq!((limits.max_retries, limits.max_resets), (Some(7), Some(2)));
    assert_eq!(limits.budget, Some(Budget::PerItem));
    assert_eq!(limits.stale_after, Some(Duration::from_secs(90)));
    assert_eq!(limits.heartbeat_interval, Some(Duration::from_millis(500)));
    let retry = RetryPolicy::exponential(Duration::from_secs(2), Duration::from_secs(3600));
    assert_eq!(limits.retry, Some(retry.with_jitter(0.5).with_floor(Duration::from_secs(1))));
}

#[test]
fn stages_may_be_a_list() {
    let text = "pipeline = \"p\"\ntable = \"t\"\nkey = \"id\"\nsucceeded = \"c\"\n\
                stage = [{ name = \"one\", ready = \"a\", running = \"b\" }]\n";
    assert_eq!(read(text).stages[0].name, "one");
}

#[test]
fn a_description_knows_where_the_file_says_what() {
    let description = read(&with("where = \"x\"", "[limits]\nmax_retries = 3"));
    assert_eq!(description.place("where"), Some(Place { line: 1, column: 9 }));
    assert_eq!(description.place("stage[0].ready"), Some(Place { line: 9, column: 9 }));
    // What the file does not say is where it says what holds it.
    assert_eq!(description.place("stage[0].timeout"), Some(Place { line: 7, column: 1 }));
    assert_eq!(description.place("limits.max_retries"), Some(Place { line: 12, column: 15 }));
    assert_eq!(description.place("columns.status"), None);
}
