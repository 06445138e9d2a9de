//! Building a pipeline, and rejecting one that cannot work.

use std::collections::HashMap;
use std::time::Duration;

use super::{Backoff, Budget, Columns, Existing, KeyType, Pipeline, RetryPolicy, Role, Stage, TableName};
use crate::limits::{IDENTIFIER_BYTES_MAX, RETRY_DELAY_MAX, STAGES_MAX, STATUS_WORD_BYTES_MAX};
use crate::{Error, Result};

/// Builds a [`Pipeline`]. Only a table, a key and one stage are required.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct PipelineBuilder {
    pipeline: Pipeline,
    heartbeat_interval: Option<Duration>,
}

impl PipelineBuilder {
    pub(super) fn new(name: String) -> PipelineBuilder {
        PipelineBuilder {
            pipeline: Pipeline {
                name,
                table: TableName::new(""),
                key: String::new(),
                key_type: KeyType::default(),
                columns: Columns::default(),
                stages: Vec::new(),
                succeeded_word: "SUCCEEDED".to_owned(),
                failed_word: "FAILED".to_owned(),
                cancelled_word: "CANCELLED".to_owned(),
                retry: RetryPolicy::default(),
                max_retries: 5,
                max_resets: 3,
                budget: Budget::default(),
                stale_after: Duration::from_secs(300),
                heartbeat_interval: Duration::ZERO,
                existing_rows: None,
                existing_leases_are_stale: false,
                without_ready_default: false,
                keep_error_after_success: false,
            },
            heartbeat_interval: None,
        }
    }

    /// The table whose rows are the items.
    pub fn table(mut self, table: impl Into<TableName>) -> Self {
        self.pipeline.table = table.into();
        self
    }

    /// The key column: unique, not null.
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.pipeline.key = column.into();
        self
    }

    /// The type of the key column; text by default.
    pub fn key_type(mut self, key_type: KeyType) -> Self {
        self.pipeline.key_type = key_type;
        self
    }

    /// Adds a stage with the default words and policies.
    pub fn stage(self, name: impl Into<String>) -> Self {
        self.add_stage(Stage::new(name))
    }

    /// Adds a stage with its own words or policies.
    pub fn add_stage(mut self, stage: Stage) -> Self {
        self.pipeline.stages.push(stage);
        self
    }

    /// Maps a role to an existing column.
    pub fn column(mut self, role: Role, column: impl Into<String>) -> Self {
        self.pipeline.columns.rename(role, column.into());
        self
    }

    /// The word for "past the last stage"; `SUCCEEDED` by default.
    pub fn succeeded_word(mut self, word: impl Into<String>) -> Self {
        self.pipeline.succeeded_word = word.into();
        self
    }

    /// The word for "stopped by an error"; `FAILED` by default.
    pub fn failed_word(mut self, word: impl Into<String>) -> Self {
        self.pipeline.failed_word = word.into();
        self
    }

    /// The word for "stopped by an operator"; `CANCELLED` by default.
    pub fn cancelled_word(mut self, word: impl Into<String>) -> Self {
        self.pipeline.cancelled_word = word.into();
        self
    }

    /// How long failed items wait, for stages without their own policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.pipeline.retry = policy;
        self
    }

    /// Failures after which an item is `FAILED`, at least 1; 5 by default.
    pub fn max_retries(mut self, attempts: u32) -> Self {
        self.pipeline.max_retries = attempts;
        self
    }

    /// Resets (times an item is taken back from stopped workers) at which it is `FAILED`, at least 1; 3 by default.
    ///
    /// With 1, an innocent item that was held beside a poison one fails with it; from 2 on, suspects run alone.
    pub fn max_resets(mut self, resets: u32) -> Self {
        self.pipeline.max_resets = resets;
        self
    }

    /// What the two budgets are counted over; per stage by default.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.pipeline.budget = budget;
        self
    }

    /// Age of a heartbeat after which its lease may be swept; 300 s by default.
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.pipeline.stale_after = age;
        self
    }

    /// Time between two renewals; a third of `stale_after` by default, which is also the longest allowed.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = Some(interval);
        self
    }

    /// Says what the rows are that the table already has when `prepare` adds the status column. New rows are ready in
    /// any case. Without it, `prepare` refuses a table that has rows and no status.
    pub fn existing_rows(mut self, existing: Existing) -> Self {
        self.pipeline.existing_rows = Some(existing);
        self
    }

    /// Says that nothing works any more on the rows that are in progress when `prepare` first adds Rowlock's columns:
    /// the first sweep takes them back. Otherwise `prepare` stamps them, and they are taken back one `stale_after`
    /// later.
    pub fn existing_leases_are_stale(mut self) -> Self {
        self.pipeline.existing_leases_are_stale = true;
        self
    }

    /// Allows a status column whose default is not the first ready word. A plain `INSERT` is then an item only if it
    /// sets the status itself; `add_many` does.
    pub fn without_ready_default(mut self) -> Self {
        self.pipeline.without_ready_default = true;
        self
    }

    /// Keeps the error of an earlier attempt in the row of an item that succeeds. Otherwise the column is cleared,
    /// because its reader would take an error for a failure.
    pub fn keep_error_after_success(mut self) -> Self {
        self.pipeline.keep_error_after_success = true;
        self
    }

    /// The pipeline, if it can work.
    ///
    /// # Errors
    /// [`Error::InvalidPipeline`] names the first field that cannot work, its value and the rule that it breaks.
    pub fn build(self) -> Result<Pipeline> {
        let mut pipeline = self.pipeline;
        pipeline.heartbeat_interval = self.heartbeat_interval.unwrap_or(pipeline.stale_after / 3);
        check_names(&pipeline)?;
        check_stages(&pipeline)?;
        fill_in_words(&mut pipeline);
        check_words(&pipeline)?;
        check_limits(&pipeline)?;
        check_times(&pipeline)?;
        check_policy("retry", &pipeline.retry)?;
        for (index, stage) in pipeline.stages.iter().enumerate() {
            if let Some(policy) = stage.retry() {
                check_policy(&format!("stages[{index}].retry"), policy)?;
            }
        }
        Ok(pipeline)
    }
}

