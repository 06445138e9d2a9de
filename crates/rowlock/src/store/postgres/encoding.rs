//! Texts that the encoding of the server's database cannot hold.

use std::collections::HashMap;

use super::PostgresStore;
use super::claim::query;
use super::errors::{is_untranslatable, may_be_a_rows};
use super::session::Session;
use crate::limits::TRANSLATED_CHARACTERS_MAX;
use crate::store::{Finish, Finishing, Outcome};
use crate::{Error, Result};

/// In place of what cannot be held; the usual sign for that is itself in few encodings.
const REPLACEMENT: &str = "?";

impl PostgresStore {
    /// The same finish with its errors reduced to the characters that the database can hold; none if that changes nothing. An
    /// error is whatever a handler says: one that cannot be stored as it is must not fail the item.
    pub(super) async fn reduced(&self, session: &mut Session, finishing: &Finishing) -> Result<Option<Finishing>> {
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
        Ok(is_changed.then_some(Finishing { items, limits: finishing.limits, now: finishing.now }))
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

    /// Found out by trying: which encodings have which characters is the server's to know.
    async fn holds(&self, session: &mut Session, character: char) -> Result<bool> {
        match session.fetch(query(&self.statements.hold_text).bind(character.to_string())).await {
            Ok(_) => Ok(true),
            Err(error) if may_be_a_rows(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether rows stand in the way of others that an answer would hold as well: bytes that are no text cannot be sent.
pub(super) fn is_illegible<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().err().is_some_and(is_untranslatable)
}
