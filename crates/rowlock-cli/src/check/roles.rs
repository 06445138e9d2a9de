//! Which column of the table plays which part in the queue, and how the table says each state.

use std::time::Duration;

use super::queue::SqlShape;
use super::template::quote_literal;
use crate::survey::quote_identifier;

/// The part that each column plays. A part that no column plays is `None`.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The pipeline's name, if a description gives one.
    pub pipeline: Option<String>,
    /// The columns of the key, in order.
    pub key: Vec<String>,
    /// The column that holds the state's word.
    pub status: Option<String>,
    /// Waiting for a worker.
    pub ready: State,
    /// Held by a worker.
    pub running: State,
    /// Done.
    pub succeeded: State,
    /// Given up.
    pub failed: State,
    /// Stopped by a person.
    pub cancelled: State,
    /// Known, and no worker's business.
    pub ignored: State,
    /// The states of a description one by one, each with what it is. A guess has none.
    pub described: Vec<(String, State)>,
    /// When the holder last showed that it lives, or until when it holds the row.
    pub lease: Option<Lease>,
    /// Who holds the row.
    pub holder: Option<String>,
    /// What tells one claim of a row from the next.
    pub token: Option<String>,
    /// How often the row was tried.
    pub attempts: Option<String>,
    /// From how many attempts on a row is not tried again.
    pub attempts_max: AttemptsMax,
    /// Before when the row is not claimed.
    pub due: Option<String>,
    /// When the row was inserted.
    pub created: Option<String>,
    /// When the row was last changed.
    pub updated: Option<String>,
    /// The last error.
    pub error: Option<String>,
    /// What marks the row as deleted.
    pub deleted: Option<String>,
    /// What comes before age in the claim's order.
    pub priority: Option<String>,
    /// Whether the claim leaves out rows that are marked as deleted, as far as is known.
    pub leaves_out_deleted: bool,
    /// After which time without a sign of life a row counts as abandoned.
    pub stale_after: Duration,
    /// Whether this was guessed from names and words, and not described.
    pub is_guess: bool,
    /// Whether Rowlock keeps the table: its columns are there, so that what they hold follows its rules.
    pub is_kept_by_rowlock: bool,
}

/// How the table says a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The words of the status column; `None` is NULL.
    pub words: Vec<Option<String>>,
    /// Predicates in SQL over the table's columns.
    pub predicates: Vec<String>,
}

/// The column that tells whether a row in progress is still held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub column: String,
    /// What it holds.
    pub meaning: LeaseMeaning,
}

/// What a lease column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseMeaning {
    /// The last sign of life, renewed while the work goes on.
    Heartbeat,
    /// When the work began.
    Stamp,
    /// When the claim ends.
    Expiry,
    /// When anything changed the row.
    LastChange,
}

/// From how many attempts on a row is not tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AttemptsMax {
    /// Nothing in the table says it.
    #[default]
    Unknown,
    /// A column says it for each row.
    Column(String),
    /// The same for all.
    Number(i64),
}

impl Roles {
    /// The states in which nothing more happens to a row.
    pub(super) fn terminal(&self) -> State {
        let mut terminal = self.succeeded.clone();
        for state in [&self.failed, &self.cancelled] {
            terminal.words.extend(state.words.iter().cloned());
            terminal.predicates.extend(state.predicates.iter().cloned());
        }
        terminal
    }

    /// Every word of the status column that has a meaning.
    pub(super) fn known_words(&self) -> Vec<Option<String>> {
        let states = [&self.ready, &self.running, &self.succeeded, &self.failed, &self.cancelled, &self.ignored];
        states.into_iter().flat_map(|state| state.words.iter().cloned()).collect()
    }

    /// Whether some state is told by an expression, so that words alone say little.
    pub(super) fn has_predicates(&self) -> bool {
        let states = [&self.ready, &self.running, &self.succeeded, &self.failed, &self.cancelled, &self.ignored];
        states.into_iter().any(|state| !state.predicates.is_empty())
    }

