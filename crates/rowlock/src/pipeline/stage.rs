//! One step of the work.

use std::time::Duration;

use super::{NamedSign, Pipeline, RetryPolicy, Sign};
use crate::{Error, Result};

/// The position of a stage in its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(u16);

impl StageId {
    /// The first stage of any pipeline.
    pub const FIRST: StageId = StageId(0);

    /// Counted from zero.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn first_n(count: usize) -> impl DoubleEndedIterator<Item = StageId> + use<> {
        let count = u16::try_from(count).expect("a pipeline has at most STAGES_MAX stages");
        (0..count).map(StageId)
    }
}

/// A stage by its id or by its name.
pub trait IntoStage {
    /// The id of the stage in this pipeline.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the pipeline has no such stage.
    fn into_stage(self, pipeline: &Pipeline) -> Result<StageId>;
}

impl IntoStage for StageId {
    fn into_stage(self, pipeline: &Pipeline) -> Result<StageId> {
        if self.index() < pipeline.stages().len() {
            return Ok(self);
        }
        Err(no_such_stage(pipeline, format!("number {}", self.index())))
    }
}

impl IntoStage for &str {
    fn into_stage(self, pipeline: &Pipeline) -> Result<StageId> {
        pipeline.stage_named(self).ok_or_else(|| no_such_stage(pipeline, format!("{self:?}")))
    }
}

impl IntoStage for String {
    fn into_stage(self, pipeline: &Pipeline) -> Result<StageId> {
        self.as_str().into_stage(pipeline)
    }
}

impl<T: IntoStage + Copy> IntoStage for &T {
    fn into_stage(self, pipeline: &Pipeline) -> Result<StageId> {
        (*self).into_stage(pipeline)
    }
}

fn no_such_stage(pipeline: &Pipeline, value: String) -> Error {
    let names: Vec<&str> = pipeline.stages().iter().map(Stage::name).collect();
    let rule = format!("pipeline {} has no such stage, but {}", pipeline.name(), names.join(", "));
    Error::InvalidArgument { argument: "stage", value, rule }
}

/// One step of the work: its name, its two status words and its own policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    name: String,
    ready: Option<Sign>,
    running: Option<Sign>,
    /// Both signs with their names, in that order; the builder fills them in.
    signs: Option<(NamedSign, NamedSign)>,
    retry: Option<RetryPolicy>,
    timeout: Option<Duration>,
}

impl Stage {
    /// The longest run of a handler, unless the stage sets another. Running without a limit has to be requested: the
    /// lease of a handler that never returns would be renewed for ever.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

    /// A stage with the default words: ready is `PENDING` for the first stage and `<previous>_COMPLETE` for each later
    /// one, in progress is `<name>_IN_PROGRESS`.
    pub fn new(name: impl Into<String>) -> Stage {
        Stage {
            name: name.into(),
            ready: None,
            running: None,
            signs: None,
            retry: None,
            timeout: Some(Stage::DEFAULT_TIMEOUT),
        }
    }

    /// How the table says "ready for this stage": a word, several, or SQL.
    pub fn with_ready(mut self, sign: impl Into<Sign>) -> Stage {
        self.ready = Some(sign.into());
        self
    }

    /// How the table says "in progress in this stage".
    pub fn with_running(mut self, sign: impl Into<Sign>) -> Stage {
        self.running = Some(sign.into());
        self
    }

    /// A retry policy for this stage only.
    pub fn with_retry(mut self, policy: RetryPolicy) -> Stage {
        self.retry = Some(policy);
        self
    }

    /// The longest run of a handler of this stage, from its start.
    pub fn with_timeout(mut self, timeout: Duration) -> Stage {
        self.timeout = Some(timeout);
        self
    }

    /// Lets handlers of this stage run for as long as their worker lives.
    pub fn without_timeout(mut self) -> Stage {
        self.timeout = None;
        self
    }

    /// The stage's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The word for "ready for this stage".
    pub fn ready_word(&self) -> &str {
        &self.signs().0.name
    }

    /// The word for "in progress in this stage".
    pub fn running_word(&self) -> &str {
        &self.signs().1.name
    }

    /// How the table says "ready for this stage".
    pub fn ready(&self) -> &Sign {
        &self.signs().0.sign
    }

    /// How the table says "in progress in this stage".
    pub fn running(&self) -> &Sign {
        &self.signs().1.sign
    }

    fn signs(&self) -> &(NamedSign, NamedSign) {
        self.signs.as_ref().expect("the builder fills in the signs")
    }

    /// The stage's own retry policy, if it has one.
    pub fn retry(&self) -> Option<&RetryPolicy> {
        self.retry.as_ref()
    }

    /// The longest run of a handler; `None` if the stage has no limit.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn fill_in_signs(&mut self, previous: Option<&str>) {
        let named = |sign: &Option<Sign>, default: String| {
            let sign = sign.clone().unwrap_or_else(|| Sign::from(default.as_str()));
            NamedSign::new(sign, &default)
        };
        let ready = match previous {
            None => "PENDING".to_owned(),
            Some(previous) => format!("{previous}_COMPLETE"),
        };
        let running = format!("{}_IN_PROGRESS", self.name);
        self.signs = Some((named(&self.ready, ready), named(&self.running, running)));
    }
}
