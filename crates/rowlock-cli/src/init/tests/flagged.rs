//! Tables without a status column.

use super::*;

#[test]
fn a_time_that_is_null_until_the_work_is_done_says_it() {
    let mut survey = postgres("outbox");
    survey.columns.extend([
        text("payload", &[("{}", 200)]),
        time("delivered_at"),
        not_null(time("process_after")),
        not_null(time("created_at")),
    ]);
    let proposal = propose(&survey);
    let ready = sql("delivered_at is null", &[("delivered_at", "null")]);
    let done = sql("delivered_at is not null", &[("delivered_at", "now()")]);
    assert_eq!(proposal.stages[0].ready.written(), Some(&ready));
    assert_eq!(proposal.stages[0].running.written(), Some(&State::Own));
    assert_eq!(proposal.succeeded.written(), Some(&done));
    let file = valid_file(&survey);
    assert!(file.contains("# delivered_at: 50 of 200 rows have it\n"), "{file}");
    assert!(file.contains("retry_after = { name = \"process_after\", keep = true }"), "{file}");
    assert!(!file.contains("[on]"), "{file}");
}

#[test]
fn truth_values_and_times_exclude_one_another() {
    let mut survey = postgres("mails");
    survey.columns.extend([
        not_null(column("is_sent", TypeKind::Boolean, &[("false", 150), ("true", 50)])),
        column("failed", TypeKind::Boolean, &[("", 190), ("true", 10)]),
        time("locked_at"),
    ]);
    let proposal = propose(&survey);
    let ready = sql(
        "not is_sent and failed is not true and locked_at is null",
        &[("is_sent", "false"), ("failed", "false"), ("locked_at", "null")],
    );
    let running = sql(
        "locked_at is not null and not is_sent and failed is not true",
        &[("locked_at", "now()"), ("is_sent", "false"), ("failed", "false")],
    );
    let failed =
        sql("failed is true and not is_sent", &[("failed", "true"), ("is_sent", "false"), ("locked_at", "null")]);
    assert_eq!(proposal.stages[0].ready.written(), Some(&ready));
    assert_eq!(proposal.stages[0].running.written(), Some(&running));
    assert_eq!(proposal.succeeded.written(), Some(&sql("is_sent", &[("is_sent", "true"), ("locked_at", "null")])));
    assert_eq!(proposal.failed.written(), Some(&failed));
    // What a state writes plays no role: a statement cannot write a column twice.
    assert_eq!(role(&proposal, "claimed_at"), None);
    valid_file(&survey);
}

#[test]
fn a_value_for_nobody_says_who_has_a_row_and_whom_to_write_is_a_question() {
    let mut survey = postgres("work");
    let holder = column("claimed_by", TypeKind::BigInt, &[("-1", 150), ("77", 50)]);
    survey.columns.extend([
        with_default(not_null(holder), "'-1'::integer"),
        not_null(column("failed", TypeKind::Boolean, &[("false", 200)])),
    ]);
    let proposal = propose(&survey);
    let ready = sql("not failed and claimed_by = -1", &[("failed", "false"), ("claimed_by", "-1")]);
    assert_eq!(proposal.stages[0].ready.written(), Some(&ready));
    assert_eq!(proposal.stages[0].running.confidence, Confidence::Guess);
    // Nothing says that a row is done: perhaps it is deleted.
    assert!(proposal.succeeded.value.is_none());
    let file = asking_file(&survey);
    assert!(file.contains("prefix = \"rowlock_\""), "the role claimed_by needs another name:\n{file}");
}

#[test]
fn on_sqlite_truths_are_numbers_and_the_time_has_the_columns_format() {
    let mut survey = sqlite("pages");
    survey.columns.extend([
        not_null(column("done", TypeKind::Integer, &[("0", 10), ("1", 20)])),
        text("failed_at", &[("", 29), ("2026-01-31 12:00:00", 1)]),
    ]);
    let proposal = propose(&survey);
    let failed = sql("failed_at is not null and done = 0", &[("failed_at", "datetime('now')"), ("done", "0")]);
    assert_eq!(proposal.failed.written(), Some(&failed));
    assert_eq!(proposal.succeeded.written(), Some(&sql("done <> 0", &[("done", "1")])));
    valid_file(&survey);
}

#[test]
fn a_verb_that_only_looks_like_a_result_is_a_question() {
    let mut survey = postgres("books");
    survey.columns.push(time("indexed_at"));
    assert!(asking_file(&survey).contains("# succeeded = { is = \"indexed_at is not null\""));
}

#[test]
fn times_of_other_things_say_no_state() {
    let mut survey = postgres("users");
    survey.columns.extend(["created_at", "updated_at", "deleted_at", "verified_at", "recorded_at"].map(time));
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].ready.written(), Some(&words(&["PENDING"])));
}
