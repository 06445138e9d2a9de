//! Tables with a column of words, labels or numbers.

use super::*;

#[test]
fn an_enum_gives_words_that_no_row_has_yet() {
    let mut survey = postgres("jobs");
    let labels = ["waiting", "in-flight", "delivered", "bounced", "on_hold"];
    survey.columns.push(SurveyColumn {
        enum_labels: labels.map(str::to_owned).to_vec(),
        ..column("mail_state", TypeKind::Enum, &[("waiting", 5)])
    });
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].ready.written(), Some(&words(&["waiting"])));
    assert_eq!(proposal.stages[0].running.written(), Some(&words(&["in-flight"])));
    assert_eq!(proposal.succeeded.written(), Some(&words(&["delivered"])));
    assert_eq!(proposal.failed.written(), Some(&words(&["bounced"])));
    assert_eq!(proposal.ignored.written(), Some(&vec![Word::Text("on_hold".to_owned())]));
    assert!(valid_file(&survey).contains("status = { name = \"mail_state\", as = \"enum\" }"));
}

#[test]
fn a_check_without_a_word_leaves_the_state_to_a_column_of_rowlocks_own() {
    let mut survey = sqlite("urls");
    survey.columns.push(not_null(text("status", &[("FRESH", 2), ("DONE", 1)])));
    survey.checks.push(check("status", "CHECK (status in ('FRESH','DONE'))"));
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].running.written(), Some(&State::Own));
    assert!(proposal.failed.value.is_none() && proposal.failed.todo.is_empty());
    let file = valid_file(&survey);
    assert!(!file.contains("\nfailed") && !file.contains("\ncancelled"), "{file}");
}

#[test]
fn ready_is_done_where_another_word_waits() {
    let mut survey = postgres("documents");
    survey.columns.push(text("status", &[("pending", 3), ("processing", 1), ("ready", 4), ("failed", 1)]));
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].ready.written(), Some(&words(&["pending"])));
    assert_eq!(proposal.succeeded.written(), Some(&words(&["ready"])));
}

#[test]
fn a_row_that_is_tried_again_is_ready_as_well() {
    let mut survey = postgres("jobs");
    survey.columns.push(text("status", &[("retrying", 9), ("enqueued", 3), ("running", 1), ("ok", 4)]));
    assert_eq!(propose(&survey).stages[0].ready.written(), Some(&words(&["enqueued", "retrying"])));
}

#[test]
fn two_words_that_wait_are_a_question() {
    let mut survey = postgres("orders");
    survey.columns.push(text("status", &[("submitted", 9), ("queued", 3), ("running", 1), ("done", 4)]));
    let file = asking_file(&survey);
    assert!(file.contains("# ready = [\"submitted\", \"queued\"]"), "{file}");
}

#[test]
fn stages_are_read_from_the_prefixes_of_an_enum_with_a_failed_word_each() {
    let mut survey = postgres("pages");
    let labels =
        ["FETCH_QUEUED", "FETCH_RUNNING", "FETCH_ERROR", "INDEX_QUEUED", "INDEX_RUNNING", "INDEX_ERROR", "DONE"];
    let mut status = column("status", TypeKind::Enum, &[("FETCH_QUEUED", 1)]);
    status.enum_labels = labels.map(str::to_owned).to_vec();
    status.type_name = "page_status".to_owned();
    survey.columns.push(status);
    let proposal = propose(&survey);
    let names: Vec<&str> = proposal.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["fetch", "index"]);
    assert_eq!(proposal.stages[1].ready.written(), Some(&words(&["INDEX_QUEUED"])));
    assert_eq!(proposal.succeeded.written(), Some(&words(&["DONE"])));
    let case = "(case when status in ('FETCH_QUEUED', 'FETCH_RUNNING') then 'FETCH_ERROR' else 'INDEX_ERROR' \
                end)::page_status";
    let failed = sql("status in ('FETCH_ERROR', 'INDEX_ERROR')", &[("status", case)]);
    assert_eq!(proposal.failed.written(), Some(&failed));
    valid_file(&survey);
}

