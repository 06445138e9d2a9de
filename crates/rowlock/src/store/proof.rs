//! The proof of a description on a sample of rows, in sentences: that a row is in one state, and that what is written
//! for a state is read as that state.

use crate::pipeline::{Pipeline, Status};

/// What the proof of a pipeline on its table found, in sentences with examples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// What is wrong with the description: with it, items would be lost or done twice. It also holds the table's
    /// problems that no statement of `attach` can mend.
    pub flaws: Vec<String>,
    /// Rows that no worker takes up.
    pub remarks: Vec<String>,
}

impl Proof {
    pub(super) fn add(&mut self, unclear: &[Unclear]) {
        for unclear in unclear {
            let sentences = if unclear.is_in_several() { &mut self.flaws } else { &mut self.remarks };
            sentences.push(unclear.sentence());
        }
    }
}

/// What a state is, for people who know the description.
pub(super) fn described(pipeline: &Pipeline, status: Status) -> String {
    match status {
        Status::Ready(stage) => format!("ready for {}", pipeline.stage(stage).name()),
        Status::InProgress(stage) => format!("running {}", pipeline.stage(stage).name()),
        Status::Succeeded => "succeeded".to_owned(),
        Status::Failed => "failed".to_owned(),
        Status::Cancelled => "cancelled".to_owned(),
    }
}

/// Rows of the sample of which the table says no state, or more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclear {
    /// The states, with commas between them; empty if there is none.
    pub(super) states: String,
    /// How many states.
    pub(super) how_many: i64,
    /// What the status column holds, if there is one.
    pub(super) word: Option<String>,
    pub(super) rows: i64,
    /// The key of one of them.
    pub(super) example: Option<String>,
}

impl Unclear {
    pub(super) fn is_in_several(&self) -> bool {
        self.how_many > 1
    }

    pub(super) fn sentence(&self) -> String {
        let rows = if self.rows == 1 { "1 row".to_owned() } else { format!("{} rows", self.rows) };
        let (are, their) = if self.rows == 1 { ("is", "its") } else { ("are", "their") };
        let example = shown_key(self.example.as_deref());
        if self.is_in_several() {
            return format!(
                "{rows} of a sample {are} in {} states at once ({}), such as {example}: make the conditions of these \
                 states exclude each other",
                self.how_many, self.states
            );
        }
        let word = match &self.word {
            Some(word) => format!(" ({word:?} in the status column)"),
            None => String::new(),
        };
        format!(
            "{rows} of a sample {are} in no state{word}, such as {example}: give a state {their} word or condition, or \
             name the word among those that are ignored"
        )
    }
}

/// What a row says after it was put into a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenState {
    pub(super) status: Status,
    /// What the table says then: states, with commas between them; empty if none.
    pub(super) states: String,
    /// How the library reads the row then.
    pub(super) read: Option<String>,
    /// The key of the row; none for a row that has the table's defaults alone.
    pub(super) key: Option<String>,
}

impl WrittenState {
    pub(super) fn sentence(&self, pipeline: &Pipeline) -> String {
        let wanted = described(pipeline, self.status);
        let row = shown_key(self.key.as_deref());
        let says = match self.states.as_str() {
            "" => "says no state".to_owned(),
            states => format!("says {states:?}"),
        };
        let read = self.read.as_deref().unwrap_or("nothing");
        format!(
            "what is written for {wanted:?} does not make a row {wanted:?}: {row} then {says}, and is read as \
             {read:?}; the `set` of a state must make its own `is` true, and that of no other state"
        )
    }
}

/// A state, or the sample, that the database cannot evaluate.
pub(super) fn not_evaluated(what: &str, error: &crate::Error) -> String {
    let said = match error {
        crate::Error::Database { source: sqlx::Error::Database(error), .. } => error.message().to_owned(),
        other => other.to_string(),
    };
    format!("{what} cannot be evaluated by the database: {said}")
}

/// An index that the database refuses to make on an empty copy of the table.
pub(super) fn not_indexed(error: &crate::Error) -> String {
    let said = match error {
        crate::Error::Database { source: sqlx::Error::Database(error), .. } => error.message().to_owned(),
        other => other.to_string(),
    };
    format!(
        "an index that claims need cannot be made: {said}; conditions, `where`, `order` and the columns of a key must \
         be immutable: no now(), and no text of a time with a zone"
    )
}

fn shown_key(key: Option<&str>) -> String {
    match key {
        Some(key) => format!("the row with the key {key:?}"),
        None => "a row of the table's defaults".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sign;

    #[test]
    fn a_row_in_two_states_is_told_by_its_key() {
        let unclear = Unclear {
            states: "ready for A, succeeded".to_owned(),
            how_many: 2,
            word: None,
            rows: 3,
            example: Some("a".to_owned()),
        };
        assert_eq!(
            unclear.sentence(),
            "3 rows of a sample are in 2 states at once (ready for A, succeeded), such as the row with the key \"a\": \
             make the conditions of these states exclude each other"
        );
    }

    #[test]
    fn a_row_in_no_state_is_told_by_its_word() {
        let unclear = Unclear {
            states: String::new(),
            how_many: 0,
            word: Some("parked".to_owned()),
            rows: 1,
            example: Some("a".to_owned()),
        };
        let sentence = unclear.sentence();
        let beginning = "1 row of a sample is in no state (\"parked\" in the status column)";
        assert!(sentence.starts_with(beginning), "{sentence}");
    }

    #[test]
    fn what_a_state_writes_and_another_reads_is_told_by_both() {
        let pipeline = Pipeline::builder("p")
            .table("t")
            .key("id")
            .stage("A")
            .succeeded(Sign::sql("done", [("done", "false")]))
            .build()
            .expect("a valid pipeline");
        let written = WrittenState {
            status: Status::Succeeded,
            states: "ready for A".to_owned(),
            read: Some("PENDING".to_owned()),
            key: None,
        };
        let sentence = written.sentence(&pipeline);
        assert!(sentence.contains("\"succeeded\"") && sentence.contains("then says \"ready for A\""), "{sentence}");
        assert!(sentence.contains("a row of the table's defaults"), "{sentence}");
    }
}
