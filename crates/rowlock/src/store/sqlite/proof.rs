//! The proof of a description: each row of a sample is in one state, and what is written for a state is read as that
//! state. Rows are written in a temporary copy of a few of them, whose columns convert values as the table's do.

use sqlx::sqlite::SqliteRow;

use super::rows;
use super::session::{Session, Sql, Verb};
use super::statements::template;
use super::store::SqliteStore;
use crate::limits::{PROOF_ROWS_MAX, PROOF_WRITTEN_ROWS_MAX};
use crate::pipeline::{Role, Status};
use crate::schema::TableFacts;
use crate::store::identifier::{Dialect, quote_identifier};
use crate::store::lens::Lens;
use crate::store::proof::{Proof, Unclear, WrittenState, not_evaluated};
use crate::store::template::{Template, step};
use crate::{Error, Result};

const PROOF: &str = include_str!("sql/proof.sql");

impl SqliteStore {
    /// Proves the pipeline on the table as it is now, on a sample of some thousand rows: each is in exactly one state,
    /// or has a word that is ignored; and a row that is put into a state is in that state and in no other.
    ///
    /// It writes nothing but a temporary table. A table that does not exist, or has no status column yet, has nothing
    /// to prove.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prove(&self) -> Result<Proof> {
        let verb: Verb = self.verb("prove");
        verb.within(async {
            let mut session = self.read(&verb).await?;
            let proved = self.prove_in(&mut session).await;
            session.roll_back().await?;
            proved
        })
        .await
    }

    async fn prove_in(&self, session: &mut Session) -> Result<Proof> {
        let facts = self.table_facts(session).await?;
        let mut proof = Proof { flaws: facts.problems(&self.pipeline), ..Proof::default() };
        if self.can_be_proved(&facts) {
            let template = self.proof_template(session, &facts).await?;
            match self.unclear_rows(session, &template).await? {
                Ok(unclear) => proof.add(&unclear),
                Err(sentence) => proof.flaws.push(sentence),
            }
            proof.flaws.extend(self.flaws_of_writes(session, &template).await?);
        }
        Ok(proof)
    }

    /// What is wrong with the description itself: rows in two states, and states that are not written as they are read.
    /// A table whose status is one text for each state has none. It belongs to a transaction that is rolled back.
    pub(super) async fn flaws(&self, session: &mut Session, facts: &TableFacts) -> Result<Vec<String>> {
        if self.pipeline.has_plain_status() || !self.can_be_proved(facts) {
            return Ok(Vec::new());
        }
        let template = self.proof_template(session, facts).await?;
        let mut proof = Proof::default();
        match self.unclear_rows(session, &template).await? {
            Ok(unclear) => proof.add(&unclear),
            Err(sentence) => proof.flaws.push(sentence),
        }
        if proof.flaws.is_empty() {
            proof.flaws = self.flaws_of_writes(session, &template).await?;
        }
        Ok(proof.flaws)
    }

    /// Other problems are told by themselves: the statements of the proof need the columns that the pipeline names.
    fn can_be_proved(&self, facts: &TableFacts) -> bool {
        !facts.columns.is_empty()
            && facts.problems(&self.pipeline).is_empty()
            && !facts.missing_roles(&self.pipeline).contains(&Role::Status)
    }

    /// The inner error is a sentence: the database cannot evaluate the states.
    async fn unclear_rows(&self, session: &mut Session, template: &Template) -> Result<Result<Vec<Unclear>, String>> {
        let sql = Sql::new(template.render(step(PROOF, Some("states"))));
        let found = match asked(session.rows(&sql, []).await)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(not_evaluated("the states of the pipeline", &error))),
        };
        let unclear = |row: &SqliteRow| Unclear {
            states: rows::text(row, 0).unwrap_or_default(),
            how_many: rows::integer(row, 1).unwrap_or(0),
            word: rows::text(row, 2),
            rows: rows::integer(row, 3).unwrap_or(0),
            example: rows::text(row, 4),
        };
        Ok(Ok(found.iter().map(unclear).collect()))
    }

    /// Puts some rows, and one that has the table's defaults alone, into each state.
    async fn flaws_of_writes(&self, session: &mut Session, template: &Template) -> Result<Vec<String>> {
        session.execute(&Sql::new(template.render(step(PROOF, Some("copy")))), []).await?;
        self.add_row_of_defaults(session, template).await?;
        let mut sentences = Vec::new();
        for status in self.pipeline.statuses() {
            session.execute(&Sql::new("savepoint rowlock_proof".to_owned()), []).await?;
            let flaw = self.flaw_of_write(session, template, status).await?;
            session.execute(&Sql::new("rollback to rowlock_proof".to_owned()), []).await?;
            session.execute(&Sql::new("release rowlock_proof".to_owned()), []).await?;
            sentences.extend(flaw);
        }
        Ok(sentences)
    }

    async fn flaw_of_write(
        &self,
        session: &mut Session,
        template: &Template,
        status: Status,
    ) -> Result<Option<String>> {
        let lens = Lens::new(&self.pipeline, Dialect::Sqlite);
        let what = || format!("the state {:?}", self.pipeline.word(status));
        // An item is claimed from the ready state of its stage, and from no other.
        let before = match status {
            Status::InProgress(stage) => Some(Status::Ready(stage)),
            Status::Ready(_) | Status::Succeeded | Status::Failed | Status::Cancelled => None,
        };
        let mut template = template.clone();
        for status in before.into_iter().chain([status]) {
            let assignments = lens.written_state(status);
            let assignments: Vec<String> =
                assignments.iter().map(|(column, value)| format!("{} = {value}", quote_identifier(column))).collect();
            template.insert("assignments", assignments.join(",\n  "));
            let sql = Sql::new(template.render(step(PROOF, Some("write"))));
            if let Err(error) = asked(session.execute(&sql, []).await)? {
                return Ok(Some(not_evaluated(&what(), &error)));
            }
        }
        let said = lens.said_alone(status);
        template.insert("is_said", said.is_some().to_string());
        template.insert("said_alone", said.unwrap_or_else(|| "null".to_owned()));
        template.insert("state_name", lens.state_name(status));
        let sql = Sql::new(template.render(step(PROOF, Some("written"))));
        let found = match asked(session.rows(&sql, []).await)? {
            Ok(found) => found,
            Err(error) => return Ok(Some(not_evaluated(&what(), &error))),
        };
        let written = |row: &SqliteRow| WrittenState {
            status,
            states: rows::text(row, 0).unwrap_or_default(),
            read: rows::text(row, 1),
            key: rows::text(row, 2),
        };
        Ok(found.first().map(|row| written(row).sentence(&self.pipeline)))
    }

    /// A default that cannot be evaluated alone is left to the rows.
    async fn add_row_of_defaults(&self, session: &mut Session, template: &Template) -> Result<()> {
        let table = self.pipeline.table().name();
        let (mut columns, mut defaults) = (Vec::new(), Vec::new());
        for row in session.rows(&self.statements.read_columns, [table.into()]).await? {
            let (Some(name), Some(default)) = (rows::text(&row, 0), rows::text(&row, 5)) else { continue };
            columns.push(quote_identifier(&name));
            defaults.push(format!("({default})"));
        }
        let mut template = template.clone();
        // One without any default is a row of nulls.
        if columns.is_empty() {
            columns.push(quote_identifier(self.pipeline.key()));
            defaults.push("null".to_owned());
        }
        template.insert("columns", columns.join(", "));
        template.insert("defaults", defaults.join(", "));
        let sql = Sql::new(template.render(step(PROOF, Some("defaults"))));
        asked(session.execute(&sql, []).await).map(drop)
    }

    /// The variables of the proof.
    async fn proof_template(&self, session: &mut Session, facts: &TableFacts) -> Result<Template> {
        let lens = Lens::new(&self.pipeline, Dialect::Sqlite);
        let mut template = template(&self.pipeline);
        let own_state = quote_identifier(self.pipeline.columns().own_state());
        let lacks = facts.lacks_own_state(&self.pipeline);
        template.insert("and_added", if lacks { format!(", null as {own_state}") } else { String::new() });
        template.insert("sample_rows", PROOF_ROWS_MAX.to_string());
        template.insert("half_of_rows", (PROOF_ROWS_MAX / 2).to_string());
        template.insert("written_rows", PROOF_WRITTEN_ROWS_MAX.to_string());
        if self.has_rowids(session).await? {
            template.set("is_sampled", step(PROOF, Some("is_sampled")));
        } else {
            template.insert("is_sampled", "true".to_owned());
        }
        template.set("sample", step(PROOF, Some("sample")));
        template.insert("said_states", lens.said_states(Some("t")));
        template.insert("count_said", lens.count_said(Some("t")));
        let status = quote_identifier(self.pipeline.columns().name(Role::Status));
        let has_word = self.pipeline.has_status_column();
        template.insert("said_word", if has_word { format!("t.{status}") } else { "null".to_owned() });
        Ok(template)
    }
}

/// An answer, or what SQLite said about the statement. The outer error is one of the file or the connection.
fn asked<T>(answer: Result<T>) -> Result<Result<T>> {
    match answer {
        Err(error) if is_said(&error) => Ok(Err(error)),
        answer => answer.map(Ok),
    }
}

fn is_said(error: &Error) -> bool {
    matches!(error, Error::Database { source: sqlx::Error::Database(_), .. }) && !error.is_transient()
}