#[test]
fn what_one_stage_leaves_is_what_the_next_one_takes() {
    let mut survey = postgres("recordings");
    survey.columns.push(text(
        "status",
        &[("pending", 9), ("processing", 1), ("translated", 5), ("reviewing", 1), ("reviewed", 7), ("error", 1)],
    ));
    let proposal = propose(&survey);
    let stages: Vec<(&str, Option<&State>, Option<&State>)> = proposal
        .stages
        .iter()
        .map(|stage| (stage.name.as_str(), stage.ready.written(), stage.running.written()))
        .collect();
    let (pending, processing) = (words(&["pending"]), words(&["processing"]));
    let (translated, reviewing) = (words(&["translated"]), words(&["reviewing"]));
    let expected = [("translate", Some(&pending), Some(&processing)), ("review", Some(&translated), Some(&reviewing))];
    assert_eq!(stages, expected);
    assert_eq!(proposal.succeeded.written(), Some(&words(&["reviewed"])));
    valid_file(&survey);
}

#[test]
fn many_words_of_work_that_goes_on_are_one_state() {
    let mut survey = postgres("documents");
    survey.columns.push(text("status", &[("pending", 9), ("parsing", 1), ("chunking", 5), ("success", 1)]));
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].running.written(), Some(&words(&["parsing", "chunking"])));
    assert!(proposal.stages[0].running.todo[0].contains("[[stage]]"));
}

#[test]
fn a_word_with_a_free_text_after_it_is_read_by_its_beginning() {
    let mut survey = postgres("jobs");
    survey.columns.push(text("state", &[("enqueued", 4), ("in_progress", 1), ("complete", 1), ("failed: 502", 3)]));
    let failed = sql("state like 'failed%'", &[("state", "'failed'")]);
    assert_eq!(propose(&survey).failed.written(), Some(&failed));
    valid_file(&survey);
}

#[test]
fn a_word_that_says_nothing_and_null_are_questions_and_stay_untouched() {
    let mut survey = postgres("songs");
    let values = [("queued", 4), ("transcribing", 1), ("transcribed", 1), ("no_speech", 3), ("", 2)];
    survey.columns.push(text("status", &values));
    let file = valid_file(&survey);
    assert!(file.contains("# TODO: 3 of 11 rows are \"no_speech\""), "{file}");
    assert!(file.contains("# TODO: 2 of 11 rows are NULL in \"status\""), "{file}");
    assert!(file.contains("# ignored = [\"…\"]"), "{file}");
}

#[test]
fn the_default_of_an_empty_table_is_the_first_word_and_the_rest_is_asked() {
    let mut survey = postgres("jobs");
    survey.columns.push(with_default(text("status", &[]), "'pending'::text"));
    assert_eq!(propose(&survey).stages[0].ready.written(), Some(&words(&["pending"])));
    asking_file(&survey);
}

#[test]
fn numbers_are_states_only_if_a_comment_names_them() {
    let mut survey = postgres("jobs");
    survey.columns.push(column("state", TypeKind::Integer, &[("0", 5), ("1", 2), ("2", 9)]));
    let file = asking_file(&survey);
    assert!(file.contains("5 of 16 rows are 0:"), "{file}");
    assert!(file.contains("# running = { own = true }"), "{file}");

    survey.columns[1].comment = Some("0 = pending, 1 = running, 2 = done".to_owned());
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].ready.written(), Some(&State::Words(vec![Word::Integer(0)])));
    assert_eq!(proposal.succeeded.written(), Some(&State::Words(vec![Word::Integer(2)])));
    assert!(valid_file(&survey).contains("status = { name = \"state\", as = \"integer\" }"));
}

#[test]
fn of_two_columns_the_one_with_the_words_of_work_says_the_state() {
    let mut survey = postgres("accounts");
    let values = [("pending", 3), ("resyncing", 1), ("active", 9), ("suspended", 1), ("error", 2)];
    survey.columns.extend([text("status", &[("active", 15), ("suspended", 1)]), text("state", &values)]);
    let proposal = propose(&survey);
    assert_eq!(role(&proposal, "status").unwrap().name, "state");
    // Whether "active" is done or going on, only the owner knows.
    assert_eq!(proposal.succeeded.confidence, Confidence::Guess);
    assert!(asking_file(&survey).contains("# succeeded = \"active\""));
}

#[test]
fn free_text_and_states_of_other_things_are_no_queue() {
    let mut survey = postgres("people");
    survey.columns.extend([
        text("state", &[("CA", 5), ("NY", 9)]),
        text("marital_status", &[("married", 9), ("single", 3)]),
        text("note", &[("done", 1), ("call again", 1)]),
    ]);
    assert_eq!(role(&propose(&survey), "status"), None);
}
