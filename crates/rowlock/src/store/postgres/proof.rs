//! The proof of a description: each row of a sample is in one state, and what is written for a state is read as that
//! state.

use sqlx::AssertSqlSafe;

use super::indexes::indexes;
use super::rows::column;
use super::session::Session;
use super::statements::SCHEMA;
use super::store::PostgresStore;
use crate::limits::{PROOF_DEADLINE, PROOF_ROWS_MAX, PROOF_WRITTEN_ROWS_MAX};
use crate::pipeline::{Role, Status};
use crate::schema::TableFacts;
use crate::store::identifier::{Dialect, quote_identifier};
use crate::store::lens::Lens;
use crate::store::proof::{Proof, Unclear, WrittenState, not_evaluated, not_indexed};
use crate::store::template::{Template, step};
use crate::{Error, Result};

const VERB: &str = "prove";

const PROOF: &str = include_str!("sql/proof.sql");

/// The table on which the indexes are tried.
const TRIAL: &str = "pg_temp.rowlock_trial";

/// A column of the table, or one that will be added.
struct ProofColumn {
    name: String,
    type_name: String,
    default: Option<String>,
    is_there: bool,
}

impl PostgresStore {
    /// Proves the pipeline on the table as it is now, on a sample of some thousand rows: each is in exactly one state,
    /// or has a word that is ignored; a row that is put into a state is in that state and in no other; and the database
    /// accepts the indexes.
    ///
    /// It writes nothing; to try the indexes it makes a temporary table and takes it back. A table that does not exist,
    /// or has no status column yet, has nothing to prove.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prove(&self) -> Result<Proof> {
        let mut session = self.sessions.open(VERB).await?;
        let facts = self.table_facts(&mut session).await?;
        let mut proof = Proof { flaws: facts.problems(&self.pipeline), ..Proof::default() };
        if self.can_be_proved(&facts) {
            let template = self.proof_template(&mut session, &facts, PROOF_ROWS_MAX).await?;
            match self.unclear_rows(&mut session, &template).await? {
                Ok(unclear) => proof.add(&unclear),
                Err(sentence) => proof.flaws.push(sentence),
            }
            proof.flaws.extend(self.flaws_of_writes(&mut session, &facts).await?);
            if proof.flaws.is_empty() && !self.sessions.is_read_only() {
                proof.flaws.extend(self.flaws_of_indexes(&mut session, &facts).await?);
            }
        }
        session.done();
        Ok(proof)
    }

    /// What is wrong with the description itself: rows in two states, and states that are not written as they are read.
    /// A table whose status is one text for each state has none.
    pub(super) async fn flaws(&self, session: &mut Session, facts: &TableFacts) -> Result<Vec<String>> {
        if self.pipeline.has_plain_status() || !self.can_be_proved(facts) {
            return Ok(Vec::new());
        }
        let template = self.proof_template(session, facts, PROOF_ROWS_MAX).await?;
        let mut proof = Proof::default();
        match self.unclear_rows(session, &template).await? {
            Ok(unclear) => proof.add(&unclear),
            Err(sentence) => proof.flaws.push(sentence),
        }
        if proof.flaws.is_empty() {
            proof.flaws = self.flaws_of_writes(session, facts).await?;
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
        let rows = match self.fetch_read_only(session, template.render(step(PROOF, Some("states")))).await? {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(not_evaluated("the states of the pipeline", &error))),
        };
        let unclear = rows.iter().map(|row| {
            Ok(Unclear {
                states: column::<Option<String>>(VERB, row, "states")?.unwrap_or_default(),
                how_many: column(VERB, row, "how_many")?,
                word: column(VERB, row, "word")?,
                rows: column(VERB, row, "row_count")?,
                example: column(VERB, row, "example")?,
            })
        });
        unclear.collect::<Result<Vec<Unclear>>>().map(Ok)
    }

    /// Puts some rows of the sample, and one that has the table's defaults alone, into each state.
    async fn flaws_of_writes(&self, session: &mut Session, facts: &TableFacts) -> Result<Vec<String>> {
        let columns = self.proof_columns(session, facts).await?;
        let rows = self.proof_template(session, facts, PROOF_WRITTEN_ROWS_MAX).await?;
        let mut defaults = rows.clone();
        defaults.insert("sample", row_of_defaults(&columns, self.pipeline.key_columns()));
        let mut sentences = Vec::new();
        for status in self.pipeline.statuses() {
            let of_rows = self.flaw_of_write(session, &rows, &columns, status).await?;
            if let Some(flaw) = of_rows {
                sentences.push(flaw.unwrap_or_else(|error| error));
            } else if let Some(Ok(flaw)) = self.flaw_of_write(session, &defaults, &columns, status).await? {
                // A row of defaults may be one that the table does not accept: then nothing was learnt from it.
                sentences.push(flaw);
            }
        }
        Ok(sentences)
    }

    /// What is wrong with the rows after they were put into a state. The inner error is what the database said.
    async fn flaw_of_write(
        &self,
        session: &mut Session,
        template: &Template,
        columns: &[ProofColumn],
        status: Status,
    ) -> Result<Option<Result<String, String>>> {
        let lens = Lens::new(&self.pipeline, Dialect::Postgres);
        let mut template = template.clone();
        // An item is claimed from the ready state of its stage, and from no other.
        if let Status::InProgress(stage) = status {
            template.insert("sample", rewritten(&template, &lens, columns, Status::Ready(stage)));
        }
        template.insert("written", rewritten(&template, &lens, columns, status));
        let said = lens.said_alone(status);
        template.insert("is_said", said.is_some().to_string());
        template.insert("said_alone", said.unwrap_or_else(|| "null".to_owned()));
        template.insert("state_name", lens.state_name(status));
        let what = || format!("the state {:?}", self.pipeline.word(status));
        let rows = match self.fetch_read_only(session, template.render(step(PROOF, Some("written")))).await? {
            Ok(rows) => rows,
            Err(error) => return Ok(Some(Err(not_evaluated(&what(), &error)))),
        };
        let Some(row) = rows.first() else { return Ok(None) };
        let written = WrittenState {
            status,
            states: column::<Option<String>>(VERB, row, "states")?.unwrap_or_default(),
            read: column(VERB, row, "word")?,
            key: column(VERB, row, "key")?,
        };
        Ok(Some(Ok(written.sentence(&self.pipeline))))
    }

    /// Makes the indexes on an empty copy of the table, in a transaction that is rolled back.
    async fn flaws_of_indexes(&self, session: &mut Session, facts: &TableFacts) -> Result<Option<String>> {
        let mut template = self.ddl_template();
        let copy = template.render(step(PROOF, Some("copy")));
        let added: Vec<String> = facts
            .missing_roles(&self.pipeline)
            .into_iter()
            .map(|role| self.column_definition(role))
            .chain(facts.lacks_own_state(&self.pipeline).then(|| self.own_state_definition()).flatten())
            .map(|definition| format!("alter table {TRIAL} add column {definition}"))
            .collect();
        session.run(&format!("begin; set local statement_timeout = {}", PROOF_DEADLINE.as_millis())).await?;
        // A role without the right to make a temporary table learns of a bad index when it is made.
        let made = session.run(&[vec![copy], added].concat().join(";\n")).await;
        template.insert("table", TRIAL.to_owned());
        let mut flaw = None;
        if made.is_ok() {
            for variable in indexes(&self.pipeline) {
                if let Err(error) = session.run(&template.render(step(SCHEMA, Some(*variable)))).await {
                    flaw = Some(not_indexed(&error));
                    break;
                }
            }
        }
        session.give_up_transaction().await;
        Ok(flaw)
    }

    /// Runs a query of the proof, which may call functions of the user's, so that it cannot write. The inner error is
    /// the query's own.
    async fn fetch_read_only(
        &self,
        session: &mut Session,
        sql: String,
    ) -> Result<Result<Vec<sqlx::postgres::PgRow>, Error>> {
        let ms = PROOF_DEADLINE.as_millis();
        session.run(&format!("begin; set transaction read only; set local statement_timeout = {ms}")).await?;
        let answer = session.fetch(sqlx::query(AssertSqlSafe(sql))).await;
        session.give_up_transaction().await;
        match answer {
            Err(error @ Error::Database { source: sqlx::Error::Database(_), .. }) => Ok(Err(error)),
            answer => answer.map(Ok),
        }
    }

    async fn proof_columns(&self, session: &mut Session, facts: &TableFacts) -> Result<Vec<ProofColumn>> {
        let asked = sqlx::query(step(PROOF, Some("columns"))).bind(self.ddl_template().render(":table"));
        let mut columns = Vec::new();
        for row in &session.fetch(asked).await? {
            columns.push(ProofColumn {
                name: column(VERB, row, "name")?,
                type_name: column(VERB, row, "type")?,
                default: column(VERB, row, "default_value")?,
                is_there: true,
            });
        }
        if facts.lacks_own_state(&self.pipeline) {
            let name = self.pipeline.columns().own_state().to_owned();
            columns.push(ProofColumn { name, type_name: "text".to_owned(), default: None, is_there: false });
        }
        Ok(columns)
    }

    /// The variables of the proof, on a sample of at most this many rows.
    async fn proof_template(&self, session: &mut Session, facts: &TableFacts, rows: i64) -> Result<Template> {
        let lens = Lens::new(&self.pipeline, Dialect::Postgres);
        let mut template = self.ddl_template();
        let columns = self.proof_columns(session, facts).await?;
        let added: String = columns
            .iter()
            .filter(|column| !column.is_there)
            .map(|column| format!(", null::{} as {}", column.type_name, quote_identifier(&column.name)))
            .collect();
        template.insert("and_added", added);
        template.insert("percent", percent(rows, self.rows_about(session).await?));
        template.insert("sample_rows", rows.to_string());
        template.set("sample", step(PROOF, Some("sample")));
        template.insert("said_states", lens.said_states(Some("t")));
        template.insert("count_said", lens.count_said(Some("t")));
        let has_word = self.pipeline.has_status_column();
        let status = quote_identifier(self.pipeline.columns().name(Role::Status));
        let word = has_word.then(|| format!("t.{status}::text"));
        template.insert("said_word", word.unwrap_or_else(|| "null::text".to_owned()));
        Ok(template)
    }
}

