//! The columns that a table lacks, as the statements that add them, and what rows in progress need before that.

use super::session::Session;
use super::statements::SCHEMA;
use super::store::PostgresStore;
use crate::Result;
use crate::pipeline::Role;
use crate::schema::TableFacts;
use crate::store::attach::{AttachStep, Lasting, StepKind, StepLock, purpose};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};
use crate::store::template::step;

/// How rows in progress, which another program may be working on, get a heartbeat when the table is adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// There is none, or none that needs one.
    None,
    /// By the default of the column that is added.
    Default,
    /// By an update: the column is there.
    Rows,
}

impl PostgresStore {
    /// Finds out whether rows in progress need a stamp. It reads the table, so it comes before the first column, which
    /// locks the table.
    pub(super) async fn stamp(&self, session: &mut Session, facts: &TableFacts) -> Result<Stamp> {
        let missing = facts.missing_roles(&self.pipeline);
        let is_adopted = [Role::ClaimToken, Role::Heartbeat].iter().any(|role| missing.contains(role));
        if !is_adopted || missing.contains(&Role::Status) || self.pipeline.existing_leases_are_stale() {
            return Ok(Stamp::None);
        }
        let (question, stamp) = if missing.contains(&Role::Heartbeat) {
            ("any_in_progress", Stamp::Default)
        } else {
            ("any_unstamped", Stamp::Rows)
        };
        Ok(if self.asks(session, question).await? { stamp } else { Stamp::None })
    }

    /// What adds the missing columns. The token's comes last: a table that has it was adopted, and its rows in progress
    /// have their stamps.
    pub(super) fn column_steps(&self, facts: &TableFacts, stamp: Stamp, rows: i64) -> Vec<AttachStep> {
        let mut missing = facts.missing_roles(&self.pipeline);
        missing.sort_by_key(|role| *role == Role::ClaimToken);
        let own_state = facts.lacks_own_state(&self.pipeline).then(|| self.own_state_definition()).flatten();
        let mut names: Vec<&str> = missing.iter().map(|role| self.pipeline.columns().name(*role)).collect();
        names.extend(own_state.is_some().then(|| self.pipeline.columns().own_state()));
        let mut steps = Vec::new();
        if !names.is_empty() {
            steps.push(self.note_step(&names));
        }
        if let Some(definition) = own_state {
            let why = "says states that the table itself cannot say";
            steps.push(self.column_step(self.pipeline.columns().own_state(), &definition, None, why));
        }
        if stamp == Stamp::Rows {
            steps.push(self.stamp_step(rows));
        }
        steps.extend(missing.into_iter().map(|role| self.role_step(role, facts, stamp)));
        steps
    }

    fn role_step(&self, role: Role, facts: &TableFacts, stamp: Stamp) -> AttachStep {
        let name = self.pipeline.columns().name(role);
        let mut definition = self.column_definition(role);
        let mut then = None;
        let mut why = purpose(role).to_owned();
        if role == Role::Status
            && facts.has_rows
            && let Some(existing) = self.pipeline.existing_rows()
        {
            let word = |word: &str| quote_literal(word, Dialect::Postgres);
            let existing = existing.word(&self.pipeline);
            definition = format!("{} text not null default {}", quote_identifier(name), word(existing));
            then = Some(format!("set default {}", word(self.pipeline.stages()[0].ready_word())));
            why = format!("{why}; the rows that are there are {existing:?}, and new ones are ready");
        }
        // A default that is constant at that time writes no row; rows that are not in progress carry a stamp that
        // nothing reads.
        if role == Role::Heartbeat && stamp == Stamp::Default {
            definition.push_str(" default statement_timestamp()");
            then = Some("drop default".to_owned());
            why = format!("{why}; rows in progress, which somebody may be working on, are as fresh as this statement");
        }
        self.column_step(name, &definition, then.as_deref(), &why)
    }

    /// A column, and what becomes of its default once it is there, in one transaction.
    fn column_step(&self, name: &str, definition: &str, then: Option<&str>, why: &str) -> AttachStep {
        let name = quote_identifier(name);
        let alter = self.ddl_template().render("alter table :table");
        let mut sql = format!("{alter} add column if not exists {definition}");
        if let Some(then) = then {
            sql.push_str(&format!(";\n{alter} alter column {name} {then}"));
        }
        AttachStep::brief(StepKind::Column, StepLock::Everybody, name, sql, why)
    }

    fn stamp_step(&self, rows: i64) -> AttachStep {
        let template = self.ddl_template();
        let why = "somebody may be working on the rows in progress that have no heartbeat: they become stale one \
                   stale_after later, and not at once; written in blocks of pages, each in its own transaction";
        let sql = template.render(step(SCHEMA, Some("stamp")));
        AttachStep::brief(StepKind::Stamp, StepLock::Rows, template.render(":table"), sql, why)
            .lasting(Lasting::of_rows(rows))
    }

    /// Notes the columns before they are added: one that was added and not noted would stay for ever.
    fn note_step(&self, names: &[&str]) -> AttachStep {
        let mut template = self.ddl_template();
        let pipeline = quote_literal(self.pipeline.name(), Dialect::Postgres);
        let notes: Vec<String> = names
            .iter()
            .map(|name| format!("({}, {pipeline})", quote_literal(&self.note(name), Dialect::Postgres)))
            .collect();
        template.insert("notes", notes.join(",\n  "));
        let why = "detach drops the columns that are noted here, and no other";
        let sql = template.render(step(SCHEMA, Some("note")));
        AttachStep::brief(StepKind::Note, StepLock::Nobody, template.render(":rowlock_meta"), sql, why)
    }

    /// The key in `rowlock_meta` that notes a column of the table as Rowlock's own.
    pub(super) fn note(&self, name: &str) -> String {
        format!("column {}.{}", self.ddl_template().render(":table"), quote_identifier(name))
    }

    /// The column for states that the table cannot say, if the pipeline has such states.
    pub(super) fn own_state_definition(&self) -> Option<String> {
        let name = self.pipeline.columns().own_state();
        self.pipeline.has_own_state().then(|| format!("{} text", quote_identifier(name)))
    }

    pub(super) fn column_definition(&self, role: Role) -> String {
        let name = quote_identifier(self.pipeline.columns().name(role));
        let definition = match role {
            Role::Status => {
                format!(
                    "text not null default {}",
                    quote_literal(self.pipeline.stages()[0].ready_word(), Dialect::Postgres)
                )
            }
            Role::RetryCount | Role::ResetCount => "integer not null default 0".to_owned(),
            Role::CreatedAt | Role::UpdatedAt => "timestamptz not null default statement_timestamp()".to_owned(),
            Role::RetryAfter | Role::Heartbeat | Role::ClaimedAt => "timestamptz".to_owned(),
            Role::ErrorMessage | Role::ClaimedBy | Role::ResumeStatus => "text".to_owned(),
            Role::ClaimToken => "bigint".to_owned(),
        };
        format!("{name} {definition}")
    }
}