fn refuse<T>(field: impl Into<String>, value: impl Into<String>, rule: impl Into<String>) -> Result<T> {
    Err(Error::InvalidPipeline { field: field.into(), value: value.into(), rule: rule.into() })
}

fn check_names(pipeline: &Pipeline) -> Result<()> {
    check_identifier("name", &pipeline.name)?;
    if let Some(schema) = pipeline.table.schema() {
        check_identifier("table.schema", schema)?;
    }
    check_identifier("table", pipeline.table.name())?;
    check_identifier("key", &pipeline.key)?;
    let mut roles: HashMap<&str, String> = HashMap::from([(pipeline.key.as_str(), "key".to_owned())]);
    for role in Role::ALL {
        let column = pipeline.columns.name(role);
        let field = format!("columns.{}", role.default_column());
        check_identifier(&field, column)?;
        if let Some(other) = roles.insert(column, field.clone()) {
            return refuse(field, format!("{column:?}"), format!("is the column of {other} too: one column, one role"));
        }
    }
    Ok(())
}

fn check_identifier(field: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return refuse(field, "\"\"", "must be given");
    }
    if name.contains('\0') {
        return refuse(field, format!("{name:?}"), "must not contain a NUL");
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return refuse(
            field,
            format!("{name:?} ({} bytes)", name.len()),
            format!("must be at most {IDENTIFIER_BYTES_MAX} bytes long, as PostgreSQL's identifiers are"),
        );
    }
    Ok(())
}

fn check_stages(pipeline: &Pipeline) -> Result<()> {
    let stages = &pipeline.stages;
    if stages.is_empty() {
        return refuse("stages", "none", "a pipeline has at least one stage");
    }
    if stages.len() > STAGES_MAX {
        return refuse("stages", stages.len().to_string(), format!("a pipeline has at most {STAGES_MAX} stages"));
    }
    for (index, stage) in stages.iter().enumerate() {
        check_identifier(&format!("stages[{index}].name"), stage.name())?;
        if stages[..index].iter().any(|earlier| earlier.name() == stage.name()) {
            return refuse(
                format!("stages[{index}].name"),
                format!("{:?}", stage.name()),
                "must not be the name of two stages",
            );
        }
    }
    Ok(())
}

