//! The rules: the parts of a pipeline, the states of its items, and the moves that exist.
//!
//! Pure: nothing here reads a clock, draws a random number or talks to a database.

mod builder;
mod columns;
mod existing;
pub(crate) mod expression;
mod moves;
mod retry;
mod sign;
mod stage;
mod status;
mod table;
mod validation;

use std::time::Duration;

use crate::Result;
use crate::limits::VERB_DEADLINE;

pub use builder::PipelineBuilder;
pub use columns::{Columns, Role};
pub use existing::Existing;
pub use moves::{IllegalMove, Move};
pub use retry::{Backoff, RetryPolicy};
pub(crate) use sign::Assignment;
pub use sign::{ColumnSpec, Event, Form, Sign, StatusType, Word};
pub use stage::{IntoStage, Stage, StageId};
pub use status::Status;
pub use table::{KeyType, TableName};

/// A table, its stages and the policies by which its items move.
///
/// Made by [`Pipeline::builder`], which rejects a pipeline that cannot work; a `Pipeline` that exists is valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    name: String,
    table: TableName,
    key: Vec<String>,
    key_type: KeyType,
    columns: Columns,
    status_type: StatusType,
    stages: Vec<Stage>,
    succeeded: NamedSign,
    failed: NamedSign,
    cancelled: NamedSign,
    ignored: Vec<Word>,
    claim_where: Option<String>,
    order: Vec<String>,
    assignments: Vec<Assignment>,
    retry: RetryPolicy,
    max_retries: u32,
    max_resets: u32,
    budget: Budget,
    stale_after: Duration,
    heartbeat_interval: Duration,
    existing_rows: Option<Existing>,
    existing_leases_are_stale: bool,
    without_ready_default: bool,
    keep_error_after_success: bool,
}

/// How the table says a state, and the name under which the library shows the state.
#[derive(Debug, Clone, PartialEq)]
struct NamedSign {
    sign: Sign,
    name: String,
}

impl NamedSign {
    /// The name is the sign's first word, or this one.
    fn new(sign: Sign, name: &str) -> NamedSign {
        let name = sign.name().unwrap_or_else(|| name.to_owned());
        NamedSign { sign, name }
    }
}

/// What the retry and reset budgets are counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Budget {
    /// Both counts restart when a stage completes: one stage cannot spend another's attempts.
    #[default]
    PerStage,
    /// Both counts cover all stages of the item.
    PerItem,
}

impl Pipeline {
    /// Starts a pipeline. The name identifies it in Rowlock's own tables, in spans and in logs.
    ///
    /// ```
    /// use rowlock::Pipeline;
    ///
    /// let pipeline = Pipeline::builder("videos")
    ///     .table("video_processing")
    ///     .key("video_id")
    ///     .stage("EXTRACTION")
    ///     .stage("EMBEDDING")
    ///     .build()?;
    /// assert_eq!(pipeline.words().len(), 7);
    /// # Ok::<(), rowlock::Error>(())
    /// ```
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder::new(name.into())
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table whose rows are the items.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The name of the key column; of the first one if there are several.
    pub fn key(&self) -> &str {
        &self.key[0]
    }

    /// The names of the key's columns.
    pub fn key_columns(&self) -> &[String] {
        &self.key
    }

    /// The type of the key column.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The column for each role.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The stages, in the order in which an item goes through them.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The ids of the stages, first stage first.
    pub fn stage_ids(&self) -> impl DoubleEndedIterator<Item = StageId> + use<> {
        StageId::first_n(self.stages.len())
    }

