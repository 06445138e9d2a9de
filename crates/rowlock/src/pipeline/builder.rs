//! Building a pipeline.

use std::time::Duration;

use super::validation::validate;
use super::{
    Assignment, Budget, ColumnSpec, Columns, Event, Existing, KeyType, NamedSign, Pipeline, RetryPolicy, Role, Sign,
    Stage, StatusType, TableName, Word,
};
use crate::Result;

/// Builds a [`Pipeline`]. Only a table, a key and one stage are required.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct PipelineBuilder {
    pipeline: Pipeline,
    heartbeat_interval: Option<Duration>,
    own_prefix: Option<String>,
}

impl PipelineBuilder {
    pub(super) fn new(name: String) -> PipelineBuilder {
        PipelineBuilder {
            pipeline: Pipeline {
                name,
                table: TableName::new(""),
                key: vec![String::new()],
                key_type: KeyType::default(),
                columns: Columns::default(),
                status_type: StatusType::default(),
                stages: Vec::new(),
                succeeded: NamedSign::new("SUCCEEDED".into(), "SUCCEEDED"),
                failed: NamedSign::new("FAILED".into(), "FAILED"),
                cancelled: NamedSign::new("CANCELLED".into(), "CANCELLED"),
                ignored: Vec::new(),
                claim_where: None,
                order: Vec::new(),
                assignments: Vec::new(),
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
            own_prefix: None,
        }
    }

    /// The table whose rows are the items.
    pub fn table(mut self, table: impl Into<TableName>) -> Self {
        self.pipeline.table = table.into();
        self
    }

    /// The key column: unique, not null.
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.pipeline.key = vec![column.into()];
        self
    }

    /// The key's columns, which are unique together. The library shows such a key as one text: the values, with `/`
    /// between them, and with `\` before a `/` or a `\` of a value. An index of the table's own cannot serve it, so
    /// `prepare` adds one.
    pub fn key_columns<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.pipeline.key = columns.into_iter().map(Into::into).collect();
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
        self.pipeline.columns.map(role, ColumnSpec::new(column));
        self
    }

    /// Maps a role to an existing column that holds its value in another form.
    pub fn column_as(mut self, role: Role, column: ColumnSpec) -> Self {
        self.pipeline.columns.map(role, column);
        self
    }

    /// Puts this before the names of the columns that `prepare` adds: for a second pipeline on the same table, or for a
    /// table that uses the names otherwise.
    pub fn own_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.own_prefix = Some(prefix.into());
        self
    }

    /// The type of the status column; text by default.
    pub fn status_type(mut self, status_type: StatusType) -> Self {
        self.pipeline.status_type = status_type;
        self
    }

    /// How the table says "past the last stage"; the word `SUCCEEDED` by default.
    pub fn succeeded(mut self, sign: impl Into<Sign>) -> Self {
        self.pipeline.succeeded = NamedSign::new(sign.into(), "SUCCEEDED");
        self
    }

    /// How the table says "stopped by an error"; the word `FAILED` by default.
    pub fn failed(mut self, sign: impl Into<Sign>) -> Self {
        self.pipeline.failed = NamedSign::new(sign.into(), "FAILED");
        self
    }

    /// How the table says "stopped by an operator"; the word `CANCELLED` by default.
    pub fn cancelled(mut self, sign: impl Into<Sign>) -> Self {
        self.pipeline.cancelled = NamedSign::new(sign.into(), "CANCELLED");
        self
    }

    /// Words of the status column that are no state of this pipeline: such rows are never touched, and not reported as
    /// strange.
    pub fn ignored<W: Into<Word>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.pipeline.ignored = words.into_iter().map(Into::into).collect();
        self
    }

    /// A condition that a row must meet to be claimed, in SQL over the table's columns: `deleted_at is null`. It must
    /// be immutable, because it is part of the index.
    pub fn claim_where(mut self, condition: impl Into<String>) -> Self {
        self.pipeline.claim_where = Some(condition.into());
        self
    }

    /// What the queue is ordered by before age, in SQL over the table's columns: `priority desc`.
    pub fn order_by<E: Into<String>>(mut self, expressions: impl IntoIterator<Item = E>) -> Self {
        self.pipeline.order = expressions.into_iter().map(Into::into).collect();
        self
    }

    /// Writes a further column at an event, in the statement of the move: the column, and the SQL of its value over the
    /// row's columns before the move.
    pub fn on(mut self, event: Event, column: impl Into<String>, value: impl Into<String>) -> Self {
        let assignment = Assignment { event, column: column.into(), value: value.into() };
        self.pipeline.assignments.push(assignment);
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

    /// The name of the table.
    #[cfg(feature = "conformance")]
    pub(crate) fn table_name(&self) -> String {
        self.pipeline.table.name().to_owned()
    }

    /// Changes each stage, by its position.
    #[cfg(feature = "conformance")]
    pub(crate) fn map_stages(mut self, change: impl Fn(usize, Stage) -> Stage) -> Self {
        let stages = std::mem::take(&mut self.pipeline.stages);
        self.pipeline.stages = stages.into_iter().enumerate().map(|(at, stage)| change(at, stage)).collect();
        self
    }

    /// The pipeline, if it can work.
    ///
    /// # Errors
    /// [`InvalidPipeline`](crate::Error::InvalidPipeline) names the first field that cannot work, its value and the
    /// rule that it breaks.
    pub fn build(self) -> Result<Pipeline> {
        let mut pipeline = self.pipeline;
        pipeline.heartbeat_interval = self.heartbeat_interval.unwrap_or(pipeline.stale_after / 3);
        if let Some(prefix) = self.own_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            pipeline.columns.prefix(prefix);
        }
        fill_in_signs(&mut pipeline);
        validate(&pipeline)?;
        Ok(pipeline)
    }
}

fn fill_in_signs(pipeline: &mut Pipeline) {
    let mut previous: Option<String> = None;
    for stage in &mut pipeline.stages {
        stage.fill_in_signs(previous.as_deref());
        previous = Some(stage.name().to_owned());
    }
}
