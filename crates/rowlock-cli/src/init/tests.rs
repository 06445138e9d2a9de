//! Proposals for tables of many shapes. The surveys are written by hand: what a survey reads is tested where it reads.

mod columns;
mod flagged;
mod words;

use rowlock::TableName;

use super::{Confidence, Proposal, State, Word, propose, render};
use crate::config::Description;
use crate::survey::{CheckConstraint, Database, Histogram, Survey, SurveyColumn, TypeKind};

/// A surveyed table with an integer key and nothing else.
fn table(database: Database, name: &str) -> Survey {
    let mut survey = Survey::empty(database, TableName::new(name));
    survey.rows_estimate = 200;
    survey.rows_are_exact = true;
    survey.primary_key = vec!["id".to_owned()];
    survey.columns.push(SurveyColumn { is_nullable: false, ..SurveyColumn::new("id", "bigint", TypeKind::BigInt) });
    survey
}

fn postgres(name: &str) -> Survey {
    table(Database::Postgres, name)
}

fn sqlite(name: &str) -> Survey {
    table(Database::Sqlite, name)
}

/// A column with these values and the rows of each; "" stands for NULL.
fn column(name: &str, kind: TypeKind, values: &[(&str, i64)]) -> SurveyColumn {
    let type_name = match kind {
        TypeKind::Text => "text",
        TypeKind::Integer => "integer",
        TypeKind::BigInt => "bigint",
        TypeKind::Boolean => "boolean",
        TypeKind::Timestamptz => "timestamp with time zone",
        TypeKind::Timestamp => "timestamp without time zone",
        TypeKind::Uuid => "uuid",
        _ => "a type",
    };
    let shown = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let histogram = Histogram {
        sampled: values.iter().map(|(_, rows)| rows).sum(),
        is_whole: true,
        values: values.iter().map(|(value, rows)| (shown(value), *rows)).collect(),
        has_more: false,
    };
    SurveyColumn { values: Some(histogram), ..SurveyColumn::new(name, type_name, kind) }
}

fn text(name: &str, values: &[(&str, i64)]) -> SurveyColumn {
    column(name, TypeKind::Text, values)
}

fn not_null(column: SurveyColumn) -> SurveyColumn {
    SurveyColumn { is_nullable: false, ..column }
}

fn with_default(column: SurveyColumn, default: &str) -> SurveyColumn {
    SurveyColumn { default: Some(default.to_owned()), ..column }
}

/// A `timestamptz` that is set in some rows.
fn time(name: &str) -> SurveyColumn {
    column(name, TypeKind::Timestamptz, &[("", 150), ("2026-01-31 12:00:00+00", 50)])
}

fn check(column: &str, definition: &str) -> CheckConstraint {
    CheckConstraint {
        name: format!("{column}_check"),
        definition: definition.to_owned(),
        columns: vec![column.to_owned()],
    }
}

fn words(words: &[&str]) -> State {
    State::Words(words.iter().map(|word| Word::Text((*word).to_owned())).collect())
}

fn sql(is: &str, set: &[(&str, &str)]) -> State {
    let set = set.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect();
    State::Sql { is: is.to_owned(), set }
}

/// The column that is in effect for a role.
fn role<'a>(proposal: &'a Proposal, role: &str) -> Option<&'a super::ColumnValue> {
    proposal.columns.iter().find(|column| column.role == role)?.column.written()
}

/// The file, which must be valid.
fn valid_file(survey: &Survey) -> String {
    let file = render(&propose(survey), survey);
    if let Err(problems) = Description::parse("rowlock.toml", &file) {
        panic!("{problems}\n{file}");
    }
    file
}

/// The file, which must ask for a decision before it is valid.
fn asking_file(survey: &Survey) -> String {
    let file = render(&propose(survey), survey);
    assert!(file.contains("# TODO: "), "{file}");
    assert!(Description::parse("rowlock.toml", &file).is_err(), "nobody has decided, and yet it is valid:\n{file}");
    file
}