/// The rows of the sample after they were put into a state.
fn rewritten(template: &Template, lens: &Lens, columns: &[ProofColumn], status: Status) -> String {
    let written = lens.written_state(status);
    let values = columns.iter().map(|column| {
        let name = quote_identifier(&column.name);
        match written.iter().find(|(written, _)| *written == column.name) {
            Some((_, value)) => format!("cast({value} as {}) as {name}", column.type_name),
            None => format!("t.{name}"),
        }
    });
    let values = values.collect::<Vec<_>>().join(",\n    ");
    let mut template = template.clone();
    template.insert("written_columns", values);
    let sample = template.render(":sample");
    template.insert("rows", sample);
    template.render(step(PROOF, Some("rewritten")))
}

/// A row with the table's defaults, and with nulls where there is none. The key has none here: it may come from a
/// sequence.
fn row_of_defaults(columns: &[ProofColumn], key: &[String]) -> String {
    let values = columns.iter().map(|column| {
        let is_drawn = |default: &&str| default.contains("nextval(") || key.contains(&column.name);
        let default = column.default.as_deref().filter(|default| !is_drawn(default));
        format!("cast({} as {}) as {}", default.unwrap_or("null"), column.type_name, quote_identifier(&column.name))
    });
    format!("(select {})", values.collect::<Vec<_>>().join(", "))
}

