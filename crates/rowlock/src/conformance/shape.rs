//! Tables of other shapes than the library's own, on which the verbs must do the same.

use crate::pipeline::{ColumnSpec, Form, PipelineBuilder, Role, Sign, StatusType};
use crate::store::Dialect;
use crate::{Stage, StageId, Word};

/// The shape of the table on which the suite runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Shape {
    /// As `prepare` makes it: one text for each state.
    #[default]
    Plain,
    /// Several words for a state, NULL among them, and words that are ignored; a condition on what is claimed.
    WordList,
    /// A native enum (on SQLite a text with a CHECK), with states that only a column of the library's own can say.
    Enum,
    /// Booleans and timestamps, without a status column.
    Flags,
    /// An integer status, and times in epoch milliseconds.
    Numbers,
    /// Nothing but a time at which the work was done: every other state is said by the library's own column.
    Held,
}

/// The most stages of a pipeline in the suite.
const STAGES_MAX: usize = 4;

impl Shape {
    /// The pipeline on a table of this shape, and the statement that makes the table: nothing for the plain one, which
    /// `prepare` makes.
    pub(super) fn describe(self, pipeline: PipelineBuilder, dialect: Dialect) -> (PipelineBuilder, String) {
        let table = pipeline.table_name();
        match self {
            Shape::Plain => (pipeline, String::new()),
            Shape::WordList => word_list(pipeline, &table),
            Shape::Enum => labels(pipeline, dialect, &table),
            Shape::Flags => flags(pipeline, dialect, &table),
            Shape::Numbers => numbers(pipeline, dialect, &table),
            Shape::Held => held(pipeline, dialect, &table),
        }
    }

    /// An assignment that puts a row into a state that no pipeline of the suite knows, and the word for that state.
    pub(super) fn unknown_state(self) -> (&'static str, &'static str) {
        match self {
            Shape::Plain => ("status = 'ON HOLD'", "ON HOLD"),
            Shape::WordList => ("state = 'ON HOLD'", "ON HOLD"),
            Shape::Enum => ("state = 'on_hold', rowlock_state = null", "(other)"),
            Shape::Flags => ("step = 99, done_at = null, has_failed = false, rowlock_state = null", "(other)"),
            Shape::Numbers => ("state = 55", "55"),
            Shape::Held => ("step = 99, sent_at = null, rowlock_state = null", "(other)"),
        }
    }
}

fn word_list(pipeline: PipelineBuilder, name: &str) -> (PipelineBuilder, String) {
    let pipeline = pipeline
        .map_stages(|at, stage| {
            let ready = [format!("new {at}"), format!("again {at}")].map(Word::Text).to_vec();
            let null = (at == 0).then_some(Word::Null);
            stage
                .with_ready(ready.into_iter().chain(null).collect::<Vec<_>>())
                .with_running([format!("busy {at}"), format!("working {at}")])
        })
        .succeeded(["done", "finished"])
        .failed(["broken", "dead"])
        .cancelled("off")
        .ignored(["manual"])
        .column(Role::Status, "state")
        .claim_where("removed_at is null")
        .existing_leases_are_stale();
    (pipeline, format!("create table {name} (page text primary key, state text default 'again 0', removed_at text)"))
}

fn labels(pipeline: PipelineBuilder, dialect: Dialect, name: &str) -> (PipelineBuilder, String) {
    let pipeline = pipeline
        .map_stages(|at, stage| stage.with_ready(format!("queued_{at}")).with_running(format!("running_{at}")))
        .succeeded("done")
        .failed(Sign::Own)
        .cancelled(Sign::Own)
        .column(Role::Status, "state")
        .status_type(StatusType::Enum);
    let labels: Vec<String> =
        (0..STAGES_MAX).flat_map(|at| [format!("'queued_{at}'"), format!("'running_{at}'")]).collect();
    let labels = format!("{}, 'done', 'on_hold'", labels.join(", "));
    let table = match dialect {
        Dialect::Postgres => format!(
            "create type {name}_state as enum ({labels});
             create table {name} (page text primary key, state {name}_state not null default 'queued_0')"
        ),
        Dialect::Sqlite => format!(
            "create table {name} (
               page text primary key, state text not null default 'queued_0' check (state in ({labels}))
             )"
        ),
    };
    (pipeline, table)
}