    /// What was guessed, for people to confirm or to correct.
    pub(super) fn reading(&self) -> String {
        let mut parts = Vec::new();
        if let Some(status) = &self.status {
            parts.push(format!("the state is in {status:?}"));
        }
        let states = [
            ("ready", &self.ready),
            ("in progress", &self.running),
            ("succeeded", &self.succeeded),
            ("failed", &self.failed),
            ("cancelled", &self.cancelled),
            ("ignored", &self.ignored),
        ];
        let known = states.iter().filter(|(_, state)| state.is_known());
        parts.extend(known.map(|(name, state)| format!("{name}: {state}")));
        let columns = [
            ("lease", self.lease.as_ref().map(|lease| &lease.column)),
            ("holder", self.holder.as_ref()),
            ("token", self.token.as_ref()),
            ("attempts", self.attempts.as_ref()),
            ("due", self.due.as_ref()),
            ("error", self.error.as_ref()),
        ];
        parts.extend(columns.iter().filter_map(|(role, name)| name.map(|name| format!("{role}: {name:?}"))));
        parts.join("; ")
    }
}

impl State {
    /// A state of these words.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> State {
        State { words: words.into_iter().map(|word| Some(word.to_owned())).collect(), predicates: Vec::new() }
    }

    /// A state that an expression tells.
    pub fn of_predicate(predicate: impl Into<String>) -> State {
        State { words: Vec::new(), predicates: vec![predicate.into()] }
    }

    /// Whether the table can say it at all.
    pub fn is_known(&self) -> bool {
        !self.words.is_empty() || !self.predicates.is_empty()
    }

    /// The state as a predicate in SQL; `None` if the table cannot say it.
    pub(super) fn sql(&self, status: Option<&str>, shape: SqlShape) -> Option<String> {
        let mut parts: Vec<String> = self.predicates.iter().map(|predicate| format!("({predicate})")).collect();
        if let Some(status) = status.map(quote_identifier) {
            let texts: Vec<String> = self.words.iter().flatten().map(|word| literal(word, shape)).collect();
            if !texts.is_empty() {
                parts.push(format!("{status} in ({})", texts.join(", ")));
            }
            if self.words.contains(&None) {
                parts.push(format!("{status} is null"));
            }
        }
        match parts.len() {
            0 => None,
            1 => parts.pop(),
            _ => Some(format!("({})", parts.join(" or "))),
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.words.iter().map(|word| word.clone().unwrap_or_else(|| "NULL".to_owned()));
        let parts: Vec<String> = words.chain(self.predicates.iter().cloned()).collect();
        f.write_str(&parts.join(", "))
    }
}

/// PostgreSQL reads a quoted literal in the column's own type. SQLite compares a text with a number as unequal, unless
/// the column has the affinity to convert it.
fn literal(word: &str, shape: SqlShape) -> String {
    if !shape.is_postgres && !shape.status_is_text && word.parse::<i64>().is_ok() {
        return word.to_owned();
    }
    quote_literal(word, shape.is_postgres)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: SqlShape = SqlShape { is_postgres: true, status_is_text: true };
    const SQLITE_NUMBER: SqlShape = SqlShape { is_postgres: false, status_is_text: false };

    #[test]
    fn a_state_of_words_with_null_is_read_as_both() {
        let mut state = State::of_words(["queued", "it's"]);
        state.words.push(None);
        let sql = state.sql(Some("state"), POSTGRES);
        assert_eq!(sql.as_deref(), Some("(\"state\" in ('queued', 'it''s') or \"state\" is null)"));
    }

    #[test]
    fn a_number_is_compared_as_a_number_on_sqlite() {
        let sql = State::of_words(["1"]).sql(Some("state"), SQLITE_NUMBER);
        assert_eq!(sql.as_deref(), Some("\"state\" in (1)"));
    }

    #[test]
    fn a_state_that_the_table_cannot_say_has_no_predicate() {
        assert_eq!(State::default().sql(Some("state"), POSTGRES), None);
        assert_eq!(State::of_words(["a"]).sql(None, POSTGRES), None);
    }
}
