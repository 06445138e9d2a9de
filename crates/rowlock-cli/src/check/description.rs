//! The roles that a `rowlock.toml` gives. The only place of the check that reads a description.

use std::time::Duration;

use rowlock::Role;
use rowlock::pipeline::{Sign, Word};

use super::guess::deleted;
use super::roles::{AttemptsMax, Lease, LeaseMeaning, Roles, State};
use super::sql_text::mentions;
use crate::config::{ColumnForm, Description};
use crate::survey::{Database, Survey};

/// What the library takes where the file says nothing.
const STALE_AFTER: Duration = Duration::from_secs(300);
const MAX_RETRIES: u32 = 5;

/// What the names of Rowlock's own columns begin with, unless the file says otherwise.
const PREFIXES: [&str; 2] = ["", "rowlock_"];

impl Roles {
    /// The roles that a description gives to the columns that the table has. A column that is yet to be added has none.
    pub fn from_description(description: &Description, survey: &Survey) -> Roles {
        let column = |role| column_of(description, survey, role);
        let lease = column(Role::Heartbeat).map(|column| {
            let form = description.column(Role::Heartbeat).map(|described| described.form);
            let is_expiry = form == Some(ColumnForm::Expiry);
            Lease { column, meaning: if is_expiry { LeaseMeaning::Expiry } else { LeaseMeaning::Heartbeat } }
        });
        let deleted = deleted(survey);
        let claim_where = description.claim_where.as_deref();
        let leaves_out_deleted =
            deleted.as_deref().is_some_and(|column| claim_where.is_some_and(|condition| mentions(condition, column)));
        // What comes first in the order is what a claim's index has to begin with, behind the status.
        let priority = description.order.first().and_then(|order| {
            survey.columns.iter().find(|column| mentions(order, &column.name)).map(|column| column.name.clone())
        });
        let state = |sign: Option<&Sign>| sign.map_or_else(State::default, |sign| state_of(sign, survey.database));
        Roles {
            pipeline: Some(description.pipeline.clone()),
            key: description.key.clone(),
            status: column(Role::Status),
            ready: all(description.stages.iter().map(|stage| state(Some(&stage.ready)))),
            running: all(description.stages.iter().map(|stage| state(Some(&stage.running)))),
            succeeded: state(Some(&description.succeeded)),
            failed: state(description.failed.as_ref()),
            cancelled: state(description.cancelled.as_ref()),
            ignored: State {
                words: description.ignored.iter().map(|word| text_of(word, survey.database)).collect(),
                predicates: Vec::new(),
            },
            described: described(description, survey.database),
            lease,
            holder: column(Role::ClaimedBy),
            token: column(Role::ClaimToken),
            attempts: column(Role::RetryCount),
            attempts_max: AttemptsMax::Number(i64::from(description.limits.max_retries.unwrap_or(MAX_RETRIES))),
            due: column(Role::RetryAfter),
            created: column(Role::CreatedAt),
            updated: column(Role::UpdatedAt),
            error: column(Role::ErrorMessage),
            deleted,
            priority,
            leaves_out_deleted,
            stale_after: description.limits.stale_after.unwrap_or(STALE_AFTER),
            is_guess: false,
            is_kept_by_rowlock: is_attached(description, survey),
        }
    }
}

/// The column of a role, if the table has it.
fn column_of(description: &Description, survey: &Survey, role: Role) -> Option<String> {
    let found = |name: &str| survey.column(name).map(|column| column.name.clone());
    if let Some(described) = description.column(role) {
        return found(&described.name);
    }
    let mut prefixes = description.prefix.as_deref().into_iter().chain(PREFIXES);
    prefixes.find_map(|prefix| found(&format!("{prefix}{}", role.default_column())))
}

/// Whether the columns are there that Rowlock adds for this pipeline. Another pipeline of the same table has others.
fn is_attached(description: &Description, survey: &Survey) -> bool {
    let prefix = description.prefix.as_deref().unwrap_or_default();
    [Role::ClaimToken, Role::ResetCount, Role::ResumeStatus].into_iter().all(|role| {
        let own = || format!("{prefix}{}", role.default_column());
        let name = description.column(role).map_or_else(own, |described| described.name.clone());
        survey.column(&name).is_some()
    })
}

/// Each state with what it is.
fn described(description: &Description, database: Database) -> Vec<(String, State)> {
    let mut states = Vec::new();
    for stage in &description.stages {
        states.push((format!("ready for {}", stage.name), state_of(&stage.ready, database)));
        states.push((format!("running {}", stage.name), state_of(&stage.running, database)));
    }
    states.push(("succeeded".to_owned(), state_of(&description.succeeded, database)));
    states.extend(description.failed.iter().map(|sign| ("failed".to_owned(), state_of(sign, database))));
    states.extend(description.cancelled.iter().map(|sign| ("cancelled".to_owned(), state_of(sign, database))));
    let ignored = description.ignored.iter().map(|word| text_of(word, database)).collect();
    states.push(("ignored".to_owned(), State { words: ignored, predicates: Vec::new() }));
    states
}

fn all(states: impl Iterator<Item = State>) -> State {
    states.fold(State::default(), |mut all, state| {
        all.words.extend(state.words);
        all.predicates.extend(state.predicates);
        all
    })
}

/// A state that a column of Rowlock's own tells is none that the owner's columns show.
fn state_of(sign: &Sign, database: Database) -> State {
    match sign {
        Sign::Words(words) => {
            State { words: words.iter().map(|word| text_of(word, database)).collect(), predicates: Vec::new() }
        }
        Sign::Sql { is, .. } => State::of_predicate(is.clone()),
        Sign::Own => State::default(),
    }
}

fn text_of(word: &Word, database: Database) -> Option<String> {
    match word {
        Word::Null => None,
        Word::Text(text) => Some(text.clone()),
        Word::Integer(number) => Some(number.to_string()),
        Word::Boolean(truth) => Some(match database {
            Database::Postgres => truth.to_string(),
            Database::Sqlite => i32::from(*truth).to_string(),
        }),
    }
}