    /// The stage with this id.
    ///
    /// # Panics
    /// If the id belongs to another pipeline and is out of range here.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.index()]
    }

    /// The id of the stage with this name.
    pub fn stage_named(&self, name: &str) -> Option<StageId> {
        self.stage_ids().find(|id| self.stage(*id).name() == name)
    }

    /// The stage after this one, if there is one.
    pub fn stage_after(&self, id: StageId) -> Option<StageId> {
        self.stage_ids().nth(id.index() + 1)
    }

    /// Failures reported by handlers after which an item is `FAILED`: 5 means five attempts.
    pub fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// Times an item is taken back from stopped workers before it is `FAILED`.
    pub fn max_resets(&self) -> u32 {
        self.max_resets
    }

    /// What the two budgets are counted over.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Age of a heartbeat after which its lease may be swept.
    pub fn stale_after(&self) -> Duration {
        self.stale_after
    }

    /// How long a verb may take: the leases must outlive it.
    pub(crate) fn verb_deadline(&self) -> Duration {
        VERB_DEADLINE.min(self.stale_after / 3)
    }

    /// Time between two renewals of a worker's leases.
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// What the rows are that a table already has when `prepare` adds the status column; `None` if the builder was not
    /// told.
    pub fn existing_rows(&self) -> Option<Existing> {
        self.existing_rows
    }

    /// Whether rows in progress that `prepare` finds may be swept at once.
    pub fn existing_leases_are_stale(&self) -> bool {
        self.existing_leases_are_stale
    }

    /// Whether the status column may have a default other than the first ready word.
    pub fn allows_other_default(&self) -> bool {
        self.without_ready_default
    }

    /// Whether an item that succeeds keeps the error of an earlier attempt.
    pub fn keeps_error_after_success(&self) -> bool {
        self.keep_error_after_success
    }

    /// The retry policy of a stage: its own, or the pipeline's.
    pub fn retry_policy(&self, stage: StageId) -> &RetryPolicy {
        self.stage(stage).retry().unwrap_or(&self.retry)
    }

    /// The table's word for a status; where the table has no word for it, the name under which the library shows it.
    pub fn word(&self, status: Status) -> &str {
        match status {
            Status::Ready(stage) => self.stage(stage).ready_word(),
            Status::InProgress(stage) => self.stage(stage).running_word(),
            Status::Succeeded => &self.succeeded.name,
            Status::Failed => &self.failed.name,
            Status::Cancelled => &self.cancelled.name,
        }
    }

    /// How the table says a status.
    pub fn sign(&self, status: Status) -> &Sign {
        match status {
            Status::Ready(stage) => self.stage(stage).ready(),
            Status::InProgress(stage) => self.stage(stage).running(),
            Status::Succeeded => &self.succeeded.sign,
            Status::Failed => &self.failed.sign,
            Status::Cancelled => &self.cancelled.sign,
        }
    }

    /// The type of the status column.
    pub fn status_type(&self) -> StatusType {
        self.status_type
    }

    /// Words of the status column that are no state of this pipeline, and no fault.
    pub fn ignored(&self) -> &[Word] {
        &self.ignored
    }

    /// The condition that a ready row must meet besides, in SQL.
    pub fn claim_where(&self) -> Option<&str> {
        self.claim_where.as_deref()
    }

    /// What the queue is ordered by before age, in SQL.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    /// The columns that are written at events.
    pub(crate) fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// Whether the status column holds one text for each state, as in a table that the library makes: then the column
    /// is the state.
    pub(crate) fn has_plain_status(&self) -> bool {
        self.status_type == StatusType::Text && self.statuses().all(|status| self.sign(status).is_one_text())
    }

    /// Whether any state is said by the status column.
    pub(crate) fn has_status_column(&self) -> bool {
        self.statuses().any(|status| !self.sign(status).words().is_empty())
    }

    /// The columns that states and events write beside those of the roles.
    pub(crate) fn other_written_columns(&self) -> impl Iterator<Item = &str> {
        let of_states = self.statuses().flat_map(|status| match self.sign(status) {
            Sign::Sql { set, .. } => set.as_slice(),
            Sign::Words(_) | Sign::Own => &[],
        });
        let of_events = self.assignments.iter().map(|assignment| assignment.column.as_str());
        of_states.map(|(column, _)| column.as_str()).chain(of_events)
    }

    /// The roles that this pipeline reads and writes: all, unless no column holds the status.
    pub(crate) fn roles(&self) -> impl Iterator<Item = Role> + use<> {
        let has_status = self.has_status_column();
        Role::ALL.into_iter().filter(move |role| *role != Role::Status || has_status)
    }

    /// Whether a column of the library's own says some state.
    pub(crate) fn has_own_state(&self) -> bool {
        self.statuses().any(|status| *self.sign(status) == Sign::Own)
    }

    /// The status for a word of the table; `None` for a word that this pipeline does not know.
    pub fn status(&self, word: &str) -> Option<Status> {
        self.statuses().find(|status| self.word(*status) == word)
    }

    /// Every status of this pipeline, in the order in which an item meets them.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + use<> {
        self.stage_ids().flat_map(|stage| [Status::Ready(stage), Status::InProgress(stage)]).chain([
            Status::Succeeded,
            Status::Failed,
            Status::Cancelled,
        ])
    }

    /// Refuses the status of a stage that this pipeline does not have: its id belongs to another pipeline.
    pub(crate) fn check(&self, status: Status) -> Result<()> {
        status.stage().map_or(Ok(()), |stage| stage.into_stage(self).map(drop))
    }

    /// Every word of this pipeline, in the same order.
    pub fn words(&self) -> Vec<&str> {
        self.statuses().map(|status| self.word(status)).collect()
    }
}

#[cfg(test)]
mod tests;