fn fill_in_words(pipeline: &mut Pipeline) {
    let mut previous: Option<String> = None;
    for stage in &mut pipeline.stages {
        stage.fill_in_words(previous.as_deref());
        previous = Some(stage.name().to_owned());
    }
}

fn check_words(pipeline: &Pipeline) -> Result<()> {
    let mut owners: HashMap<&str, String> = HashMap::new();
    for status in pipeline.statuses() {
        let word = pipeline.word(status);
        let field = format!("word of {status:?}");
        if word.is_empty() {
            return refuse(field, "\"\"", "must not be empty");
        }
        if word.contains('\0') {
            return refuse(field, format!("{word:?}"), "must not contain a NUL");
        }
        if word.len() > STATUS_WORD_BYTES_MAX {
            return refuse(
                field,
                format!("{word:?} ({} bytes)", word.len()),
                format!("must be at most {STATUS_WORD_BYTES_MAX} bytes long"),
            );
        }
        if let Some(other) = owners.insert(word, field.clone()) {
            return refuse(field, format!("{word:?}"), format!("is the {other} too: no two states may share a word"));
        }
    }
    Ok(())
}

fn check_limits(pipeline: &Pipeline) -> Result<()> {
    for (field, limit) in [("max_retries", pipeline.max_retries), ("max_resets", pipeline.max_resets)] {
        if limit < 1 {
            return refuse(
                field,
                limit.to_string(),
                "must be at least 1: it is the number of attempts, not of repeats",
            );
        }
        if i32::try_from(limit).is_err() {
            let rule = format!("must be at most {}: the counts have 32 bits, one of them for the sign", i32::MAX);
            return refuse(field, limit.to_string(), rule);
        }
    }
    Ok(())
}

fn check_times(pipeline: &Pipeline) -> Result<()> {
    let stale_after = pipeline.stale_after;
    let interval = pipeline.heartbeat_interval;
    if stale_after < MIN_STALE_AFTER {
        return refuse("stale_after", format!("{stale_after:?}"), format!("must be at least {MIN_STALE_AFTER:?}"));
    }
    if stale_after > RETRY_DELAY_MAX {
        return refuse("stale_after", format!("{stale_after:?}"), "must be at most a year");
    }
    if interval.is_zero() {
        return refuse("heartbeat_interval", "0s", "must be longer than zero");
    }
    if interval > stale_after / 3 {
        return refuse(
            "heartbeat_interval",
            format!("{interval:?}"),
            format!(
                "must be at most a third of stale_after ({:?}): two renewals may be lost before a lease is",
                stale_after / 3
            ),
        );
    }
    for (index, stage) in pipeline.stages.iter().enumerate() {
        if stage.timeout() == Some(Duration::ZERO) {
            return refuse(format!("stages[{index}].timeout"), "0s", "must be longer than zero");
        }
    }
    Ok(())
}

/// On SQLite the database's clock counts milliseconds, and each renewal is a commit.
const MIN_STALE_AFTER: Duration = Duration::from_millis(100);

fn check_policy(field: &str, policy: &RetryPolicy) -> Result<()> {
    if !(0.0..=1.0).contains(&policy.jitter) {
        return refuse(format!("{field}.jitter"), policy.jitter.to_string(), "must be from 0 to 1");
    }
    if policy.floor > RETRY_DELAY_MAX {
        return refuse(format!("{field}.floor"), format!("{:?}", policy.floor), "must be at most a year");
    }
    match &policy.backoff {
        Backoff::Exponential { base, cap } if cap < base => refuse(
            format!("{field}.cap"),
            format!("{cap:?}"),
            format!("must be at least the base ({base:?}), or the base would never be used"),
        ),
        Backoff::Listed(delays) if delays.is_empty() => {
            refuse(format!("{field}.delays"), "none", "a list of delays has at least one")
        }
        Backoff::Exponential { .. } | Backoff::Constant(_) | Backoff::Listed(_) => Ok(()),
    }
}