fn flags(pipeline: PipelineBuilder, dialect: Dialect, name: &str) -> (PipelineBuilder, String) {
    let now = match dialect {
        Dialect::Postgres => "now()",
        Dialect::Sqlite => "datetime('now')",
    };
    let pipeline = pipeline
        .map_stages(|at, stage| {
            let said = |busy: bool| {
                let not = if busy { "" } else { "not " };
                Sign::sql(
                    format!("step = {at} and {not}is_busy and done_at is null and not has_failed"),
                    [
                        ("step", at.to_string()),
                        ("is_busy", busy.to_string()),
                        ("done_at", "null".to_owned()),
                        ("has_failed", "false".to_owned()),
                    ],
                )
            };
            stage.with_ready(said(false)).with_running(said(true))
        })
        .succeeded(Sign::sql("done_at is not null", [("done_at", now), ("is_busy", "false"), ("has_failed", "false")]))
        .failed(Sign::sql(
            "has_failed and done_at is null",
            [("has_failed", "true"), ("is_busy", "false"), ("done_at", "null")],
        ))
        .cancelled(Sign::Own);
    let time = if dialect == Dialect::Postgres { "timestamptz" } else { "text" };
    let table = format!(
        "create table {name} (
           page text primary key, step integer not null default 0, is_busy boolean not null default false,
           has_failed boolean not null default false, done_at {time}
         )"
    );
    (pipeline, table)
}

fn numbers(pipeline: PipelineBuilder, dialect: Dialect, name: &str) -> (PipelineBuilder, String) {
    let number = |at: usize| i64::try_from(at).expect("few stages");
    let pipeline = pipeline
        .map_stages(|at, stage| stage.with_ready(10 * number(at)).with_running(10 * number(at) + 1))
        .succeeded(100_i64)
        .failed(-1_i64)
        .cancelled(-2_i64)
        .ignored([7_i64])
        .column(Role::Status, "state")
        .status_type(StatusType::Integer)
        .column_as(Role::CreatedAt, ColumnSpec::new("createdAt").form(Form::EpochMillis))
        .column_as(Role::RetryAfter, ColumnSpec::new("nextRun").form(Form::EpochMillis).none("0"))
        .column_as(Role::Heartbeat, ColumnSpec::new("lockedUntil").form(Form::Expiry))
        .column_as(Role::ErrorMessage, ColumnSpec::new("message").none("''"));
    let time = if dialect == Dialect::Postgres { "timestamptz" } else { "text" };
    let table = format!(
        "create table {name} (
           page text primary key, state smallint not null default 0, \"createdAt\" bigint,
           \"nextRun\" bigint not null default 0, \"lockedUntil\" {time}, message text not null default ''
         )"
    );
    (pipeline, table)
}

fn held(pipeline: PipelineBuilder, dialect: Dialect, name: &str) -> (PipelineBuilder, String) {
    let now = if dialect == Dialect::Postgres { "now()" } else { "datetime('now')" };
    let pipeline = pipeline
        .map_stages(|at, stage: Stage| {
            let ready = Sign::sql(
                format!("sent_at is null and step = {at}"),
                [("sent_at", "null".to_owned()), ("step", at.to_string())],
            );
            stage.with_ready(ready).with_running(Sign::Own)
        })
        .succeeded(Sign::sql("sent_at is not null", [("sent_at", now)]))
        .failed(Sign::Own)
        .cancelled(Sign::Own);
    let time = if dialect == Dialect::Postgres { "timestamptz" } else { "text" };
    let table = format!(
        "create table {name} (page text primary key, step integer not null default {}, sent_at {time})",
        StageId::FIRST.index()
    );
    (pipeline, table)
}
