//! What is proposed for a table, and on what each proposal stands.

/// A description of a table as far as its survey tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proposal {
    /// The pipeline's name.
    pub pipeline: String,
    /// What concerns the file as a whole.
    pub remarks: Vec<String>,
    /// The columns of the key.
    pub key: Proposed<Vec<String>>,
    /// The type of a key of one column, unless it is text.
    pub key_type: Option<&'static str>,
    /// The stages, in order; at least one.
    pub stages: Vec<StageProposal>,
    /// How the table says "done".
    pub succeeded: Proposed<State>,
    /// How it says "stopped by an error".
    pub failed: Proposed<State>,
    /// How it says "stopped by an operator".
    pub cancelled: Proposed<State>,
    /// Words that no worker touches.
    pub ignored: Proposed<Vec<Word>>,
    /// What every item meets before it is claimed.
    pub condition: Proposed<String>,
    /// What comes before age in the order.
    pub order: Proposed<Vec<String>>,
    /// What existing rows are, where the table has no sign of a state.
    pub existing: Proposed<String>,
    /// The columns that play a role.
    pub columns: Vec<ColumnProposal>,
    /// What the names of added columns begin with.
    pub prefix: Proposed<String>,
    /// What else is written at which event.
    pub on: Vec<Assignment>,
}

/// A value, how sure it is, what speaks for it, and what a person must decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed<T> {
    /// The value; `None` if there is nothing to propose.
    pub value: Option<T>,
    /// How sure it is.
    pub confidence: Confidence,
    /// What speaks for it, in sentences.
    pub evidence: Vec<String>,
    /// What a person must decide or confirm.
    pub todo: Vec<String>,
}

/// How sure a proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Confidence {
    /// The table does not tell.
    #[default]
    Unknown,
    /// One of several readings: it is written as a comment, and takes effect only if a person says so.
    Guess,
    /// The usual reading of what was found: it is written, with what speaks for it.
    Likely,
    /// The catalogue says so.
    Certain,
}

impl<T> Default for Proposed<T> {
    fn default() -> Proposed<T> {
        Proposed { value: None, confidence: Confidence::Unknown, evidence: Vec::new(), todo: Vec::new() }
    }
}

impl<T> Proposed<T> {
    pub(super) fn new(value: T, confidence: Confidence) -> Proposed<T> {
        Proposed { value: Some(value), confidence, ..Proposed::default() }
    }

    pub(super) fn because(mut self, evidence: impl Into<String>) -> Proposed<T> {
        self.evidence.push(evidence.into());
        self
    }

    pub(super) fn todo(mut self, todo: impl Into<String>) -> Proposed<T> {
        self.todo.push(todo.into());
        self
    }

    /// Whether the file has it in effect, not as a comment.
    pub fn is_written(&self) -> bool {
        self.value.is_some() && self.confidence >= Confidence::Likely
    }

    /// The value, if the file has it in effect.
    pub fn written(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.confidence >= Confidence::Likely)
    }
}

/// A value of the status column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// No value.
    Null,
    /// A text or the label of an enum.
    Text(String),
    /// A number.
    Integer(i64),
}

/// How a table says a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Values of the status column: all are read, the first is written.
    Words(Vec<Word>),
    /// A predicate and the assignments that make it true.
    Sql {
        /// SQL over the table's columns.
        is: String,
        /// Columns and the SQL of their values.
        set: Vec<(String, String)>,
    },
    /// A column of Rowlock's own says it.
    Own,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageProposal {
    /// Its name.
    pub name: String,
    /// How the table says "ready for it".
    pub ready: Proposed<State>,
    /// How it says "in progress in it".
    pub running: Proposed<State>,
}

/// A column that plays a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnProposal {
    /// The role, as the file names it.
    pub role: &'static str,
    /// The column.
    pub column: Proposed<ColumnValue>,
}

/// A column, and how it holds the value of its role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnValue {
    /// Its name.
    pub name: String,
    /// The form, as the file names it, unless it is Rowlock's own.
    pub form: Option<&'static str>,
    /// What stands for none, unless NULL does.
    pub none: Option<Word>,
    /// Whether a value is never replaced by none.
    pub keep: bool,
}

/// A column that is written at an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The event, as the file names it.
    pub event: &'static str,
    /// The column.
    pub column: String,
    /// The SQL of its value.
    pub value: Proposed<String>,
}