#[test]
fn a_plain_queue_is_described_whole_and_with_its_evidence() {
    let mut survey = postgres("jobs");
    let values = [("queued", 67), ("processing", 10), ("completed", 100), ("failed", 23)];
    survey.columns.extend([
        with_default(not_null(text("status", &values)), "'queued'::text"),
        not_null(column("attempts", TypeKind::Integer, &[("0", 200)])),
        text("error_message", &[("", 200)]),
        not_null(time("created_at")),
        time("completed_at"),
    ]);
    let proposal = propose(&survey);
    assert_eq!(proposal.stages[0].ready.written(), Some(&words(&["queued"])));
    assert_eq!(proposal.stages[0].running.written(), Some(&words(&["processing"])));
    assert_eq!(proposal.succeeded.written(), Some(&words(&["completed"])));
    assert_eq!(proposal.failed.written(), Some(&words(&["failed"])));
    let file = valid_file(&survey);
    assert!(file.contains("# 67 of 200 rows are \"queued\"\n"), "{file}");
    assert!(file.contains("key = \"id\"\nkey_type = \"bigint\"\n"), "{file}");
    assert!(file.contains("retry_count = \"attempts\"\n"), "{file}");
    assert!(file.contains("success = { completed_at = \"now()\" }\n"), "{file}");
}

#[test]
fn the_same_survey_gives_the_same_file() {
    let mut survey = postgres("jobs");
    survey.columns.push(text("state", &[("new", 1), ("working", 1), ("done", 1)]));
    assert_eq!(valid_file(&survey), valid_file(&survey));
}

#[test]
fn a_file_for_a_new_table_is_valid() {
    let file = super::render_new(&TableName::in_schema("media", "odd.name"), "it's");
    let description = Description::parse("rowlock.toml", &file).unwrap();
    assert_eq!(description.table, TableName::in_schema("media", "odd.name"));
}

#[test]
fn a_table_without_any_state_gets_a_status_and_asks_what_its_rows_are() {
    let mut survey = postgres("photos");
    survey.columns.extend([text("path", &[("a", 1)]), not_null(time("created_at"))]);
    let proposal = propose(&survey);
    assert_eq!(proposal.existing.confidence, Confidence::Guess);
    assert!(valid_file(&survey).contains("# existing = \"ready\""));
}

#[test]
fn a_key_may_have_several_columns_or_be_unique_without_being_primary() {
    let mut survey = postgres("jobs");
    survey.columns.push(not_null(column("tenant", TypeKind::Uuid, &[])));
    survey.columns.push(text("status", &[("new", 1), ("done", 1)]));
    survey.primary_key = vec!["tenant".to_owned(), "id".to_owned()];
    assert!(valid_file(&survey).contains("key = [\"tenant\", \"id\"]\n"));

    survey.primary_key.clear();
    survey.unique_keys = vec![vec!["status".to_owned()], vec!["tenant".to_owned()]];
    assert_eq!(propose(&survey).key.written(), Some(&vec!["tenant".to_owned()]));

    survey.unique_keys.clear();
    asking_file(&survey);
}

#[test]
fn a_key_of_a_type_that_no_item_has_is_asked_about() {
    let mut survey = postgres("jobs");
    survey.columns[0].kind = TypeKind::Numeric;
    survey.columns.push(text("status", &[("new", 1), ("done", 1)]));
    asking_file(&survey);
}

#[test]
fn what_hides_or_refuses_rows_is_remarked() {
    let mut survey = postgres("jobs");
    survey.columns.push(text("status", &[("new", 1), ("done", 1), ("failed", 1)]));
    survey.columns.push(text("error", &[("", 1)]));
    survey.row_security.enabled = true;
    survey.row_security.applies_to_me = true;
    survey.checks.push(CheckConstraint {
        name: "error_if_failed".to_owned(),
        definition: "CHECK (((status = 'failed'::text) = (error IS NOT NULL)))".to_owned(),
        columns: vec!["status".to_owned(), "error".to_owned()],
    });
    let file = valid_file(&survey);
    assert!(file.contains("# TODO: row security hides rows"), "{file}");
    assert!(file.contains("# TODO: the constraint error_if_failed ties \"status\" to error"), "{file}");
}
