//! Text that the encoding of the server's database cannot hold.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use super::errors::{is_untranslatable, may_be_a_rows};
use super::rows::column;
use super::session::{Session, query};
use super::store::PostgresStore;
use super::variables::{shown, template};
use crate::limits::TRANSLATED_CHARACTERS_MAX;
use crate::pipeline::KeyType;
use crate::store::identifier::quote_identifier;
use crate::store::{Finish, FinishParams, Outcome};
use crate::{Error, Result};

/// Replaces what cannot be held; few encodings have the usual replacement character.
const REPLACEMENT: &str = "?";

/// Types whose values contain no bytes of the user's.
const ALWAYS_LEGIBLE: [&str; 12] = [
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "boolean",
    "uuid",
    "bytea",
    "date",
    "timestamp with time zone",
    "timestamp without time zone",
];

/// The digits of a key that is shown by its bytes, if the key may be one.
fn digits_of(asked: &str) -> Option<&str> {
    asked.strip_prefix("\\x").filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl PostgresStore {
    /// The row of an item with bytes that are not valid text, each such value as it is shown; found by its key, or by
    /// the bytes of its key.
    pub(super) async fn get_as_shown(&self, session: &mut Session, asked: &str) -> Result<Vec<PgRow>> {
        let mut template = template(&self.pipeline);
        let table = template.render(":table");
        let mut columns = Vec::new();
        for row in session.fetch(query(&self.statements.columns).bind(table)).await? {
            let name = quote_identifier(&column::<String>("get", &row, "name")?);
            let is_legible = ALWAYS_LEGIBLE.contains(&&*column::<String>("get", &row, "type")?);
            columns.push(if is_legible {
                format!("t.{name}")
            } else {
                // The name is the user's, and may look like a variable.
                template.insert("column", format!("t.{name}"));
                format!("{} as {name}", template.render(&shown(":column::text")))
            });
        }
        template.insert("columns", columns.join(", "));
        let (key, asked) = match digits_of(asked) {
            Some(digits) => ("convert_from(decode($1::text, 'hex'), 'SQL_ASCII')", digits),
            None => ("$1::text", asked),
        };
        let sql = template.render(
            "select :columns, :shown_key as rowlock_key, :shown_word as rowlock_word, \
                                   t.:\"claim_token\" as rowlock_token from :table t where t.:\"key\" = ",
        );
        session.fetch(sqlx::query(AssertSqlSafe(format!("{sql}{key}"))).bind(asked.to_owned())).await
    }

    /// Whether a key that no row has may be one that is shown by its bytes.
    pub(super) fn may_be_shown(&self, asked: &str) -> bool {
        self.pipeline.key_type() == KeyType::Text && digits_of(asked).is_some_and(|digits| digits.len() % 2 == 0)
    }

    /// The same finish, with its errors reduced to the characters that the database can hold; `None` if that changes
    /// nothing. A handler may report any error text: one that cannot be stored as it is must not fail the item.
    pub(super) async fn reduced(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
    ) -> Result<Option<FinishParams>> {
        let mut known = HashMap::new();
        let mut is_changed = false;
        let mut items = Vec::with_capacity(finishing.items.len());
        for item in &finishing.items {
            let mut outcome = item.outcome.clone();
            if let Outcome::Retry { error, .. } | Outcome::Fail { error } = &mut outcome {
                let reduced = self.reduced_text(session, error, &mut known).await?;
                is_changed |= reduced != *error;
                *error = reduced;
            }
            items.push(Finish { lease: item.lease.clone(), outcome });
        }
        Ok(is_changed.then_some(FinishParams { items, limits: finishing.limits, now: finishing.now }))
    }

    async fn reduced_text(&self, session: &mut Session, text: &str, known: &mut HashMap<char, bool>) -> Result<String> {
        let mut reduced = String::with_capacity(text.len());
        for character in text.chars() {
            let holds = match known.get(&character) {
                _ if character.is_ascii() => true,
                Some(holds) => *holds,
                None if known.len() >= TRANSLATED_CHARACTERS_MAX => false,
                None => {
                    let holds = self.holds(session, character).await?;
                    known.insert(character, holds);
                    holds
                }
            };
            if holds {
                reduced.push(character);
            } else {
                reduced.push_str(REPLACEMENT);
            }
        }
        Ok(reduced)
    }

    /// Found out by trying: only the server knows which encoding has which characters.
    async fn holds(&self, session: &mut Session, character: char) -> Result<bool> {
        match session.fetch(query(&self.statements.hold_text).bind(character.to_string())).await {
            Ok(_) => Ok(true),
            Err(error) if may_be_a_rows(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether some rows prevent the answer for all others: bytes that are not valid text cannot be sent.
pub(super) fn is_illegible<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().err().is_some_and(is_untranslatable)
}
