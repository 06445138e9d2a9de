//! From a description to the library's pipeline, and from the library's refusals back to the file.

use rowlock::pipeline::{ColumnSpec, Form, Sign, Word};
use rowlock::{Error, KeyType, Pipeline, PipelineBuilder, Stage};

use super::problem::{Problem, Problems};
use super::{ColumnDescription, ColumnForm, Description, Limits, StageDescription, Timeout};

impl Description {
    /// The pipeline. Its key is of the type that the file names, and text if it names none; a program that knows the
    /// table uses [`Description::pipeline_with_key`].
    ///
    /// # Errors
    /// The rule of the library that the description breaks, and where.
    pub fn pipeline(&self) -> Result<Pipeline, Problems> {
        self.pipeline_with_key(KeyType::Text)
    }

    /// The pipeline, with this type of key unless the file names another.
    ///
    /// # Errors
    /// As [`Description::pipeline`].
    pub fn pipeline_with_key(&self, key_type: KeyType) -> Result<Pipeline, Problems> {
        self.builder(self.key_type.unwrap_or(key_type)).build().map_err(|error| self.problem(&error))
    }

    fn builder(&self, key_type: KeyType) -> PipelineBuilder {
        let mut builder = Pipeline::builder(&self.pipeline)
            .table(self.table.clone())
            .key_type(key_type)
            .status_type(self.status_type)
            .succeeded(self.succeeded.clone())
            // A state that the file leaves out is said by a column of Rowlock's own: no word is invented.
            .failed(self.failed.clone().unwrap_or(Sign::Own))
            .cancelled(self.cancelled.clone().unwrap_or(Sign::Own))
            .ignored(self.ignored.clone())
            .order_by(self.order.clone());
        builder = match self.key.as_slice() {
            [column] => builder.key(column),
            columns => builder.key_columns(columns.to_vec()),
        };
        if let Some(condition) = &self.claim_where {
            builder = builder.claim_where(condition);
        }
        if let Some(existing) = self.existing {
            builder = builder.existing_rows(existing);
        }
        if self.existing_leases_are_stale {
            builder = builder.existing_leases_are_stale();
        }
        if self.without_ready_default {
            builder = builder.without_ready_default();
        }
        if self.keep_error_after_success {
            builder = builder.keep_error_after_success();
        }
        if let Some(prefix) = &self.prefix {
            builder = builder.own_prefix(prefix);
        }
        for stage in &self.stages {
            builder = builder.add_stage(stage_of(stage));
        }
        for column in &self.columns {
            builder = builder.column_as(column.role, spec_of(column));
        }
        for assignment in &self.on {
            builder = builder.on(assignment.event, &assignment.column, &assignment.value);
        }
        with_limits(builder, &self.limits)
    }

    /// What the library refuses, where the file says it.
    fn problem(&self, error: &Error) -> Problems {
        let problem = match error {
            Error::InvalidPipeline { field, value, rule } => {
                let path = path_of(field);
                // What the file leaves out has no place of its own.
                let at = self.span(&path).or_else(|| self.span("pipeline")).unwrap_or_default();
                Problem::new(at, format!("`{path}` is {value}"), format!("but {rule}"))
            }
            error => Problem::new(0..0, "no pipeline can be made of it", error.to_string()),
        };
        Problems::new(self.source.clone(), vec![problem])
    }
}

fn stage_of(description: &StageDescription) -> Stage {
    let mut stage =
        Stage::new(&description.name).with_ready(description.ready.clone()).with_running(description.running.clone());
    match description.timeout {
        Some(Timeout::After(timeout)) => stage = stage.with_timeout(timeout),
        Some(Timeout::Never) => stage = stage.without_timeout(),
        None => {}
    }
    match &description.retry {
        Some(policy) => stage.with_retry(policy.clone()),
        None => stage,
    }
}

fn spec_of(column: &ColumnDescription) -> ColumnSpec {
    let mut spec = ColumnSpec::new(&column.name).form(form_of(column.form));
    if let Some(none) = &column.none {
        spec = spec.none(literal(none));
    }
    if column.keep { spec.keep() } else { spec }
}

fn form_of(form: ColumnForm) -> Form {
    match form {
        // The library's own times are texts in ISO 8601 on SQLite, and what reads them takes every such text.
        ColumnForm::Native | ColumnForm::IsoText => Form::Native,
        ColumnForm::TimestampUtc => Form::TimestampUtc,
        ColumnForm::EpochSeconds => Form::EpochSeconds,
        ColumnForm::EpochMillis => Form::EpochMillis,
        ColumnForm::SqliteDatetime => Form::SqliteDatetime,
        ColumnForm::Json => Form::Json,
        ColumnForm::Expiry => Form::Expiry,
    }
}

/// A value as SQL.
fn literal(word: &Word) -> String {
    match word {
        Word::Null => "null".to_owned(),
        Word::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Word::Integer(number) => number.to_string(),
        Word::Boolean(truth) => truth.to_string(),
    }
}

fn with_limits(mut builder: PipelineBuilder, limits: &Limits) -> PipelineBuilder {
    if let Some(attempts) = limits.max_retries {
        builder = builder.max_retries(attempts);
    }
    if let Some(resets) = limits.max_resets {
        builder = builder.max_resets(resets);
    }
    if let Some(budget) = limits.budget {
        builder = builder.budget(budget);
    }
    if let Some(age) = limits.stale_after {
        builder = builder.stale_after(age);
    }
    if let Some(interval) = limits.heartbeat_interval {
        builder = builder.heartbeat_interval(interval);
    }
    match &limits.retry {
        Some(policy) => builder.retry(policy.clone()),
        None => builder,
    }
}

/// The path in the file of a field of the library's builder.
pub(super) fn path_of(field: &str) -> String {
    if let Some(status) = field.strip_prefix("word of ") {
        return path_of_status(status);
    }
    if let Some(event) = field.strip_prefix("on.") {
        return format!("on.{}", snake_case(event));
    }
    if let Some(stage) = field.strip_prefix("stages[") {
        return format!("stage[{stage}");
    }
    let head = field.split('.').next().unwrap_or(field);
    match head {
        "name" => "pipeline".to_owned(),
        "table" => "table".to_owned(),
        "stages" => "stage".to_owned(),
        "status_type" => "columns.status".to_owned(),
        "own_prefix" => "columns.prefix".to_owned(),
        "key_columns" => "key".to_owned(),
        "existing_rows" => "existing".to_owned(),
        "claim_where" => "where".to_owned(),
        "order_by" => "order".to_owned(),
        "max_retries" | "max_resets" | "budget" | "stale_after" | "heartbeat_interval" | "retry" => {
            format!("limits.{field}")
        }
        _ => field.to_owned(),
    }
}

/// The path of a status as the library shows it: `Ready(StageId(0))`, `Succeeded`.
fn path_of_status(status: &str) -> String {
    let stage: String = status.chars().filter(char::is_ascii_digit).collect();
    if status.starts_with("Ready(") {
        format!("stage[{stage}].ready")
    } else if status.starts_with("InProgress(") {
        format!("stage[{stage}].running")
    } else {
        snake_case(status)
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}