/// The share of a table of about this many rows that makes a sample of this size, with some to spare. A small table is
/// read whole.
fn percent(rows: i64, of: i64) -> String {
    if of <= 2 * rows {
        return "100".to_owned();
    }
    // In millionths, and at least one: the server takes whole pages.
    let millionths = (rows.saturating_mul(150_000_000) / of.max(1)).clamp(1, 100_000_000);
    format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_is_read_whole_and_a_large_one_in_part() {
        assert_eq!(percent(10_000, 0), "100");
        assert_eq!(percent(10_000, 20_000), "100");
        assert_eq!(percent(10_000, 1_000_000), "1.500000");
        assert_eq!(percent(10_000, 100_000_000), "0.015000");
    }

    #[test]
    fn a_row_of_defaults_draws_no_number_from_a_sequence() {
        let column = |name: &str, default: Option<&str>| ProofColumn {
            name: name.to_owned(),
            type_name: "text".to_owned(),
            default: default.map(str::to_owned),
            is_there: true,
        };
        let columns = [
            column("id", Some("gen_random_uuid()")),
            column("number", Some("nextval('numbers'::regclass)")),
            column("state", Some("'queued'::text")),
            column("note", None),
        ];
        assert_eq!(
            row_of_defaults(&columns, &["id".to_owned()]),
            "(select cast(null as text) as \"id\", cast(null as text) as \"number\", \
             cast('queued'::text as text) as \"state\", cast(null as text) as \"note\")"
        );
    }
}
